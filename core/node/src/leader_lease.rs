//! How long a leader may answer reads from its own tables without asking anybody.
//!
//! Every message of the leader carries its clock, and every follower says back the newest such time it has
//! processed as its follower in this term. From then on that follower neither votes for another nor helps one
//! to be elected before [`Options::promise_ms`] has passed on its own clock (`incoming.rs`), nor for that
//! long after its start. So while a quorum's echoes are younger than a shorter span on the leader's clock,
//! nobody else can lead. A handover of leadership lifts those promises: the lease is off for the rest of its
//! term.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Release;

use crate::driver::Driver;
use crate::options::Options;

/// The lease never ends: nobody else votes.
pub(crate) const ALWAYS: u64 = u64::MAX;
/// There is no lease.
pub(crate) const NEVER: u64 = 0;

/// The echoes of one term.
#[derive(Debug)]
pub(crate) struct LeaderLease {
    /// How long a promise is counted on.
    length_ms: u64,
    term: u64,
    given_up: u64,
    echoes: BTreeMap<u64, u64>,
}

impl LeaderLease {
    pub fn new(options: &Options) -> Self {
        let wanted_ms = options.cluster.as_ref().map_or(u64::MAX, |cluster| cluster.lease_ms);
        Self::of(longest_ms(wanted_ms, options.promise_ms(), options.tick_ms))
    }

    fn of(length_ms: u64) -> Self {
        Self { length_ms, term: 0, given_up: 0, echoes: BTreeMap::new() }
    }

    /// The member has processed, as this node's follower in `term`, what left here at `echo_ms`; 0: nothing
    /// yet.
    pub fn on_echo(&mut self, term: u64, from: u64, echo_ms: u64) {
        if term < self.term || echo_ms == 0 {
            return;
        }
        if term > self.term {
            self.term = term;
            self.echoes.clear();
        }
        let newest = self.echoes.entry(from).or_default();
        *newest = (*newest).max(echo_ms);
    }

    /// Leadership is being handed over: there is no lease for the rest of the term.
    fn give_up(&mut self, term: u64) {
        self.given_up = term;
    }

    /// When a quorum of `voters`, the leader `me` among them if it votes, was last known to follow in `term`.
    pub fn heard_ms(&self, term: u64, me: u64, voters: &[u64]) -> u64 {
        let others_needed = (voters.len() / 2 + 1) - usize::from(voters.contains(&me));
        if others_needed == 0 {
            return ALWAYS;
        }
        if term != self.term {
            return NEVER;
        }
        let others = voters.iter().filter(|voter| **voter != me);
        let mut echoes: Vec<u64> =
            others.map(|voter| self.echoes.get(voter).copied().unwrap_or(NEVER)).collect();
        echoes.sort_unstable_by(|one, other| other.cmp(one));
        echoes.get(others_needed - 1).copied().unwrap_or(NEVER)
    }

    /// Until when the leader of `term` may answer alone.
    pub fn until_ms(&self, term: u64, me: u64, voters: &[u64]) -> u64 {
        match self.heard_ms(term, me, voters) {
            NEVER => NEVER,
            ALWAYS => ALWAYS,
            _ if term == self.given_up || self.length_ms == 0 => NEVER,
            heard_ms => heard_ms.saturating_add(self.length_ms).min(ALWAYS - 1),
        }
    }
}

/// The longest safe lease: what followers promise, less two ticks for how coarse their timers are, less a
/// tenth for clocks that run at different speeds.
fn longest_ms(wanted_ms: u64, promise_ms: u64, tick_ms: u64) -> u64 {
    wanted_ms.min(promise_ms.saturating_sub(2 * tick_ms) * 9 / 10)
}

/// True if a promise until `until_ms` holds now.
pub(crate) fn holds(until_ms: u64, now_ms: impl FnOnce() -> u64) -> bool {
    until_ms == ALWAYS || (until_ms != NEVER && now_ms() < until_ms)
}

impl Driver {
    fn lease_until_ms(&self) -> u64 {
        // Followers may have committed, applied and shown what this leader's own slow disk still holds back.
        if !self.is_in_office() || self.is_behind_commit() {
            return NEVER;
        }
        let raft = &self.raft.raft;
        self.lease.until_ms(raft.term, raft.id, &self.group.members.conf.voters)
    }

    /// True while nobody else can have been elected, and what is applied here is all that was committed
    /// before: a read may be served at once.
    pub(crate) fn has_lease(&self, now_ms: u64) -> bool {
        holds(self.lease_until_ms(), || now_ms)
    }

    /// Tells readers on other threads until when they need not ask. They compare with the clock themselves: a
    /// process that was stopped for long wakes without a lease.
    pub(crate) fn publish_lease(&self) {
        self.shared.gauges.current_until_ms.store(self.lease_until_ms(), Release);
    }

