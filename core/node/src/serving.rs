//! Where the driver meets what followers pass on to their leader, on both sides: `forward.rs` is what this
//! node's clients want, `guests.rs` what other nodes' clients want of this one.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use konsul_state::apply::{Outcome, Refusal};
use konsul_state::entry::{self, Kind, REQUEST_ID_BYTES};
use konsul_state::read;
use konsul_state::store::Store as _;
use konsul_state::window::REQUESTS_MAX;

use crate::code;
use crate::completions::Completion;
use crate::driver::Driver;
use crate::duties::completion;
use crate::forward::{Done, Leader};
use crate::forward_wire::{Asked, Forward, ForwardAnswer, Told, Wish};
use crate::guests::Origin;
use crate::inbox::Proposal;
use crate::waiting::{Kept, Proposed, Waiter, Work};
use crate::wire::FrameKind;

const LOST: &str = "leadership was lost; the write may still be applied";
const FORGOTTEN: &str = "too much was written meanwhile to know whether this was applied";

impl Driver {
    /// A frame of a kind other than raft (`wire.rs`). `from` is authenticated, the body is not checked.
    pub(crate) fn take_forward_frame(&mut self, from: u64, kind: FrameKind, body: Bytes, now_ms: u64) {
        match kind {
            FrameKind::Raft => {}
            FrameKind::Forward => {
                if let Some(forward) = Forward::decode(body) {
                    self.take_forward(from, forward, now_ms);
                }
            }
            FrameKind::ForwardAnswer => {
                if let Some(answer) = ForwardAnswer::decode(body)
                    && self.leader().is_some_and(|(leader, _)| leader == from)
                {
                    let mut done = Vec::new();
                    self.forwards.hear(answer, now_ms, &mut done);
                    self.finish(done);
                }
            }
            FrameKind::ReadAsk => self.take_read_ask(from, body, now_ms),
            FrameKind::ReadAnswer => self.take_read_answer(from, body),
        }
    }

    /// The leader this node follows, and the term.
    pub(crate) fn leader(&self) -> Option<Leader> {
        let raft = &self.raft.raft;
        let is_there = self.is_formed() && raft.leader_id != 0 && raft.leader_id != raft.id;
        is_there.then_some((raft.leader_id, raft.term))
    }

    fn finish(&mut self, done: Vec<Done>) {
        for Done { bytes, completion } in done {
            self.shared.release(bytes);
            self.answers.push(completion);
        }
    }

    fn take_forward(&mut self, from: u64, forward: Forward, now_ms: u64) {
        // Nothing is answered to what another leader or term was asked: its follower finds out by itself,
        // and a wrong word could make it believe that the write is in no log.
        if !self.is_leader() || forward.term != self.raft.raft.term {
            return;
        }
        self.guests.begin(forward.term);
        if !self.is_in_office() {
            self.guests.hold(from, forward);
            return;
        }
        // A leader in office knows every member. Who merely knows the group's id does not write past the
        // doors, nor is it remembered; a member that was just removed has lost its leader.
        if !self.group.members.contains(from) {
            return;
        }
        let (term, nonce) = (forward.term, forward.nonce);
        for asked in self.guests.take(from, forward) {
            let origin = Origin { peer: from, nonce, term, seq: asked.seq };
            self.serve(origin, asked, now_ms);
        }
    }

    fn serve(&mut self, origin: Origin, asked: Asked, now_ms: u64) {
        let deadline_ms = now_ms.saturating_add(u64::from(asked.left_ms));
        let refused = match asked.wish {
            Wish::Write(body) => match self.admit(&body, asked.since, now_ms) {
                Ok(()) => {
                    let work = Work::Forwarded(Box::new(origin));
                    let waiter = Waiter { ticket: 0, deadline_ms, bytes: body.len() as u64, work };
                    self.deadline_ms = self.deadline_ms.min(deadline_ms);
                    self.shared.metrics.forwards_served.fetch_add(1, Relaxed);
                    self.queue.push_back(Proposal { waiter, kind: Kind::Once, body });
                    return;
                }
                Err(refusal) => Completion::refused(0, refusal.code, refusal.message),
            },
            Wish::Renew { table, key } => self.renew_here(0, table, &key, now_ms),
        };
        self.tell(origin, 0, refused);
    }

