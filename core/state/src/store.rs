//! The ordered-KV transaction trait that applied state stands on, and what can go wrong under it.
//!
//! Two backends implement it: [`crate::memory::Memory`] here and LMDB in `konsul-disk`. Scans take a visitor
//! instead of returning an iterator: both backends lend slices out of the transaction, and a visitor needs no
//! lifetime games.

use std::ops::ControlFlow;

/// Why a store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space: on the disk, or under the map's limit. The transaction is rolled back and may be tried
    /// again.
    #[error("the store is full: {0}")]
    Full(String),
    /// Anything else the backend reports. The process must not go on.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// What [`Read::scan`] hands each pair to; `ControlFlow::Break` ends the scan.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// A consistent view of all pairs, ordered by key bytes.
pub trait Read {
    /// The value under `key`.
    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, StoreError>;
    /// Visits pairs with `from <= key < to` in ascending key order; `to == None` means to the end.
    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError>;
}

/// The one write transaction; dropped without [`Write::commit`] it leaves no trace.
pub trait Write: Read {
    /// Sets `key` to `value`.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Removes `key`; true if it was there.
    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError>;
    /// Removes every pair (before a snapshot is loaded).
    fn clear(&mut self) -> Result<(), StoreError>;
    /// Makes the transaction visible to readers that start afterwards.
    fn commit(self) -> Result<(), StoreError>
    where
        Self: Sized;
}

/// A store: many readers that never wait, one writer at a time.
pub trait Store: Send + Sync + 'static {
    /// A read transaction.
    type Reader<'a>: Read
    where
        Self: 'a;
    /// The write transaction.
    type Writer<'a>: Write
    where
        Self: 'a;
    /// Begins a read transaction on the latest committed state.
    fn read(&self) -> Result<Self::Reader<'_>, StoreError>;
    /// Begins the write transaction.
    fn write(&self) -> Result<Self::Writer<'_>, StoreError>;
}
