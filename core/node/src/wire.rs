//! What drivers say to each other, as bytes. Our own layout: nothing of a peer is decoded with the consensus
//! library's protobuf 2 (RUSTSEC-2024-0437), and no length in it is believed before the bytes are there.
//!
//! ```text
//! frame:    u8 kind (1 raft, 2 forward, 3 its answer, 4 read ask, 5 its answer), body
//! raft:     u64 sent_ms, u64 echo_ms, u8 type, u8 reject, nine u64 (to, from, term, log_term, index, commit,
//!           commit_term, request_snapshot, reject_hint), u8 and context, u32 entry count, entries
//! entry:    u8 kind (0 normal, 1 members), u64 term, u64 index, u32 and data
//! snapshot: u8 2, u64 from, u64 to, u64 term, u64 index, u64 log_term, u64 bytes, members
//! ```
//! All numbers are little endian.

use bytes::Bytes;
use konsul_state::apply::Position;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use crate::members::Members;
use crate::members_codec;

/// What a frame carries; its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A message of the consensus library with the times that leases are built from.
    Raft = 1,
    /// Proposals for the leader.
    Forward = 2,
    /// What became of them.
    ForwardAnswer = 3,
    /// A reader asks up to where to wait.
    ReadAsk = 4,
    /// Up to there.
    ReadAnswer = 5,
}

impl FrameKind {
    /// The kind of a frame and its body; `None` for bytes that this version does not know.
    pub fn split(frame: &Bytes) -> Option<(Self, Bytes)> {
        let kind = match frame.first()? {
            1 => Self::Raft,
            2 => Self::Forward,
            3 => Self::ForwardAnswer,
            4 => Self::ReadAsk,
            5 => Self::ReadAnswer,
            _ => return None,
        };
        Some((kind, frame.slice(1..)))
    }
}

/// True for what must not wait behind entries: who is there, who votes, how far somebody is.
pub(crate) fn is_urgent(frame: &[u8]) -> bool {
    match frame.first() {
        Some(1) => frame.get(RAFT_TYPE_AT).is_some_and(|kind| *kind != APPEND),
        Some(4 | 5) => true,
        _ => false,
    }
}

/// The entry's kind in log and frames: normal.
pub(crate) const ENTRY_NORMAL: u8 = 0;
/// A change of members.
pub(crate) const ENTRY_MEMBERS: u8 = 1;

const CONTEXT_BYTES_MAX: usize = 64;
const ENTRY_HEAD_BYTES: usize = 21;
/// Where a raft frame has its type: after its kind and its times.
const RAFT_TYPE_AT: usize = 17;
const SNAPSHOT: u8 = 2;

/// A message with its times.
#[derive(Debug)]
pub(crate) struct RaftFrame {
    /// The sender's monotonic clock when it left.
    pub sent_ms: u64,
    /// The newest `sent_ms` of the receiver that the sender has processed as its follower in this term.
    pub echo_ms: u64,
    pub message: Message,
}

/// The kind and the bytes of an entry that go to disk and to peers.
pub(crate) fn entry_bytes(entry: &Entry) -> (u8, &Bytes) {
    if entry.get_entry_type() == EntryType::EntryNormal {
        (ENTRY_NORMAL, &entry.data)
    } else {
        // The data is only for the library's checks when it was proposed.
        (ENTRY_MEMBERS, &entry.context)
    }
}

/// The library's entry of what came from disk or a peer; `None` for a kind that this version does not know.
pub(crate) fn entry_of(kind: u8, term: u64, index: u64, data: Bytes) -> Option<Entry> {
    let mut entry = Entry { term, index, ..Entry::default() };
    match kind {
        ENTRY_NORMAL => entry.data = data,
        ENTRY_MEMBERS => {
            entry.set_entry_type(EntryType::EntryConfChangeV2);
            entry.context = data;
        }
        _ => return None,
    }
    Some(entry)
}

