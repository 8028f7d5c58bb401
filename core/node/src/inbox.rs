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
use crate::installing::Loaded;
use crate::members::MemberChange;
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

/// What an append was for.
#[derive(Debug)]
pub(crate) enum Landed {
    /// The ready with this number.
    Ready(u64),
    /// A mark: a snapshot covers the log up to somewhere.
    Mark,
    /// The beginning of a group, or of this node's part in one.
    Genesis,
}

/// Everything else the driver reacts to.
#[derive(Debug)]
pub(crate) enum Event {
    /// An append is on disk, or never will be.
    Persisted(Landed, Result<(), WalError>),
    /// A lease is to have its full length again.
    Renew { waiter: Waiter, table: u16, key: Bytes },
    /// A read wants to know that it may be served.
    Barrier { ticket: Ticket, consistency: Consistency, deadline_ms: u64 },
    /// A read wants to see at least this index of the tables.
    WaitIndex { ticket: Ticket, index: u64, deadline_ms: u64 },
    /// Somebody wants a snapshot now.
    Snapshot { ticket: Ticket, deadline_ms: u64 },
    /// The snapshot thread is done.
    SnapshotDone(io::Result<Taken>),
    /// A frame of a member.
    Frame { from: u64, frame: Bytes },
    /// A member cannot be reached; what was sent to it may be lost.
    Unreachable { peer: u64 },
    /// A member says that this node was put out of the group.
    Outcast,
    /// What became of a snapshot that was sent.
    Shipped { to: u64, is_ok: bool },
    /// A peer's snapshot is here, kept beside ours.
    Received { from: u64, header: Bytes },
    /// An installed snapshot is in the tables, or not.
    Loaded(Loaded),
    /// Make a group of this node.
    Bootstrap { ticket: Ticket, deadline_ms: u64 },
    /// This node belongs to that group from now on.
    Adopt { ticket: Ticket, cluster_id: u64, deadline_ms: u64 },
    /// Change the members.
    ChangeMembers { ticket: Ticket, change: MemberChange, deadline_ms: u64 },
    /// Hand leadership over; 0: to the best.
    Transfer { ticket: Ticket, to: u64, deadline_ms: u64 },
    /// Finish what is in flight until then.
    Stop { deadline_ms: u64 },
}

impl Event {
    /// Who waits for an answer to it, if it is a question.
    pub fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Renew { waiter, .. } => Some(waiter.ticket),
            Self::Barrier { ticket, .. }
            | Self::WaitIndex { ticket, .. }
            | Self::Snapshot { ticket, .. }
            | Self::Bootstrap { ticket, .. }
            | Self::Adopt { ticket, .. }
            | Self::ChangeMembers { ticket, .. }
            | Self::Transfer { ticket, .. } => Some(*ticket),
            _ => None,
        }
    }
}

const SLEEP_MAX_MS: u64 = 1 << 40;
/// Frames of peers beyond this are dropped, as a full network would: the sender tries again.
const FRAMES_BYTES_MAX: usize = 128 << 20;

#[derive(Default)]
struct Waiting {
    proposals: Vec<Proposal>,
    events: Vec<Event>,
    frames_bytes: usize,
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

    /// Leaves a peer's frame; false if it was dropped for want of room.
    pub fn deliver(&self, from: u64, frame: Bytes) -> bool {
        {
            let mut waiting = self.waiting.lock();
            // One of any size may always wait.
            if waiting.frames_bytes > 0 && waiting.frames_bytes + frame.len() > FRAMES_BYTES_MAX {
                return false;
            }
            waiting.frames_bytes += frame.len();
        }
        self.send(Event::Frame { from, frame })
    }

    /// Takes nothing more, and hands out what came too late for the last turn.
    pub fn close(&self) -> (Vec<Proposal>, Vec<Event>) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        (std::mem::take(&mut waiting.proposals), std::mem::take(&mut waiting.events))
    }

    /// Moves everything there is into the two lists; sleeps at most `in_ms`, and only when there is nothing
    /// to move. Proposals alone end the sleep only if `wants_proposals`.
    pub fn wait(
        &self,
        in_ms: Option<u64>,
        wants_proposals: bool,
        proposals: &mut Vec<Proposal>,
        events: &mut Vec<Event>,
    ) {
        // A sleep of years is as good as one without end, and does not overflow.
        let until = in_ms.map(|in_ms| Instant::now() + Duration::from_millis(in_ms.min(SLEEP_MAX_MS)));
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
        take(&mut waiting, proposals, events);
    }

    /// True if there is anything to move.
    pub fn has_work(&self) -> bool {
        let waiting = self.waiting.lock();
        !waiting.events.is_empty() || !waiting.proposals.is_empty()
    }

    /// Moves everything there is into the two lists.
    pub fn take(&self, proposals: &mut Vec<Proposal>, events: &mut Vec<Event>) {
        take(&mut self.waiting.lock(), proposals, events);
    }
}

fn take(waiting: &mut Waiting, proposals: &mut Vec<Proposal>, events: &mut Vec<Event>) {
    proposals.append(&mut waiting.proposals);
    events.append(&mut waiting.events);
    waiting.frames_bytes = 0;
}
