//! The vocabulary at work: guards that are asked and ops that write.

use crate::cell::{self, Place};
use crate::frame::{Context, Frame, Run, Stop};
use crate::json_text;
use crate::keys::{self, ROW_PREFIX_BYTES};
use crate::msgpack::{self, Cursor};
use crate::refusal::{Refusal, code};
use crate::row::{self, Row};
use crate::rows::{KeyList, check_depth};
use crate::schema::{Column, Table};
use crate::store::Write;
use crate::vocabulary::{self, Action, Guard, Key, Op, Test};

/// How many keys `delete_prefix` reads at a time when nothing can react.
const DELETE_PREFIX_CHUNK: usize = 4096;

fn misplaced() -> Stop {
    Refusal::invalid("a placeholder stands where it has no meaning").into()
}

fn unfit(column: &Column) -> Stop {
    let kind = column.kind.name();
    Refusal::invalid(format!("column {:?}: a placeholder does not fit a {kind} cell", column.name)).into()
}

impl<W: Write> Run<'_, W> {
    /// Sets `f.store_key` to the row a key means.
    fn locate(&self, table: &Table, key: &Key<'_>, f: &mut Frame, context: Context<'_>) -> Result<(), Stop> {
        match *key {
            Key::Plain(bytes) => keys::row(&mut f.store_key, table.id, bytes),
            Key::Place(Place::Index) => {
                keys::row(&mut f.store_key, table.id, b"");
                json_text::write_padded(&mut f.store_key, self.index, 20);
            }
            Key::Place(Place::Myself) => {
                keys::row(&mut f.store_key, table.id, context.myself.ok_or_else(misplaced)?);
            }
            Key::Place(Place::Parent { column, plus_now: false }) => {
                let (parent, bytes) = context.parent.ok_or_else(misplaced)?;
                let key = cell::payload(Row::new(bytes)?.cell(parent, column)?).unwrap_or_default();
                vocabulary::check_key(key)?;
                keys::row(&mut f.store_key, table.id, key);
            }
            Key::Place(_) => return Err(misplaced()),
        }
        Ok(())
    }

    /// Appends what a placeholder stands for in a cell of `column`, other than KEEP.
    fn fill(
        &self,
        place: Place,
        column: &Column,
        out: &mut Vec<u8>,
        context: Context<'_>,
    ) -> Result<(), Stop> {
        let clock_ms = i128::from(self.clock_ms);
        let number = match place {
            Place::Index => i128::from(self.index),
            Place::Now(plus_ms) => (clock_ms + i128::from(plus_ms)).clamp(0, i128::from(i64::MAX)),
            Place::Myself => {
                let mut given = Vec::new();
                let myself = context.myself.ok_or_else(misplaced)?;
                match column.kind {
                    cell::CellKind::Text => msgpack::write_text(&mut given, myself),
                    _ => msgpack::write_bytes(&mut given, myself),
                }
                return self.fill_from(&given, column, out);
            }
            Place::Parent { column: position, plus_now } => {
                let (parent, bytes) = context.parent.ok_or_else(misplaced)?;
                let given = Row::new(bytes)?.cell(parent, position)?;
                if !plus_now {
                    return self.fill_from(given, column, out);
                }
                (clock_ms + cell::number(given).unwrap_or(0)).clamp(0, i128::from(i64::MAX))
            }
            Place::Keep => return Err(misplaced()),
        };
        if cell::write_number(out, column.kind, number) { Ok(()) } else { Err(unfit(column)) }
    }

    /// Appends a cell of another column, if this one can hold it.
    fn fill_from(&self, given: &[u8], column: &Column, out: &mut Vec<u8>) -> Result<(), Stop> {
        match cell::canonical(&mut Cursor::new(given), column.kind, out)? {
            None => Ok(()),
            Some(_) => Err(unfit(column)),
        }
    }

    /// Appends the next given cell in its stored form. `old` is the row KEEP takes from; None where KEEP is
    /// no value.
    fn given(
        &self,
        cursor: &mut Cursor<'_>,
        table: &Table,
        position: u8,
        old: Option<&[u8]>,
        out: &mut Vec<u8>,
        context: Context<'_>,
    ) -> Result<(), Stop> {
        let column = table.column(position)?;
        match (cell::canonical(cursor, column.kind, out)?, old) {
            (None, _) => Ok(()),
            (Some(Place::Keep), Some([])) => {
                out.extend_from_slice(&column.default);
                Ok(())
            }
            (Some(Place::Keep), Some(old)) => {
                out.extend_from_slice(Row::new(old)?.cell(table, position)?);
                Ok(())
            }
            (Some(place), _) => self.fill(place, column, out, context),
        }
    }

    /// Asks a guard. If it does not hold: the row's modify_index (0 if absent) and its key.
    pub(crate) fn fails(&mut self, guard: &Guard<'_>) -> Result<Option<(u64, Vec<u8>)>, Stop> {
        let schema = self.schema;
        let table = schema.table(guard.table)?;
        let mut f = self.frames.take();
        self.locate(table, &guard.key, &mut f, Context::TOP)?;
        let row = match self.w.get(&f.store_key)? {
            Some(bytes) => Some(Row::new(bytes)?),
            None => None,
        };
        let current = row.map_or(0, |row| row.modify_index());
        let mut compared = |position: u8, mut value: Cursor<'_>| -> Result<_, Stop> {
            f.cells.clear();
            self.given(&mut value, table, position, None, &mut f.cells, Context::TOP)?;
            match row {
                Some(row) => Ok(row.cell(table, position)?),
                None => Ok(cell::NIL),
            }
        };
        let holds = match guard.test {
            Test::Exists => row.is_some(),
            Test::Absent => row.is_none(),
            Test::At(index) => current == index,
            Test::Is(column, value) => compared(column, value)? == f.cells,
            Test::IsNot(column, value) => compared(column, value)? != f.cells,
            Test::AtMost(column, value) => {
                let have = cell::number(compared(column, value)?);
                let limit = cell::number(&f.cells).ok_or_else(|| Refusal::invalid("le compares numbers"))?;
                have.is_none_or(|have| have <= limit)
            }
        };
        let failed = (!holds).then(|| (current, f.row_key().to_vec()));
        self.frames.give(f);
        Ok(failed)
    }

    /// Does one op.
    pub(crate) fn op(&mut self, op: &Op<'_>, context: Context<'_>) -> Result<(), Stop> {
        check_depth(context.depth)?;
        let schema = self.schema;
        let table = schema.table(op.table)?;
        let mut f = self.frames.take();
        self.locate(table, &op.key, &mut f, context)?;
        if !matches!(op.action, Action::DeletePrefix) {
            self.load(&mut f)?;
        }
        match op.action {
            Action::Put(count, cells) => self.put(table, &mut f, count, cells, context)?,
            Action::Patch(count, pairs) => self.patch(table, &mut f, count, pairs, context)?,
            Action::Add { column, delta, ceiling } => {
                self.add(table, &mut f, (column, delta, ceiling), context)?
            }
            Action::Delete if f.old.is_empty() => {}
            Action::Delete => self.remove_row(table, &mut f, context)?,
            Action::DeletePrefix => self.delete_prefix(table, &f, context)?,
        }
        self.frames.give(f);
        Ok(())
    }

    /// Starts `f.new` with the old row's create_index, or this entry's.
    fn start(&self, f: &mut Frame) -> Result<(), Stop> {
        let created = if f.old.is_empty() { self.index } else { Row::new(&f.old)?.create_index() };
        row::start(&mut f.new, created, self.index);
        Ok(())
    }

    fn put(
        &mut self,
        table: &Table,
        f: &mut Frame,
        count: u32,
        mut cells: Cursor<'_>,
        context: Context<'_>,
    ) -> Result<(), Stop> {
        vocabulary::check_count(table, count)?;
        self.start(f)?;
        for (position, column) in (0..=u8::MAX).zip(&table.columns) {
            if u32::from(position) < count {
                self.given(&mut cells, table, position, Some(&f.old), &mut f.new, context)?;
            } else {
                f.new.extend_from_slice(&column.default);
            }
        }
        self.store_row(table, f, true, context)
    }

    fn patch(
        &mut self,
        table: &Table,
        f: &mut Frame,
        count: u32,
        mut pairs: Cursor<'_>,
        context: Context<'_>,
    ) -> Result<(), Stop> {
        if f.old.is_empty() {
            return Err(
                Refusal::new(code::NOT_FOUND, format!("there is no such row in {}", table.name)).into()
            );
        }
        self.start(f)?;
        f.cells.clear();
        let mut patches = vec![None; table.columns.len()];
        for _ in 0..count {
            let position = vocabulary::patched(&mut pairs)?;
            let start = f.cells.len();
            self.given(&mut pairs, table, position, None, &mut f.cells, context)?;
            patches[usize::from(position)] = Some((start, f.cells.len()));
        }
        let old = Row::new(&f.old)?;
        for (position, patch) in (0..=u8::MAX).zip(&patches) {
            match patch {
                Some((start, end)) => f.new.extend_from_slice(&f.cells[*start..*end]),
                None => f.new.extend_from_slice(old.cell(table, position)?),
            }
        }
        let is_begun = table.lease.is_some_and(|column| patches[usize::from(column)].is_some());
        self.store_row(table, f, is_begun, context)
    }

    fn add(
        &mut self,
        table: &Table,
        f: &mut Frame,
        (column, delta, ceiling): (u8, i64, Option<i128>),
        context: Context<'_>,
    ) -> Result<(), Stop> {
        vocabulary::check_countable(table, column)?;
        self.start(f)?;
        for (position, declared) in (0..=u8::MAX).zip(&table.columns) {
            let have = if f.old.is_empty() {
                &*declared.default
            } else {
                Row::new(&f.old)?.cell(table, position)?
            };
            if position != column {
                f.new.extend_from_slice(have);
                continue;
            }
            let total = cell::number(have).unwrap_or(0) + i128::from(delta);
            let within = ceiling.is_none_or(|ceiling| total <= ceiling);
            if !within || !cell::write_number(&mut f.new, declared.kind, total) {
                let what = format!("{} of {} is at its limit", declared.name, table.name);
                return Err(Refusal::new(code::LIMIT_REACHED, what).into());
            }
        }
        let is_begun = f.old.is_empty() || table.lease == Some(column);
        self.store_row(table, f, is_begun, context)
    }

    /// Deletes the rows that have the prefix now. Where deletes cannot cause writes, keys are read in chunks.
    fn delete_prefix(&mut self, table: &Table, f: &Frame, context: Context<'_>) -> Result<(), Stop> {
        let chunk = if table.children.is_empty() { DELETE_PREFIX_CHUNK } else { usize::MAX };
        loop {
            let list = KeyList::tails(self.w, &f.store_key, ROW_PREFIX_BYTES, chunk)?;
            for at in 0..list.len() {
                self.delete_key(table, list.get(at), context)?;
            }
            if list.len() < chunk {
                return Ok(());
            }
        }
    }
}
