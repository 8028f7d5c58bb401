//! Rows that match several index values at once: a leapfrog over sorted lists of keys.
//!
//! Each list in turn jumps to the first key not before the current candidate; where all agree is a match. The
//! work is bounded by the shortest list, as in Veldhuizen, "Leapfrog Triejoin" (ICDT 2014), for one variable.

use crate::keys;
use crate::read::ReadError;
use crate::rows::KeyList;
use crate::store::{Read, StoreError};

/// Keys read by the first look into a list; it grows while the list is walked without jumps.
const CHUNK_FIRST: usize = 16;
const CHUNK_LAST: usize = 1024;

/// The keys under one index value, read in pieces.
struct List {
    prefix: Vec<u8>,
    end: Option<Vec<u8>>,
    keys: KeyList,
    at: usize,
    chunk: usize,
    complete: bool,
}

impl List {
    fn new(table: u16, column: u8, value: &[u8]) -> Result<Self, ReadError> {
        let mut prefix = Vec::new();
        keys::index_prefix(&mut prefix, table, column, value)?;
        let end = keys::after_prefix(&prefix);
        Ok(Self { prefix, end, keys: KeyList::default(), at: 0, chunk: CHUNK_FIRST, complete: false })
    }

    /// The first key that is not before `key`.
    fn seek(&mut self, r: &impl Read, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        let walked = self.keys.len();
        let mut steps = 0;
        // Galloping would gain little: a piece is short, and most seeks move by one.
        while self.at < walked && self.keys.get(self.at) < key {
            self.at += 1;
            steps += 1;
        }
        if self.at == walked && !self.complete {
            let jumped = steps > 0 && steps == walked;
            self.chunk = if jumped { CHUNK_FIRST } else { (self.chunk * 4).min(CHUNK_LAST) };
            let mut from = self.prefix.clone();
            from.extend_from_slice(key);
            self.keys = KeyList::range(r, &from, self.end.as_deref(), self.prefix.len(), self.chunk)?;
            self.complete = self.keys.len() < self.chunk;
            self.at = 0;
        }
        Ok((self.at < self.keys.len()).then(|| self.keys.get(self.at)))
    }
}

/// Visits the keys that every filter `(column, value)` has, ascending from `start`, until `visit` answers
/// false.
pub(crate) fn intersect<R: Read>(
    r: &R,
    table: u16,
    filters: &[(u8, &[u8])],
    start: &[u8],
    visit: &mut dyn FnMut(&[u8]) -> Result<bool, ReadError>,
) -> Result<(), ReadError> {
    let mut lists = Vec::with_capacity(filters.len());
    for (column, value) in filters {
        lists.push(List::new(table, *column, value)?);
    }
    let mut candidate = start.to_vec();
    let mut agreed = 0;
    let mut turn = 0;
    loop {
        let count = lists.len();
        let Some(key) = lists[turn].seek(r, &candidate)? else { return Ok(()) };
        if key == candidate {
            agreed += 1;
        } else {
            candidate.clear();
            candidate.extend_from_slice(key);
            agreed = 1;
        }
        if agreed == count {
            if !visit(&candidate)? {
                return Ok(());
            }
            candidate.push(0);
            agreed = 0;
        }
        turn = (turn + 1) % count;
    }
}
