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
pub use crate::page::{LOOKS_MAX, Next, Sees, Sight};
use crate::page::{Look, Page};

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
                Look::Seen if page.admits(key) => {}
                // The lists are walked key by key; a jump would have to be one of theirs.
                Look::Unseen | Look::Skip(_) => return Ok(true),
                Look::Seen | Look::End => return Ok(false),
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
    loop {
        let mut resume = None;
        let mut each = |key: &[u8], row: &[u8]| {
            let key = &key[ROW_PREFIX_BYTES..];
            match page.looks_at(key) {
                Look::Seen if page.admits(key) => {}
                Look::Unseen => return ControlFlow::Continue(()),
                Look::Skip(next) => {
                    resume = Some(next);
                    return ControlFlow::Break(());
                }
                Look::Seen | Look::End => return ControlFlow::Break(()),
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
        let Some(next) = resume else { return failed.map_or(Ok(()), Err) };
        keys::row(&mut store_key, query.table, &next);
        if end.as_ref().is_some_and(|end| store_key >= *end) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::*;
    use crate::store::Store;

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
        let run = |limit, sees: &dyn Sight| {
            let mut found = Vec::new();
            let query = Query { table: 1, prefix: b"", filters: &[], after: None, limit };
            let next = scan_seen(&r, &replica.tables.schema(), &query, Some(sees), &mut |key, _| {
                found.push(key.to_vec());
                Ok(())
            });
            (found.concat(), next.unwrap())
        };
        assert_eq!(run(2, &|key: &[u8]| key != b"a" && key != b"c"), (b"bd".to_vec(), Some(b"d".to_vec())));
        assert_eq!(run(3, &|key: &[u8]| key != b"a" && key != b"c"), (b"bde".to_vec(), None));
        assert_eq!(run(1, &|_: &[u8]| false), (Vec::new(), None));
    }

    /// Sees two islands and says where they are.
    struct Islands(std::cell::Cell<usize>);

    impl Sight for Islands {
        fn sees(&self, key: &[u8]) -> bool {
            self.0.set(self.0.get() + 1);
            key.starts_with(b"h/") || key.starts_with(b"x/")
        }

        fn next(&self, key: &[u8]) -> Next {
            match key {
                key if key < &b"h/"[..] => Next::At(b"h/".to_vec()),
                key if key < &b"x/"[..] => Next::At(b"x/".to_vec()),
                _ => Next::Nowhere,
            }
        }
    }

    #[test]
    fn what_is_not_seen_is_passed_over_in_jumps() {
        let names: Vec<String> =
            "ahpxz".chars().flat_map(|sea| (0..400).map(move |at| format!("{sea}/{at:03}"))).collect();
        let replica = stocked(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let r = replica.store.read().unwrap();
        let schema = replica.tables.schema();
        let seen: Vec<Vec<u8>> = names
            .iter()
            .filter(|name| name.starts_with(['h', 'x']))
            .map(|name| name.clone().into())
            .collect();
        let islands = Islands(std::cell::Cell::default());
        let mut found: Vec<Vec<u8>> = Vec::new();
        let query = Query { table: 1, prefix: b"", filters: &[], after: None, limit: 1_000 };
        let mut visit = |key: &[u8], _: &[u8]| {
            found.push(key.to_vec());
            Ok(())
        };
        assert_eq!(scan_seen(&r, &schema, &query, Some(&islands), &mut visit).unwrap(), None);
        assert_eq!(found, seen);
        assert_eq!(
            islands.0.get(),
            800 + 3 * crate::page::SKIP_AFTER,
            "of each sea only its shore was looked at"
        );
        for (prefix, separator) in [("", ""), ("a/", ""), ("p/", ""), ("", "/"), ("z/", "")] {
            let mut listed = Vec::new();
            let (prefix, separator) = (prefix.as_bytes(), separator.as_bytes());
            let query = KeyQuery { table: 1, prefix, separator, after: None, inside: false, limit: 1_000 };
            let mut visit = |key: &[u8]| listed.push(key.to_vec());
            assert_eq!(keys_seen(&r, &schema, &query, Some(&islands), &mut visit).unwrap(), None);
            let want = match separator {
                b"" => seen.iter().filter(|key| key.starts_with(prefix)).cloned().collect(),
                _ => vec![b"h/".to_vec(), b"x/".to_vec()],
            };
            assert_eq!(listed, want);
        }
    }
}
