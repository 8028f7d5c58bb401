//! What one op works with: buffers that are reused, the placeholders' meaning, and how an op can stop.

use crate::change::{Cause, Change};
use crate::index::Values;
use crate::journal::Journal;
use crate::keys::ROW_PREFIX_BYTES;
use crate::msgpack::Malformed;
use crate::refusal::{Bad, Refusal};
use crate::schema::{Schema, Table};
use crate::store::{StoreError, Write};

/// Why an entry's work ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The entry is answered with a refusal and undone.
    Refused(Refusal),
    /// The store failed; the transaction must be dropped.
    Store(StoreError),
    /// What is committed or stored cannot be understood; the node must stop.
    Corrupt(String),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Malformed> for Stop {
    fn from(cause: Malformed) -> Self {
        Self::Corrupt(cause.to_string())
    }
}

impl From<Bad> for Stop {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Malformed(cause) => cause.into(),
            Bad::Unknown(what) => Self::Corrupt(what),
            Bad::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// The buffers of one op.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// The row's key in the store; the row key is its tail.
    pub(crate) store_key: Vec<u8>,
    /// The row before; empty if there was none.
    pub(crate) old: Vec<u8>,
    /// The row after; empty if there is none.
    pub(crate) new: Vec<u8>,
    /// Any other store key.
    pub(crate) side_key: Vec<u8>,
    /// Cells on their way into a row.
    pub(crate) cells: Vec<u8>,
    pub(crate) was: Values,
    pub(crate) will: Values,
}

impl Frame {
    pub(crate) fn row_key(&self) -> &[u8] {
        &self.store_key[ROW_PREFIX_BYTES..]
    }
}

/// Frames not in use; reactions nest, so there is one per level.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    free: Vec<Frame>,
}

/// A buffer that grew beyond this is given back to the allocator.
const BUFFER_KEPT_BYTES_MAX: usize = 1 << 20;

impl Frames {
    pub(crate) fn take(&mut self) -> Frame {
        self.free.pop().unwrap_or_default()
    }

    pub(crate) fn give(&mut self, mut frame: Frame) {
        for buffer in [&mut frame.old, &mut frame.new, &mut frame.cells] {
            buffer.clear();
            buffer.shrink_to(BUFFER_KEPT_BYTES_MAX);
        }
        self.free.push(frame);
    }
}

/// What SELF and PARENT stand for, and how deep in reactions we are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'c> {
    pub(crate) myself: Option<&'c [u8]>,
    /// The parent's table and packed row.
    pub(crate) parent: Option<(&'c Table, &'c [u8])>,
    pub(crate) depth: u32,
}

impl Context<'_> {
    pub(crate) const TOP: Self = Self { myself: None, parent: None, depth: 0 };
}

/// One entry at work on a write transaction.
pub(crate) struct Run<'r, W> {
    pub(crate) schema: &'r Schema,
    pub(crate) w: &'r mut W,
    pub(crate) changes: &'r mut Vec<Change>,
    pub(crate) counts: &'r mut [u64],
    pub(crate) journal: &'r mut Journal,
    pub(crate) frames: &'r mut Frames,
    /// The index this entry takes if it is applied.
    pub(crate) index: u64,
    pub(crate) clock_ms: u64,
    /// Why it changes what it changes.
    pub(crate) cause: Cause,
}

impl<W: Write> Run<'_, W> {
    /// Takes back everything since the journal started, and the changes since `mark`.
    pub(crate) fn undo(&mut self, mark: usize) -> Result<(), StoreError> {
        self.changes.truncate(mark);
        self.journal.undo(self.w, self.counts)
    }
}
