//! Log Matching: if two logs contain an entry with the same index and term, then the logs are identical in
//! all entries up through the given index. (Raft paper, figure 3 and section 5.3; dissertation, section 3.5.)
//!
//! It is enough that an (index, term) has one content and one predecessor everywhere and for ever: by
//! induction the prefixes are equal too.

use std::collections::BTreeMap;

use konsul_disk::wal::Entry;
use xxhash_rust::xxh3::xxh3_64;

use super::{Fallen, Sight};

/// What is known of an (index, term): the term before it, and a hash of its content.
type Known = (Option<u64>, u64);

/// What was checked of one machine's log: where it ended, and the term there.
#[derive(Clone, Copy, Default)]
struct Checked {
    last_index: u64,
    last_term: u64,
}

/// Every entry any log ever held.
#[derive(Default)]
pub struct LogMatching {
    entries: BTreeMap<(u64, u64), Known>,
    checked: BTreeMap<usize, Checked>,
}

impl LogMatching {
    /// Checks what is new in a node's log.
    pub fn see(&mut self, sight: &Sight<'_>) -> Result<(), Fallen> {
        let (first, last) = (sight.log.first_index(), sight.log.last_index());
        let term = |index: u64| sight.log.term(index).ok();
        let last_term = term(last).unwrap_or(0);
        let checked = self.checked.get(&sight.slot).copied().unwrap_or_default();
        if (checked.last_index, checked.last_term) == (last, last_term) {
            return Ok(());
        }
        // An entry that is known with its term needs no second look, nor does anything before it.
        let mut from = last + 1;
        while from > first && !term(from - 1).is_some_and(|t| self.is_at(&checked, from - 1, t)) {
            from -= 1;
        }
        let entries = if from > last { Vec::new() } else { read(sight, from, last)? };
        let mut before = term(from.saturating_sub(1));
        for entry in &entries {
            self.check(sight, entry, before)?;
            before = Some(entry.term);
        }
        self.checked.insert(sight.slot, Checked { last_index: last, last_term });
        Ok(())
    }

    /// True if this machine's log was checked through `index` with this term.
    fn is_at(&self, checked: &Checked, index: u64, term: u64) -> bool {
        (checked.last_index, checked.last_term) == (index, term)
    }

    fn check(&mut self, sight: &Sight<'_>, entry: &Entry, before: Option<u64>) -> Result<(), Fallen> {
        let hash = xxh3_64(&entry.data) ^ u64::from(entry.kind);
        let known = self.entries.entry((entry.index, entry.term)).or_insert((before, hash));
        let is_same_before = known.0.is_none() || before.is_none() || known.0 == before;
        known.0 = known.0.or(before);
        if known.1 == hash && is_same_before {
            return Ok(());
        }
        let why = format!(
            "entry {} of term {} on {:x} differs from what another log held (before it: term {before:?}, \
             elsewhere {:?})",
            entry.index, entry.term, sight.raft_id, known.0
        );
        Err(Fallen { invariant: "log matching", why })
    }

    /// The hash of an entry's content, if any log held it.
    pub fn content(&self, index: u64, term: u64) -> Option<u64> {
        self.entries.get(&(index, term)).map(|known| known.1)
    }

    /// The machine has another log now.
    pub fn forget(&mut self, slot: usize) {
        self.checked.remove(&slot);
    }
}

fn read(sight: &Sight<'_>, from: u64, last: u64) -> Result<Vec<Entry>, Fallen> {
    sight.log.entries(from, last + 1, u64::MAX).map_err(|error| Fallen {
        invariant: "log matching",
        why: format!("{:x} cannot read its log from {from} to {last}: {error}", sight.raft_id),
    })
}
