//! Listing keys, folded at a separator.

use std::ops::ControlFlow;

use crate::keys::{self, ROW_PREFIX_BYTES};
use crate::read::{Page, ReadError, Sees, check_limit};
use crate::schema::Schema;
use crate::store::Read;

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
    /// `after` is where a page of [`keys_seen`] had looked at enough: the rest of its group is still to be
    /// looked at.
    pub inside: bool,
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
            Some(after) if after.starts_with(self.prefix) && !self.inside => match self.group(after) {
                Some(group) => keys::after_prefix(group),
                None => Some([after, &[0]].concat()),
            },
            Some(after) if after >= self.prefix => Some([after, &[0]].concat()),
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
    keys_seen(r, schema, query, None, visit)
}

/// As [`keys`], of the keys that are seen; a group is listed if one of its keys is. Looks at no more than
/// [`LOOKS_MAX`]: with fewer answers than the limit and a key to continue after there may be more, that key
/// may be one that is not seen, and the next query must say that it is `inside`.
///
/// # Errors
/// [`ReadError`].
pub fn keys_seen(
    r: &impl Read,
    schema: &Schema,
    query: &KeyQuery<'_>,
    sees: Sees<'_>,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<Option<Vec<u8>>, ReadError> {
    check_limit(query.limit)?;
    schema.table(query.table)?;
    let mut page = Page::new(query.limit, sees);
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
            match page.looks_at(&key[ROW_PREFIX_BYTES..]) {
                Some(false) => return ControlFlow::Continue(()),
                Some(true) if page.admits(answer) => {}
                _ => return ControlFlow::Break(()),
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
        pages(replica, KeyQuery { table: 1, prefix, separator, after: None, inside: false, limit })
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
        let query = KeyQuery { table: 1, prefix: b"", separator: b"/", after, inside: false, limit: 9 };
        assert_eq!(pages(&replica, query), [["ab/", "b", "c/"]], "the group of `after` was listed before it");
    }
}
