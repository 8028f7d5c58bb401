//! Keeps segments ready for the writer and takes used ones back, outside the writer thread: filling 16 MiB
//! with zeros and syncing directories costs tens of milliseconds that no append should wait for.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::WalError;
use super::segment::{HEADER_BYTES, Segment, live_name, spare_name};
use crate::files::{LogFiles, is_full};

/// How long after the disk refused room it is asked again.
const FULL_RETRY: Duration = Duration::from_millis(250);
const FILL_BYTES: usize = 1 << 20;
/// Segments kept ready, and used ones kept for recycling; more are given back to the disk.
const READY_SEGMENTS: usize = 2;
const SPARE_SEGMENTS: usize = 2;

pub(crate) struct Preparer {
    files: Arc<dyn LogFiles>,
    segment_bytes: u64,
    salt: u64,
    background: bool,
    state: Mutex<State>,
    changed: Condvar,
}

pub(crate) struct State {
    /// Named, headed and empty; ascending, to be used in this order.
    pub ready: VecDeque<Segment>,
    /// Names of allocated files waiting for a sequence number.
    pub spares: Vec<String>,
    retired: VecDeque<Segment>,
    next_sequence: u64,
    full: Option<String>,
    failed: Option<String>,
    closing: bool,
    /// Nobody waits for room on a full disk any more.
    impatient: bool,
    /// The oldest retired segment could not be renamed or removed for want of room.
    stuck: bool,
}

enum Job {
    Retire(Segment),
    Prepare { sequence: u64, spare: Option<String> },
}

/// What one step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Worked,
    Idle,
    Full,
    Failed,
}

