//! A `Define`: checks that the new schema only adds, builds what was added, and puts it in force.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::apply::Tables;
use crate::cell;
use crate::frame::Stop;
use crate::index::Values;
use crate::keys::{self, ROW_PREFIX_BYTES};
use crate::refusal::code;
use crate::row::Row;
use crate::rows::{duplicate, first_with};
use crate::schema::{Lookup, Schema, Table};
use crate::store::{Read, StoreError, Write};

/// Rows read at a time while an index is built.
const CHUNK_ROWS: usize = 256;

/// Applies the payload of a `Define`. A refusal leaves no trace.
pub(crate) fn apply(tables: &mut Tables, w: &mut impl Write, body: &[u8]) -> Result<(), Stop> {
    // The leader decoded it before it was committed, so what is not known here is known to newer peers: stop
    // rather than diverge.
    let new = Schema::decode(body).map_err(|refusal| match refusal.code {
        code::UNSUPPORTED => Stop::Corrupt(refusal.message),
        _ => refusal.into(),
    })?;
    let old = Arc::clone(&tables.schema);
    if *old == new {
        return Ok(());
    }
    Schema::check_migration(&old, &new)?;
    for before in &old.tables {
        let after = new.table(before.id)?;
        let built = build_added(w, before, after);
        if let Err(Stop::Refused(refusal)) = built {
            take_back(w, &old, &new)?;
            return Err(refusal.into());
        }
        built?;
    }
    let mut counts = vec![0; new.tables.len()];
    for (position, table) in new.tables.iter().enumerate() {
        counts[position] = tables.count(table.id);
    }
    tables.counts = counts;
    w.put(keys::SCHEMA, &new.encode())?;
    tables.schema = Arc::new(new);
    Ok(())
}

fn added_lookups<'t>(before: &'t Table, after: &'t Table) -> impl Iterator<Item = u8> + 't {
    after.indexed.iter().copied().filter(|column| !before.indexed.contains(column))
}

/// Builds the entries of new indexes, and the order of a new `keep`, from the rows there are.
fn build_added(w: &mut impl Write, before: &Table, after: &Table) -> Result<(), Stop> {
    let columns: Vec<u8> = added_lookups(before, after).collect();
    let ordered = before.keep.is_none() && after.keep.is_some();
    if columns.is_empty() && !ordered {
        return Ok(());
    }
    let mut from = Vec::new();
    keys::row(&mut from, after.id, b"");
    let end = keys::after_prefix(&from);
    loop {
        let rows = read_chunk(w, &from, end.as_deref())?;
        for (store_key, row) in &rows {
            let entries = Entries { columns: &columns, ordered, expires: None };
            build_row(w, after, &entries, &store_key[ROW_PREFIX_BYTES..], row)?;
        }
        match rows.last() {
            Some((last, _)) if rows.len() == CHUNK_ROWS => {
                from.clone_from(last);
                from.push(0);
            }
            _ => return Ok(()),
        }
    }
}

type Pair = (Vec<u8>, Vec<u8>);

fn read_chunk(r: &impl Read, from: &[u8], to: Option<&[u8]>) -> Result<Vec<Pair>, StoreError> {
    let mut rows = Vec::new();
    let mut visit = |key: &[u8], row: &[u8]| {
        rows.push((key.to_vec(), row.to_vec()));
        if rows.len() == CHUNK_ROWS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    r.scan(from, to, &mut visit)?;
    Ok(rows)
}

/// Which entries of a row are to be written.
pub(crate) struct Entries<'e> {
    pub(crate) columns: &'e [u8],
    pub(crate) ordered: bool,
    pub(crate) expires: Option<u8>,
}

/// Writes index, order and expiry entries of one row that has none of them yet.
pub(crate) fn build_row(
    w: &mut impl Write,
    table: &Table,
    entries: &Entries<'_>,
    key: &[u8],
    row: &[u8],
) -> Result<(), Stop> {
    let row = Row::new(row)?;
    let mut entry = Vec::new();
    let mut values = Values::default();
    for &column in entries.columns {
        let lookup = table.columns[usize::from(column)].lookup;
        values.collect(row.cell(table, column)?, lookup)?;
        for value in values.iter() {
            keys::index_prefix(&mut entry, table.id, column, value)?;
            if lookup == Lookup::Unique && first_with(w, &entry)?.is_some() {
                return Err(duplicate(table, column).into());
            }
            entry.extend_from_slice(key);
            w.put(&entry, b"")?;
        }
    }
    if entries.ordered {
        keys::order(&mut entry, table.id, row.create_index(), key);
        w.put(&entry, b"")?;
    }
    if let Some(column) = entries.expires
        && let Some(deadline_ms) = cell::unsigned(row.cell(table, column)?)
    {
        keys::expiry(&mut entry, table.id, deadline_ms, key);
        w.put(&entry, b"")?;
    }
    Ok(())
}

/// Removes every entry that only the new schema would have.
fn take_back(w: &mut impl Write, old: &Schema, new: &Schema) -> Result<(), Stop> {
    let mut prefix = Vec::new();
    for before in &old.tables {
        let after = new.table(before.id)?;
        for column in added_lookups(before, after) {
            keys::index_column(&mut prefix, after.id, column);
            remove_all(w, &prefix)?;
        }
        if before.keep.is_none() && after.keep.is_some() {
            keys::order_table(&mut prefix, after.id);
            remove_all(w, &prefix)?;
        }
    }
    Ok(())
}

fn remove_all(w: &mut impl Write, prefix: &[u8]) -> Result<(), StoreError> {
    while let Some(key) = first_with(w, prefix)? {
        w.delete(&key)?;
    }
    Ok(())
}
