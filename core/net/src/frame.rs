//! How bytes are cut on a connection: `length u32 | crc32c u32 | kind u8 | flags u8 | body`, little-endian.
//!
//! A body is at most [`SEGMENT_BYTES`]; a longer message goes out in segments, so that a heartbeat passes a
//! large one in its middle and so that no header can make the reader allocate more than a segment.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes before each body.
pub(crate) const HEADER_BYTES: usize = 10;
/// The longest body of one segment.
pub(crate) const SEGMENT_BYTES: usize = 256 << 10;
const MORE: u8 = 1;
const URGENT: u8 = 2;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// "I am here": nothing in it, never answered.
    Ping = 0,
    /// A frame of the layer above.
    Frame = 1,
    /// `id u64 | payload`.
    Call = 2,
    /// `id u64 | status u16 | payload`.
    Reply = 3,
    /// `total u64 | header`: a snapshot is about to come.
    Offer = 4,
    /// `offset u64`: what the receiver of a snapshot holds.
    Held = 5,
    /// `offset u64 | bytes` of a snapshot.
    Chunk = 6,
    /// `crc32c u32` over all bytes of the snapshot.
    End = 7,
    /// `0`: the snapshot was taken; `1 | reason`: it was not.
    Outcome = 8,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Ping,
        Self::Frame,
        Self::Call,
        Self::Reply,
        Self::Offer,
        Self::Held,
        Self::Chunk,
        Self::End,
        Self::Outcome,
    ];
}

/// Bytes that are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// A segment longer than any may be.
    LongSegment(u32),
    /// A message longer than this connection takes.
    LongMessage(usize),
    /// The checksum differs.
    Checksum,
    /// A kind, a flag or an order of segments that does not exist.
    Malformed(&'static str),
}

impl fmt::Display for FrameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongSegment(length) => write!(out, "a header that announces {length} bytes"),
            Self::LongMessage(limit) => write!(out, "a message of more than {limit} bytes"),
            Self::Checksum => write!(out, "a frame with a wrong checksum"),
            Self::Malformed(what) => write!(out, "{what}"),
        }
    }
}

/// One whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub kind: Kind,
    pub body: Bytes,
}

/// The header of one segment.
pub(crate) fn header(kind: Kind, is_last: bool, is_urgent: bool, body: &[u8]) -> [u8; HEADER_BYTES] {
    let mut head = [0; HEADER_BYTES];
    head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    head[8] = kind as u8;
    head[9] = if is_last { 0 } else { MORE } | if is_urgent { URGENT } else { 0 };
    let sum = checksum(&head, body);
    head[4..8].copy_from_slice(&sum.to_le_bytes());
    head
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&head[..4]), &head[8..HEADER_BYTES]), body)
}

/// Puts the segments of one connection together again.
#[derive(Debug)]
pub(crate) struct Decoder {
    message_bytes_max: usize,
    begun: Option<(Kind, Vec<u8>)>,
}

impl Decoder {
    /// Of a connection on which a message has at most `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, begun: None }
    }

    /// Takes the next whole message out of `buffer`; None when more bytes are needed. After an error the
    /// connection is of no use.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Message>, FrameError> {
        while buffer.len() >= HEADER_BYTES {
            let length = u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
            if length as usize > SEGMENT_BYTES {
                return Err(FrameError::LongSegment(length));
            }
            let whole = HEADER_BYTES + length as usize;
            if buffer.len() < whole {
                buffer.reserve(whole - buffer.len());
                return Ok(None);
            }
            let (head, body) = buffer[..whole].split_at(HEADER_BYTES);
            if checksum(head, body) != u32::from_le_bytes([head[4], head[5], head[6], head[7]]) {
                return Err(FrameError::Checksum);
            }
            let message = self.segment(head[8], head[9], body);
            buffer.advance(whole);
            if let Some(message) = message? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn segment(&mut self, kind: u8, flags: u8, body: &[u8]) -> Result<Option<Message>, FrameError> {
        let kind = *Kind::ALL.get(kind as usize).ok_or(FrameError::Malformed("an unknown kind of frame"))?;
        match flags {
            // Copied at its exact size: what is kept of a message must not hold the buffer of its connection.
            URGENT if body.len() <= self.message_bytes_max => {
                Ok(Some(Message { kind, body: Bytes::copy_from_slice(body) }))
            }
            0 if self.begun.is_none() && body.len() <= self.message_bytes_max => {
                Ok(Some(Message { kind, body: Bytes::copy_from_slice(body) }))
            }
            0 | MORE => self.continued(kind, flags == MORE, body),
            URGENT => Err(FrameError::LongMessage(self.message_bytes_max)),
            _ => Err(FrameError::Malformed("unknown flags of a frame")),
        }
    }

    fn continued(&mut self, kind: Kind, is_more: bool, body: &[u8]) -> Result<Option<Message>, FrameError> {
        if is_more && body.len() != SEGMENT_BYTES {
            return Err(FrameError::Malformed("a segment that is not full before its last"));
        }
        let (begun, mut bytes) = self.begun.take().unwrap_or((kind, Vec::new()));
        if begun != kind {
            return Err(FrameError::Malformed("a message inside another"));
        }
        if bytes.len() + body.len() > self.message_bytes_max {
            return Err(FrameError::LongMessage(self.message_bytes_max));
        }
        bytes.extend_from_slice(body);
        if is_more {
            self.begun = Some((kind, bytes));
            return Ok(None);
        }
        Ok(Some(Message { kind, body: Bytes::from(bytes.into_boxed_slice()) }))
    }
}

