//! What members say: checked before the consensus library hears it, which takes much for granted.

use bytes::Bytes;
use raft::StateRole;
use raft::eraftpb::{Message, MessageType};

use crate::driver::{Broken, Driver};
use crate::group::Heard;
use crate::wire::{self, FrameKind};

/// In a vote request: the leader asked for the election itself.
const HANDOVER: &[u8] = b"CampaignTransfer";

impl Driver {
    /// A frame that a member's connection brought. Who is no member here may still be one: this node may be
    /// far behind, and its peers know each other by the group's id and certificates.
    pub(crate) fn take_frame(&mut self, from: u64, frame: Bytes, now_ms: u64) -> Result<(), Broken> {
        if self.group.is_deaf() {
            return Ok(());
        }
        match FrameKind::split(&frame) {
            Some((FrameKind::Raft, body)) => self.take_raft(from, body, now_ms),
            Some((kind, body)) => {
                self.take_forward_frame(from, kind, body, now_ms);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn take_raft(&mut self, from: u64, body: Bytes, now_ms: u64) -> Result<(), Broken> {
        let Some(frame) = wire::decode_raft(body) else { return Ok(()) };
        let message = frame.message;
        if message.from != from || message.to != self.raft.raft.id || self.is_strange(from, now_ms) {
            return Ok(());
        }
        self.group.contact_ms.insert(from, now_ms);
        // A request for a pre-vote tells the term after the sender's: its echo may be of a former term, and
        // of a former life of this process, whose clock began elsewhere.
        let is_follower = matches!(
            message.get_msg_type(),
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
        );
        if is_follower && self.is_leader() && message.term == self.raft.raft.term {
            self.lease.on_echo(message.term, from, frame.echo_ms);
        }
        if !self.may_step(&message, now_ms)? {
            return Ok(());
        }
        let (kind, term) = (message.get_msg_type(), message.term);
        // What it refuses was late or for somebody else.
        let _ = self.raft.step(message);
        match kind {
            MessageType::MsgAppend | MessageType::MsgHeartbeat => {
                self.note_leader_heard(from, term, frame.sent_ms, now_ms);
            }
            MessageType::MsgAppendResponse => self.clamp(from),
            _ => {}
        }
        Ok(())
    }

    /// True for who is no member here while the members' own leader is well: who is new is made a member
    /// first, and who was put out has no say. Without that leader it may be this node that is far behind.
    pub(crate) fn is_strange(&self, from: u64, now_ms: u64) -> bool {
        let (members, raft) = (&self.group.members, &self.raft.raft);
        if members.is_empty() || members.contains(from) {
            return false;
        }
        if self.is_leader() {
            now_ms < self.quorum_heard_ms(now_ms).saturating_add(self.shared.options.promise_ms())
        } else {
            members.contains(raft.leader_id) && now_ms < self.group.no_votes_before_ms
        }
    }

    /// This node follows the sender: what it sent counts as heard, and no other gets a vote for a while.
    pub(crate) fn note_leader_heard(&mut self, from: u64, term: u64, sent_ms: u64, now_ms: u64) {
        let raft = &self.raft.raft;
        if raft.state != StateRole::Follower || raft.leader_id != from || raft.term != term {
            return;
        }
        let before = self.group.heard;
        let is_same = (before.term, before.leader) == (term, from);
        let newest_ms = if is_same { before.sent_ms.max(sent_ms) } else { sent_ms };
        self.group.heard = Heard { term, leader: from, sent_ms: newest_ms };
        let promised_ms = now_ms + self.shared.options.promise_ms();
        self.group.no_votes_before_ms = self.group.no_votes_before_ms.max(promised_ms);
        self.shared.gauges.contact_ms.store(now_ms, std::sync::atomic::Ordering::Relaxed);
    }

    /// False for what must not reach the library.
    fn may_step(&mut self, message: &Message, now_ms: u64) -> Result<bool, Broken> {
        let raft = &self.raft.raft;
        let last = raft.raft_log.last_index();
        Ok(match message.get_msg_type() {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                // A leader's lease rests on this promise, and a former life of this process may have made one
                // too. Only the leader itself may lift it, which gives up its lease for that; but nobody
                // lifts a former life's.
                let is_handover = message.context.as_ref() == HANDOVER;
                let until_ms =
                    if is_handover { self.group.grace_until_ms } else { self.group.no_votes_before_ms };
                now_ms >= until_ms
            }
            // The only voter leads as soon as it asks, and the library wants the log on disk by then.
            MessageType::MsgTimeoutNow => {
                message.from == raft.leader_id && !(raft.prs().is_singleton() && self.appending > 0)
            }
            MessageType::MsgHeartbeat if message.term >= raft.term && message.commit > last => {
                // The leader promises no more than this node has acknowledged in its term.
                return Err(Broken::Lost { expected: message.commit, last });
            }
            MessageType::MsgAppendResponse if !message.reject => message.index <= last,
            MessageType::MsgAppendResponse => !self.is_late_rejection(message),
            _ => true,
        })
    }

    /// A rejection of what the peer has acknowledged since travelled for long (raft-rs issue 557).
    fn is_late_rejection(&mut self, message: &Message) -> bool {
        let is_plain = message.request_snapshot == 0 && message.term == self.raft.raft.term;
        let Some(progress) = self.raft.raft.mut_prs().get_mut(message.from) else { return false };
        if is_plain && message.index <= progress.matched && progress.matched > 0 {
            progress.recent_active = true;
            return true;
        }
        false
    }

    /// The next entry for a peer is never one that it has.
    fn clamp(&mut self, from: u64) {
        if let Some(progress) = self.raft.raft.mut_prs().get_mut(from) {
            progress.next_idx = progress.next_idx.max(progress.matched + 1);
        }
    }
}