    fn is_behind_commit(&self) -> bool {
        self.applied_index() < self.raft.raft.raft_log.committed
    }

    /// Called before messages leave: what they tell to be committed may be read from followers before it is
    /// applied here.
    pub(crate) fn pause_lease(&self) {
        if !self.group.is_alone && self.is_leader() && self.is_behind_commit() {
            self.shared.gauges.current_until_ms.store(NEVER, Release);
        }
    }

    /// Readers must know before the successor does.
    pub(crate) fn give_up_lease(&mut self) {
        self.lease.give_up(self.raft.raft.term);
        self.publish_lease();
    }

    /// When this leader last knew that a quorum follows it, on the node's clock.
    pub(crate) fn quorum_heard_ms(&self, now_ms: u64) -> u64 {
        let raft = &self.raft.raft;
        self.lease.heard_ms(raft.term, raft.id, &self.group.members.conf.voters).min(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_leaves_room_for_ticks_and_clocks() {
        assert_eq!(longest_ms(500, 500, 10), 432);
        assert_eq!(longest_ms(100, 500, 10), 100);
        assert_eq!(longest_ms(500, 150, 10), 117);
        assert_eq!(longest_ms(500, 20, 10), 0);
        let mut lease = LeaderLease::of(0);
        lease.on_echo(1, 2, 50);
        assert_eq!(lease.until_ms(1, 1, &[1, 2, 3]), NEVER, "too short a promise is none");
    }

    #[test]
    fn one_voter_needs_nobody() {
        let mut lease = LeaderLease::of(100);
        lease.give_up(7);
        assert_eq!(lease.until_ms(7, 1, &[1]), ALWAYS);
        assert!(holds(ALWAYS, || unreachable!("no clock is asked")));
    }

    #[test]
    fn a_quorum_of_echoes_counts_the_leader_and_takes_the_slower() {
        let mut lease = LeaderLease::of(100);
        let voters = [1, 2, 3, 4, 5];
        assert_eq!(lease.until_ms(7, 1, &voters), NEVER);
        lease.on_echo(7, 2, 1_000);
        assert_eq!(lease.until_ms(7, 1, &voters), NEVER, "two of five are no quorum");
        lease.on_echo(7, 3, 900);
        assert_eq!(lease.until_ms(7, 1, &voters), 1_000, "the third voter's echo is from 900");
        lease.on_echo(7, 4, 950);
        assert_eq!(lease.until_ms(7, 1, &voters), 1_050);
        assert!(holds(1_050, || 1_049) && !holds(1_050, || 1_050) && !holds(NEVER, || 0));
    }

    #[test]
    fn an_echo_that_comes_late_takes_nothing_back() {
        let mut lease = LeaderLease::of(100);
        lease.on_echo(7, 2, 1_000);
        lease.on_echo(7, 2, 400);
        lease.on_echo(7, 2, 0);
        assert_eq!(lease.until_ms(7, 1, &[1, 2, 3]), 1_100);
    }

    #[test]
    fn a_new_term_begins_without_promises() {
        let mut lease = LeaderLease::of(100);
        lease.on_echo(7, 2, 1_000);
        assert_eq!(lease.until_ms(8, 1, &[1, 2, 3]), NEVER, "elected again, not yet heard by anybody");
        lease.on_echo(8, 3, 0);
        lease.on_echo(8, 3, 1_200);
        lease.on_echo(7, 2, 1_900);
        assert_eq!(lease.until_ms(8, 1, &[1, 2, 3]), 1_300, "echoes of the former term count no more");
    }

    #[test]
    fn a_handover_ends_the_lease_for_its_term_only() {
        let mut lease = LeaderLease::of(100);
        lease.on_echo(7, 2, 1_000);
        lease.give_up(7);
        lease.on_echo(7, 3, 1_010);
        assert_eq!(lease.until_ms(7, 1, &[1, 2, 3]), NEVER);
        lease.on_echo(9, 2, 2_000);
        assert_eq!(lease.until_ms(9, 1, &[1, 2, 3]), 2_100);
    }

    #[test]
    fn only_voters_count_and_a_leader_that_lost_its_vote_needs_a_quorum_of_others() {
        let mut lease = LeaderLease::of(100);
        lease.on_echo(7, 9, 5_000);
        assert_eq!(lease.until_ms(7, 1, &[1, 2, 3]), NEVER, "a learner promises nothing");
        lease.on_echo(7, 2, 1_000);
        assert_eq!(lease.until_ms(7, 1, &[2, 3]), NEVER);
        lease.on_echo(7, 3, 1_010);
        assert_eq!(lease.until_ms(7, 1, &[2, 3]), 1_100);
    }
}
