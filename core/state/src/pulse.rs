//! A pulse: the deletion of what is due.

use std::sync::Arc;

use crate::apply::{Outcome, Tables};
use crate::change::{Cause, Change};
use crate::frame::{Context, Run, Stop};
use crate::keys::{self, TIMED_PREFIX_BYTES};
use crate::rows::KeyList;
use crate::schema::Table;
use crate::store::{Read, Write};

impl Tables {
    /// Expires what is due. A row whose own reactions are refused stays and is tried again by the next pulse.
    pub(crate) fn pulse(
        &mut self,
        w: &mut impl Write,
        limit: u64,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome, Stop> {
        let schema = Arc::clone(&self.schema);
        let clock_ms = self.clock_ms;
        let mut run = self.run(&schema, w, Cause::Lapse, changes);
        let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut expired = 0_u32;
        for table in schema.tables.iter().filter(|table| table.expires.is_some()) {
            if left == 0 {
                break;
            }
            let due = due(run.w, table, clock_ms, left)?;
            left -= due.len();
            for at in 0..due.len() {
                expired += u32::from(expire(&mut run, table, due.get(at))?);
            }
        }
        self.index += u64::from(expired > 0);
        Ok(Outcome::Applied { index: self.index, case: 0, expired })
    }
}

/// The expiry entries of the first due rows of a table.
fn due(r: &impl Read, table: &Table, clock_ms: u64, limit: usize) -> Result<KeyList, Stop> {
    let mut from = Vec::new();
    keys::expiry_table(&mut from, table.id);
    let mut to = Vec::new();
    // A deadline at the clock is due; u64::MAX never is, which spares the overflow.
    keys::expiry(&mut to, table.id, clock_ms.saturating_add(1), b"");
    Ok(KeyList::range(r, &from, Some(&to), 0, limit)?)
}

/// Deletes a row if it is still there and still due; true if it did.
fn expire<W: Write>(run: &mut Run<'_, W>, table: &Table, entry: &[u8]) -> Result<bool, Stop> {
    if run.w.get(entry)?.is_none() {
        return Ok(false);
    }
    let mark = run.changes.len();
    run.journal.start(!table.children.is_empty());
    match run.delete_key(table, &entry[TIMED_PREFIX_BYTES..], Context::TOP) {
        Err(Stop::Refused(_)) => {
            run.undo(mark)?;
            Ok(false)
        }
        other => other,
    }
}