/// True for what a peer may send in a frame. Snapshots come on their own way, proposals and reads as frames
/// of their own kinds, and the rest is a node's own business.
fn is_for_peers(kind: MessageType) -> bool {
    use MessageType::*;
    matches!(
        kind,
        MsgAppend
            | MsgAppendResponse
            | MsgRequestVote
            | MsgRequestVoteResponse
            | MsgHeartbeat
            | MsgHeartbeatResponse
            | MsgTimeoutNow
            | MsgRequestPreVote
            | MsgRequestPreVoteResponse
    )
}

/// The place of appends in `KINDS`.
const APPEND: u8 = 0;
const KINDS: [MessageType; 9] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgTimeoutNow,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

/// A whole frame; `None` for a message that is not for peers.
pub(crate) fn encode_raft(message: &Message, sent_ms: u64, echo_ms: u64) -> Option<Bytes> {
    let kind = message.get_msg_type();
    if !is_for_peers(kind) || message.context.len() > CONTEXT_BYTES_MAX {
        return None;
    }
    let at = KINDS.iter().position(|known| *known == kind)?;
    let entries = &message.entries;
    let entry_total: usize = entries.iter().map(|e| ENTRY_HEAD_BYTES + entry_bytes(e).1.len()).sum();
    let mut out = Vec::with_capacity(128 + entry_total);
    out.push(FrameKind::Raft as u8);
    put(&mut out, &[sent_ms, echo_ms]);
    out.push(at as u8);
    out.push(u8::from(message.reject));
    put(&mut out, &[message.to, message.from, message.term, message.log_term, message.index]);
    put(&mut out, &[message.commit, message.commit_term, message.request_snapshot, message.reject_hint]);
    out.push(message.context.len() as u8);
    out.extend_from_slice(&message.context);
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for entry in entries {
        let (kind, data) = entry_bytes(entry);
        out.push(kind);
        put(&mut out, &[entry.term, entry.index]);
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        out.extend_from_slice(data);
    }
    Some(out.into())
}

fn put(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// The body of a raft frame; `None` for bytes that this version did not write.
pub(crate) fn decode_raft(body: Bytes) -> Option<RaftFrame> {
    let mut reader = Reader { bytes: body, at: 0 };
    let (sent_ms, echo_ms) = (reader.u64()?, reader.u64()?);
    let kind = *KINDS.get(usize::from(reader.u8()?))?;
    let reject = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let mut message = Message { to: reader.u64()?, from: reader.u64()?, reject, ..Message::default() };
    message.set_msg_type(kind);
    message.term = reader.u64()?;
    message.log_term = reader.u64()?;
    message.index = reader.u64()?;
    message.commit = reader.u64()?;
    message.commit_term = reader.u64()?;
    message.request_snapshot = reader.u64()?;
    message.reject_hint = reader.u64()?;
    let context_bytes = usize::from(reader.u8()?);
    if context_bytes > CONTEXT_BYTES_MAX {
        return None;
    }
    message.context = reader.share(context_bytes)?;
    let mut entries = Vec::new();
    let mut expected = message.index.checked_add(1)?;
    for _ in 0..reader.u32()? {
        let entry = reader.entry()?;
        // The library takes it for granted that they follow each other.
        if entry.index != expected || entry.term > message.term {
            return None;
        }
        expected = expected.checked_add(1)?;
        entries.push(entry);
    }
    let has_rest = reader.at < reader.bytes.len();
    // A message without a term is a node's own to the library, whoever sent it.
    if has_rest || message.term == 0 || (kind != MessageType::MsgAppend && !entries.is_empty()) {
        return None;
    }
    message.set_entries(entries.into());
    Some(RaftFrame { sent_ms, echo_ms, message })
}

struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn share(&mut self, count: usize) -> Option<Bytes> {
        let from = self.at;
        self.take(count)?;
        Some(self.bytes.slice(from..self.at))
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn entry(&mut self) -> Option<Entry> {
        let (kind, term, index) = (self.u8()?, self.u64()?, self.u64()?);
        let data_bytes = self.u32()? as usize;
        entry_of(kind, term, index, self.share(data_bytes)?)
    }
}

/// What is said of a snapshot before its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SnapshotHeader {
    pub from: u64,
    pub to: u64,
    /// The leader's term.
    pub term: u64,
    /// What the snapshot covers.
    pub position: Position,
    pub total_bytes: u64,
    /// The members at that position.
    pub members: Members,
}

