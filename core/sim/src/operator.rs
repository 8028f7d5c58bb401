//! The operator: forms the group, changes its members in the middle of faults, and replaces machines.

use konsul_node::{GroupState, MemberChange};

use crate::machine::{Process, Waiter};
use crate::profile::FaultKind;
use crate::world::{Happening, World};

/// How long a change may take, in ms.
const CHANGE_MS: u64 = 2_000;
/// The operator looks after half-done replacements this often.
const ROUND_US: u64 = 300_000;

impl World {
    /// Tells a running process something on the operator's behalf.
    pub fn change(&mut self, slot: usize, name: &'static str, change: MemberChange) -> bool {
        let now_us = self.now_us();
        let machine = &mut self.machines[slot];
        machine.clocks.set(now_us);
        let Some(process) = machine.process.as_mut() else { return false };
        let ticket = process.replica.change(change, CHANGE_MS);
        process.waiters.insert(ticket, Waiter::Operator(name));
        self.nudge(slot);
        true
    }

    /// The members as the leader knows them: (raft id, votes).
    pub fn members(&self) -> Vec<(u64, bool)> {
        let Some(leader) = self.leader() else { return Vec::new() };
        let process = self.machines[leader].process.as_ref();
        let members = process.map(|process| process.replica.peek().members.clone()).unwrap_or_default();
        members.list().iter().map(|member| (member.raft_id, members.is_voter(member.raft_id))).collect()
    }

    /// Changes any member that votes, or any that does not.
    pub fn change_any(&mut self, kind: FaultKind, votes: bool, change: fn(u64) -> MemberChange) -> bool {
        let Some(leader) = self.leader() else { return false };
        let members = self.members();
        let is_dead = |raft_id: u64| self.slot_of(raft_id).is_none();
        let voters = members.iter().filter(|(_, is_voter)| *is_voter).count();
        // A voter that is gone for good needs all others; fewer than two would leave nothing to test.
        if votes && (voters <= 2 || members.iter().any(|(raft_id, is_voter)| *is_voter && is_dead(*raft_id)))
        {
            return false;
        }
        let mut of_kind: Vec<u64> = members.iter().filter(|m| m.1 == votes).map(|m| m.0).collect();
        of_kind.retain(|raft_id| !is_dead(*raft_id));
        let Some(&raft_id) = self.prng.pick(&of_kind) else { return false };
        self.change(leader, done_name(kind), change(raft_id))
    }

    /// Takes a machine in that has no place yet.
    pub fn add_learner(&mut self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let members = self.members();
        let mut free: Vec<usize> = (0..self.machines.len()).collect();
        free.retain(|slot| {
            let machine = &self.machines[*slot];
            machine.is_up() && members.iter().all(|(raft_id, _)| *raft_id != machine.raft_id())
        });
        let Some(&slot) = self.prng.pick(&free) else { return false };
        let machine = &mut self.machines[slot];
        let has_group = machine.process.as_ref().is_some_and(|process| !is_fresh(process));
        if has_group {
            // It was a member and was put out: an id is never used again, so it starts anew.
            return self.wipe(slot);
        }
        self.adopt(slot);
        let member = self.machines[slot].member();
        self.change(leader, "done: learner added", MemberChange::Add(member))
    }

    /// Tells a fresh node which group it is going to belong to.
    pub fn adopt(&mut self, slot: usize) {
        let (now_us, cluster_id) = (self.now_us(), self.cluster_id);
        let machine = &mut self.machines[slot];
        machine.clocks.set(now_us);
        let Some(process) = machine.process.as_mut() else { return };
        if is_fresh(process) {
            let ticket = process.replica.adopt(cluster_id, CHANGE_MS);
            process.waiters.insert(ticket, Waiter::Operator("done: adopted"));
            self.nudge(slot);
        }
    }

