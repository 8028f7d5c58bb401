//! Reading rows: by key, by prefix, by index values, and keys folded at a separator.

use std::ops::ControlFlow;

use crate::apply;
use crate::filter;
use crate::keys::{self, ROW_PREFIX_BYTES, Short};
use crate::msgpack::Malformed;
use crate::refusal::Refusal;
use crate::schema::{Lookup, Schema};
use crate::store::{Read, StoreError};

pub use crate::fold::{KeyQuery, keys, keys_seen};

/// Most rows of one scan.
pub const SCAN_ROWS_MAX: usize = 10_000;
/// Most rows one page looks at to find those that its reader sees.
pub const LOOKS_MAX: usize = 10_000;
/// Most filters of one scan.
pub const FILTERS_MAX: usize = 32;

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The question breaks a rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is damaged.
    #[error("the applied state is damaged: {0}")]
    Corrupt(String),
}

impl From<Malformed> for ReadError {
    fn from(cause: Malformed) -> Self {
        Self::Corrupt(cause.to_string())
    }
}

/// Which rows to read. Keys ascend.
#[derive(Debug, Clone, Copy)]
pub struct Query<'q> {
    /// The table's id.
    pub table: u16,
    /// What keys start with.
    pub prefix: &'q [u8],
    /// Index values (see [`crate::index`]) that rows have, all of them, by column position.
    pub filters: &'q [(u8, &'q [u8])],
    /// Keys come after this one.
    pub after: Option<&'q [u8]>,
    /// Most rows, 1 to [`SCAN_ROWS_MAX`].
    pub limit: usize,
}

impl Query<'_> {
    /// The first key that may be an answer.
    fn start(&self) -> Vec<u8> {
        match self.after {
            Some(after) if after >= self.prefix => [after, &[0]].concat(),
            _ => self.prefix.to_vec(),
        }
    }

    fn check(&self, schema: &Schema) -> Result<(), Refusal> {
        check_limit(self.limit)?;
        let table = schema.table(self.table)?;
        if self.filters.len() > FILTERS_MAX {
            return Err(Refusal::too_large(format!("a query is limited to {FILTERS_MAX} filters")));
        }
        for (position, _) in self.filters {
            let column = table.column(*position)?;
            if column.lookup == Lookup::None {
                return Err(Refusal::unsupported(format!("column {:?} has no index", column.name)));
            }
        }
        Ok(())
    }
}

pub(crate) fn check_limit(limit: usize) -> Result<(), Refusal> {
    if (1..=SCAN_ROWS_MAX).contains(&limit) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("limit must be 1 to {SCAN_ROWS_MAX}, not {limit}")))
}

/// The packed row under a key.
///
/// # Errors
/// What the store reports.
pub fn get<'r>(r: &'r impl Read, table: u16, key: &[u8]) -> Result<Option<&'r [u8]>, StoreError> {
    match Short::row(table, key) {
        Some(short) => r.get(short.as_slice()),
        None => Ok(None),
    }
}

/// How many rows a table has; 0 if there is no such table.
///
/// # Errors
/// What the store reports.
pub fn count(r: &impl Read, schema: &Schema, table: u16) -> Result<u64, StoreError> {
    apply::stored_count(r, schema, table)
}

/// What [`scan`] hands each key and packed row to.
pub type VisitRow<'v> = dyn FnMut(&[u8], &[u8]) -> Result<(), ReadError> + 'v;

/// Whether the reader sees what is under a key; None: he sees everything.
pub type Sees<'s> = Option<&'s dyn Fn(&[u8]) -> bool>;

/// Keeps count of answers and of the key to continue after.
pub(crate) struct Page<'s> {
    sees: Sees<'s>,
    left: usize,
    looks: usize,
    last: Vec<u8>,
    more: bool,
}

impl<'s> Page<'s> {
    pub(crate) fn new(limit: usize, sees: Sees<'s>) -> Self {
        Self { sees, left: limit, looks: 0, last: Vec::new(), more: false }
    }

    /// False when the page ends before this key; else `true` inside if the reader sees it.
    ///
    /// It ends when another page is known to have an answer, or when it has looked at enough. A page that is
    /// not full then continues after a key that its reader may not see: not for his eyes.
    pub(crate) fn looks_at(&mut self, key: &[u8]) -> Option<bool> {
        let Some(sees) = self.sees else { return Some(true) };
        if self.looks == LOOKS_MAX {
            self.more = true;
            return None;
        }
        self.looks += 1;
        let is_seen = sees(key);
        if !is_seen && self.left > 0 {
            self.note(key);
        }
        Some(is_seen)
    }

    /// True if there is room for one more answer.
    pub(crate) fn admits(&mut self, key: &[u8]) -> bool {
        if self.left == 0 {
            self.more = true;
            return false;
        }
        self.left -= 1;
        self.note(key);
        true
    }

    fn note(&mut self, key: &[u8]) {
        self.last.clear();
        self.last.extend_from_slice(key);
    }

    pub(crate) fn next(self) -> Option<Vec<u8>> {
        self.more.then_some(self.last)
    }
}

/// Visits the rows of a query. Returns the key to continue after, or None if there are no more.
///
/// # Errors
/// [`ReadError`]; an error of `visit` ends the scan and is passed on.
pub fn scan<R: Read>(
    r: &R,
    schema: &Schema,
    query: &Query<'_>,
    visit: &mut VisitRow<'_>,
) -> Result<Option<Vec<u8>>, ReadError> {
    scan_seen(r, schema, query, None, visit)
}

