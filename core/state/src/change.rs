//! What applied entries changed, told row by row: what leases, watches and every other view are fed with.

use std::sync::Arc;

/// A row that an entry wrote or removed, in the order it happened. Cloning it shares its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The entry's index.
    pub index: u64,
    /// The entry's clock, in ms since 1970.
    pub at_ms: u64,
    /// The table's id.
    pub table: u16,
    /// What happened.
    pub kind: ChangeKind,
    /// Why it happened.
    pub cause: Cause,
    /// The row's key, and the row before and after.
    pub rows: Rows,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was written; with the length of its lease, if its table has leases and its cell is not nil.
    Put {
        /// Milliseconds.
        lease_ms: Option<u64>,
        /// Its lease begins now. False when other cells of a row that was there were changed: whoever writes
        /// down how a row is doing gives no sign of life for it.
        is_begun: bool,
    },
    /// It was removed.
    Delete,
}

/// Why a row changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody wrote, or it followed from what somebody wrote.
    Write,
    /// Its time was up (a pulse), its lease ended (a lapse), or it followed from that.
    Lapse,
}

/// A key with the packed row before and after, in one shared allocation: a change is told to many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    bytes: Arc<[u8]>,
    key_end: u32,
    old_end: u32,
}

impl Rows {
    /// Copies the three behind each other; a row that is not there is empty. `scratch` spares an allocation.
    pub fn pack(scratch: &mut Vec<u8>, key: &[u8], old: &[u8], new: &[u8]) -> Self {
        let narrow =
            |length: usize| u32::try_from(length).expect("keys and rows are limited far below 4 GiB");
        scratch.clear();
        for part in [key, old, new] {
            scratch.extend_from_slice(part);
        }
        let (key_end, old_end) = (narrow(key.len()), narrow(key.len() + old.len()));
        Self { bytes: Arc::from(scratch.as_slice()), key_end, old_end }
    }

    fn part(&self, from: u32, to: usize) -> &[u8] {
        &self.bytes[from as usize..to]
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The row's key.
    pub fn key(&self) -> &[u8] {
        self.part(0, self.key_end as usize)
    }

    /// The packed row before; none if it is new.
    pub fn before(&self) -> Option<&[u8]> {
        let before = self.part(self.key_end, self.old_end as usize);
        (!before.is_empty()).then_some(before)
    }

    /// The packed row after; none if it was removed.
    pub fn after(&self) -> Option<&[u8]> {
        let after = self.part(self.old_end, self.bytes.len());
        (!after.is_empty()).then_some(after)
    }
}

impl Change {
    /// As [`Rows::key`].
    pub fn key(&self) -> &[u8] {
        self.rows.key()
    }

    /// As [`Rows::before`].
    pub fn before(&self) -> Option<&[u8]> {
        self.rows.before()
    }

    /// As [`Rows::after`].
    pub fn after(&self) -> Option<&[u8]> {
        self.rows.after()
    }
}
