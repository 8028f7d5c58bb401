//! How a node comes to belong to a group, and how it leaves: genesis, adoption, changes of the members,
//! handover of leadership.

use std::sync::atomic::Ordering::Relaxed;

use raft::RawNode;
use raft::eraftpb::{Entry, EntryType, HardState, Message, MessageType};

use crate::code;
use crate::completions::Completion;
use crate::driver::{Broken, Driver};
use crate::group::{Handover, Pause, mix};
use crate::inbox::{Event, Landed};
use crate::members::{MemberChange, Members};
use crate::members_codec;
use crate::recovery::{GENESIS, founder, genesis};
use crate::seams::NodeIdentity;
use crate::shared::GroupState;
use crate::storage::{LogStorage, to_logged};
use crate::waiting::{Waiter, Work};

/// The library asks a change of members whether it is the end of a joint one, in its own encoding: a change
/// of one member says that it is not. What the change is stands in the entry's context, in ours.
const NOT_A_LEAVE: &[u8] = &[0x12, 0x02, 0x10, 0x01];
/// A listener further behind than this would hold up the group as a voter.
const PROMOTE_LAG_MAX: u64 = 4_096;

type Refused = (u16, String);

fn words(code: u16, message: &str) -> Refused {
    (code, message.into())
}

impl Driver {
    /// What only a member of a group is asked.
    pub(crate) fn take_verb(&mut self, event: Event, now_ms: u64) -> Result<(), Broken> {
        let ticket = event.ticket().unwrap_or(0);
        let result = match event {
            Event::Bootstrap { deadline_ms, .. } | Event::Adopt { deadline_ms, .. }
                if now_ms >= deadline_ms =>
            {
                Err(words(code::TIMEOUT, "its time was over before it was looked at"))
            }
            Event::Bootstrap { ticket, .. } => self.bootstrap(ticket)?,
            Event::Adopt { ticket, cluster_id, .. } => self.adopt(ticket, cluster_id)?,
            Event::ChangeMembers { ticket, change, deadline_ms } => {
                self.change_members(ticket, &change, deadline_ms, now_ms)
            }
            Event::Transfer { ticket, to, deadline_ms } => {
                self.hand_over(Handover { ticket, to, deadline_ms })
            }
            _ => Ok(()),
        };
        if let Err((code, message)) = result {
            self.answers.push(Completion::refused(ticket, code, message));
        }
        Ok(())
    }

    /// Makes a group of this node: a log that begins with it as the only member.
    fn bootstrap(&mut self, ticket: u64) -> Result<Result<(), Refused>, Broken> {
        let raft_id = self.raft.raft.id;
        let is_busy = self.group.pause.is_some();
        if self.group.state != GroupState::Unformed || is_busy {
            return Ok(Err(words(code::CONFLICT, "this node belongs to a cluster already")));
        }
        let Some(founder) = founder(&self.shared.options, raft_id) else {
            return Ok(Err(words(code::UNSUPPORTED, "clustering is not enabled on this node")));
        };
        let now_ms = self.shared.clock.now_ms();
        let cluster_id = mix(self.group.seed ^ mix(raft_id ^ now_ms)).max(1);
        let members = Members::founded(cluster_id, founder, GENESIS.index);
        self.append_records(Landed::Genesis, genesis(GENESIS, &members).into())?;
        let identity = NodeIdentity { raft_id, cluster_id };
        self.group.pause = Some(Pause::Genesis { ticket, members, identity });
        Ok(Ok(()))
    }

    /// The beginning is on disk: from here on the node runs by itself.
    pub(crate) fn land_genesis(&mut self) -> Result<(), Broken> {
        let Some(Pause::Genesis { ticket, members, identity }) = self.group.pause.take() else {
            return Ok(());
        };
        self.keep_identity(identity)?;
        let hard_state = HardState { term: GENESIS.term, commit: GENESIS.index, ..HardState::default() };
        let options = &self.shared.options;
        (self.group.hard_state, self.group.handed_state) = (to_logged(&hard_state), to_logged(&hard_state));
        let storage =
            LogStorage::new(self.log.clone(), hard_state, members.conf.clone(), options.append_entries());
        self.raft = new_raft(&options.raft(identity.raft_id, 0), storage)?;
        (self.group.handed, self.group.landed) = (0, 0);
        self.group.voted_in = 0;
        self.machine.set_members(members.clone());
        self.adopt_members(members);
        self.set_state(GroupState::Formed);
        self.raft.campaign()?;
        self.answers.push(Completion::applied(ticket, self.machine.tables().index(), 0));
        Ok(())
    }