/// As [`scan`], of the rows that are seen. Looks at no more than [`LOOKS_MAX`]: with fewer answers than the
/// limit and a key to continue after there may be more, and that key may be one that is not seen.
///
/// # Errors
/// As [`scan`].
pub fn scan_seen<R: Read>(
    r: &R,
    schema: &Schema,
    query: &Query<'_>,
    sees: Sees<'_>,
    visit: &mut VisitRow<'_>,
) -> Result<Option<Vec<u8>>, ReadError> {
    query.check(schema)?;
    let mut page = Page::new(query.limit, sees);
    if query.filters.is_empty() {
        scan_range(r, query, &mut page, visit)?;
    } else {
        let mut each = |key: &[u8]| -> Result<bool, ReadError> {
            if !key.starts_with(query.prefix) {
                return Ok(false);
            }
            match page.looks_at(key) {
                Some(false) => return Ok(true),
                Some(true) if page.admits(key) => {}
                _ => return Ok(false),
            }
            let row = get(r, query.table, key)?;
            visit(key, row.ok_or_else(|| ReadError::Corrupt("an index entry has no row".into()))?)?;
            Ok(true)
        };
        filter::intersect(r, query.table, query.filters, &query.start(), &mut each)?;
    }
    Ok(page.next())
}

fn scan_range(
    r: &impl Read,
    query: &Query<'_>,
    page: &mut Page<'_>,
    visit: &mut VisitRow<'_>,
) -> Result<(), ReadError> {
    let mut store_key = Vec::new();
    keys::row(&mut store_key, query.table, query.prefix);
    let end = keys::after_prefix(&store_key);
    keys::row(&mut store_key, query.table, &query.start());
    let mut failed = None;
    let mut each = |key: &[u8], row: &[u8]| {
        let key = &key[ROW_PREFIX_BYTES..];
        match page.looks_at(key) {
            Some(false) => return ControlFlow::Continue(()),
            Some(true) if page.admits(key) => {}
            _ => return ControlFlow::Break(()),
        }
        match visit(key, row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    r.scan(&store_key, end.as_deref(), &mut each)?;
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::*;
    use crate::store::Store;

    fn stocked(keys: &[&str]) -> Replica {
        let mut replica = Replica::new(&[Tab::new(1, "kv").column("value", "bytes"), Tab::new(2, "next")]);
        let ops: Vec<_> = keys.iter().map(|key| put(1, *key, &[])).collect();
        replica.must(0, &ops);
        replica.must(0, &[put(2, "a", &[])]);
        replica
    }

    #[test]
    fn scans_stay_in_their_table_and_say_where_they_stopped() {
        let replica = stocked(&["a", "a\0", "b", "c"]);
        let r = replica.store.read().unwrap();
        let schema = replica.tables.schema();
        let run = |prefix: &str, after: Option<&str>, limit| {
            let mut found = Vec::new();
            let after = after.map(str::as_bytes);
            let query = Query { table: 1, prefix: prefix.as_bytes(), filters: &[], after, limit };
            let next = scan(&r, &schema, &query, &mut |key, _| {
                found.push(String::from_utf8(key.to_vec()).unwrap());
                Ok(())
            });
            (found, next.unwrap().map(|key| String::from_utf8(key).unwrap()))
        };
        let strings = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert_eq!(run("", None, 9), (strings(&["a", "a\0", "b", "c"]), None));
        assert_eq!(run("", None, 4).1, None, "the last page knows that it is the last");
        assert_eq!(run("", None, 1), (strings(&["a"]), Some("a".into())));
        assert_eq!(run("", Some("a"), 2), (strings(&["a\0", "b"]), Some("b".into())));
        assert_eq!(run("a", Some("c"), 2), (strings(&[]), None));
        assert_eq!(run("b", Some("a"), 2), (strings(&["b"]), None));
        assert_eq!(count(&r, &schema, 1).unwrap(), 4);
        assert_eq!(count(&r, &schema, 9).unwrap(), 0);
        assert_eq!(get(&r, 1, &[b'x'; 2000]).unwrap(), None);
    }

    #[test]
    fn questions_have_limits() {
        let replica = stocked(&["a"]);
        let r = replica.store.read().unwrap();
        let schema = replica.tables.schema();
        let ok = Query { table: 1, prefix: b"", filters: &[], after: None, limit: 1 };
        let long = [b'v'; 800];
        for query in [
            Query { limit: 0, ..ok },
            Query { limit: SCAN_ROWS_MAX + 1, ..ok },
            Query { table: 7, ..ok },
            Query { filters: &[(0, b"v")], ..ok },
            Query { filters: &[(9, &long)], ..ok },
        ] {
            assert!(matches!(scan(&r, &schema, &query, &mut |_, _| Ok(())), Err(ReadError::Refused(_))));
        }
    }

    #[test]
    fn rows_that_are_not_seen_take_no_place_in_a_page() {
        let replica = stocked(&["a", "b", "c", "d", "e"]);
        let r = replica.store.read().unwrap();
        let run = |limit, sees: &dyn Fn(&[u8]) -> bool| {
            let mut found = Vec::new();
            let query = Query { table: 1, prefix: b"", filters: &[], after: None, limit };
            let next = scan_seen(&r, &replica.tables.schema(), &query, Some(sees), &mut |key, _| {
                found.push(key.to_vec());
                Ok(())
            });
            (found.concat(), next.unwrap())
        };
        assert_eq!(run(2, &|key| key != b"a" && key != b"c"), (b"bd".to_vec(), Some(b"d".to_vec())));
        assert_eq!(run(3, &|key| key != b"a" && key != b"c"), (b"bde".to_vec(), None));
        assert_eq!(run(1, &|_| false), (Vec::new(), None));
    }
}
