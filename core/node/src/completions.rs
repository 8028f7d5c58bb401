//! Finished tickets on their way to the reaper: a list behind an eventfd that is written only when the list
//! was empty.
//!
//! A batch of a thousand answers costs one write and one wake of the loop thread. Nothing here needs Python.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use parking_lot::Mutex;

/// Names a submitted piece of work until it is reaped. 0 is nobody: work the node gave itself.
pub type Ticket = u64;

/// The answer to one ticket; the fields are those of `Core.reap` in `python/konsul/_core.pyi`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Whose answer this is.
    pub ticket: Ticket,
    /// 0 applied, 1 conflict, else a code of `konsul.errors`.
    pub status: u16,
    /// The entry's index when applied.
    pub index: u64,
    /// The chosen case, or the current modify_index of a conflict.
    pub number: u64,
    /// The conflict's key, or the message of a refusal.
    pub text: Vec<u8>,
}

impl Completion {
    /// Applied at `index` by case `number`.
    pub fn applied(ticket: Ticket, index: u64, case: u16) -> Self {
        Self { ticket, status: 0, index, number: u64::from(case), text: Vec::new() }
    }

    /// Refused with a code of `konsul.errors`.
    pub fn refused(ticket: Ticket, code: u16, message: impl Into<String>) -> Self {
        Self { ticket, status: code, index: 0, number: 0, text: message.into().into_bytes() }
    }
}

/// What [`Completions::take`] yields, besides answers, when a question of another node waits: ticket 0, this
/// status.
pub const CALL_WAITS: u16 = u16::MAX;
/// The same for what watches saw.
pub const WATCH_WAITS: u16 = u16::MAX - 1;

#[derive(Default)]
struct Done {
    answers: VecDeque<Completion>,
    /// A question of another node waits.
    has_calls: bool,
    /// A watch saw something.
    has_seen: bool,
}

impl Done {
    fn is_empty(&self) -> bool {
        self.answers.is_empty() && !self.has_calls && !self.has_seen
    }

    /// What waits besides answers, each said once.
    fn take_marks(&mut self) -> impl Iterator<Item = Completion> {
        let marks = [
            (std::mem::take(&mut self.has_calls), CALL_WAITS),
            (std::mem::take(&mut self.has_seen), WATCH_WAITS),
        ];
        marks.into_iter().filter(|(waits, _)| *waits).map(|(_, mark)| Completion::refused(0, mark, ""))
    }
}

/// The list and its eventfd.
pub struct Completions {
    done: Mutex<Done>,
    fd: OwnedFd,
}

impl Completions {
    /// An empty list with a new non-blocking eventfd.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers; a non-negative result is a descriptor nobody else owns.
        let fd = unsafe {
            let raw = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
            if raw < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(raw)
        };
        Ok(Self { done: Mutex::default(), fd })
    }

    /// The descriptor that is readable while answers wait.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Hands over a whole batch; `batch` is left empty with its capacity.
    pub fn push(&self, batch: &mut Vec<Completion>) {
        batch.retain(|completion| completion.ticket != 0);
        if batch.is_empty() {
            return;
        }
        let was_empty = {
            let mut done = self.done.lock();
            let was_empty = done.is_empty();
            done.answers.extend(batch.drain(..));
            was_empty
        };
        if was_empty {
            self.wake();
        }
    }

    /// Hands over one answer.
    pub fn push_one(&self, completion: Completion) {
        self.push(&mut vec![completion]);
    }

    /// Says that a question of another node waits.
    pub fn ring(&self) {
        self.mark(|done| done.has_calls = true);
    }

    /// Says that a watch saw something.
    pub fn ring_watches(&self) {
        self.mark(|done| done.has_seen = true);
    }

    fn mark(&self, set: impl FnOnce(&mut Done)) {
        let was_empty = {
            let mut done = self.done.lock();
            let was_empty = done.is_empty();
            set(&mut done);
            was_empty
        };
        if was_empty {
            self.wake();
        }
    }

    /// Takes at most `limit` answers, oldest first; what is left keeps the descriptor readable.
    pub fn take(&self, limit: usize) -> Vec<Completion> {
        let mut count = 0_u64;
        // SAFETY: the buffer is eight bytes, as an eventfd's read wants. An empty one answers EAGAIN, which
        // is fine: a push that found the list empty may not have written yet, and will then wake the loop
        // once more for nothing.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
        let (taken, is_rest) = {
            let mut done = self.done.lock();
            let n = done.answers.len().min(limit);
            let mut taken: Vec<Completion> = done.answers.drain(..n).collect();
            if taken.len() < limit {
                taken.extend(done.take_marks());
            }
            (taken, !done.is_empty())
        };
        if is_rest {
            self.wake();
        }
        taken
    }

    fn wake(&self) {
        let one = 1_u64;
        // SAFETY: eight readable bytes. It cannot block or overflow: at most one wake per empty list is
        // outstanding.
        unsafe { libc::write(self.fd(), (&raw const one).cast(), 8) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_readable(completions: &Completions) -> bool {
        let mut poll = libc::pollfd { fd: completions.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd and no wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    #[test]
    fn the_descriptor_is_readable_exactly_while_answers_wait() {
        let completions = Completions::new().unwrap();
        assert!(!is_readable(&completions));
        completions.push(&mut (1..=3).map(|ticket| Completion::applied(ticket, ticket, 0)).collect());
        assert!(is_readable(&completions));
        assert_eq!(completions.take(2).iter().map(|c| c.ticket).collect::<Vec<_>>(), [1, 2]);
        assert!(is_readable(&completions));
        assert_eq!(completions.take(2).len(), 1);
        assert!(!is_readable(&completions));
    }

    #[test]
    fn a_question_rings_once_however_many_wait() {
        let completions = Completions::new().unwrap();
        completions.ring();
        completions.ring();
        assert!(is_readable(&completions));
        assert_eq!(completions.take(0), []);
        assert!(is_readable(&completions));
        assert_eq!(completions.take(9), [Completion::refused(0, CALL_WAITS, "")]);
        assert_eq!(completions.take(9), []);
        assert!(!is_readable(&completions));
    }

    #[test]
    fn what_watches_saw_rings_beside_questions_and_after_answers() {
        let completions = Completions::new().unwrap();
        completions.ring_watches();
        completions.ring();
        completions.push_one(Completion::applied(7, 7, 0));
        let statuses: Vec<u16> = completions.take(9).iter().map(|completion| completion.status).collect();
        assert_eq!(statuses, [0, CALL_WAITS, WATCH_WAITS]);
        assert!(!is_readable(&completions));
        completions.ring_watches();
        assert!(is_readable(&completions));
    }

    #[test]
    fn answers_to_nobody_wake_nobody() {
        let completions = Completions::new().unwrap();
        completions.push_one(Completion::refused(0, 7, "late"));
        assert!(!is_readable(&completions));
    }
}
