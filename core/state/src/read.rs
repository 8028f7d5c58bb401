//! Reading rows: by key, by prefix, by index values, and keys folded at a separator.

use std::ops::ControlFlow;

use crate::apply;
use crate::filter;
use crate::keys::{self, ROW_PREFIX_BYTES, Short};
use crate::msgpack::Malformed;
use crate::refusal::Refusal;
use crate::schema::{Lookup, Schema};
use crate::store::{Read, StoreError};

/// Most rows of one scan.
pub const SCAN_ROWS_MAX: usize = 10_000;
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

fn check_limit(limit: usize) -> Result<(), Refusal> {
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

/// Keeps count of answers and of the key to continue after.
struct Page {
    left: usize,
    last: Vec<u8>,
    more: bool,
}

impl Page {
    fn new(limit: usize) -> Self {
        Self { left: limit, last: Vec::new(), more: false }
    }

    /// True if there is room for one more answer.
    fn admits(&mut self, key: &[u8]) -> bool {
        if self.left == 0 {
            self.more = true;
            return false;
        }
        self.left -= 1;
        self.last.clear();
        self.last.extend_from_slice(key);
        true
    }

    fn next(self) -> Option<Vec<u8>> {
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
    query.check(schema)?;
    let mut page = Page::new(query.limit);
    if query.filters.is_empty() {
        scan_range(r, query, &mut page, visit)?;
    } else {
        let mut each = |key: &[u8]| -> Result<bool, ReadError> {
            if !key.starts_with(query.prefix) || !page.admits(key) {
                return Ok(false);
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
    page: &mut Page,
    visit: &mut VisitRow<'_>,
) -> Result<(), ReadError> {
    let mut store_key = Vec::new();
    keys::row(&mut store_key, query.table, query.prefix);
    let end = keys::after_prefix(&store_key);
    keys::row(&mut store_key, query.table, &query.start());
    let mut failed = None;
    let mut each = |key: &[u8], row: &[u8]| {
        let key = &key[ROW_PREFIX_BYTES..];
        if !page.admits(key) {
            return ControlFlow::Break(());
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

/// Which keys to list.
#[derive(Debug, Clone, Copy)]
pub struct KeyQuery<'q> {
    /// The table's id.
    pub table: u16,
    /// What keys start with.
    pub prefix: &'q [u8],
    /// Keys are cut after its first occurrence past the prefix, and listed once; empty for whole keys.
    pub separator: &'q [u8],
    /// Answers come after this one.
    pub after: Option<&'q [u8]>,
    /// Most answers, 1 to [`SCAN_ROWS_MAX`].
    pub limit: usize,
}

impl KeyQuery<'_> {
    /// The part of a key that stands for its group, if it is cut.
    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let past = key.get(self.prefix.len()..)?;
        if self.separator.is_empty() || past.len() < self.separator.len() {
            return None;
        }
        let at = past.windows(self.separator.len()).position(|part| part == self.separator)?;
        Some(&key[..self.prefix.len() + at + self.separator.len()])
    }

    fn start(&self) -> Option<Vec<u8>> {
        match self.after {
            Some(after) if after.starts_with(self.prefix) => match self.group(after) {
                Some(group) => keys::after_prefix(group),
                None => Some([after, &[0]].concat()),
            },
            Some(after) if after > self.prefix => Some([after, &[0]].concat()),
            _ => Some(self.prefix.to_vec()),
        }
    }
}

/// Visits keys, folded at the separator. A folded group costs one seek, however many keys it has. Returns the
/// answer to continue after, or None if there are no more.
///
/// # Errors
/// [`ReadError`].
pub fn keys(
    r: &impl Read,
    schema: &Schema,
    query: &KeyQuery<'_>,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<Option<Vec<u8>>, ReadError> {
    check_limit(query.limit)?;
    schema.table(query.table)?;
    let mut page = Page::new(query.limit);
    let mut store_key = Vec::new();
    keys::row(&mut store_key, query.table, query.prefix);
    let end = keys::after_prefix(&store_key);
    let Some(start) = query.start() else { return Ok(None) };
    keys::row(&mut store_key, query.table, &start);
    loop {
        let mut resume = None;
        let mut each = |key: &[u8], _: &[u8]| {
            let group = query.group(&key[ROW_PREFIX_BYTES..]);
            let answer = group.unwrap_or(&key[ROW_PREFIX_BYTES..]);
            if !page.admits(answer) {
                return ControlFlow::Break(());
            }
            visit(answer);
            if group.is_none() {
                return ControlFlow::Continue(());
            }
            resume = keys::after_prefix(&key[..ROW_PREFIX_BYTES + answer.len()]);
            ControlFlow::Break(())
        };
        r.scan(&store_key, end.as_deref(), &mut each)?;
        match resume {
            Some(next) => store_key = next,
            None => return Ok(page.next()),
        }
    }
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

    fn pages(replica: &Replica, query: KeyQuery<'_>) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut after: Option<Vec<u8>> = query.after.map(<[u8]>::to_vec);
        loop {
            let mut page = Vec::new();
            let query = KeyQuery { after: after.as_deref(), ..query };
            let mut visit = |key: &[u8]| page.push(String::from_utf8(key.to_vec()).unwrap());
            let r = replica.store.read().unwrap();
            after = keys(&r, &replica.tables.schema(), &query, &mut visit).unwrap();
            pages.push(page);
            if after.is_none() {
                return pages;
            }
        }
    }

    fn listed(replica: &Replica, prefix: &str, separator: &str, limit: usize) -> Vec<Vec<String>> {
        let (prefix, separator) = (prefix.as_bytes(), separator.as_bytes());
        pages(replica, KeyQuery { table: 1, prefix, separator, after: None, limit })
    }

    #[test]
    fn keys_fold_at_the_separator() {
        let replica = stocked(&["a", "a/", "a/b", "a/b/c", "a/b/d", "a/c", "ab/x", "b", "\u{10ffff}/z"]);
        assert_eq!(listed(&replica, "", "/", 100), [["a", "a/", "ab/", "b", "\u{10ffff}/"]]);
        assert_eq!(listed(&replica, "a/", "/", 100), [["a/", "a/b", "a/b/", "a/c"]]);
        assert_eq!(listed(&replica, "", "/b/", 100)[0][1..4], ["a/", "a/b", "a/b/"]);
        assert_eq!(listed(&replica, "zz", "/", 100), [[""; 0]]);
    }

    #[test]
    fn pages_of_folded_keys_join_without_gap_or_repeat() {
        let replica = stocked(&["a", "a/", "a/b", "a/b/c", "a/c", "ab/x", "b", "c/1", "c/2"]);
        for separator in ["", "/"] {
            let whole = listed(&replica, "", separator, 100).concat();
            for limit in 1..5 {
                let pages = listed(&replica, "", separator, limit);
                assert!(pages.iter().all(|page| page.len() <= limit));
                assert_eq!(pages.concat(), whole);
            }
        }
        let after = Some(&b"a/b"[..]);
        let query = KeyQuery { table: 1, prefix: b"", separator: b"/", after, limit: 9 };
        assert_eq!(pages(&replica, query), [["ab/", "b", "c/"]], "the group of `after` was listed before it");
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
}