    /// Whether a follower's write may enter the log, as if its client had come here; takes its place under
    /// the bounds.
    fn admit(&mut self, body: &Bytes, since: u64, now_ms: u64) -> Result<(), Refusal> {
        entry::validate(&self.machine.tables().schema(), &body[REQUEST_ID_BYTES..])?;
        if self.is_forgotten(since) {
            return Err(Refusal::new(code::TIMEOUT, FORGOTTEN));
        }
        if self.is_full(now_ms) {
            return Err(Refusal::new(code::DISK_FULL, crate::FULL));
        }
        if !self.shared.reserve(body.len() as u64) {
            return Err(Refusal::new(code::BUSY, "too many writes wait; try again"));
        }
        Ok(())
    }

    /// True if a write that a former leader may have applied when `since` requests were remembered could have
    /// left the window by the time it is applied: then applying it once cannot be promised.
    fn is_forgotten(&self, since: u64) -> bool {
        if since == u64::MAX {
            return false;
        }
        let ahead = self.shared.gauges.waiting_entries.load(Relaxed);
        self.machine.tables().requests().saturating_add(ahead) - since.min(self.machine.tables().requests())
            >= REQUESTS_MAX
    }

    /// A follower's wish is decided, at this Raft index; 0: it is in no log.
    pub(crate) fn tell(&mut self, origin: Origin, raft_index: u64, answer: Completion) {
        let Completion { status, index, number, text, .. } = answer;
        let told = Told { seq: origin.seq, raft_index, status, index, number, text: text.into() };
        self.guests.tell(origin, told);
    }

    /// As [`Driver::tell`] for what was applied.
    pub(crate) fn tell_outcome(&mut self, origin: Origin, raft_index: u64, outcome: Outcome) {
        self.tell(origin, raft_index, completion(0, outcome));
    }

    fn renew_here(&mut self, ticket: u64, table: u16, key: &[u8], now_ms: u64) -> Completion {
        let is_renewed = self.shared.leases.lock().renew(table, key, now_ms);
        if is_renewed {
            let row = || {
                let reader = self.machine.store().read().ok()?;
                read::get(&reader, table, key).ok()?.map(<[u8]>::to_vec)
            };
            self.shared.watches.renewed(table, key, self.shared.clock.wall_ms(), row);
            Completion::applied(ticket, self.machine.tables().index(), 0)
        } else {
            Completion::refused(ticket, code::NOT_FOUND, "there is no such lease")
        }
    }

    /// A client's renewal: here if this node leads, else there.
    pub(crate) fn renew(&mut self, waiter: Waiter, table: u16, key: Bytes, now_ms: u64) {
        if self.is_in_office() {
            self.shared.release(waiter.bytes);
            let answer = self.renew_here(waiter.ticket, table, &key, now_ms);
            self.answers.push(answer);
        } else if let (false, Some((code, message))) = (self.is_formed(), self.refusal(now_ms)) {
            self.refuse(waiter, code, message);
        } else {
            self.deadline_ms = self.deadline_ms.min(waiter.deadline_ms);
            self.forwards.add(waiter, Wish::Renew { table, key }, None);
        }
    }

    /// `self.queue` is not empty and this node is a member that does not lead: called each turn until the
    /// queue is empty.
    pub(crate) fn forward_queue(&mut self, _now_ms: u64) {
        for proposal in std::mem::take(&mut self.queue) {
            let Proposal { mut waiter, kind, body } = proposal;
            let doubt = match std::mem::replace(&mut waiter.work, Work::Client) {
                Work::Client => None,
                Work::Kept(kept) => kept.is_in_doubt.then_some(kept.since),
                // Its follower asks the next leader; kept here, a later term of this node could propose it.
                Work::Forwarded(_) => {
                    self.let_go(&waiter);
                    continue;
                }
                own => {
                    waiter.work = own;
                    self.refuse(waiter, code::NO_LEADER, "this node is not the leader");
                    continue;
                }
            };
            self.shared.metrics.forwards.fetch_add(1, Relaxed);
            let body = if kind == Kind::Once { body } else { self.forwards.make_once(&body) };
            self.forwards.add(waiter, Wish::Write(body), doubt);
        }
    }

    /// The library's role, term or leader changed; `self.raft.raft.leader_id` is the leader now, 0 for none.
    pub(crate) fn note_leader(&mut self, _now_ms: u64) {
        if !self.is_leader() {
            self.barriers.drop_peers();
        }
        self.barriers.ask_again();
    }

