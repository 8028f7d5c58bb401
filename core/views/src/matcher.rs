//! Which watches a change concerns: the tries of all tables.

use std::collections::BTreeMap;

use konsul_state::schema::Schema;

use crate::facts::Facts;
use crate::lane::First;
use crate::note::Note;
use crate::segments::Path;
use crate::trie::{Trie, Walk};

/// All patterns, by table and separator.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    tries: BTreeMap<(u16, char), Trie>,
    /// How many watches look at each column of a table.
    columns: BTreeMap<u16, BTreeMap<u8, usize>>,
    facts: Facts,
    walk: Walk,
}

/// `(column, index value)` of all conditions of a watch.
pub(crate) type Wheres = [(u8, Box<[u8]>)];

/// Where a watch is registered.
pub(crate) struct Place<'p> {
    pub(crate) table: u16,
    pub(crate) separator: char,
    pub(crate) path: &'p Path,
    pub(crate) wheres: &'p Wheres,
    pub(crate) slot: u32,
}

impl Place<'_> {
    fn first(&self) -> First<'_> {
        self.wheres.first()
    }
}

impl Matcher {
    pub(crate) fn add(&mut self, place: &Place<'_>) {
        let trie =
            self.tries.entry((place.table, place.separator)).or_insert_with(|| Trie::new(place.separator));
        trie.add(place.path, place.first(), place.slot);
        for (column, _) in place.wheres {
            *self.columns.entry(place.table).or_default().entry(*column).or_default() += 1;
        }
    }

    /// Takes a watch out; nothing is left of it.
    pub(crate) fn remove(&mut self, place: &Place<'_>) {
        if let Some(trie) = self.tries.get_mut(&(place.table, place.separator)) {
            trie.remove(place.path, place.first(), place.slot);
            if trie.watches() == 0 {
                self.tries.remove(&(place.table, place.separator));
            }
        }
        let Some(columns) = self.columns.get_mut(&place.table) else { return };
        for (column, _) in place.wheres {
            if let Some(count) = columns.get_mut(column) {
                *count -= 1;
                if *count == 0 {
                    columns.remove(column);
                }
            }
        }
        if columns.is_empty() {
            self.columns.remove(&place.table);
        }
    }

    /// How many watches each table has.
    pub(crate) fn by_table(&self) -> Vec<(u16, usize)> {
        let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
        for ((table, _), trie) in &self.tries {
            *counts.entry(*table).or_default() += trie.watches();
        }
        counts.into_iter().collect()
    }

    /// Appends the slots of the watches that a note may concern, some perhaps twice; of one with more than
    /// one condition [`Matcher::facts`] tells whether it does.
    pub(crate) fn find(&mut self, table: u16, note: &Note, schema: &Schema, hits: &mut Vec<u32>) {
        let mut tries = self.tries.range((table, '\0')..=(table, char::MAX)).peekable();
        if tries.peek().is_none() {
            return;
        }
        if let Some(columns) = self.columns.get(&table) {
            let known = schema.table(table).ok();
            self.facts.collect(known, columns.keys().copied(), note.before(), note.after());
        }
        let key = String::from_utf8_lossy(note.key());
        for (_, trie) in tries {
            trie.find(&key, &self.facts, &mut self.walk, hits);
        }
    }

    /// What the last note that was looked for has in the columns that are asked about.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }
}
