//! Where everything lies in the ordered store.
//!
//! | first byte | then | value |
//! | --- | --- | --- |
//! | 0x00 | - | the header: index, clock, applied position, row counts |
//! | 0x01 | - | the schema |
//! | 0x02 | - | the members of the group, in the node's own encoding |
//! | 0x08 | request id, 16 bytes | index u64 BE, case u16 BE: what a request was answered |
//! | 0x09 | number of the request modulo the window u32 BE | its id |
//! | 0x0a | - | how many requests were ever remembered, u64 BE |
//! | 0x10 | table u16 BE, key | the packed row |
//! | 0x20 | table u16 BE, column u8, escaped value, 0x00 0x00, key | empty: an index entry |
//! | 0x30 | table u16 BE, deadline in ms u64 BE, key | empty: what expires when |
//! | 0x40 | table u16 BE, create_index u64 BE, key | empty: the order `keep` removes in |
//!
//! A 0x00 inside an index value becomes 0x00 0xff, so the end mark 0x00 0x00 never occurs inside, sorts
//! before every continuation, and all entries of one value are one contiguous range in key order.

use crate::refusal::Refusal;

/// The longest row key in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// The longest index value in bytes, after escaping.
pub const INDEX_VALUE_BYTES_MAX: usize = 768;
/// The longest key this crate hands a store: an index entry with the longest value and the longest row key.
pub const STORE_KEY_BYTES_MAX: usize = 4 + INDEX_VALUE_BYTES_MAX + 2 + KEY_BYTES_MAX;
// What LMDB takes with 4 KiB pages when it is built for longer keys.
const _: () = assert!(STORE_KEY_BYTES_MAX <= 1982);

/// The header's key.
pub const HEADER: &[u8] = &[0x00];
/// The schema's key.
pub const SCHEMA: &[u8] = &[0x01];
/// The key of the group's members; what it holds is the node's.
pub const MEMBERS: &[u8] = &[0x02];

/// The key of how many requests were ever remembered.
pub(crate) const REQUESTS: &[u8] = &[0x0a];
const REQUEST: u8 = 0x08;
const REQUEST_SLOT: u8 = 0x09;

/// What the request with `id` was answered.
pub(crate) fn request(id: &[u8; 16]) -> [u8; 17] {
    let mut key = [REQUEST; 17];
    key[1..].copy_from_slice(id);
    key
}

/// The id of a remembered request, by its place in the window.
pub(crate) fn request_slot(slot: u32) -> [u8; 5] {
    let mut key = [REQUEST_SLOT; 5];
    key[1..].copy_from_slice(&slot.to_be_bytes());
    key
}

/// First byte of rows.
pub(crate) const ROW: u8 = 0x10;
const INDEX: u8 = 0x20;
const EXPIRY: u8 = 0x30;
const ORDER: u8 = 0x40;

/// Bytes before the row key in a row's store key.
pub(crate) const ROW_PREFIX_BYTES: usize = 3;
/// Bytes before the row key in an expiry or keep-order entry.
pub(crate) const TIMED_PREFIX_BYTES: usize = 11;

/// A row's store key built on the stack, for reads.
pub(crate) struct Short {
    bytes: [u8; ROW_PREFIX_BYTES + KEY_BYTES_MAX],
    length: usize,
}

