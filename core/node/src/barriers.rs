//! Reads that wait to know that they may be served: one ReadIndex round for all that came together.

use raft::ReadState;

use crate::completions::{Completion, Ticket};
use crate::inbox::Consistency;

struct Barrier {
    ticket: Ticket,
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
}

impl Barriers {
    pub fn add(&mut self, ticket: Ticket, consistency: Consistency, deadline_ms: u64) {
        self.waiting.push(Barrier { ticket, deadline_ms, consistency, round: 0, index: None });
    }

    pub fn add_index(&mut self, ticket: Ticket, index: u64, deadline_ms: u64) {
        self.until.push((ticket, index, deadline_ms));
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

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.until.is_empty()
    }

    /// The context of a new round, if a read waits that no round covers yet.
    pub fn next_round(&mut self) -> Option<Vec<u8>> {
        let is_open =
            |barrier: &Barrier| barrier.round == 0 && barrier.consistency == Consistency::Linearizable;
        if !self.waiting.iter().any(is_open) {
            return None;
        }
        self.round += 1;
        for barrier in self.waiting.iter_mut().filter(|barrier| is_open(barrier)) {
            barrier.round = self.round;
        }
        Some(self.round.to_be_bytes().to_vec())
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

    /// Answers what may be served with everything up to `applied` (a Raft index) in the tables.
    pub fn serve(&mut self, applied: u64, tables_index: u64, answers: &mut Vec<Completion>) {
        self.waiting.retain(|barrier| {
            let is_served = match barrier.consistency {
                Consistency::Default => true,
                Consistency::Linearizable => barrier.index.is_some_and(|index| index <= applied),
            };
            if is_served {
                answers.push(Completion::applied(barrier.ticket, tables_index, 0));
            }
            !is_served
        });
    }

    /// Answers everybody with a refusal.
    pub fn refuse_all(&mut self, code: u16, message: &str, answers: &mut Vec<Completion>) {
        answers
            .extend(self.waiting.drain(..).map(|barrier| Completion::refused(barrier.ticket, code, message)));
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
            if is_late {
                let message = "the read could not be confirmed in time";
                answers.push(Completion::refused(barrier.ticket, crate::code::TIMEOUT, message));
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

    fn state(round: u64, index: u64) -> ReadState {
        ReadState { index, request_ctx: round.to_be_bytes().to_vec() }
    }

    #[test]
    fn one_round_serves_all_that_came_before_it_once_applied() {
        let mut barriers = Barriers::default();
        let mut answers = Vec::new();
        barriers.add(1, Consistency::Linearizable, 100);
        barriers.add(2, Consistency::Linearizable, 100);
        assert!(barriers.next_round().is_some());
        assert!(barriers.next_round().is_none());
        barriers.add(3, Consistency::Linearizable, 100);
        barriers.confirm(vec![state(1, 9)]);
        barriers.serve(8, 5, &mut answers);
        assert!(answers.is_empty());
        barriers.serve(9, 5, &mut answers);
        assert_eq!(answers.iter().map(|answer| answer.ticket).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(barriers.expire(100, &mut answers), u64::MAX);
        assert_eq!((answers[2].ticket, answers[2].status), (3, crate::code::TIMEOUT));
        assert!(barriers.is_empty());
    }

    #[test]
    fn a_default_read_needs_no_round() {
        let mut barriers = Barriers::default();
        let mut answers = Vec::new();
        barriers.add(1, Consistency::Default, 100);
        assert!(barriers.next_round().is_none());
        barriers.serve(0, 5, &mut answers);
        assert_eq!(answers, [Completion::applied(1, 5, 0)]);
    }
}
