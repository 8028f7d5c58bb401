//! What a change's rows have in the columns that watches ask about.

use konsul_state::index::Values;
use konsul_state::row::Row;
use konsul_state::schema::{Lookup, Table};

/// Index values of some columns of the row before and the row after, in one allocation that is reused.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    arena: Vec<u8>,
    /// Column, and where in the arena.
    before: Vec<(u8, usize, usize)>,
    after: Vec<(u8, usize, usize)>,
    values: Values,
}

impl Facts {
    /// Collects them. A row that cannot be read has none: nothing is filtered by what is damaged.
    pub(crate) fn collect(
        &mut self,
        table: Option<&Table>,
        columns: impl Iterator<Item = u8> + Clone,
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) {
        self.arena.clear();
        self.before.clear();
        self.after.clear();
        let Some(table) = table else { return };
        for (row, spans) in [(before, &mut self.before), (after, &mut self.after)] {
            let Some(Ok(row)) = row.map(Row::new) else { continue };
            for column in columns.clone().filter(|column| usize::from(*column) < table.columns.len()) {
                let Ok(cell) = row.cell(table, column) else { continue };
                if self.values.collect(cell, Lookup::Each).is_err() {
                    continue;
                }
                for value in self.values.iter() {
                    let start = self.arena.len();
                    self.arena.extend_from_slice(value);
                    spans.push((column, start, self.arena.len()));
                }
            }
        }
    }

    /// All of them; what both rows have, twice.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.before.iter().chain(&self.after).map(|(column, from, to)| (*column, &self.arena[*from..*to]))
    }

    /// True if one of the rows has all of these.
    pub(crate) fn meet(&self, wheres: &[(u8, Box<[u8]>)]) -> bool {
        let has = |spans: &[(u8, usize, usize)], column: u8, value: &[u8]| {
            spans.iter().any(|(of, from, to)| *of == column && self.arena[*from..*to] == *value)
        };
        let meets = |spans: &[_]| wheres.iter().all(|(column, value)| has(spans, *column, value));
        wheres.is_empty() || meets(&self.before) || meets(&self.after)
    }
}