impl Preparer {
    pub fn new(
        files: Arc<dyn LogFiles>,
        options: &super::WalOptions,
        salt: u64,
        ready: VecDeque<Segment>,
        spares: Vec<String>,
        next_sequence: u64,
    ) -> Preparer {
        let state = State {
            ready,
            spares,
            retired: VecDeque::new(),
            next_sequence,
            full: None,
            failed: None,
            closing: false,
            impatient: false,
            stuck: false,
        };
        Preparer {
            files,
            segment_bytes: options.segment_bytes,
            salt,
            background: options.background,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub fn describe(&self, name: &str) -> String {
        self.files.describe(name)
    }

    pub fn room_bytes(&self) -> u64 {
        let state = self.state.lock();
        let ready: u64 = state.ready.iter().map(Segment::room).sum();
        ready + state.spares.len() as u64 * (self.segment_bytes - HEADER_BYTES)
    }

    pub fn is_full(&self) -> bool {
        self.state.lock().full.is_some()
    }

    /// Hands used segments back, oldest first.
    pub fn retire(&self, segments: Vec<Segment>) {
        if segments.is_empty() {
            return;
        }
        self.state.lock().retired.extend(segments);
        if self.background {
            self.changed.notify_all();
        } else {
            while self.step() == Step::Worked {}
        }
    }

    /// The next segment to write into.
    ///
    /// # Errors
    /// `Full` if there is none ready and the disk has no room; `Failed` if the disk failed.
    pub fn take(&self) -> Result<Segment, WalError> {
        if !self.background {
            while self.state.lock().ready.is_empty() && self.step() == Step::Worked {}
        }
        let mut state = self.state.lock();
        loop {
            if let Some(segment) = state.ready.pop_front() {
                self.changed.notify_all();
                return Ok(segment);
            }
            if let Some(why) = &state.failed {
                return Err(WalError::Failed(why.clone()));
            }
            if let Some(why) = &state.full {
                return Err(WalError::Full(why.clone()));
            }
            if state.closing {
                return Err(WalError::Closed);
            }
            self.changed.wait(&mut state);
        }
    }

    /// Waits until something about room may have changed, at most a moment; false after
    /// [`Preparer::stop_waiting`].
    pub fn wait_for_room(&self) -> bool {
        let mut state = self.state.lock();
        if !state.impatient {
            self.changed.wait_for(&mut state, FULL_RETRY);
        }
        !state.impatient
    }

    /// Makes [`Preparer::wait_for_room`] give up, now and later.
    pub fn stop_waiting(&self) {
        self.state.lock().impatient = true;
        self.changed.notify_all();
    }

    /// Ends [`Preparer::run`] and wakes everybody who waits here.
    pub fn close(&self) {
        self.state.lock().closing = true;
        self.changed.notify_all();
    }

    /// The preparer thread.
    pub fn run(&self) {
        loop {
            let step = self.step();
            let mut state = self.state.lock();
            match step {
                _ if state.closing => return,
                Step::Worked => {}
                Step::Failed => return,
                Step::Full => {
                    // A retired segment is room too: do not sleep past it, unless it is what found none.
                    if state.retired.is_empty() || state.stuck {
                        self.changed.wait_for(&mut state, FULL_RETRY);
                    }
                }
                Step::Idle => {
                    while !state.closing && !state.has_work() {
                        self.changed.wait(&mut state);
                    }
                }
            }
        }
    }

    /// Does one piece of work, if there is any.
    fn step(&self) -> Step {
        let Some(job) = self.state.lock().next_job() else { return Step::Idle };
        let (outcome, unretired) = match job {
            Job::Retire(segment) => (self.recycle(&segment), Some(segment)),
            Job::Prepare { sequence, spare } => (self.prepare(sequence, spare), None),
        };
        let mut state = self.state.lock();
        if let Some(segment) = unretired {
            if outcome.is_err() {
                // It goes first again: were a later one removed before it, the log would have a hole.
                state.retired.push_front(segment);
            } else if state.stuck {
                state.full = None;
            }
            state.stuck = outcome.is_err();
        }
        let step = match outcome {
            Ok(()) => Step::Worked,
            Err(error) if is_full(&error) => {
                state.full = Some(error.to_string());
                Step::Full
            }
            Err(error) => {
                state.failed = Some(format!("cannot prepare a segment: {error}"));
                Step::Failed
            }
        };
        drop(state);
        self.changed.notify_all();
        step
    }

    fn recycle(&self, segment: &Segment) -> io::Result<()> {
        let name = live_name(segment.sequence);
        let wanted = self.state.lock().spares.len() < SPARE_SEGMENTS && segment.bytes == self.segment_bytes;
        if wanted {
            let spare = spare_name(segment.sequence);
            absent_is_fine(self.files.rename(&name, &spare))?;
            self.files.sync_dir()?;
            self.state.lock().spares.push(spare);
        } else {
            absent_is_fine(self.files.remove(&name))?;
            self.files.sync_dir()?;
        }
        Ok(())
    }

    /// Makes the segment `sequence` from a spare file or a new one. It gets its live name last, when all of
    /// it is allocated and its header is synced.
    fn prepare(&self, sequence: u64, spare: Option<String>) -> io::Result<()> {
        let name = spare.unwrap_or_else(|| spare_name(sequence));
        let made = self
            .allocate(&name)
            .and_then(|file| Segment::initialise(file, sequence, self.salt, self.segment_bytes));
        let segment = match made {
            Ok(segment) => segment,
            Err(error) => {
                // Give back what was allocated so far; a failure of that is told by the next attempt.
                let _ = self.files.remove(&name);
                return Err(error);
            }
        };
        self.files.rename(&name, &live_name(sequence))?;
        self.files.sync_dir()?;
        let mut state = self.state.lock();
        state.ready.push_back(segment);
        state.next_sequence = sequence + 1;
        state.full = None;
        Ok(())
    }

    fn allocate(&self, name: &str) -> io::Result<Arc<dyn crate::files::LogFile>> {
        let file = match self.files.create(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.files.open(name)?,
            other => other?,
        };
        let zeros = vec![0; FILL_BYTES.min(self.segment_bytes as usize)];
        let mut at = file.size()?;
        while at < self.segment_bytes {
            let count = (self.segment_bytes - at).min(zeros.len() as u64);
            file.write_at(&zeros[..count as usize], at)?;
            at += count;
        }
        Ok(file)
    }
}

/// What is retired again, after a full disk refused the sync of the directory, has left its name already.
fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl State {
    fn has_work(&self) -> bool {
        !self.retired.is_empty() || self.ready.len() < READY_SEGMENTS
    }

    fn next_job(&mut self) -> Option<Job> {
        if let Some(segment) = self.retired.pop_front() {
            return Some(Job::Retire(segment));
        }
        (self.ready.len() < READY_SEGMENTS)
            .then(|| Job::Prepare { sequence: self.next_sequence, spare: self.spares.pop() })
    }
}
