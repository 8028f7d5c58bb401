//! The undo journal: how a refused entry leaves no trace in a write transaction that goes on.
//!
//! Old values lie one behind the other in one arena and are taken back from its end, so recording is a
//! memcpy.

use crate::store::{StoreError, Write};

#[derive(Debug, Clone, Copy)]
struct Undo {
    key_bytes: u32,
    value_bytes: u32,
    was_there: bool,
    /// The table position whose row count this write changed, and what takes the change back.
    count: Option<(u32, bool)>,
}

/// What a write did to the number of rows of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counted {
    /// Not a row, or a row that was and stays there.
    Same,
    /// A row more in the table at this position.
    Added(usize),
    /// A row less.
    Removed(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    on: bool,
    arena: Vec<u8>,
    undo: Vec<Undo>,
}

impl Journal {
    /// Starts anew; `on == false` for writes that cannot be refused once begun.
    pub(crate) fn start(&mut self, on: bool) {
        self.on = on;
        self.arena.clear();
        self.undo.clear();
    }

    /// Remembers what `key` held before a write.
    pub(crate) fn record(&mut self, key: &[u8], old: Option<&[u8]>, counted: Counted) {
        if !self.on {
            return;
        }
        self.arena.extend_from_slice(key);
        let value = old.unwrap_or_default();
        self.arena.extend_from_slice(value);
        let narrow =
            |length: usize| u32::try_from(length).expect("keys and rows are limited far below 4 GiB");
        self.undo.push(Undo {
            key_bytes: narrow(key.len()),
            value_bytes: narrow(value.len()),
            was_there: old.is_some(),
            count: match counted {
                Counted::Same => None,
                Counted::Added(table) => Some((narrow(table), false)),
                Counted::Removed(table) => Some((narrow(table), true)),
            },
        });
    }

    /// Takes back everything recorded since [`Journal::start`], last write first.
    pub(crate) fn undo(&mut self, w: &mut impl Write, counts: &mut [u64]) -> Result<(), StoreError> {
        while let Some(step) = self.undo.pop() {
            let value_at = self.arena.len() - step.value_bytes as usize;
            let key_at = value_at - step.key_bytes as usize;
            let (key, value) = (&self.arena[key_at..value_at], &self.arena[value_at..]);
            if step.was_there {
                w.put(key, value)?;
            } else {
                w.delete(key)?;
            }
            self.arena.truncate(key_at);
            if let Some((table, more)) = step.count {
                let count = &mut counts[table as usize];
                *count = if more { *count + 1 } else { count.saturating_sub(1) };
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::store::{Read, Store};

    #[test]
    fn undoing_restores_values_absences_and_counts() {
        let store = Memory::new();
        let mut w = store.write().unwrap();
        w.put(b"a", b"1").unwrap();
        let mut counts = [1_u64];
        let mut journal = Journal::default();
        journal.start(true);
        journal.record(b"a", Some(b"1"), Counted::Same);
        w.put(b"a", b"2").unwrap();
        journal.record(b"a", Some(b"2"), Counted::Removed(0));
        w.delete(b"a").unwrap();
        journal.record(b"b", None, Counted::Added(0));
        w.put(b"b", b"3").unwrap();
        journal.undo(&mut w, &mut counts).unwrap();
        assert_eq!(w.get(b"a").unwrap(), Some(&b"1"[..]));
        assert_eq!(w.get(b"b").unwrap(), None);
        assert_eq!(counts, [1]);
    }
}
