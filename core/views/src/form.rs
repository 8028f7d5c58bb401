//! How a change reads as JSON, compiled once per feature.

use konsul_state::Refusal;
use konsul_state::apply::{Cause, Change, ChangeKind};
use konsul_state::index::Values;
use konsul_state::json::{OMIT_EMPTY, Shape, write_padded, write_string};
use konsul_state::read::ReadError;
use konsul_state::row::Row;
use konsul_state::schema::{Lookup, Table};

/// What is told of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    Created = 0,
    Updated = 1,
    Deleted = 2,
    Lapsed = 3,
    Renewed = 4,
}

/// The JSON of one table's changes:
/// `{"type":T, ...members of the row..., ...members of the row before..., "timestamp":seconds,
/// "modify_index":n}`, or with a wrap `{"type":T,"WRAP":{...members of the row...},...}`.
#[derive(Debug)]
pub struct Form {
    table: u16,
    /// `"text"` of each [`Happened`]; empty for what is not told.
    kinds: [Vec<u8>; 5],
    row: Shape,
    /// What of the row is still known of one that is gone.
    key: Shape,
    old: Shape,
    /// `,"name":{`
    wrap: Vec<u8>,
    /// A column and its values: a row with another is to its readers as if it were not there.
    only: Option<(u8, Vec<Box<[u8]>>)>,
}

/// A member: its name, its source and its flags, as [`Shape::new`] takes them.
pub type Member<'n> = (&'n str, i32, u32);

const KEY: i32 = -1;

