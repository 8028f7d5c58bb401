//! Writing and removing one row with everything that hangs on it: indexes, expiry, order, reactions, `keep`.

use std::ops::ControlFlow;

use crate::cell::{self, NIL};
use crate::change::{Change, ChangeKind, Rows};
use crate::frame::{Context, Frame, Run, Stop};
use crate::journal::Counted;
use crate::keys::{self, ROW_PREFIX_BYTES, TIMED_PREFIX_BYTES};
use crate::msgpack::Cursor;
use crate::refusal::{Refusal, code};
use crate::row::{self, Row};
use crate::schema::{Child, Lookup, Ref, Table};
use crate::store::{Read, StoreError, Write};
use crate::vocabulary;

/// Reactions deeper than this refuse the entry.
pub(crate) const DEPTH_MAX: u32 = 8;

/// A column's cell in a packed row that may be absent (empty bytes).
fn cell_of<'b>(row: &'b [u8], table: &'b Table, column: u8) -> Result<&'b [u8], Stop> {
    if row.is_empty() {
        return Ok(NIL);
    }
    Ok(Row::new(row)?.cell(table, column)?)
}

fn unsigned_of(row: &[u8], table: &Table, column: u8) -> Result<Option<u64>, Stop> {
    Ok(cell::unsigned(cell_of(row, table, column)?))
}

/// The first store key that starts with `prefix`.
pub(crate) fn first_with(r: &impl Read, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let mut found = None;
    let mut visit = |key: &[u8], _: &[u8]| {
        if key.starts_with(prefix) {
            found = Some(key.to_vec());
        }
        ControlFlow::Break(())
    };
    r.scan(prefix, None, &mut visit)?;
    Ok(found)
}

/// Keys one behind the other in one allocation.
#[derive(Debug, Default)]
pub(crate) struct KeyList {
    arena: Vec<u8>,
    ends: Vec<usize>,
}

impl KeyList {
    pub(crate) fn push(&mut self, key: &[u8]) {
        self.arena.extend_from_slice(key);
        self.ends.push(self.arena.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.arena[start..self.ends[at]]
    }

    /// The tails, after `skip` bytes, of the first `limit` store keys that start with `prefix`.
    pub(crate) fn tails(r: &impl Read, prefix: &[u8], skip: usize, limit: usize) -> Result<Self, StoreError> {
        Self::range(r, prefix, keys::after_prefix(prefix).as_deref(), skip, limit)
    }

    /// The tails, after `skip` bytes, of the first `limit` store keys from `from` up to `to`.
    pub(crate) fn range(
        r: &impl Read,
        from: &[u8],
        to: Option<&[u8]>,
        skip: usize,
        limit: usize,
    ) -> Result<Self, StoreError> {
        let mut list = Self::default();
        let mut visit = |key: &[u8], _: &[u8]| {
            if list.len() == limit {
                return ControlFlow::Break(());
            }
            list.push(&key[skip.min(key.len())..]);
            ControlFlow::Continue(())
        };
        r.scan(from, to, &mut visit)?;
        Ok(list)
    }
}

impl<'r, W: Write> Run<'r, W> {
    /// Sets a key that is known to be absent, and is no row.
    fn put_entry(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.journal.record(key, None, Counted::Same);
        self.w.put(key, b"")
    }

    /// Removes a key that is known to be there, and is no row.
    fn delete_entry(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.journal.record(key, Some(b""), Counted::Same);
        self.w.delete(key)?;
        Ok(())
    }

    /// Loads the row at `f.store_key` into `f.old`.
    pub(crate) fn load(&self, f: &mut Frame) -> Result<(), StoreError> {
        f.old.clear();
        if let Some(row) = self.w.get(&f.store_key)? {
            f.old.extend_from_slice(row);
        }
        Ok(())
    }