    /// This node lost the lead with these entries of its own in the log and not applied: their fate is not
    /// known. What carries a request's id is asked of the next leader.
    pub(crate) fn abandon(&mut self, waiting: Vec<Proposed>) {
        for mut waiter in waiting.into_iter().flat_map(|proposed| proposed.waiters) {
            match std::mem::replace(&mut waiter.work, Work::Client) {
                Work::Kept(kept) if waiter.ticket != 0 => {
                    self.forwards.add(waiter, Wish::Write(kept.body), Some(kept.since));
                }
                Work::Kept(_) | Work::Forwarded(_) => self.let_go(&waiter),
                own => {
                    waiter.work = own;
                    self.refuse(waiter, code::TIMEOUT, LOST);
                }
            }
        }
    }

    /// Once per turn, after entries were applied and reads served.
    pub(crate) fn run_forwards(&mut self, now_ms: u64) {
        self.publish_lease();
        if self.group.is_alone {
            return;
        }
        let mut done = Vec::new();
        self.forwards.applied(self.applied_index(), &mut done);
        if self.is_leader() {
            self.forwards.lead();
        }
        if self.is_in_office() {
            self.host(now_ms);
        } else if !self.is_leader() {
            let patience_ms = self.shared.options.election_ms;
            let again = self.forwards.resend_late(now_ms, patience_ms);
            self.shared.metrics.forward_retries.fetch_add(again, Relaxed);
            let (leader, requests) = (self.leader(), self.machine.tables().requests());
            let wait_ms = self.shared.options.cluster.as_ref().map_or(0, |cluster| cluster.leader_wait_ms);
            let peers = &mut self.group.peers;
            let send = &mut |to, frame| peers.send(to, frame);
            self.forwards.pump(now_ms, leader, requests, wait_ms, send, &mut done);
        }
        self.finish(done);
    }

    /// What a leader does for others, and for its own clients who came while it did not lead.
    fn host(&mut self, now_ms: u64) {
        for (from, forward) in self.guests.take_held() {
            self.take_forward(from, forward, now_ms);
        }
        if !self.forwards.is_empty() {
            self.take_back_forwards(now_ms);
        }
        let peers = &mut self.group.peers;
        self.guests.flush(&mut |to, frame| peers.send(to, frame));
    }

    fn take_back_forwards(&mut self, now_ms: u64) {
        for (mut waiter, wish, doubt) in self.forwards.take_undecided() {
            self.deadline_ms = self.deadline_ms.min(waiter.deadline_ms);
            match wish {
                Wish::Renew { table, key } => self.renew(waiter, table, key, now_ms),
                Wish::Write(_) if doubt.is_some_and(|since| self.is_forgotten(since)) => {
                    self.refuse(waiter, code::TIMEOUT, FORGOTTEN);
                }
                Wish::Write(body) => {
                    let since = doubt.unwrap_or_else(|| self.machine.tables().requests());
                    let kept = Kept { body: body.clone(), since, is_in_doubt: doubt.is_some() };
                    waiter.work = Work::Kept(Box::new(kept));
                    self.queue.push_back(Proposal { waiter, kind: Kind::Once, body });
                }
            }
        }
    }

    /// What was sent to this peer may be lost.
    pub(crate) fn forwards_unreachable(&mut self, peer: u64, now_ms: u64) {
        let again = self.forwards.resend_to(peer, now_ms);
        self.shared.metrics.forward_retries.fetch_add(again, Relaxed);
        if self.leader().is_some_and(|(leader, _)| leader == peer) {
            self.barriers.ask_again();
        }
    }

    /// Answers those whose time is up; says when the next one's is, `u64::MAX` for never.
    pub(crate) fn expire_forwards(&mut self, now_ms: u64) -> u64 {
        let mut done = Vec::new();
        let next_ms = self.forwards.expire(now_ms, &mut done);
        self.finish(done);
        next_ms
    }

    /// When to wake for what is forwarded, beyond deadlines.
    pub(crate) fn forward_wake_ms(&self, now_ms: u64) -> Option<u64> {
        let is_idle = self.appending == 0 && self.raft.raft.lead_transferee.is_none();
        // What was taken back, or kept until now, enters the log in the next turn.
        let has_own = !self.queue.is_empty() && is_idle && self.is_in_office();
        if has_own { Some(now_ms) } else { self.forwards.wake_ms(now_ms) }
    }

    /// The node stops: answers everybody who waits here.
    pub(crate) fn refuse_forwards(&mut self, code: u16, message: &str) {
        let mut done = Vec::new();
        self.forwards.refuse_all(code, message, &mut done);
        self.finish(done);
    }
}