    /// Binds this node to a group whose leader will send it the log.
    fn adopt(&mut self, ticket: u64, cluster_id: u64) -> Result<Result<(), Refused>, Broken> {
        let known = self.group.identity.cluster_id;
        let is_same = self.group.state != GroupState::Unformed && known == cluster_id;
        if is_same && self.group.state == GroupState::Removed {
            // Its members let it in again: with its old log it is a member that was away for long.
            self.set_state(GroupState::Formed);
        } else if !is_same {
            if self.group.state != GroupState::Unformed || self.group.pause.is_some() {
                return Ok(Err(words(code::CONFLICT, "this node belongs to a cluster already")));
            }
            if cluster_id == 0 {
                return Ok(Err(words(code::INVALID, "the cluster id is 0")));
            }
            let raft_id = self.raft.raft.id;
            self.keep_identity(NodeIdentity { raft_id, cluster_id })?;
            self.set_state(GroupState::Formed);
        }
        self.answers.push(Completion::applied(ticket, self.machine.tables().index(), 0));
        Ok(Ok(()))
    }

    fn keep_identity(&mut self, identity: NodeIdentity) -> Result<(), Broken> {
        self.group.keeper.keep(identity).map_err(Broken::Identity)?;
        self.group.identity = identity;
        self.shared.set_cluster_id(identity.cluster_id);
        self.group.peers.set_cluster(identity.cluster_id);
        Ok(())
    }

    pub(crate) fn set_state(&mut self, state: GroupState) {
        self.group.state = state;
        self.shared.gauges.group.store(state as u8, Relaxed);
    }

    /// The members are these from now on.
    pub(crate) fn adopt_members(&mut self, members: Members) {
        let is_out = self.group.members.contains(self.raft.raft.id) && !members.contains(self.raft.raft.id);
        self.group.contact_ms.retain(|id, _| members.contains(*id));
        self.group.peers.set_members(&members.list());
        self.shared.publish_members(members.clone());
        self.shared.watches.note_members(&members);
        self.group.members = members;
        if is_out {
            if self.is_leader() {
                // Removed by an entry of a former leader. The library looks for a leader among the members.
                let term = self.raft.raft.term;
                self.raft.raft.become_follower(term, raft::INVALID_ID);
            }
            self.set_state(GroupState::Removed);
        } else if self.group.state == GroupState::Removed && self.group.members.contains(self.raft.raft.id) {
            self.set_state(GroupState::Formed);
        }
    }