impl SnapshotHeader {
    pub fn encode(&self) -> Bytes {
        let mut out = vec![SNAPSHOT];
        let Position { index, term } = self.position;
        put(&mut out, &[self.from, self.to, self.term, index, term, self.total_bytes]);
        out.extend_from_slice(&members_codec::encode(&self.members));
        out.into()
    }

    /// `None` for bytes that this version did not write, and for what no leader says.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes: Bytes::copy_from_slice(bytes), at: 0 };
        if reader.u8()? != SNAPSHOT {
            return None;
        }
        let (from, to, term) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let position = Position { index: reader.u64()?, term: reader.u64()? };
        let total_bytes = reader.u64()?;
        let members = members_codec::decode(&reader.bytes[reader.at..])?;
        let is_possible = term > 0 && position.index > 0 && position.term <= term && !members.is_empty();
        is_possible.then_some(Self { from, to, term, position, total_bytes, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::member;

    fn append() -> Message {
        let mut message = Message { to: 2, from: 1, term: 7, log_term: 6, index: 9, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        message.commit = 8;
        let first = entry_of(ENTRY_NORMAL, 6, 10, Bytes::from_static(b"data")).unwrap();
        let second = entry_of(ENTRY_MEMBERS, 7, 11, Bytes::from_static(b"change")).unwrap();
        message.set_entries(vec![first, second].into());
        message
    }

    #[test]
    fn a_message_comes_as_it_went() {
        let frame = encode_raft(&append(), 100, 50).unwrap();
        let (kind, body) = FrameKind::split(&frame).unwrap();
        assert_eq!(kind, FrameKind::Raft);
        let found = decode_raft(body.clone()).unwrap();
        assert_eq!((found.sent_ms, found.echo_ms, found.message), (100, 50, append()));
        for cut in 0..body.len() {
            assert!(decode_raft(body.slice(..cut)).is_none());
        }
    }

    #[test]
    fn appends_wait_their_turn_and_heartbeats_do_not() {
        assert!(!is_urgent(&encode_raft(&append(), 1, 1).unwrap()));
        let mut beat = Message { to: 2, from: 1, term: 7, ..Message::default() };
        beat.set_msg_type(MessageType::MsgHeartbeat);
        assert!(is_urgent(&encode_raft(&beat, 1, 1).unwrap()));
        assert!(!is_urgent(&[FrameKind::Forward as u8]) && !is_urgent(&[]) && !is_urgent(&[1, 0]));
    }

    #[test]
    fn what_a_peer_may_not_say_is_not_understood() {
        let mut message = append();
        message.set_msg_type(MessageType::MsgPropose);
        assert!(encode_raft(&message, 1, 1).is_none());
        let mut gap = append();
        gap.index = 8;
        let frame = encode_raft(&gap, 1, 1).unwrap();
        assert!(decode_raft(frame.slice(1..)).is_none(), "entries that do not follow the message's index");
        let local = Message { term: 0, entries: Vec::new().into(), ..append() };
        assert!(decode_raft(encode_raft(&local, 1, 1).unwrap().slice(1..)).is_none());
    }

    #[test]
    fn a_snapshots_header_comes_as_it_went() {
        let header = SnapshotHeader {
            from: 1,
            to: 2,
            term: 4,
            position: Position { index: 100, term: 3 },
            total_bytes: 1 << 40,
            members: Members::founded(5, member(1), 1),
        };
        let bytes = header.encode();
        assert_eq!(SnapshotHeader::decode(&bytes), Some(header));
        for cut in 0..bytes.len() {
            assert_eq!(SnapshotHeader::decode(&bytes[..cut]), None);
        }
    }
}
