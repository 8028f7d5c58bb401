//! One segment file: its names, its header, its checksum seed.
//!
//! A segment is complete (every byte written, header synced) before it gets its `.wal` name, so a `.wal` file
//! with an unreadable header is damage and never a crash. The header has a page of its own: appends never
//! rewrite it.

use std::io;
use std::sync::Arc;

use super::error::OpenError;
use super::record::{seed, u32_at, u64_at};
use crate::files::LogFile;

/// Where records start.
pub(crate) const HEADER_BYTES: u64 = 4096;
/// The format written and read by this build.
pub(crate) const VERSION: u32 = 1;
/// Follows the last record so that a clean end is told from a torn one.
pub(crate) const END: [u8; 8] = [0; 8];

const MAGIC: &[u8; 8] = b"KonsuLog";
const USED_BYTES: usize = 36;

/// An open segment with a valid header.
#[derive(Clone)]
pub(crate) struct Segment {
    pub sequence: u64,
    pub seed: u32,
    /// Length of the file.
    pub bytes: u64,
    pub file: Arc<dyn LogFile>,
}

pub(crate) fn live_name(sequence: u64) -> String {
    format!("{sequence:016x}.wal")
}

pub(crate) fn spare_name(sequence: u64) -> String {
    format!("{sequence:016x}.spare")
}

/// The sequence number in a live segment's name.
pub(crate) fn live_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

pub(crate) fn is_spare(name: &str) -> bool {
    name.ends_with(".spare")
}

impl Segment {
    /// Bytes that records can take.
    pub fn room(&self) -> u64 {
        self.bytes - HEADER_BYTES
    }

    /// Writes the header and an end mark for the new `sequence` into a fully allocated file, and syncs it.
    pub fn initialise(file: Arc<dyn LogFile>, sequence: u64, salt: u64, bytes: u64) -> io::Result<Segment> {
        let mut head = vec![0; HEADER_BYTES as usize + END.len()];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[16..24].copy_from_slice(&sequence.to_le_bytes());
        head[24..32].copy_from_slice(&salt.to_le_bytes());
        let crc = crc32c::crc32c(&head[..32]);
        head[32..USED_BYTES].copy_from_slice(&crc.to_le_bytes());
        file.write_at(&head, 0)?;
        file.sync()?;
        Ok(Segment { sequence, seed: seed(salt, sequence), bytes, file })
    }

    /// Checks the header at the start of `content`; `path` is for messages. Returns the segment and the log's
    /// salt.
    pub fn check(
        file: Arc<dyn LogFile>,
        sequence: u64,
        content: &[u8],
        path: &str,
    ) -> Result<(Segment, u64), OpenError> {
        let damaged = |offset, detail: String| OpenError::Damaged { file: path.to_owned(), offset, detail };
        let Some(head) = content.get(..HEADER_BYTES as usize) else {
            return Err(damaged(0, format!("the file has {} bytes, less than its header", content.len())));
        };
        if &head[..8] != MAGIC {
            return Err(damaged(0, "it does not start as a log segment".into()));
        }
        let found = u32_at(head, 8);
        if found != VERSION {
            return Err(OpenError::Version { file: path.to_owned(), found, known: VERSION });
        }
        if crc32c::crc32c(&head[..32]) != u32_at(head, 32) {
            return Err(damaged(8, "the header's checksum is wrong".into()));
        }
        if u64_at(head, 16) != sequence {
            return Err(damaged(16, format!("it is segment {} under another name", u64_at(head, 16))));
        }
        let salt = u64_at(head, 24);
        let bytes = content.len() as u64;
        Ok((Segment { sequence, seed: seed(salt, sequence), bytes, file }, salt))
    }
}