    fn change_members(
        &mut self,
        ticket: u64,
        change: &MemberChange,
        deadline_ms: u64,
        now_ms: u64,
    ) -> Result<(), Refused> {
        if let Some((code, message)) = self.refusal(now_ms) {
            return Err(words(code, message));
        }
        if self.raft.raft.has_pending_conf() || self.raft.raft.lead_transferee.is_some() {
            return Err(words(code::BUSY, "another change of the cluster is under way"));
        }
        self.group.members.check(change).map_err(|refusal| (refusal.code, refusal.message))?;
        self.check_for_leader(change)?;
        let base = self.group.members.changed_at;
        let mut entry = Entry { data: NOT_A_LEAVE.into(), ..Entry::default() };
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        entry.context = members_codec::encode_change(base, change).into();
        let mut message = Message { from: self.raft.raft.id, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        if self.raft.raft.step(message).is_err() {
            return Err(words(code::NO_LEADER, "the change was dropped; try again"));
        }
        let waiter = Waiter { ticket, deadline_ms, bytes: 0, work: Work::Members };
        self.deadline_ms = self.deadline_ms.min(deadline_ms);
        self.await_last(vec![waiter]);
        Ok(())
    }

    /// What only the leader knows to be unwise.
    fn check_for_leader(&self, change: &MemberChange) -> Result<(), Refused> {
        let raft = &self.raft.raft;
        match change {
            MemberChange::Remove(id) | MemberChange::Demote(id) if *id == raft.id => {
                Err(words(code::CONFLICT, "this node leads: hand leadership over first"))
            }
            MemberChange::Promote(id) => {
                // After a snapshot a peer is probed until the next entry, so its state says little in a
                // quiet group.
                let is_near = raft.prs().get(*id).is_some_and(|progress| {
                    progress.matched > 0
                        && progress.recent_active
                        && progress.matched + PROMOTE_LAG_MAX >= raft.raft_log.committed
                });
                if is_near {
                    return Ok(());
                }
                Err((code::CONFLICT, format!("member {id} has not caught up yet")))
            }
            _ => Ok(()),
        }
    }

    /// Begins to hand leadership over.
    pub(crate) fn hand_over(&mut self, mut asked: Handover) -> Result<(), Refused> {
        if !self.is_leader() {
            return Err(words(code::NO_LEADER, "this node is not the leader"));
        }
        if self.group.handover.is_some() || self.raft.raft.lead_transferee.is_some() {
            return Err(words(code::BUSY, "leadership is being handed over already"));
        }
        let own = self.raft.raft.id;
        if asked.to == 0 {
            asked.to = self
                .best_successor()
                .ok_or_else(|| words(code::CONFLICT, "there is no other voter that could lead"))?;
        }
        if asked.to == own {
            self.answers.push(Completion::applied(asked.ticket, self.machine.tables().index(), 0));
            return Ok(());
        }
        if !self.group.members.is_voter(asked.to) {
            return Err((code::INVALID, format!("member {} is no voter", asked.to)));
        }
        // The next leader does not wait for this one's lease to run out.
        self.give_up_lease();
        self.group.handed_over_term = self.raft.raft.term;
        self.raft.transfer_leader(asked.to);
        self.deadline_ms = self.deadline_ms.min(asked.deadline_ms);
        self.group.handover = Some(asked);
        Ok(())
    }

    /// A leader that stops hands over first, so that nobody waits for an election. True while that is under
    /// way.
    pub(crate) fn is_leaving(&mut self, stop_at_ms: u64) -> bool {
        if self.group.is_alone || !self.is_leader() {
            return false;
        }
        let now_ms = self.shared.clock.now_ms();
        match self.group.leaving_until_ms {
            Some(until_ms) => self.group.handover.is_some() && now_ms < until_ms,
            None => {
                let until_ms = stop_at_ms.min(now_ms + self.shared.options.election_ms);
                self.group.leaving_until_ms = Some(until_ms);
                self.hand_over(Handover { ticket: 0, to: 0, deadline_ms: until_ms }).is_ok()
            }
        }
    }

    /// The voter that is furthest, if any was heard of lately.
    fn best_successor(&self) -> Option<u64> {
        let raft = &self.raft.raft;
        let since_ms = self.shared.clock.now_ms().saturating_sub(self.shared.options.election_ms);
        let is_here = |id: &u64| self.group.contact_ms.get(id).is_some_and(|at_ms| *at_ms >= since_ms);
        let others = raft
            .prs()
            .iter()
            .filter(|(id, _)| **id != raft.id && self.group.members.is_voter(**id) && is_here(id));
        others.max_by_key(|(id, progress)| (progress.matched, **id)).map(|(id, _)| *id)
    }

    /// Answers who waits for a handover when it is over, one way or the other.
    pub(crate) fn follow_handover(&mut self, now_ms: u64) {
        let is_under_way = self.raft.raft.lead_transferee.is_some();
        self.shared.gauges.is_transferring.store(is_under_way, Relaxed);
        let Some(asked) = self.group.handover else { return };
        let leader = self.raft.raft.leader_id;
        let answer = if !self.is_leader() && leader != 0 {
            let index = self.machine.tables().index();
            Completion { number: leader, ..Completion::applied(asked.ticket, index, 0) }
        } else if self.is_leader() && !is_under_way {
            Completion::refused(asked.ticket, code::TIMEOUT, "the other node did not take over in time")
        } else if now_ms >= asked.deadline_ms {
            Completion::refused(asked.ticket, code::TIMEOUT, "the handover is not finished in time")
        } else {
            self.deadline_ms = self.deadline_ms.min(asked.deadline_ms);
            return;
        };
        self.group.handover = None;
        self.answers.push(answer);
    }

    /// Answers who waits for a change of this node's place.
    pub(crate) fn refuse_group(&mut self, code: u16, message: &str) {
        if let Some(asked) = self.group.handover.take() {
            self.answers.push(Completion::refused(asked.ticket, code, message));
        }
        if let Some(Pause::Genesis { ticket, .. }) = &self.group.pause {
            self.answers.push(Completion::refused(*ticket, code, message));
        }
    }
}

/// The library's state over a log; it is silent: what an operator must know is told by this crate.
pub(crate) fn new_raft(
    config: &raft::Config,
    storage: LogStorage,
) -> Result<RawNode<LogStorage>, raft::Error> {
    let silence = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(config, storage, &silence)
}
