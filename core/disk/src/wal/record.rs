//! What the log holds, and how one record lies on disk.
//!
//! ```text
//! 0  u32 payload bytes (0 = end of the segment)   16 u8  tag: 1 entry, 2 hard state, 3 snapshot, 4 install
//! 4  u32 crc32c, seeded per segment               17 u8  flags: 1 last of its batch, 2 unsynced
//! 8  u64 batch number                             18 u8  the entry's kind; then 5 zeros, payload, padding
//! ```
//! All numbers are little endian. The checksum covers everything but itself and the padding.

use bytes::Bytes;

/// Bytes of a frame before its payload.
pub(crate) const FRAME_BYTES: usize = 24;
/// The largest payload, and the largest batch, accepted; keeps offsets inside a segment in 32 bits.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 1 << 30;
pub(crate) const LAST: u8 = 1;
/// Written without syncs: that this frame is intact says nothing about earlier ones.
pub(crate) const UNSYNCED: u8 = 2;

const TAG_ENTRY: u8 = 1;
const TAG_HARD_STATE: u8 = 2;
const TAG_SNAPSHOT: u8 = 3;
const TAG_INSTALL: u8 = 4;

/// One entry of the replicated log. `kind` is the caller's (Raft: normal or configuration change).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub term: u64,
    pub index: u64,
    pub kind: u8,
    pub data: Bytes,
}

/// Raft's own durable state; the last one written wins. `vote` 0 = none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    pub term: u64,
    pub vote: u64,
    pub commit: u64,
}

/// A snapshot exists that covers every entry up to `index`; `conf_state` is the caller's encoding of the
/// members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotMark {
    pub index: u64,
    pub term: u64,
    pub conf_state: Bytes,
}

/// Anything that can be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Takes the place of everything at its index and after; otherwise its index must follow the last.
    Entry(Entry),
    HardState(HardState),
    /// This node wrote a snapshot of what the log led to: the log must hold (index, term), and keeps its
    /// entries.
    Snapshot(SnapshotMark),
    /// Somebody else's snapshot was installed: the log drops all its entries and starts anew behind `index`.
    Install(SnapshotMark),
}

impl Record {
    pub(crate) fn payload_bytes(&self) -> usize {
        match self {
            Record::Entry(entry) => 16 + entry.data.len(),
            Record::HardState(_) => 24,
            Record::Snapshot(mark) | Record::Install(mark) => 16 + mark.conf_state.len(),
        }
    }

    /// Bytes on disk with frame and padding.
    pub(crate) fn frame_bytes(&self) -> usize {
        frame_bytes(self.payload_bytes())
    }
}

pub(crate) fn frame_bytes(payload_bytes: usize) -> usize {
    (FRAME_BYTES + payload_bytes).next_multiple_of(8)
}

/// The starting value of a segment's checksums. A stale record of a recycled file can never validate: for
/// records of equal content CRC is injective in its seed, and CRC32C separates any two sequence numbers less
/// than 2^32 apart. The salt keeps a client from storing bytes that look like a record.
pub(crate) fn seed(salt: u64, sequence: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &sequence.to_le_bytes())
}

fn checksum(seed: u32, frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &frame[..4]), &frame[8..])
}

