//! Listing keys, folded at a separator.

use std::ops::ControlFlow;

use crate::keys::{self, ROW_PREFIX_BYTES};
use crate::page::{Look, Page};
use crate::read::{ReadError, Sees, check_limit};
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
                Look::Seen if page.admits(answer) => {}
                Look::Unseen => return ControlFlow::Continue(()),
                Look::Skip(next) => {
                    let mut store_key = Vec::new();
                    keys::row(&mut store_key, query.table, &next);
                    resume = end.as_ref().is_none_or(|end| store_key < *end).then_some(store_key);
                    return ControlFlow::Break(());
                }
                Look::Seen | Look::End => return ControlFlow::Break(()),
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
    use crate::read::{LOOKS_MAX, Sight};
    use crate::sketch::*;
    use crate::store::Store;

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

    /// All pages as their reader gets them: a page that is not full goes on inside.
    fn seen(replica: &Replica, separator: &str, limit: usize, sees: impl Fn(&[u8]) -> bool) -> Vec<String> {
        let (mut all, mut after, mut inside) = (Vec::new(), None::<Vec<u8>>, false);
        loop {
            let r = replica.store.read().unwrap();
            let (after_key, separator) = (after.as_deref(), separator.as_bytes());
            let query = KeyQuery { table: 1, prefix: b"", separator, after: after_key, inside, limit };
            let mut count = 0;
            let mut visit = |key: &[u8]| {
                count += 1;
                all.push(String::from_utf8(key.to_vec()).unwrap());
            };
            after = keys_seen(&r, &replica.tables.schema(), &query, Some(&sees), &mut visit).unwrap();
            inside = count < limit;
            if after.is_none() {
                return all;
            }
        }
    }

    #[test]
    fn a_group_is_listed_if_one_of_its_keys_is_seen() {
        let replica = stocked(&["a", "a/1", "a/2", "b/1", "b/2", "c/1", "d"]);
        let sees = |key: &[u8]| [&b"a/2"[..], b"c/1", b"d"].contains(&key);
        for limit in 1..5 {
            assert_eq!(seen(&replica, "/", limit, sees), ["a/", "c/", "d"]);
            assert_eq!(seen(&replica, "", limit, sees), ["a/2", "c/1", "d"]);
        }
        assert_eq!(seen(&replica, "/", 2, |_: &[u8]| false), [""; 0]);
    }

    #[test]
    fn pages_end_when_they_have_looked_at_enough_and_go_on_inside_a_group() {
        let mut replica = stocked(&["a/0"]);
        for part in 0..25 {
            let keys: Vec<_> = (0..1_000).map(|at| format!("g/{:05}", part * 1_000 + at)).collect();
            let ops: Vec<_> = keys.iter().map(|key| put(1, key.as_str(), &[])).collect();
            replica.must(0, &ops);
        }
        let sees = |key: &[u8]| key == b"g/24998";
        assert_eq!(seen(&replica, "/", 3, sees), ["g/"], "in the third page of the one group");
        assert_eq!(seen(&replica, "", 1, sees), ["g/24998"]);

        let r = replica.store.read().unwrap();
        let query = KeyQuery { table: 1, prefix: b"", separator: b"", after: None, inside: false, limit: 5 };
        let looked = std::cell::Cell::new(0);
        let counting = |_: &[u8]| {
            looked.set(looked.get() + 1);
            false
        };
        let after = keys_seen(&r, &replica.tables.schema(), &query, Some(&counting), &mut |_| {});
        assert_eq!(looked.get(), LOOKS_MAX);
        assert_eq!(after.unwrap().unwrap(), b"g/09998", "the last one looked at");
    }

    #[test]
    fn a_full_page_continues_after_its_last_item_whatever_follows_unseen() {
        let replica = stocked(&["a", "b", "c", "d"]);
        let r = replica.store.read().unwrap();
        let page = |sees: &dyn Sight| {
            let query =
                KeyQuery { table: 1, prefix: b"", separator: b"", after: None, inside: false, limit: 1 };
            keys_seen(&r, &replica.tables.schema(), &query, Some(sees), &mut |_| {}).unwrap()
        };
        assert_eq!(page(&|key: &[u8]| key == b"a" || key == b"d"), Some(b"a".to_vec()));
        assert_eq!(page(&|key: &[u8]| key == b"a"), None, "that something follows is not told");
    }
}
