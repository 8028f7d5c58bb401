//! From the queue into the log: packing, and the reasons why not.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use konsul_state::apply::{Outcome, Refusal};
use konsul_state::entry::Kind;

use crate::code;
use crate::completions::Completion;
use crate::driver::{Driver, RETRY_MS};
use crate::packed::Packer;
use crate::shared::GroupState;
use crate::waiting::{Kept, Proposed, Waiter, Work};

/// A packed Raft entry stays below this, unless one entry alone is larger.
const PACKED_BYTES_MAX: usize = 1 << 20;
/// What one append takes of the queue; the log refuses batches of 1 GiB.
const APPEND_BYTES_MAX: usize = 64 << 20;

impl Driver {
    /// Turns the queue into packed entries, or hands it to whoever leads.
    pub(crate) fn propose(&mut self, now_ms: u64) {
        if self.queue.is_empty() {
            return;
        }
        if !self.is_leader() && self.is_formed() {
            self.forward_queue(now_ms);
            return;
        }
        if let Some((code, message)) = self.refusal(now_ms) {
            for proposal in std::mem::take(&mut self.queue) {
                self.refuse(proposal.waiter, code, message);
            }
            return;
        }
        // During a handover the library takes nothing: what waits goes to the next leader, or on here.
        if self.raft.raft.lead_transferee.is_some() {
            return;
        }
        // The clock of the tables never runs backwards, whatever the wall clock does.
        let stamp_ms = self.shared.clock.wall_ms().max(self.machine.tables().clock_ms());
        let since = self.machine.tables().requests();
        let mut taken_bytes = 0;
        while !self.queue.is_empty() && taken_bytes < APPEND_BYTES_MAX {
            let mut packer = Packer::new();
            let mut waiters = Vec::with_capacity(self.queue.len());
            while let Some(mut proposal) =
                self.queue.pop_front_if(|next| packer.has_room(&next.body, PACKED_BYTES_MAX))
            {
                packer.add(stamp_ms, proposal.kind, &proposal.body);
                if proposal.kind == Kind::Once && matches!(proposal.waiter.work, Work::Client) {
                    let kept = Kept { body: proposal.body.clone(), since, is_in_doubt: false };
                    proposal.waiter.work = Work::Kept(Box::new(kept));
                }
                waiters.push(proposal.waiter);
            }
            let data = packer.finish();
            taken_bytes += data.len();
            self.guard.spend(data.len() as u64);
            self.shared.metrics.proposals.fetch_add(1, Relaxed);
            match self.raft.propose(Vec::new(), data) {
                Ok(()) => self.await_last(waiters),
                Err(_) => {
                    for waiter in waiters {
                        self.refuse(waiter, code::NO_LEADER, "the proposal was dropped; try again");
                    }
                }
            }
        }
        self.draw();
    }

    /// Notes who waits for the entry that the library just took.
    pub(crate) fn await_last(&mut self, waiters: Vec<Waiter>) {
        let (index, term) = (self.raft.raft.raft_log.last_index(), self.raft.raft.term);
        self.waiting.push(Proposed { index, term, at: Instant::now(), waiters });
    }

    /// Why nothing may enter the log now, if so.
    pub(crate) fn refusal(&mut self, now_ms: u64) -> Option<(u16, &'static str)> {
        match self.group.state {
            GroupState::Unformed => return Some((code::NO_LEADER, "this node has not joined a cluster yet")),
            GroupState::Removed => {
                return Some((code::NO_LEADER, "this node was removed from its cluster"));
            }
            GroupState::Formed => {}
        }
        if !self.is_leader() {
            return Some((code::NO_LEADER, "this node is not the leader"));
        }
        if self.is_full(now_ms) {
            return Some((code::DISK_FULL, crate::FULL));
        }
        None
    }

    /// True while writes must be refused for want of space.
    pub(crate) fn is_full(&mut self, now_ms: u64) -> bool {
        self.guard.is_full(now_ms) || self.is_stalled() || self.log.is_full()
    }

    pub(crate) fn refuse(&mut self, waiter: Waiter, code: u16, message: &str) {
        self.shared.metrics.refusals.fetch_add(1, Relaxed);
        self.answers.push(Completion::refused(waiter.ticket, code, message));
        self.let_go(&waiter);
        match waiter.work {
            Work::LeaseEnd(ended) => {
                let retry_ms = self.shared.clock.now_ms() + RETRY_MS;
                self.shared.leases.lock().put_back(&ended, retry_ms);
            }
            Work::Schema => {
                self.schema_outcome = Some(Outcome::Refused(Refusal::new(code, message)));
            }
            // A word to its follower that the write is in no log, where that is known.
            Work::Forwarded(origin) if code != code::TIMEOUT && code != code::STOPPING => {
                self.tell(*origin, 0, Completion::refused(0, code, message));
            }
            Work::Client | Work::Kept(_) | Work::Forwarded(_) | Work::Pulse | Work::Members => {}
        }
    }
}