    /// Writes `f.new` over `f.old`. `is_begun`: as in [`ChangeKind::Put`].
    pub(crate) fn store_row(
        &mut self,
        table: &Table,
        f: &mut Frame,
        is_begun: bool,
        context: Context<'_>,
    ) -> Result<(), Stop> {
        row::check_size(&f.new)?;
        self.reindex(table, f)?;
        let fresh = f.old.is_empty();
        if fresh && table.keep.is_some() {
            keys::order(&mut f.side_key, table.id, self.index, &f.store_key[ROW_PREFIX_BYTES..]);
            self.put_entry(&f.side_key)?;
        }
        let counted = if fresh { Counted::Added(table.position) } else { Counted::Same };
        self.journal.record(&f.store_key, (!fresh).then_some(&f.old[..]), counted);
        self.counts[table.position] += u64::from(fresh);
        self.w.put(&f.store_key, &f.new)?;
        let lease_ms = match table.lease {
            Some(column) => unsigned_of(&f.new, table, column)?,
            None => None,
        };
        self.note(table, f, ChangeKind::Put { lease_ms, is_begun });
        self.react_to_write(table, f, context)?;
        match table.keep {
            Some(keep) => self.keep_newest(table, keep, context),
            None => Ok(()),
        }
    }

    /// Removes the row `f.old` at `f.store_key`.
    pub(crate) fn remove_row(
        &mut self,
        table: &Table,
        f: &mut Frame,
        context: Context<'_>,
    ) -> Result<(), Stop> {
        f.new.clear();
        self.reindex(table, f)?;
        if table.keep.is_some() {
            let created = Row::new(&f.old)?.create_index();
            keys::order(&mut f.side_key, table.id, created, &f.store_key[ROW_PREFIX_BYTES..]);
            self.delete_entry(&f.side_key)?;
        }
        self.journal.record(&f.store_key, Some(&f.old), Counted::Removed(table.position));
        self.w.delete(&f.store_key)?;
        let count = &mut self.counts[table.position];
        *count = count.checked_sub(1).ok_or_else(|| Stop::Corrupt("a row count is below its rows".into()))?;
        self.note(table, f, ChangeKind::Delete);
        for &child in &table.children {
            let (child, reference) = self.child(child);
            self.react(child, reference, table, f.row_key(), &f.old, context)?;
        }
        Ok(())
    }

    fn child(&self, child: Child) -> (&'r Table, &'r Ref) {
        let table = &self.schema.tables[child.table];
        (table, &table.refs[child.reference])
    }

    fn note(&mut self, table: &Table, f: &mut Frame, kind: ChangeKind) {
        let rows = Rows::pack(&mut f.cells, &f.store_key[ROW_PREFIX_BYTES..], &f.old, &f.new);
        let (index, at_ms, cause) = (self.index, self.clock_ms, self.cause);
        self.changes.push(Change { index, at_ms, table: table.id, kind, cause, rows });
    }

    /// Brings index and expiry entries from `f.old` to `f.new`.
    fn reindex(&mut self, table: &Table, f: &mut Frame) -> Result<(), Stop> {
        for &column in &table.indexed {
            self.reindex_column(table, column, f)?;
        }
        let Some(column) = table.expires else { return Ok(()) };
        let was = unsigned_of(&f.old, table, column)?;
        let will = unsigned_of(&f.new, table, column)?;
        if was == will {
            return Ok(());
        }
        if let Some(deadline_ms) = was {
            keys::expiry(&mut f.side_key, table.id, deadline_ms, &f.store_key[ROW_PREFIX_BYTES..]);
            self.delete_entry(&f.side_key)?;
        }
        if let Some(deadline_ms) = will {
            keys::expiry(&mut f.side_key, table.id, deadline_ms, &f.store_key[ROW_PREFIX_BYTES..]);
            self.put_entry(&f.side_key)?;
        }
        Ok(())
    }

    fn reindex_column(&mut self, table: &Table, column: u8, f: &mut Frame) -> Result<(), Stop> {
        let was = cell_of(&f.old, table, column)?;
        let will = cell_of(&f.new, table, column)?;
        if was == will {
            return Ok(());
        }
        let lookup = table.columns[usize::from(column)].lookup;
        f.was.collect(was, lookup)?;
        f.will.collect(will, lookup)?;
        for value in f.was.iter().filter(|value| !f.will.contains(value)) {
            keys::index_prefix(&mut f.side_key, table.id, column, value)?;
            f.side_key.extend_from_slice(&f.store_key[ROW_PREFIX_BYTES..]);
            self.delete_entry(&f.side_key)?;
        }
        for value in f.will.iter().filter(|value| !f.was.contains(value)) {
            keys::index_prefix(&mut f.side_key, table.id, column, value)?;
            if lookup == Lookup::Unique && first_with(self.w, &f.side_key)?.is_some() {
                return Err(duplicate(table, column).into());
            }
            f.side_key.extend_from_slice(&f.store_key[ROW_PREFIX_BYTES..]);
            self.put_entry(&f.side_key)?;
        }
        Ok(())
    }

