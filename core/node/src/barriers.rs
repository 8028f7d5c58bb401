//! Reads that wait to know that they may be served: one round for all that came together.
//!
//! A leader confirms a round with its quorum (ReadIndex), unless its lease answers. A follower asks its
//! leader, and serves the read from its own tables when they have come as far as the leader says.

use raft::ReadState;

use crate::completions::{Completion, Ticket};
use crate::forward_wire::{ReadAnswer, ReadAsk};
use crate::inbox::Consistency;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Here(Ticket),
    /// A follower's round.
    Peer {
        id: u64,
        nonce: u64,
        round: u64,
    },
}

struct Barrier {
    reader: Reader,
    deadline_ms: u64,
    consistency: Consistency,
    /// The round that covers it; 0 before it was asked.
    round: u64,
    /// Confirmed: served when this Raft index is applied.
    index: Option<u64>,
}

/// The waiting reads, oldest first.
#[derive(Default)]
pub(crate) struct Barriers {
    waiting: Vec<Barrier>,
    /// Who waits for an index of the tables, whoever leads: ticket, index, deadline.
    until: Vec<(Ticket, u64, u64)>,
    round: u64,
    asked_at_ms: u64,
}

impl Barriers {
    pub fn add(&mut self, ticket: Ticket, consistency: Consistency, deadline_ms: u64) {
        let reader = Reader::Here(ticket);
        self.waiting.push(Barrier { reader, deadline_ms, consistency, round: 0, index: None });
    }

    /// A follower's question; one that asks again takes its former place.
    pub fn add_peer(&mut self, id: u64, ask: ReadAsk, deadline_ms: u64) {
        let ReadAsk { nonce, round, consistency } = ask;
        let reader = Reader::Peer { id, nonce, round };
        if !self.waiting.iter().any(|barrier| barrier.reader == reader) {
            self.waiting.push(Barrier { reader, deadline_ms, consistency, round: 0, index: None });
        }
    }

    pub fn add_index(&mut self, ticket: Ticket, index: u64, deadline_ms: u64) {
        self.until.push((ticket, index, deadline_ms));
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.until.is_empty()
    }

    /// Covers what waits by a new round, if `is_open` says that something does.
    fn cover(&mut self, is_open: impl Fn(&Barrier) -> bool) -> Option<u64> {
        let is_open = |barrier: &Barrier| barrier.round == 0 && barrier.index.is_none() && is_open(barrier);
        if !self.waiting.iter().any(is_open) {
            return None;
        }
        self.round += 1;
        for barrier in self.waiting.iter_mut().filter(|barrier| is_open(barrier)) {
            barrier.round = self.round;
        }
        Some(self.round)
    }

    /// The context of a leader's new round, if a read waits that neither a round nor its lease covers.
    pub fn next_round(&mut self, has_lease: bool) -> Option<Vec<u8>> {
        let needs_one = |barrier: &Barrier| !has_lease || barrier.consistency == Consistency::Linearizable;
        self.cover(needs_one).map(|round| round.to_be_bytes().to_vec())
    }

    /// A follower's next question to its leader, if a read of this consistency waits that none covers.
    pub fn next_ask(&mut self, nonce: u64, consistency: Consistency, now_ms: u64) -> Option<ReadAsk> {
        let round = self.cover(|barrier| barrier.consistency == consistency)?;
        self.asked_at_ms = now_ms;
        Some(ReadAsk { nonce, round, consistency })
    }

    /// Rounds that a quorum answered.
    pub fn confirm(&mut self, states: Vec<ReadState>) {
        for state in states {
            let Ok(round) = <[u8; 8]>::try_from(state.request_ctx.as_slice()) else { continue };
            let round = u64::from_be_bytes(round);
            // A later round's answer holds for earlier reads too: they began before it.
            for barrier in self.waiting.iter_mut().filter(|b| b.round != 0 && b.round <= round) {
                barrier.index.get_or_insert(state.index);
            }
        }
    }

    /// The leader's answer to a follower's question. It holds for the reads of that round only: another round
    /// may have asked for more than a lease.
    pub fn hear(&mut self, answer: ReadAnswer) {
        for barrier in self.waiting.iter_mut().filter(|barrier| barrier.round == answer.round) {
            match answer.raft_index {
                0 => barrier.round = 0,
                index => {
                    barrier.index.get_or_insert(index);
                }
            }
        }
    }

