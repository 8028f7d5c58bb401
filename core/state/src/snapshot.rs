//! Snapshots: all rows of one moment as a stream of bytes.
//!
//! ```text
//! magic 8 · header length u32 BE · header (msgpack map) · its CRC32C u32 BE · one zstd frame of chunks
//! chunk: length u32 BE · CRC32C u32 BE · msgpack [table id, [key, row, key, row ...]]; table id 0: the
//!        window's requests, oldest first, as ids and answers
//! end:   length 0
//! ```
//! The writer walks a read transaction, so nobody waits for it. Indexes are not in it: the reader builds them
//! anew.

use std::io;
use std::ops::ControlFlow;

use crate::apply::{ApplyError, Position, Tables};
use crate::keys::{self, KEY_BYTES_MAX, ROW_PREFIX_BYTES};
use crate::msgpack;
use crate::row::ROW_BYTES_MAX;
use crate::store::{Read, StoreError};

pub use crate::snapshot_read::{peek, read, verify};

pub(crate) const MAGIC: &[u8; 8] = b"KONSNAP1";
/// With requests in it. Without any a snapshot is written as format 1, which older versions read.
pub(crate) const VERSION: u64 = 2;
pub(crate) const VERSION_PLAIN: u64 = 1;
/// The table id of the window's chunks.
pub(crate) const REQUESTS: u16 = 0;
/// A chunk is closed once it has this many bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// No chunk is longer: one that is nearly full, and the longest row with its key.
pub(crate) const CHUNK_BYTES_MAX: usize = CHUNK_BYTES + ROW_BYTES_MAX + KEY_BYTES_MAX + 64;
/// The longest header: a schema, counts, and what the caller adds.
pub(crate) const HEADER_BYTES_MAX: usize = 4 << 20;
/// Most bytes the caller may add to the header.
pub const META_BYTES_MAX: usize = 1 << 20;
/// zstd's fastest level: a snapshot is bound by the disk, and its CPU is taken from requests.
const LEVEL: i32 = 1;

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file or stream failed.
    #[error("the snapshot could not be transferred: {0}")]
    Io(#[from] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not a whole, unaltered snapshot; says what is wrong.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// It is from a version that this one cannot read.
    #[error("the snapshot has format {0}; this version reads formats 1 and 2")]
    Version(u64),
}

impl From<ApplyError> for SnapshotError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Store(error) => Self::Store(error),
            ApplyError::Corrupt(what) => Self::Damaged(what),
        }
    }
}

/// What a snapshot says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The index of the last applied entry.
    pub index: u64,
    /// The replicated clock in ms.
    pub clock_ms: u64,
    /// Up to where the log is contained.
    pub applied: Position,
    /// The schema, encoded.
    pub schema: Vec<u8>,
    /// What the caller added.
    pub meta: Vec<u8>,
    /// Table ids and row counts.
    pub counts: Vec<(u16, u64)>,
    /// How many requests were ever remembered, and how many of them are in here.
    pub requests: (u64, u64),
}

fn encode_header(tables: &Tables, meta: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let label = |out: &mut Vec<u8>, name: &str| msgpack::write_text(out, name.as_bytes());
    let has_requests = tables.window.next > 0;
    msgpack::write_map(&mut out, 8 + usize::from(has_requests));
    for (name, number) in [
        ("format", if has_requests { VERSION } else { VERSION_PLAIN }),
        ("index", tables.index),
        ("clock_ms", tables.clock_ms),
        ("applied_index", tables.applied.index),
        ("applied_term", tables.applied.term),
    ] {
        label(&mut out, name);
        msgpack::write_unsigned(&mut out, number);
    }
    label(&mut out, "schema");
    msgpack::write_bytes(&mut out, &tables.schema.encode());
    label(&mut out, "meta");
    msgpack::write_bytes(&mut out, meta);
    label(&mut out, "counts");
    msgpack::write_array(&mut out, tables.schema.tables.len());
    for table in &tables.schema.tables {
        msgpack::write_array(&mut out, 2);
        msgpack::write_unsigned(&mut out, u64::from(table.id));
        msgpack::write_unsigned(&mut out, tables.counts[table.position]);
    }
    if has_requests {
        label(&mut out, "requests");
        msgpack::write_array(&mut out, 2);
        msgpack::write_unsigned(&mut out, tables.window.next);
        msgpack::write_unsigned(&mut out, tables.window.len());
    }
    out
}

/// Gathers rows of one table and writes them as chunks.
struct Chunks<W: io::Write> {
    out: W,
    table: u16,
    pairs: usize,
    rows: Vec<u8>,
    chunk: Vec<u8>,
}

impl<W: io::Write> Chunks<W> {
    fn add(&mut self, table: u16, key: &[u8], row: &[u8]) -> io::Result<()> {
        if table != self.table || self.rows.len() >= CHUNK_BYTES {
            self.flush()?;
            self.table = table;
        }
        msgpack::write_bytes(&mut self.rows, key);
        msgpack::write_bytes(&mut self.rows, row);
        self.pairs += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pairs == 0 {
            return Ok(());
        }
        self.chunk.clear();
        msgpack::write_array(&mut self.chunk, 2);
        msgpack::write_unsigned(&mut self.chunk, u64::from(self.table));
        msgpack::write_array(&mut self.chunk, 2 * self.pairs);
        self.chunk.extend_from_slice(&self.rows);
        let length = u32::try_from(self.chunk.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&crc32c::crc32c(&self.chunk).to_be_bytes())?;
        self.out.write_all(&self.chunk)?;
        self.rows.clear();
        self.pairs = 0;
        Ok(())
    }
}

/// Writes a snapshot of what `r` sees. `meta` comes back from [`read`]; at most [`META_BYTES_MAX`] bytes.
///
/// `tables` must be of the same moment: take it by [`Tables::open`] on `r`.
///
/// # Errors
/// [`SnapshotError`]; what was written so far is no snapshot.
pub fn write(
    r: &impl Read,
    tables: &Tables,
    meta: &[u8],
    mut out: impl io::Write,
) -> Result<(), SnapshotError> {
    if meta.len() > META_BYTES_MAX {
        return Err(io::Error::other(format!("snapshot meta is limited to {META_BYTES_MAX} bytes")).into());
    }
    let header = encode_header(tables, meta);
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    out.write_all(MAGIC)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(&header)?;
    out.write_all(&crc32c::crc32c(&header).to_be_bytes())?;
    let mut frame = zstd::stream::write::Encoder::new(out, LEVEL)?;
    frame.include_checksum(true)?;
    let mut chunks = Chunks { out: frame, table: 0, pairs: 0, rows: Vec::new(), chunk: Vec::new() };
    tables.window.each(r, |id, answer| chunks.add(REQUESTS, id, answer).map_err(SnapshotError::from))?;
    let mut failed = None;
    let mut visit = |key: &[u8], row: &[u8]| {
        let table = key
            .get(1..ROW_PREFIX_BYTES)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |id| u16::from_be_bytes(*id));
        match chunks.add(table, key.get(ROW_PREFIX_BYTES..).unwrap_or_default(), row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    r.scan(&[keys::ROW], Some(&[keys::ROW + 1]), &mut visit)?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    chunks.flush()?;
    let mut frame = chunks.out;
    io::Write::write_all(&mut frame, &0_u32.to_be_bytes())?;
    let mut out = frame.finish()?;
    out.flush()?;
    Ok(())
}
