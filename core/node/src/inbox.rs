//! What waits for the driver: one lock, one condition variable, and a wake only when the driver sleeps for
//! it.
//!
//! While an append is being synced the driver has no use for more proposals: they gather here and leave
//! together as one packed entry when the append is done. So a submitter pays for a futex wake only when the
//! node is idle.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use konsul_disk::wal::WalError;
use konsul_state::entry::Kind;
use parking_lot::{Condvar, Mutex};

use crate::completions::Ticket;
use crate::snapshotter::Taken;
use crate::waiting::Waiter;

/// One entry on its way into the log.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub waiter: Waiter,
    pub kind: Kind,
    pub body: Bytes,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// This node is the leader as far as it knows.
    Default,
    /// A quorum confirmed, after the read began, that it still is.
    Linearizable,
}

/// Everything else the driver reacts to.
#[derive(Debug)]
pub(crate) enum Event {
    /// An append is on disk, or never will be; with the number of the ready it completes, if it does.
    Persisted(Option<u64>, Result<(), WalError>),
    /// A read wants to know that it may be served.
    Barrier { ticket: Ticket, consistency: Consistency, deadline_ms: u64 },
    /// A read wants the tables at this index or later.
    WaitIndex { ticket: Ticket, index: u64, deadline_ms: u64 },
    /// Somebody wants a snapshot now.
    Snapshot { ticket: Ticket, deadline_ms: u64 },
    /// The snapshot thread is done.
    SnapshotDone(io::Result<Taken>),
    /// Finish what is in flight until then.
    Stop { deadline_ms: u64 },
}

#[derive(Default)]
struct Waiting {
    proposals: Vec<Proposal>,
    events: Vec<Event>,
    is_asleep: bool,
    wants_proposals: bool,
    is_closed: bool,
}

/// The driver's one mailbox.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

impl Inbox {
    /// Leaves a proposal; false if nobody will take it any more.
    pub fn propose(&self, proposal: Proposal) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return false;
        }
        waiting.proposals.push(proposal);
        if waiting.is_asleep && waiting.wants_proposals {
            waiting.is_asleep = false;
            drop(waiting);
            self.wake.notify_one();
        }
        true
    }

    /// Leaves an event; false if nobody will take it any more.
    pub fn send(&self, event: Event) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return false;
        }
        waiting.events.push(event);
        if waiting.is_asleep {
            waiting.is_asleep = false;
            drop(waiting);
            self.wake.notify_one();
        }
        true
    }

    /// Takes nothing more, and hands out what came too late for the last turn.
    pub fn close(&self) -> (Vec<Proposal>, Vec<Event>) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        (std::mem::take(&mut waiting.proposals), std::mem::take(&mut waiting.events))
    }

    /// Moves everything there is into the two lists; sleeps until `until` only when there is nothing to move.
    /// Proposals alone end the sleep only if `wants_proposals`.
    pub fn wait(
        &self,
        until: Option<Instant>,
        wants_proposals: bool,
        proposals: &mut Vec<Proposal>,
        events: &mut Vec<Event>,
    ) {
        let mut waiting = self.waiting.lock();
        while waiting.events.is_empty() && (!wants_proposals || waiting.proposals.is_empty()) {
            waiting.is_asleep = true;
            waiting.wants_proposals = wants_proposals;
            let is_late = match until {
                Some(until) => self.wake.wait_until(&mut waiting, until).timed_out(),
                None => {
                    self.wake.wait(&mut waiting);
                    false
                }
            };
            waiting.is_asleep = false;
            if is_late {
                break;
            }
        }
        proposals.append(&mut waiting.proposals);
        events.append(&mut waiting.events);
    }
}

/// The node's two clocks: monotonic for waiting, wall for what is written into entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Milliseconds since the node was created.
    pub fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// The instant of a monotonic millisecond.
    pub fn instant(&self, at_ms: u64) -> Instant {
        self.started + Duration::from_millis(at_ms)
    }

    /// Milliseconds since 1970.
    pub fn wall_ms() -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }
}