    /// Questions that went to a former leader, or may be lost, are asked again.
    pub fn ask_again(&mut self) {
        for barrier in &mut self.waiting {
            barrier.round = 0;
        }
    }

    /// As [`Barriers::ask_again`] when there was no answer for `patience_ms`.
    pub fn ask_again_late(&mut self, now_ms: u64, patience_ms: u64) {
        if now_ms >= self.asked_at_ms.saturating_add(patience_ms) {
            self.asked_at_ms = now_ms;
            self.ask_again();
        }
    }

    /// This node leads no more: followers ask the next leader.
    pub fn drop_peers(&mut self) {
        self.waiting.retain(|barrier| matches!(barrier.reader, Reader::Here(_)));
    }

    /// Answers who waited for the tables to come this far.
    pub fn serve_index(&mut self, tables_index: u64, answers: &mut Vec<Completion>) {
        self.until.retain(|(ticket, index, _)| {
            let is_reached = *index <= tables_index;
            if is_reached {
                answers.push(Completion::applied(*ticket, tables_index, 0));
            }
            !is_reached
        });
    }

    /// Answers what may be served with everything up to `applied` (a Raft index) in the tables; hands out the
    /// answers for followers. With a lease everything applied here is what a new read must see.
    pub fn serve(
        &mut self,
        (applied, tables_index): (u64, u64),
        has_lease: bool,
        answers: &mut Vec<Completion>,
    ) -> Vec<(u64, ReadAnswer)> {
        let mut told = Vec::new();
        self.waiting.retain(|barrier| {
            let is_leased = has_lease && barrier.consistency == Consistency::Default;
            let index = if is_leased { Some(applied) } else { barrier.index };
            let Some(raft_index) = index else { return true };
            match barrier.reader {
                Reader::Here(ticket) => {
                    if raft_index > applied {
                        return true;
                    }
                    answers.push(Completion::applied(ticket, tables_index, 0));
                }
                Reader::Peer { id, nonce, round } => {
                    told.push((id, ReadAnswer { nonce, round, raft_index }));
                }
            }
            false
        });
        told
    }

    /// Refuses the reads that nobody has confirmed.
    pub fn refuse_unconfirmed(&mut self, code: u16, message: &str, answers: &mut Vec<Completion>) {
        self.waiting.retain(|barrier| {
            if barrier.index.is_some() {
                return true;
            }
            if let Reader::Here(ticket) = barrier.reader {
                answers.push(Completion::refused(ticket, code, message));
            }
            false
        });
    }

    /// Answers everybody with a refusal.
    pub fn refuse_all(&mut self, code: u16, message: &str, answers: &mut Vec<Completion>) {
        self.waiting.iter_mut().for_each(|barrier| barrier.index = None);
        self.refuse_unconfirmed(code, message, answers);
        answers.extend(self.until.drain(..).map(|(ticket, ..)| Completion::refused(ticket, code, message)));
    }

