//! What a follower's clients want and only the leader can do: writes and renewals on their way to it.
//!
//! Each is sent to whoever leads, and again to the next leader, until it is answered or its time is up. A
//! write carries a request id, so it is applied once however often it is sent; within a term the leader knows
//! it by its number. It is answered here when the index that decided it is in this node's own tables.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use konsul_state::entry::{self, RequestId};

use crate::code;
use crate::completions::Completion;
use crate::forward_wire::{Asked, FRAME_BYTES, Forward, ForwardAnswer, Told, Wish};
use crate::waiting::Waiter;

/// What could not be sent, or found no leader where it went, is tried again this much later.
const RETRY_MS: u64 = 20;
const UNDECIDED: &str = "no answer in time; the write may still be applied";
const UNTAKEN: &str = "no leader took it in time";
const LEADERLESS: &str = "no leader is known";

/// The leader and its term.
pub(crate) type Leader = (u64, u64);

/// A wish that is over: the bytes it held under the bounds, and what its client is told.
#[derive(Debug)]
pub(crate) struct Done {
    pub bytes: u64,
    pub completion: Completion,
}

struct Pending {
    waiter: Waiter,
    wish: Wish,
    /// It may be in a former leader's log: how many requests were remembered before it went there.
    doubt: Option<u64>,
    /// Its number with the leader it was sent to in this term, and the count of requests at that time.
    sent: Option<(u64, u64)>,
    sent_at_ms: u64,
    /// Decided: waits for this node's tables.
    told: Option<Told>,
}

impl Pending {
    fn is_in_doubt(&self) -> bool {
        self.doubt.is_some() || self.sent.is_some() || self.told.is_some()
    }

    fn done(self, code: u16, message: &str) -> Done {
        let completion = Completion::refused(self.waiter.ticket, code, message);
        Done { bytes: self.waiter.bytes, completion }
    }

    fn end(self, told: Told) -> Done {
        let Told { status, index, number, text, .. } = told;
        let completion =
            Completion { ticket: self.waiter.ticket, status, index, number, text: text.to_vec() };
        Done { bytes: self.waiter.bytes, completion }
    }
}

/// Everything on its way, by order of arrival.
#[derive(Default)]
pub(crate) struct Forwards {
    nonce: u64,
    drawn: u64,
    next: u64,
    wishes: BTreeMap<u64, Pending>,
    unsent: BTreeSet<u64>,
    leader: Option<Leader>,
    /// Numbers in this term, and whose they are; the first is the floor.
    seqs: BTreeMap<u64, u64>,
    next_seq: u64,
    /// Decided and not yet in the tables here, by Raft index.
    decided: BTreeMap<u64, Vec<u64>>,
    leaderless_at_ms: Option<u64>,
    not_before_ms: u64,
    look_at_ms: u64,
}

impl Forwards {
    /// Nothing yet; `nonce` names this process towards leaders, never the same for two lives of a node.
    pub fn named(nonce: u64) -> Self {
        Self { nonce, ..Self::default() }
    }

    /// Since when no leader is known.
    pub fn leaderless_at_ms(&self) -> Option<u64> {
        self.leaderless_at_ms
    }

    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    pub fn is_empty(&self) -> bool {
        self.wishes.is_empty()
    }

