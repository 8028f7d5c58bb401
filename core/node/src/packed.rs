//! One Raft entry carries many of ours: a version byte, then each as u32 LE length and envelope.
//!
//! Packing is what makes a thousand waiting writers share one append and one fsync; the envelope inside is
//! the unit that takes an index (docs/reference/entries.md).

use konsul_state::entry::{self, Kind};

const VERSION: u8 = 1;
/// Length prefix plus the envelope's head (`now_ms`, kind).
const OVERHEAD_BYTES: usize = 4 + 9;

/// The data of a Raft entry is not what this version writes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("packed entry version {0} is not known to this version of Konsul")]
    Version(u8),
    #[error("a packed entry ends in the middle")]
    Short,
}

/// Builds the data of one Raft entry.
pub(crate) struct Packer {
    out: Vec<u8>,
    count: usize,
}

impl Packer {
    pub fn new() -> Self {
        Self { out: vec![VERSION], count: 0 }
    }

    /// True if `body` still belongs in here: an entry over the bound travels alone.
    pub fn has_room(&self, body: &[u8], bytes_max: usize) -> bool {
        self.count == 0 || self.out.len() + OVERHEAD_BYTES + body.len() <= bytes_max
    }

    /// Adds one envelope.
    pub fn add(&mut self, now_ms: u64, kind: Kind, body: &[u8]) {
        self.out.reserve(OVERHEAD_BYTES + body.len());
        let head = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        entry::encode(now_ms, kind, body, &mut self.out);
        // Entries are refused over 80 MiB, so the length fits.
        let length = (self.out.len() - head - 4) as u32;
        self.out[head..head + 4].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// The envelopes of a Raft entry, in order. An empty entry (a new leader's first) has none.
pub(crate) fn envelopes(data: &[u8]) -> Result<Vec<&[u8]>, Unreadable> {
    let mut found = Vec::new();
    let Some((version, mut rest)) = data.split_first() else { return Ok(found) };
    if *version != VERSION {
        return Err(Unreadable::Version(*version));
    }
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(Unreadable::Short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (envelope, after) = after.split_at_checked(length).ok_or(Unreadable::Short)?;
        found.push(envelope);
        rest = after;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_in_order() {
        let mut packer = Packer::new();
        packer.add(5, Kind::Cases, b"first");
        packer.add(6, Kind::Pulse, b"");
        let data = packer.finish();
        let found = envelopes(&data).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].ends_with(b"first") && found[0].starts_with(&5_u64.to_be_bytes()));
        assert_eq!(found[1].len(), 9);
        assert_eq!(envelopes(b""), Ok(vec![]));
    }

    #[test]
    fn a_bound_is_kept_but_never_blocks_one_oversize_entry() {
        let mut packer = Packer::new();
        assert!(packer.has_room(&[0; 100], 50));
        packer.add(1, Kind::Cases, &[0; 100]);
        assert!(!packer.has_room(b"", 50));
        assert!(packer.has_room(b"", 200));
    }

    #[test]
    fn other_versions_and_torn_data_are_refused() {
        assert_eq!(envelopes(&[9, 0]), Err(Unreadable::Version(9)));
        for data in [&[VERSION, 1][..], &[VERSION, 5, 0, 0, 0, 1]] {
            assert_eq!(envelopes(data), Err(Unreadable::Short));
        }
    }
}