    /// Answers those whose time is up; says when the next one's is.
    pub fn expire(&mut self, now_ms: u64, answers: &mut Vec<Completion>) -> u64 {
        self.until.retain(|(ticket, _, deadline_ms)| {
            let is_late = *deadline_ms <= now_ms;
            if is_late {
                let message = "the index was not reached in time";
                answers.push(Completion::refused(*ticket, crate::code::TIMEOUT, message));
            }
            !is_late
        });
        self.waiting.retain(|barrier| {
            let is_late = barrier.deadline_ms <= now_ms;
            if let (true, Reader::Here(ticket)) = (is_late, barrier.reader) {
                let message = "the read could not be confirmed in time";
                answers.push(Completion::refused(ticket, crate::code::TIMEOUT, message));
            }
            !is_late
        });
        let until = self.until.iter().map(|(_, _, deadline_ms)| *deadline_ms);
        self.waiting.iter().map(|barrier| barrier.deadline_ms).chain(until).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: Consistency = Consistency::Linearizable;
    const DEFAULT: Consistency = Consistency::Default;

    fn state(round: u64, index: u64) -> ReadState {
        ReadState { index, request_ctx: round.to_be_bytes().to_vec() }
    }

    fn served(barriers: &mut Barriers, applied: u64, has_lease: bool) -> Vec<u64> {
        let mut answers = Vec::new();
        barriers.serve((applied, 5), has_lease, &mut answers);
        answers.iter().map(|answer| answer.ticket).collect()
    }

    #[test]
    fn one_round_serves_all_that_came_before_it_once_applied() {
        let mut barriers = Barriers::default();
        barriers.add(1, LINEAR, 100);
        barriers.add(2, LINEAR, 100);
        assert!(barriers.next_round(true).is_some());
        assert!(barriers.next_round(true).is_none());
        barriers.add(3, LINEAR, 100);
        barriers.confirm(vec![state(1, 9)]);
        assert!(served(&mut barriers, 8, true).is_empty());
        assert_eq!(served(&mut barriers, 9, true), [1, 2]);
        let mut answers = Vec::new();
        assert_eq!(barriers.expire(100, &mut answers), u64::MAX);
        assert_eq!((answers[0].ticket, answers[0].status), (3, crate::code::TIMEOUT));
        assert!(barriers.is_empty());
    }

    #[test]
    fn a_default_read_needs_a_round_only_without_a_lease() {
        let mut barriers = Barriers::default();
        barriers.add(1, DEFAULT, 100);
        assert!(barriers.next_round(true).is_none());
        assert_eq!(served(&mut barriers, 0, true), [1]);
        barriers.add(2, DEFAULT, 100);
        assert!(served(&mut barriers, 9, false).is_empty());
        assert!(barriers.next_round(false).is_some());
        barriers.confirm(vec![state(1, 9)]);
        assert_eq!(served(&mut barriers, 9, false), [2]);
    }

    #[test]
    fn a_followers_round_is_answered_by_its_leader_and_served_from_its_own_tables() {
        let (mut follower, mut leader) = (Barriers::default(), Barriers::default());
        follower.add(1, LINEAR, 100);
        follower.add(2, DEFAULT, 100);
        let ask = follower.next_ask(7, LINEAR, 0).unwrap();
        let other = follower.next_ask(7, DEFAULT, 0).unwrap();
        assert_eq!(follower.next_ask(7, LINEAR, 0), None);
        for _ in 0..2 {
            leader.add_peer(4, ask, 100);
            leader.add_peer(4, other, 100);
        }
        let leased = leader.serve((6, 5), true, &mut Vec::new());
        assert_eq!(leased, [(4, ReadAnswer { nonce: 7, round: other.round, raft_index: 6 })]);
        leader.next_round(true).unwrap();
        leader.confirm(vec![state(1, 8)]);
        let confirmed = leader.serve((6, 5), true, &mut Vec::new());
        assert_eq!(confirmed, [(4, ReadAnswer { nonce: 7, round: ask.round, raft_index: 8 })]);
        follower.hear(leased[0].1);
        assert_eq!(served(&mut follower, 6, false), [2], "a leased answer is none for a linearizable read");
        follower.hear(confirmed[0].1);
        assert!(served(&mut follower, 7, false).is_empty());
        assert_eq!(served(&mut follower, 8, false), [1]);
    }

    #[test]
    fn a_question_to_a_former_leader_is_asked_again_and_its_late_answer_means_nothing() {
        let mut barriers = Barriers::default();
        barriers.add(1, LINEAR, 100);
        let first = barriers.next_ask(7, LINEAR, 0).unwrap();
        barriers.ask_again();
        let second = barriers.next_ask(7, LINEAR, 0).unwrap();
        assert!(second.round > first.round);
        barriers.hear(ReadAnswer { nonce: 7, round: first.round, raft_index: 3 });
        assert!(served(&mut barriers, 9, false).is_empty());
        barriers.hear(ReadAnswer { nonce: 7, round: second.round, raft_index: 0 });
        assert!(barriers.next_ask(7, LINEAR, 0).is_some(), "that one did not lead");
        barriers.ask_again_late(50, 60);
        assert!(barriers.next_ask(7, LINEAR, 50).is_none());
        barriers.ask_again_late(60, 60);
        assert!(barriers.next_ask(7, LINEAR, 60).is_some());
    }

    #[test]
    fn everybody_is_told_when_the_node_stops() {
        let mut barriers = Barriers::default();
        let mut answers = Vec::new();
        barriers.add(1, LINEAR, 100);
        barriers.add_index(2, 50, 100);
        barriers.refuse_all(11, "stop", &mut answers);
        assert_eq!(answers.iter().map(|answer| answer.ticket).collect::<Vec<_>>(), [1, 2]);
        assert!(barriers.is_empty());
    }
}