    /// A request's id that nobody else draws.
    pub fn draw_id(&mut self) -> RequestId {
        self.drawn += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.nonce.to_be_bytes());
        id[8..].copy_from_slice(&self.drawn.to_be_bytes());
        id
    }

    /// A body of cases as one that is applied once.
    pub fn make_once(&mut self, cases: &[u8]) -> Bytes {
        let id = self.draw_id();
        entry::once_body(&id, cases).into()
    }

    /// Takes a wish; `doubt` if it may be in a log already, as a count of requests from before that.
    pub fn add(&mut self, waiter: Waiter, wish: Wish, doubt: Option<u64>) {
        self.next += 1;
        let pending = Pending { waiter, wish, doubt, sent: None, sent_at_ms: 0, told: None };
        self.wishes.insert(self.next, pending);
        self.unsent.insert(self.next);
    }

    /// Sends what waits. `requests` is how many requests the tables here have remembered; `wait_ms` how long
    /// to wait for a leader.
    pub fn pump(
        &mut self,
        now_ms: u64,
        leader: Option<Leader>,
        requests: u64,
        wait_ms: u64,
        send: &mut dyn FnMut(u64, Bytes) -> bool,
        done: &mut Vec<Done>,
    ) {
        self.follow(leader, now_ms);
        let Some((to, term)) = leader else {
            let since_ms = *self.leaderless_at_ms.get_or_insert(now_ms);
            if now_ms >= since_ms.saturating_add(wait_ms) {
                self.give_up(done);
            }
            return;
        };
        self.leaderless_at_ms = None;
        while now_ms >= self.not_before_ms && !self.unsent.is_empty() {
            let (numbers, asked) = self.batch(now_ms, requests);
            let floor = self.seqs.first_key_value().map_or(self.next_seq, |(seq, _)| *seq);
            if send(to, Forward { term, nonce: self.nonce, floor, asked }.encode()) {
                continue;
            }
            for number in numbers {
                self.take_back(number);
            }
            self.not_before_ms = now_ms + RETRY_MS;
        }
    }

    /// The next frame's wishes, each with its number in this term.
    fn batch(&mut self, now_ms: u64, requests: u64) -> (Vec<u64>, Vec<Asked>) {
        let (mut numbers, mut asked, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(number) = self.unsent.first().copied() {
            let Some(pending) = self.wishes.get_mut(&number) else {
                self.unsent.remove(&number);
                continue;
            };
            bytes += 64 + pending.wish.len();
            if bytes > FRAME_BYTES && !asked.is_empty() {
                break;
            }
            self.unsent.remove(&number);
            let (seq, _) = *pending.sent.get_or_insert_with(|| {
                self.next_seq += 1;
                (self.next_seq, requests)
            });
            self.seqs.insert(seq, number);
            pending.sent_at_ms = now_ms;
            let left_ms =
                u32::try_from(pending.waiter.deadline_ms.saturating_sub(now_ms)).unwrap_or(u32::MAX);
            let since = pending.doubt.unwrap_or(u64::MAX);
            asked.push(Asked { seq, left_ms, since, wish: pending.wish.clone() });
            numbers.push(number);
        }
        (numbers, asked)
    }

    /// It did not leave, or did not enter the log where it went.
    fn take_back(&mut self, number: u64) {
        if let Some(pending) = self.wishes.get_mut(&number) {
            if let Some((seq, _)) = pending.sent.take() {
                self.seqs.remove(&seq);
            }
            self.unsent.insert(number);
        }
    }

    /// Another leader or term: whatever the former may have done stays in doubt and goes to the next.
    fn follow(&mut self, leader: Option<Leader>, now_ms: u64) {
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        self.seqs.clear();
        self.not_before_ms = now_ms;
        for (number, pending) in &mut self.wishes {
            if pending.told.is_some() {
                continue;
            }
            if let Some((_, requests)) = pending.sent.take() {
                pending.doubt.get_or_insert(requests);
            }
            self.unsent.insert(*number);
        }
    }

    /// What was sent to this peer may be lost: it goes again, under the same numbers.
    pub fn resend_to(&mut self, peer: u64, now_ms: u64) -> u64 {
        if self.leader.is_none_or(|(leader, _)| leader != peer) {
            return 0;
        }
        self.not_before_ms = now_ms + RETRY_MS;
        self.resend(u64::MAX)
    }

    /// Sends again what has had no answer for `patience_ms`.
    pub fn resend_late(&mut self, now_ms: u64, patience_ms: u64) -> u64 {
        if now_ms < self.look_at_ms {
            return 0;
        }
        self.look_at_ms = now_ms + patience_ms / 2 + 1;
        now_ms.checked_sub(patience_ms).map_or(0, |before_ms| self.resend(before_ms))
    }

    fn resend(&mut self, sent_before_ms: u64) -> u64 {
        let mut count = 0;
        for number in self.seqs.values() {
            let Some(pending) = self.wishes.get(number) else { continue };
            if pending.told.is_none() && pending.sent_at_ms <= sent_before_ms && self.unsent.insert(*number) {
                count += 1;
            }
        }
        count
    }

    /// What the leader says became of them.
    pub fn hear(&mut self, answer: ForwardAnswer, now_ms: u64, done: &mut Vec<Done>) {
        if answer.nonce != self.nonce || self.leader.is_none_or(|(_, term)| term != answer.term) {
            return;
        }
        for told in answer.told {
            let Some(number) = self.seqs.get(&told.seq).copied() else { continue };
            let Some(pending) = self.wishes.get_mut(&number) else { continue };
            let is_write = matches!(pending.wish, Wish::Write(_));
            let is_unlogged = told.raft_index == 0;
            // A refusal here says nothing of what a former leader may have in its log.
            let is_open = is_write && pending.doubt.is_some() && told.status != code::TIMEOUT;
            if is_unlogged && (told.status == code::NO_LEADER || is_open) {
                self.take_back(number);
                self.not_before_ms = self.not_before_ms.max(now_ms + RETRY_MS);
                continue;
            }
            self.seqs.remove(&told.seq);
            self.unsent.remove(&number);
            if is_unlogged {
                done.extend(self.wishes.remove(&number).map(|pending| pending.end(told)));
            } else {
                self.decided.entry(told.raft_index).or_default().push(number);
                pending.told = Some(told);
            }
        }
    }

    /// The tables here hold everything up to this Raft index.
    pub fn applied(&mut self, raft_index: u64, done: &mut Vec<Done>) {
        while let Some(first) = self.decided.first_entry() {
            if *first.key() > raft_index {
                return;
            }
            for number in first.remove() {
                let Some(mut pending) = self.wishes.remove(&number) else { continue };
                if let Some(told) = pending.told.take() {
                    done.push(pending.end(told));
                }
            }
        }
    }

    /// This node leads: should it lose the lead, the wait for the next leader begins then.
    pub fn lead(&mut self) {
        self.leaderless_at_ms = None;
    }

    /// This node leads now: what no leader has decided comes back, with its doubt.
    pub fn take_undecided(&mut self) -> Vec<(Waiter, Wish, Option<u64>)> {
        self.follow(None, 0);
        let numbers: Vec<u64> = std::mem::take(&mut self.unsent).into_iter().collect();
        let taken = numbers.into_iter().filter_map(|number| self.wishes.remove(&number));
        taken.map(|pending| (pending.waiter, pending.wish, pending.doubt)).collect()
    }

    /// Nobody leads for too long: who is in no log is told so, the others go on waiting.
    fn give_up(&mut self, done: &mut Vec<Done>) {
        let lost: Vec<u64> = self
            .unsent
            .iter()
            .filter(|n| self.wishes.get(n).is_some_and(|p| !p.is_in_doubt()))
            .copied()
            .collect();
        for number in lost {
            self.unsent.remove(&number);
            done.extend(self.wishes.remove(&number).map(|pending| pending.done(code::NO_LEADER, LEADERLESS)));
        }
    }

    /// Answers those whose time is up; says when the next one's is.
    pub fn expire(&mut self, now_ms: u64, done: &mut Vec<Done>) -> u64 {
        let is_late = |pending: &Pending| pending.waiter.deadline_ms <= now_ms;
        let late: Vec<u64> =
            self.wishes.iter().filter(|(_, p)| is_late(p)).map(|(number, _)| *number).collect();
        for number in late {
            let Some(pending) = self.wishes.remove(&number) else { continue };
            self.unsent.remove(&number);
            if let Some((seq, _)) = pending.sent {
                self.seqs.remove(&seq);
            }
            let is_write = matches!(pending.wish, Wish::Write(_));
            let (code, message) = match pending.is_in_doubt() {
                true if is_write => (code::TIMEOUT, UNDECIDED),
                true => (code::TIMEOUT, "no answer in time"),
                false => (code::NO_LEADER, UNTAKEN),
            };
            done.push(pending.done(code, message));
        }
        self.wishes.values().map(|pending| pending.waiter.deadline_ms).min().unwrap_or(u64::MAX)
    }

    /// Answers everybody with a refusal.
    pub fn refuse_all(&mut self, code: u16, message: &str, done: &mut Vec<Done>) {
        self.unsent.clear();
        self.seqs.clear();
        self.decided.clear();
        done.extend(
            std::mem::take(&mut self.wishes).into_values().map(|pending| pending.done(code, message)),
        );
    }

    /// When to look again without being called.
    pub fn wake_ms(&self, now_ms: u64) -> Option<u64> {
        (!self.unsent.is_empty() && self.leader.is_some()).then(|| self.not_before_ms.max(now_ms + 1))
    }
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