/// Appends one frame to `out`.
pub(crate) fn encode(out: &mut Vec<u8>, record: &Record, seed: u32, batch: u64, flags: u8) {
    let start = out.len();
    let payload_bytes = record.payload_bytes();
    let (tag, kind) = match record {
        Record::Entry(entry) => (TAG_ENTRY, entry.kind),
        Record::HardState(_) => (TAG_HARD_STATE, 0),
        Record::Snapshot(_) => (TAG_SNAPSHOT, 0),
        Record::Install(_) => (TAG_INSTALL, 0),
    };
    out.extend_from_slice(&(payload_bytes as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&batch.to_le_bytes());
    out.extend_from_slice(&[tag, flags, kind, 0, 0, 0, 0, 0]);
    match record {
        Record::Entry(Entry { term: first, index: second, data, .. })
        | Record::Snapshot(SnapshotMark { term: first, index: second, conf_state: data })
        | Record::Install(SnapshotMark { term: first, index: second, conf_state: data }) => {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&second.to_le_bytes());
            out.extend_from_slice(data);
        }
        Record::HardState(state) => {
            for number in [state.term, state.vote, state.commit] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
    }
    let crc = checksum(seed, &out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    out.resize(start + frame_bytes(payload_bytes), 0);
}

/// One validated frame inside a buffer.
pub(crate) struct Frame<'b> {
    pub batch: u64,
    pub flags: u8,
    tag: u8,
    kind: u8,
    payload: &'b [u8],
}

impl<'b> Frame<'b> {
    /// The frame at the start of `bytes`, or `None` if it does not validate under `seed`.
    pub fn parse(bytes: &'b [u8], seed: u32) -> Option<Frame<'b>> {
        let head = bytes.get(..FRAME_BYTES)?;
        let payload_bytes = u32_at(head, 0) as usize;
        let (tag, flags, kind) = (head[16], head[17], head[18]);
        let least = match tag {
            TAG_ENTRY | TAG_SNAPSHOT | TAG_INSTALL => 16,
            TAG_HARD_STATE => 24,
            _ => return None,
        };
        if !(least..=MAX_PAYLOAD_BYTES).contains(&payload_bytes) {
            return None;
        }
        let whole = bytes.get(..FRAME_BYTES + payload_bytes)?;
        if checksum(seed, whole) != u32_at(head, 4) {
            return None;
        }
        Some(Frame { batch: u64_at(head, 8), flags, tag, kind, payload: &whole[FRAME_BYTES..] })
    }

    /// Bytes to the next frame.
    pub fn bytes(&self) -> usize {
        frame_bytes(self.payload.len())
    }

    pub fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    pub fn is_entry(&self) -> bool {
        self.tag == TAG_ENTRY
    }

    /// The record; `share` turns a part of the payload into bytes the record keeps.
    pub fn record(&self, share: impl FnOnce(&[u8]) -> Bytes) -> Record {
        let number = |at: usize| u64_at(self.payload, at);
        match self.tag {
            TAG_ENTRY => Record::Entry(Entry {
                term: number(0),
                index: number(8),
                kind: self.kind,
                data: share(&self.payload[16..]),
            }),
            TAG_HARD_STATE => {
                Record::HardState(HardState { term: number(0), vote: number(8), commit: number(16) })
            }
            tag => {
                let conf_state = share(&self.payload[16..]);
                let mark = SnapshotMark { term: number(0), index: number(8), conf_state };
                if tag == TAG_INSTALL { Record::Install(mark) } else { Record::Snapshot(mark) }
            }
        }
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        vec![
            Record::Entry(Entry { term: 3, index: 9, kind: 1, data: Bytes::from_static(b"hello") }),
            Record::HardState(HardState { term: 3, vote: 1, commit: 8 }),
            Record::Snapshot(SnapshotMark { index: 5, term: 2, conf_state: Bytes::from_static(b"conf") }),
            Record::Install(SnapshotMark { index: 5, term: 2, conf_state: Bytes::new() }),
        ]
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        for record in records() {
            let mut bytes = Vec::new();
            encode(&mut bytes, &record, 7, 42, LAST);
            assert_eq!(bytes.len(), record.frame_bytes());
            let frame = Frame::parse(&bytes, 7).expect("valid");
            assert_eq!((frame.batch, frame.flags, frame.bytes()), (42, LAST, bytes.len()));
            assert_eq!(frame.record(Bytes::copy_from_slice), record);
        }
    }

    #[test]
    fn any_flipped_bit_or_another_seed_is_refused() {
        for record in records() {
            let mut bytes = Vec::new();
            encode(&mut bytes, &record, seed(1, 2), 42, 0);
            assert!(Frame::parse(&bytes, seed(1, 3)).is_none());
            for bit in 0..(FRAME_BYTES + record.payload_bytes()) * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(Frame::parse(&bytes, seed(1, 2)).is_none(), "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