    /// A machine loses its disk, if the group can bear it: a voter that lost its data is as good as dead, and
    /// a majority of the others must be whole, whichever change of members comes through.
    pub fn wipe_one(&mut self, slot: usize) -> bool {
        let raft_id = self.machines[slot].raft_id();
        let views: Vec<Vec<u64>> =
            (0..self.machines.len()).filter_map(|slot| self.settled_voters(slot)).collect();
        if views.len() < self.machines.len() || self.leader().is_none() {
            return false;
        }
        let bears = |voters: &Vec<u64>| {
            let whole = voters.iter().filter(|id| self.slot_of(**id).is_some() && **id != raft_id).count();
            voters.is_empty() || 2 * whole > voters.len()
        };
        views.iter().all(bears) && self.wipe(slot)
    }

    /// Who votes in the eyes of a node; `None` if it does not run or has a change in its log that it has not
    /// applied.
    fn settled_voters(&self, slot: usize) -> Option<Vec<u64>> {
        let process = self.machines[slot].process.as_ref()?;
        let peek = process.replica.peek();
        let log = process.log.read();
        let entries = log.entries(peek.applied + 1, log.last_index() + 1, u64::MAX).ok()?;
        // A power cut must not make it forget the members it goes by.
        let is_kept = log.hard_state().commit >= peek.members.changed_at && !process.is_writing;
        let is_settled = is_kept && entries.iter().all(|entry| entry.kind == 0);
        is_settled.then(|| peek.members.conf.voters.clone())
    }

    fn wipe(&mut self, slot: usize) -> bool {
        self.machines[slot].wipe();
        self.promises.nodes.forget(slot);
        self.promises.leases.see(slot, false);
        let in_us = self.prng.tailed(100_000);
        self.schedule.after(in_us, Happening::End(crate::faults::Ending::Restart(slot)));
        true
    }

    /// Leadership goes to any voter.
    pub fn transfer(&mut self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let own = self.machines[leader].raft_id();
        let members = self.members();
        let mut voters: Vec<u64> = members.iter().filter(|(_, votes)| *votes).map(|(id, _)| *id).collect();
        voters.retain(|raft_id| *raft_id != own);
        voters.push(0);
        let Some(&to) = self.prng.pick(&voters) else { return false };
        let Some(process) = self.machines[leader].process.as_mut() else { return false };
        let ticket = process.replica.transfer(to, CHANGE_MS);
        process.waiters.insert(ticket, Waiter::Operator("done: leadership transferred"));
        self.nudge(leader);
        true
    }

    /// Puts out members whose disk is gone, and takes machines in that have none of the group's data.
    pub fn operate(&mut self) {
        self.schedule.after(ROUND_US, Happening::Operator);
        let Some(leader) = self.leader() else { return };
        let gone = self.members().into_iter().find(|(raft_id, _)| self.slot_of(*raft_id).is_none());
        if let Some((raft_id, _)) = gone {
            self.change(leader, "done: dead member removed", MemberChange::Remove(raft_id));
            return;
        }
        // A node that crashed before it knew of its group is told again.
        for slot in
            self.members().iter().filter_map(|(raft_id, _)| self.slot_of(*raft_id)).collect::<Vec<_>>()
        {
            self.adopt(slot);
        }
        // What a wiped machine's place was, a new member takes.
        let members = self.members();
        let listens = members.iter().find(|(_, votes)| !votes).map(|(id, _)| *id);
        let voters = members.iter().filter(|(_, votes)| *votes).count();
        if voters < self.profile.voters.min(3) {
            match listens {
                Some(raft_id) => {
                    self.change(leader, "done: promoted again", MemberChange::Promote(raft_id));
                }
                None => {
                    self.add_learner();
                }
            }
        }
    }
}

/// True if its data is of no group yet.
fn is_fresh(process: &Process) -> bool {
    process.replica.peek().state == GroupState::Unformed
}

fn done_name(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Promote => "done: promoted",
        FaultKind::Demote => "done: demoted",
        _ => "done: removed",
    }
}