impl Form {
    /// `kinds`: the words for created, updated, deleted, lapsed and renewed; what has none is not told.
    /// `row`: members of the row that was written; of one that was removed, with a `wrap` all of them as
    /// they were, else only the key. `old`: members of the row before, if there was one, never empty ones.
    /// `wrap`: the member that holds the row's members; "" for none.
    ///
    /// # Errors
    /// A refusal if a source or flag is not known.
    pub fn new(
        table: u16,
        kinds: [&str; 5],
        row: &[Member<'_>],
        old: &[Member<'_>],
        wrap: &str,
    ) -> Result<Self, Refusal> {
        let quoted = |text: &str| {
            let mut out = Vec::new();
            if !text.is_empty() {
                write_string(&mut out, text);
            }
            out
        };
        let key: Vec<_> = row.iter().copied().filter(|(_, source, _)| *source == KEY).collect();
        let old: Vec<_> =
            old.iter().map(|(name, source, flags)| (*name, *source, flags | OMIT_EMPTY)).collect();
        let mut label = quoted(wrap);
        if !label.is_empty() {
            label.insert(0, b',');
            label.extend_from_slice(b":{");
        }
        Ok(Self {
            table,
            kinds: kinds.map(quoted),
            row: Shape::new(table, row)?,
            key: Shape::new(table, &key)?,
            old: Shape::new(table, &old)?,
            wrap: label,
            only: None,
        })
    }

    /// This form for readers to whom a row is there only while `column` has one of these index values: they
    /// are told that it was created when it gets one, and deleted when it gets another.
    #[must_use]
    pub fn only(self, column: u8, values: Vec<Box<[u8]>>) -> Self {
        Self { only: Some((column, values)), ..self }
    }

    /// The table's id.
    pub fn table(&self) -> u16 {
        self.table
    }

    /// True if it has a word for what happened.
    pub(crate) fn tells(&self, what: Option<Happened>) -> bool {
        what.is_some_and(|what| !self.kinds[what as usize].is_empty())
    }

    /// True if a row that is there is there for its readers.
    fn shows(&self, table: Option<&Table>, row: &[u8]) -> bool {
        let Some((column, values)) = &self.only else { return true };
        let Some(table) = table.filter(|table| usize::from(*column) < table.columns.len()) else {
            return true;
        };
        let Ok(cell) = Row::new(row).and_then(|row| row.cell(table, *column)) else { return true };
        let mut found = Values::default();
        found.collect(cell, Lookup::Single).is_ok()
            && found.iter().any(|value| values.iter().any(|one| **one == *value))
    }

    /// What happened to a reader who knew the row as `before`; none if to it nothing did.
    pub(crate) fn happened(
        &self,
        table: Option<&Table>,
        change: &Change,
        before: Option<&[u8]>,
    ) -> Option<Happened> {
        if self.only.is_none() {
            return Some(happened(change, before));
        }
        let was = before.is_some_and(|row| self.shows(table, row));
        let is = change.after().is_some_and(|row| self.shows(table, row));
        match (was, is) {
            (false, false) => None,
            (false, true) => Some(Happened::Created),
            (true, true) => Some(Happened::Updated),
            (true, false) if change.kind == ChangeKind::Delete => Some(happened(change, before)),
            (true, false) => Some(Happened::Deleted),
        }
    }

    /// What the renewal of a row's lease is to a reader.
    pub(crate) fn renewed(&self, table: Option<&Table>, row: &[u8]) -> Option<Happened> {
        self.shows(table, row).then_some(Happened::Renewed)
    }

    /// Writes a change; `before` is the row before as the reader last heard of it.
    pub(crate) fn write(
        &self,
        table: &Table,
        change: &Change,
        before: Option<&[u8]>,
    ) -> Result<Vec<u8>, ReadError> {
        let what = self.happened(Some(table), change, before).unwrap_or(Happened::Updated);
        let length = change.rows.bytes();
        let mut out = Vec::with_capacity(length * 5 / 4 + 160);
        let key = change.key();
        self.open(what, &mut out);
        match (change.after(), change.before()) {
            (Some(row), _) => self.row.write_members(table, key, row, !self.wrap.is_empty(), &mut out)?,
            (None, Some(gone)) if !self.wrap.is_empty() => {
                self.row.write_members(table, key, gone, true, &mut out)?
            }
            (None, Some(gone)) => self.key.write_members(table, key, gone, false, &mut out)?,
            (None, None) => {}
        }
        self.close_wrap(&mut out);
        if let Some(before) = before {
            self.old.write_members(table, key, before, false, &mut out)?;
        }
        close(change.at_ms, change.index, &mut out);
        Ok(out)
    }

    /// Writes the renewal of a row's lease.
    pub(crate) fn write_renewal(
        &self,
        table: &Table,
        key: &[u8],
        row: &[u8],
        at_ms: u64,
    ) -> Result<Vec<u8>, ReadError> {
        let mut out = Vec::with_capacity(row.len() * 5 / 4 + 160);
        self.open(Happened::Renewed, &mut out);
        self.row.write_members(table, key, row, !self.wrap.is_empty(), &mut out)?;
        self.close_wrap(&mut out);
        close(at_ms, Row::new(row)?.modify_index(), &mut out);
        Ok(out)
    }

    fn open(&self, what: Happened, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":");
        out.extend_from_slice(&self.kinds[what as usize]);
        out.extend_from_slice(&self.wrap);
    }

    fn close_wrap(&self, out: &mut Vec<u8>) {
        if !self.wrap.is_empty() {
            out.push(b'}');
        }
    }
}

fn close(at_ms: u64, modify_index: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"timestamp\":");
    write_padded(out, at_ms / 1_000, 1);
    out.extend_from_slice(b",\"modify_index\":");
    write_padded(out, modify_index, 1);
    out.push(b'}');
}

/// What happened to a reader of all rows who knew this one as `before`.
fn happened(change: &Change, before: Option<&[u8]>) -> Happened {
    match (change.kind, change.cause) {
        (ChangeKind::Put { .. }, _) if before.is_none() => Happened::Created,
        (ChangeKind::Put { .. }, _) => Happened::Updated,
        (ChangeKind::Delete, Cause::Write) => Happened::Deleted,
        (ChangeKind::Delete, Cause::Lapse) => Happened::Lapsed,
    }
}