    fn react_to_write(&mut self, table: &Table, f: &Frame, context: Context<'_>) -> Result<(), Stop> {
        for &child in &table.children {
            let (child, reference) = self.child(child);
            let Some((column, value)) = &reference.breaks_when else { continue };
            let broken = |row: &[u8]| -> Result<bool, Stop> { Ok(cell_of(row, table, *column)? == &**value) };
            if broken(&f.new)? && !broken(&f.old)? {
                self.react(child, reference, table, f.row_key(), &f.new, context)?;
            }
        }
        Ok(())
    }

    /// Runs the reactions of every row of `child` that points at the parent's key.
    fn react(
        &mut self,
        child: &Table,
        reference: &Ref,
        parent: &Table,
        parent_key: &[u8],
        parent_row: &[u8],
        context: Context<'_>,
    ) -> Result<(), Stop> {
        let chosen = match reference.choose_by {
            Some(column) => cell_of(parent_row, parent, column)?,
            None => NIL,
        };
        let Some(reaction) = reference.then.iter().find(|reaction| *reaction.when == *chosen) else {
            return Ok(());
        };
        let mut prefix = Vec::new();
        // A parent key too long for an index value cannot be in any row: writing it was refused.
        if keys::index_prefix(&mut prefix, child.id, reference.column, parent_key).is_err() {
            return Ok(());
        }
        let list = KeyList::tails(self.w, &prefix, prefix.len(), usize::MAX)?;
        for at in 0..list.len() {
            let myself = list.get(at);
            prefix.extend_from_slice(myself);
            let still = self.w.get(&prefix)?.is_some();
            prefix.truncate(prefix.len() - myself.len());
            // An earlier reaction may have removed the row or pointed it elsewhere.
            if !still {
                continue;
            }
            let inner = Context {
                myself: Some(myself),
                parent: Some((parent, parent_row)),
                depth: context.depth + 1,
            };
            let mut ops = Cursor::new(&reaction.ops);
            for _ in 0..ops.array()? {
                let op = vocabulary::op(&mut ops)?;
                self.op(&op, inner)?;
            }
        }
        Ok(())
    }

    /// Removes the oldest rows beyond `keep`. There is more than one only after `keep` was added to a full
    /// table.
    fn keep_newest(&mut self, table: &Table, keep: u64, context: Context<'_>) -> Result<(), Stop> {
        while self.counts[table.position] > keep {
            check_depth(context.depth + 1)?;
            let mut prefix = Vec::new();
            keys::order_table(&mut prefix, table.id);
            let oldest = first_with(self.w, &prefix)?;
            let Some(key) = oldest.as_deref().and_then(|entry| entry.get(TIMED_PREFIX_BYTES..)) else {
                return Err(Stop::Corrupt(format!("table {} has rows without an order", table.name)));
            };
            self.delete_key(table, key, Context { depth: context.depth + 1, ..context })?;
        }
        Ok(())
    }

    /// Removes the row with the key, if it is there; true if it was.
    pub(crate) fn delete_key(
        &mut self,
        table: &Table,
        key: &[u8],
        context: Context<'_>,
    ) -> Result<bool, Stop> {
        let mut f = self.frames.take();
        keys::row(&mut f.store_key, table.id, key);
        self.load(&mut f)?;
        let there = !f.old.is_empty();
        if there {
            self.remove_row(table, &mut f, context)?;
        }
        self.frames.give(f);
        Ok(there)
    }
}

pub(crate) fn duplicate(table: &Table, column: u8) -> Refusal {
    let name = table.columns.get(usize::from(column)).map_or("", |column| &column.name);
    Refusal::new(code::DUPLICATE, format!("{name} is already taken in {}", table.name))
}

pub(crate) fn check_depth(depth: u32) -> Result<(), Refusal> {
    if depth > DEPTH_MAX {
        return Err(Refusal::new(
            code::LIMIT_REACHED,
            format!("reactions are limited to a depth of {DEPTH_MAX}"),
        ));
    }
    Ok(())
}