/// The number before the rest of a body.
pub(crate) fn number(body: &mut Bytes) -> Result<u64, FrameError> {
    if body.len() < 8 {
        return Err(FrameError::Malformed("a message without its number"));
    }
    Ok(body.get_u64_le())
}

/// A body that begins with a number.
pub(crate) fn numbered(number: u64, more: &[&[u8]]) -> Bytes {
    let mut body = Vec::with_capacity(8 + more.iter().map(|part| part.len()).sum::<usize>());
    body.extend_from_slice(&number.to_le_bytes());
    for part in more {
        body.extend_from_slice(part);
    }
    body.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(kind: Kind, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = body;
        while rest.len() > SEGMENT_BYTES {
            let (part, after) = rest.split_at(SEGMENT_BYTES);
            out.extend_from_slice(&header(kind, false, false, part));
            out.extend_from_slice(part);
            rest = after;
        }
        out.extend_from_slice(&header(kind, true, false, rest));
        out.extend_from_slice(rest);
        out
    }

    fn decoded(limit: usize, bytes: &[u8], cut: usize) -> Result<Vec<Message>, FrameError> {
        let mut decoder = Decoder::new(limit);
        let mut buffer = BytesMut::new();
        let mut found = Vec::new();
        for part in bytes.chunks(cut.max(1)) {
            buffer.extend_from_slice(part);
            while let Some(message) = decoder.next(&mut buffer)? {
                found.push(message);
            }
        }
        Ok(found)
    }

    #[test]
    fn a_long_message_comes_whole_and_an_urgent_one_passes_it() {
        let body: Vec<u8> = (0..SEGMENT_BYTES * 2 + 7).map(|at| at as u8).collect();
        let mut bytes = encoded(Kind::Frame, &body);
        let urgent = [header(Kind::Frame, true, true, b"beat").as_slice(), b"beat"].concat();
        bytes.splice(HEADER_BYTES + SEGMENT_BYTES..HEADER_BYTES + SEGMENT_BYTES, urgent);
        let found = decoded(1 << 20, &bytes, 1_000).unwrap();
        assert_eq!(found[0].body, b"beat"[..]);
        assert_eq!(found[1].body, body);
    }

    #[test]
    fn a_header_of_four_gigabytes_is_refused_before_anything_is_allocated() {
        let mut buffer = BytesMut::from([0xff; HEADER_BYTES].as_slice());
        let before = buffer.capacity();
        let refused = Decoder::new(usize::MAX).next(&mut buffer);
        assert_eq!(refused, Err(FrameError::LongSegment(u32::MAX)));
        assert_eq!(buffer.capacity(), before);
    }

    #[test]
    fn a_message_longer_than_the_limit_is_refused_at_its_first_segment_too_many() {
        let bytes = encoded(Kind::Call, &vec![7; SEGMENT_BYTES * 3]);
        let limit = SEGMENT_BYTES + 1;
        assert_eq!(decoded(limit, &bytes, 4096), Err(FrameError::LongMessage(limit)));
        assert_eq!(decoded(3, &encoded(Kind::Call, b"four"), 64), Err(FrameError::LongMessage(3)));
    }

    #[test]
    fn empty_segments_without_end_are_refused() {
        let head = header(Kind::Frame, false, false, &[]);
        assert!(matches!(decoded(1 << 20, &head, 10), Err(FrameError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..8),
            cut in 1usize..700,
        ) {
            let bytes: Vec<u8> = bodies.iter().flat_map(|body| encoded(Kind::Reply, body)).collect();
            let found = decoded(600, &bytes, cut).unwrap();
            prop_assert_eq!(found.iter().map(|one| one.body.to_vec()).collect::<Vec<_>>(), bodies);
        }

        #[test]
        fn garbage_never_panics_and_never_makes_a_message(
            bytes in prop::collection::vec(any::<u8>(), 0..2_000),
            cut in 1usize..64,
        ) {
            if let Ok(found) = decoded(1 << 20, &bytes, cut) {
                prop_assert!(found.is_empty());
            }
        }

        #[test]
        fn a_changed_bit_is_noticed(
            body in prop::collection::vec(any::<u8>(), 1..300),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut bytes = encoded(Kind::Frame, &body);
            let place = at.index(bytes.len());
            bytes[place] ^= 1 << bit;
            if let Ok(found) = decoded(1 << 20, &bytes, 4_096) {
                prop_assert!(found.is_empty());
            }
        }
    }
}
