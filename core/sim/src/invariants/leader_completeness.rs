//! Leader Completeness: if a log entry is committed in a given term, then that entry will be present in the
//! logs of the leaders for all higher-numbered terms. (Raft paper, figure 3 and section 5.4; dissertation,
//! section 3.6.3.) And what is committed at an index is committed there for ever, on every node.

use std::collections::BTreeMap;

use super::log_matching::LogMatching;
use super::{Fallen, Sight};

/// What was committed, by anybody.
#[derive(Default)]
pub struct LeaderCompleteness {
    /// Index to its term, and the term of whoever was first seen to call it committed: it was committed in
    /// that one or before.
    committed: BTreeMap<u64, (u64, u64)>,
    /// The newest index committed by anybody.
    last: u64,
    /// The newest term each machine was seen leading.
    led: BTreeMap<usize, u64>,
    /// How far each machine was seen to have committed.
    seen: BTreeMap<usize, u64>,
}

impl LeaderCompleteness {
    /// Checks a new leader's log, and what a node newly calls committed.
    pub fn see(&mut self, sight: &Sight<'_>, logs: &LogMatching) -> Result<(), Fallen> {
        if sight.is_leader && self.led.get(&sight.slot) != Some(&sight.term) {
            self.led.insert(sight.slot, sight.term);
            self.check_leader(sight)?;
        }
        self.check_committed(sight, logs)
    }

    fn check_leader(&self, sight: &Sight<'_>) -> Result<(), Fallen> {
        let (first, last) = (sight.log.first_index().saturating_sub(1), sight.log.last_index());
        for (&index, &(term, seen_in)) in self.committed.range(first..) {
            // Votes may arrive late: then it leads a term that is over, and knows nothing of later ones.
            if seen_in >= sight.term {
                continue;
            }
            let own = sight.log.term(index).ok();
            if index > last || own.is_some_and(|own| own != term) {
                let why = format!(
                    "{:x} leads term {} with entry {index} of term {own:?} and a log to {last}; committed \
                     was one of term {term}, in term {seen_in} or before",
                    sight.raft_id, sight.term
                );
                return Err(Fallen { invariant: "leader completeness", why });
            }
        }
        Ok(())
    }

    fn check_committed(&mut self, sight: &Sight<'_>, logs: &LogMatching) -> Result<(), Fallen> {
        let seen = self.seen.get(&sight.slot).copied().unwrap_or(0);
        if sight.commit == seen {
            return Ok(());
        }
        let from = (seen + 1).max(sight.log.first_index().saturating_sub(1));
        for index in from..=sight.commit {
            let Ok(term) = sight.log.term(index) else { continue };
            let (known, _) = *self.committed.entry(index).or_insert((term, sight.term));
            if known != term {
                let why = format!(
                    "entry {index} is committed with term {known} and on {:x} with term {term} (content {:?} \
                     and {:?})",
                    sight.raft_id,
                    logs.content(index, known),
                    logs.content(index, term)
                );
                return Err(Fallen { invariant: "leader completeness", why });
            }
        }
        self.seen.insert(sight.slot, sight.commit);
        self.last = self.last.max(sight.commit);
        Ok(())
    }

    /// The machine lost its disk.
    pub fn forget(&mut self, slot: usize) {
        self.led.remove(&slot);
        self.seen.remove(&slot);
    }

    /// The newest committed index.
    pub fn committed(&self) -> u64 {
        self.last
    }
}
