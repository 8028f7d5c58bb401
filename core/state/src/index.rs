//! Index values: what of a cell an index holds.
//!
//! Numbers are their decimal text, booleans `true` and `false`, a map's pairs `name=value`; everything else
//! its bytes. Nil is in no index, an empty value not in a unique one.

use std::io::Write as _;

use crate::msgpack::{Cursor, Malformed, Value};
use crate::schema::Lookup;

/// Distinct values in ascending order, in one allocation that is reused.
#[derive(Debug, Default)]
pub struct Values {
    arena: Vec<u8>,
    spans: Vec<(usize, usize)>,
}

impl Values {
    fn close(&mut self, start: usize) {
        self.spans.push((start, self.arena.len()));
    }

    fn push(&mut self, value: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(value);
        self.close(start);
    }

    /// Sets them to the index values of a cell.
    ///
    /// # Errors
    /// [`Malformed`] if it holds what no column can.
    pub fn collect(&mut self, cell: &[u8], lookup: Lookup) -> Result<(), Malformed> {
        self.arena.clear();
        self.spans.clear();
        if lookup == Lookup::None {
            return Ok(());
        }
        let mut cursor = Cursor::new(cell);
        let start = self.arena.len();
        match cursor.value()? {
            Value::Nil => {}
            Value::Bool(flag) => self.push(if flag { b"true" } else { b"false" }),
            Value::Unsigned(number) => {
                write!(self.arena, "{number}").expect("a Vec takes every byte");
                self.close(start);
            }
            Value::Negative(number) => {
                write!(self.arena, "{number}").expect("a Vec takes every byte");
                self.close(start);
            }
            Value::Text(bytes) | Value::Bytes(bytes) => {
                if !(bytes.is_empty() && lookup == Lookup::Unique) {
                    self.push(bytes);
                }
            }
            Value::Array(count) => {
                for _ in 0..count {
                    self.push(cursor.text()?.as_bytes());
                }
            }
            Value::Map(pairs) => {
                for _ in 0..pairs {
                    let start = self.arena.len();
                    self.arena.extend_from_slice(cursor.text()?.as_bytes());
                    self.arena.push(b'=');
                    self.arena.extend_from_slice(cursor.text()?.as_bytes());
                    self.close(start);
                }
            }
            Value::Float | Value::Ext(..) => return Err(Malformed("a cell holds what no column can")),
        }
        let arena = &self.arena;
        self.spans.sort_unstable_by(|a, b| arena[a.0..a.1].cmp(&arena[b.0..b.1]));
        self.spans.dedup_by(|a, b| arena[a.0..a.1] == arena[b.0..b.1]);
        Ok(())
    }

    /// All values, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.spans.iter().map(|(start, end)| &self.arena[*start..*end])
    }

    /// True if `value` is among them.
    pub fn contains(&self, value: &[u8]) -> bool {
        self.spans.binary_search_by(|(start, end)| self.arena[*start..*end].cmp(value)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(cell: &[u8], lookup: Lookup) -> Vec<String> {
        let mut values = Values::default();
        values.collect(cell, lookup).unwrap();
        values.iter().map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    #[test]
    fn lists_are_sets_and_maps_are_pairs() {
        assert_eq!(values(&[0x93, 0xa1, b'b', 0xa1, b'a', 0xa1, b'b'], Lookup::Each), ["a", "b"]);
        assert_eq!(values(&[0x81, 0xa1, b'k', 0xa1, b'v'], Lookup::Each), ["k=v"]);
    }

    #[test]
    fn nil_is_in_no_index_and_empty_in_no_unique_one() {
        assert!(values(&[0xc0], Lookup::Single).is_empty());
        assert!(values(&[0xa0], Lookup::Unique).is_empty());
        assert_eq!(values(&[0xa0], Lookup::Single), [""]);
        assert_eq!(values(&[0xcd, 0x22, 0xb8], Lookup::Single), ["8888"]);
    }
}
