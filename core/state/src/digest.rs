//! A checksum over every row: equal digests mean equal tables.

use std::ops::ControlFlow;

use xxhash_rust::xxh3::Xxh3Default;

use crate::keys;
use crate::store::{Read, StoreError};

/// The 16-byte digest of every row of every table, in table and key order. Walks all rows.
///
/// It guards against defects, not against attackers: xxh3 is fast and no cryptographic hash.
///
/// # Errors
/// What the store reports.
pub fn digest(r: &impl Read) -> Result<[u8; 16], StoreError> {
    let mut hash = Xxh3Default::new();
    let mut visit = |key: &[u8], row: &[u8]| {
        for part in [key, row] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        ControlFlow::Continue(())
    };
    r.scan(&[keys::ROW], Some(&[keys::ROW + 1]), &mut visit)?;
    Ok(hash.digest128().to_be_bytes())
}
