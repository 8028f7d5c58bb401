//! Who waits for what: proposals in the log whose answer comes with their entry.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::completions::{Completion, Ticket};
use crate::guests::Origin;
use crate::leases::Ended;

/// What an entry was proposed for.
#[derive(Debug)]
pub(crate) enum Work {
    /// A client waits for it.
    Client,
    /// As `Client`, under a request's id: should the lead be lost, it is asked of the next leader.
    Kept(Box<Kept>),
    /// A follower's client waits for it.
    Forwarded(Box<Origin>),
    /// Rows whose time is over.
    Pulse,
    /// A row that was not heard of in time.
    LeaseEnd(Box<Ended>),
    /// The schema this binary was started with.
    Schema,
    /// A change of the group's members; an operator waits for it.
    Members,
}

/// A write that may be sent again.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The entry's body, of kind once.
    pub body: Bytes,
    /// How many requests were remembered before it entered a log.
    pub since: u64,
    /// A former leader may have it in its log.
    pub is_in_doubt: bool,
}

/// One envelope inside a proposed Raft entry.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// 0: nobody (any more).
    pub ticket: Ticket,
    pub deadline_ms: u64,
    /// What it takes of the bound on bytes under way; 0 for the node's own.
    pub bytes: u64,
    pub work: Work,
}

/// A Raft entry of ours that is not applied yet.
pub(crate) struct Proposed {
    pub index: u64,
    pub term: u64,
    pub at: Instant,
    pub waiters: Vec<Waiter>,
}

/// Everything of ours in the log and not yet applied, by index.
#[derive(Default)]
pub(crate) struct Waiting {
    proposed: VecDeque<Proposed>,
}

impl Waiting {
    pub fn push(&mut self, proposed: Proposed) {
        self.proposed.push_back(proposed);
    }

    pub fn is_empty(&self) -> bool {
        self.proposed.is_empty()
    }

    /// Takes what waits for the entry at `index` or one before it; the caller compares the positions.
    pub fn take(&mut self, index: u64) -> Option<Proposed> {
        if self.proposed.front()?.index > index {
            return None;
        }
        self.proposed.pop_front()
    }

    /// Takes everything, when this node no longer leads.
    pub fn take_all(&mut self) -> Vec<Proposed> {
        self.proposed.drain(..).collect()
    }

    /// Answers whoever waited until `now_ms`, and says when the next one's time is up.
    pub fn expire(&mut self, now_ms: u64, answers: &mut Vec<Completion>) -> u64 {
        let mut next_ms = u64::MAX;
        for waiter in self.proposed.iter_mut().flat_map(|proposed| &mut proposed.waiters) {
            if waiter.ticket == 0 {
                continue;
            }
            if waiter.deadline_ms <= now_ms {
                answers.push(timed_out(waiter.ticket));
                waiter.ticket = 0;
            } else {
                next_ms = next_ms.min(waiter.deadline_ms);
            }
        }
        next_ms
    }
}

/// The answer to a write whose fate is not known in time.
pub(crate) fn timed_out(ticket: Ticket) -> Completion {
    Completion::refused(ticket, crate::code::TIMEOUT, "no answer in time; the write may still be applied")
}