impl Short {
    /// None if the key is too long to be anybody's.
    pub(crate) fn row(table: u16, key: &[u8]) -> Option<Self> {
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
        let mut short =
            Self { bytes: [0; ROW_PREFIX_BYTES + KEY_BYTES_MAX], length: ROW_PREFIX_BYTES + key.len() };
        short.bytes[0] = ROW;
        short.bytes[1..3].copy_from_slice(&table.to_be_bytes());
        short.bytes[ROW_PREFIX_BYTES..short.length].copy_from_slice(key);
        Some(short)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn start(out: &mut Vec<u8>, space: u8, table: u16) {
    out.clear();
    out.push(space);
    out.extend_from_slice(&table.to_be_bytes());
}

/// Sets `out` to the store key of a row, or of all rows with a key prefix.
pub(crate) fn row(out: &mut Vec<u8>, table: u16, key: &[u8]) {
    start(out, ROW, table);
    out.extend_from_slice(key);
}

/// Sets `out` to what all entries of one index value start with.
pub(crate) fn index_prefix(out: &mut Vec<u8>, table: u16, column: u8, value: &[u8]) -> Result<(), Refusal> {
    index_column(out, table, column);
    escape(out, value);
    if out.len() > 4 + INDEX_VALUE_BYTES_MAX {
        let limit = format!("an index value is limited to {INDEX_VALUE_BYTES_MAX} bytes");
        return Err(Refusal::too_large(limit));
    }
    out.extend_from_slice(&[0, 0]);
    Ok(())
}

/// Sets `out` to what all entries of one index start with.
pub(crate) fn index_column(out: &mut Vec<u8>, table: u16, column: u8) {
    start(out, INDEX, table);
    out.push(column);
}

fn escape(out: &mut Vec<u8>, value: &[u8]) {
    if !value.contains(&0) {
        out.extend_from_slice(value);
        return;
    }
    for &byte in value {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
}

fn timed(out: &mut Vec<u8>, space: u8, table: u16, moment: u64, key: &[u8]) {
    start(out, space, table);
    out.extend_from_slice(&moment.to_be_bytes());
    out.extend_from_slice(key);
}

/// Sets `out` to the entry of a row that expires at `deadline_ms`.
pub(crate) fn expiry(out: &mut Vec<u8>, table: u16, deadline_ms: u64, key: &[u8]) {
    timed(out, EXPIRY, table, deadline_ms, key);
}

/// Sets `out` to what all expiry entries of a table start with.
pub(crate) fn expiry_table(out: &mut Vec<u8>, table: u16) {
    start(out, EXPIRY, table);
}

/// Sets `out` to the entry of a row in the order `keep` removes in.
pub(crate) fn order(out: &mut Vec<u8>, table: u16, create_index: u64, key: &[u8]) {
    timed(out, ORDER, table, create_index, key);
}

/// Sets `out` to what all keep-order entries of a table start with.
pub(crate) fn order_table(out: &mut Vec<u8>, table: u16) {
    start(out, ORDER, table);
}

/// The moment (deadline or create_index) of an expiry or keep-order entry.
pub(crate) fn moment(entry: &[u8]) -> Option<u64> {
    entry.get(ROW_PREFIX_BYTES..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Turns a prefix into the first key after everything that starts with it; false if there is none.
pub(crate) fn step_past(prefix: &mut Vec<u8>) -> bool {
    while let Some(last) = prefix.last_mut() {
        if *last < 0xff {
            *last += 1;
            return true;
        }
        prefix.pop();
    }
    false
}

/// The first key after everything that starts with `prefix`, or None if nothing can be.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    step_past(&mut end).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_entries_of_one_value_never_mix_with_another() {
        let values: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\0\xff", b"ab", b"a\xff"];
        let mut prefixes = Vec::new();
        for value in values {
            let mut out = Vec::new();
            index_prefix(&mut out, 7, 2, value).unwrap();
            prefixes.push(out);
        }
        assert!(prefixes.is_sorted(), "values keep their order");
        for (n, one) in prefixes.iter().enumerate() {
            for (m, other) in prefixes.iter().enumerate() {
                assert!(n == m || !other.starts_with(one), "{one:?} starts {other:?}");
            }
        }
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_prefix(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(after_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
    }

    #[test]
    fn an_index_value_has_a_limit_after_escaping() {
        let mut out = Vec::new();
        assert!(index_prefix(&mut out, 1, 0, &[b'x'; 768]).is_ok());
        assert!(index_prefix(&mut out, 1, 0, &[b'x'; 769]).is_err());
        assert!(index_prefix(&mut out, 1, 0, &[0; 385]).is_err());
    }
}
