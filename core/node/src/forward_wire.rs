//! Writes, renewals and reads between a follower and its leader, as bytes. All numbers are little endian; no
//! length is believed before the bytes are there.
//!
//! ```text
//! forward:        u64 term, u64 nonce, u64 floor, u32 count, items
//!   item:         u64 seq, u32 left_ms, u64 since, u8 0, u32 and request id with cases
//!                                                  u8 1, u16 table, u32 and key
//! forward answer: u64 term, u64 nonce, u32 count, items
//!   item:         u64 seq, u64 raft_index, u16 status, u64 index, u64 number, u32 and text
//! read ask:       u64 nonce, u64 round, u8 consistency (0 default, 1 linearizable)
//! read answer:    u64 nonce, u64 round, u64 raft_index (0: ask another)
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use konsul_state::entry::REQUEST_ID_BYTES;

use crate::inbox::Consistency;
use crate::wire::FrameKind;

/// A frame of many items is closed at this size; one item alone may be larger.
pub(crate) const FRAME_BYTES: usize = 1 << 20;
/// The least bytes of an item: what a count is checked against before memory is taken.
const ITEM_BYTES_MIN: usize = 25;
const WRITE: u8 = 0;
const RENEW: u8 = 1;

/// What a follower wants of its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The body of an entry of kind once.
    Write(Bytes),
    /// A lease's full length again.
    Renew { table: u16, key: Bytes },
}

impl Wish {
    pub fn len(&self) -> usize {
        match self {
            Self::Write(body) => body.len(),
            Self::Renew { key, .. } => key.len(),
        }
    }
}

/// One wish on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its number in this term; the same when it is sent again.
    pub seq: u64,
    pub left_ms: u32,
    /// How many requests were remembered before it was first sent to a former leader; `u64::MAX`: it never
    /// was.
    pub since: u64,
    pub wish: Wish,
}

/// Many wishes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// The term of the leader they are for; no other may take them.
    pub term: u64,
    /// Drawn by the asking process.
    pub nonce: u64,
    /// Everything below is settled.
    pub floor: u64,
    pub asked: Vec<Asked>,
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub seq: u64,
    /// The Raft index that decided it; 0: it did not enter the log.
    pub raft_index: u64,
    pub status: u16,
    pub index: u64,
    pub number: u64,
    pub text: Bytes,
}

/// Answers to many wishes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ForwardAnswer {
    pub term: u64,
    pub nonce: u64,
    pub told: Vec<Told>,
}

/// A reader's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadAsk {
    pub nonce: u64,
    pub round: u64,
    pub consistency: Consistency,
}

/// Up to where it must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadAnswer {
    pub nonce: u64,
    pub round: u64,
    pub raft_index: u64,
}

fn frame(kind: FrameKind, numbers: &[u64], room: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(1 + 8 * numbers.len() + room);
    out.put_u8(kind as u8);
    numbers.iter().for_each(|number| out.put_u64_le(*number));
    out
}

fn put_sized(out: &mut BytesMut, bytes: &[u8]) {
    // Entries are limited to 80 MiB, keys and messages far below.
    out.put_u32_le(bytes.len() as u32);
    out.put_slice(bytes);
}

fn take_sized(body: &mut Bytes) -> Option<Bytes> {
    let length = body.try_get_u32_le().ok()? as usize;
    (length <= body.len()).then(|| body.split_to(length))
}

/// How many items follow; `None` if they cannot be in what is left.
fn take_count(body: &mut Bytes) -> Option<usize> {
    let count = body.try_get_u32_le().ok()? as usize;
    (count <= body.len() / ITEM_BYTES_MIN).then_some(count)
}

impl Forward {
    pub fn encode(&self) -> Bytes {
        let room = self.asked.iter().map(|asked| 64 + asked.wish.len()).sum::<usize>();
        let mut out = frame(FrameKind::Forward, &[self.term, self.nonce, self.floor], 4 + room);
        out.put_u32_le(self.asked.len() as u32);
        for asked in &self.asked {
            out.put_u64_le(asked.seq);
            out.put_u32_le(asked.left_ms);
            out.put_u64_le(asked.since);
            match &asked.wish {
                Wish::Write(body) => {
                    out.put_u8(WRITE);
                    put_sized(&mut out, body);
                }
                Wish::Renew { table, key } => {
                    out.put_u8(RENEW);
                    out.put_u16_le(*table);
                    put_sized(&mut out, key);
                }
            }
        }
        out.freeze()
    }

    /// `None` for bytes that this version does not write.
    pub fn decode(mut body: Bytes) -> Option<Self> {
        let (term, nonce) = (body.try_get_u64_le().ok()?, body.try_get_u64_le().ok()?);
        let floor = body.try_get_u64_le().ok()?;
        let count = take_count(&mut body)?;
        let mut asked = Vec::with_capacity(count);
        for _ in 0..count {
            let (seq, left_ms) = (body.try_get_u64_le().ok()?, body.try_get_u32_le().ok()?);
            let since = body.try_get_u64_le().ok()?;
            let wish = match body.try_get_u8().ok()? {
                WRITE => Wish::Write(take_sized(&mut body)?),
                RENEW => Wish::Renew { table: body.try_get_u16_le().ok()?, key: take_sized(&mut body)? },
                _ => return None,
            };
            if matches!(&wish, Wish::Write(body) if body.len() < REQUEST_ID_BYTES) {
                return None;
            }
            asked.push(Asked { seq, left_ms, since, wish });
        }
        body.is_empty().then_some(Self { term, nonce, floor, asked })
    }
}

impl ForwardAnswer {
    pub fn encode(&self) -> Bytes {
        let room = self.told.iter().map(|told| 48 + told.text.len()).sum::<usize>();
        let mut out = frame(FrameKind::ForwardAnswer, &[self.term, self.nonce], 4 + room);
        out.put_u32_le(self.told.len() as u32);
        for told in &self.told {
            out.put_u64_le(told.seq);
            out.put_u64_le(told.raft_index);
            out.put_u16_le(told.status);
            out.put_u64_le(told.index);
            out.put_u64_le(told.number);
            put_sized(&mut out, &told.text);
        }
        out.freeze()
    }

    /// `None` for bytes that this version does not write.
    pub fn decode(mut body: Bytes) -> Option<Self> {
        let (term, nonce) = (body.try_get_u64_le().ok()?, body.try_get_u64_le().ok()?);
        let count = take_count(&mut body)?;
        let mut told = Vec::with_capacity(count);
        for _ in 0..count {
            told.push(Told {
                seq: body.try_get_u64_le().ok()?,
                raft_index: body.try_get_u64_le().ok()?,
                status: body.try_get_u16_le().ok()?,
                index: body.try_get_u64_le().ok()?,
                number: body.try_get_u64_le().ok()?,
                text: take_sized(&mut body)?,
            });
        }
        body.is_empty().then_some(Self { term, nonce, told })
    }
}

impl ReadAsk {
    pub fn encode(&self) -> Bytes {
        let mut out = frame(FrameKind::ReadAsk, &[self.nonce, self.round], 1);
        out.put_u8(u8::from(self.consistency == Consistency::Linearizable));
        out.freeze()
    }

    /// `None` for bytes that this version does not write.
    pub fn decode(mut body: Bytes) -> Option<Self> {
        let (nonce, round) = (body.try_get_u64_le().ok()?, body.try_get_u64_le().ok()?);
        let consistency = match body.try_get_u8().ok()? {
            0 => Consistency::Default,
            1 => Consistency::Linearizable,
            _ => return None,
        };
        body.is_empty().then_some(Self { nonce, round, consistency })
    }
}

impl ReadAnswer {
    pub fn encode(&self) -> Bytes {
        frame(FrameKind::ReadAnswer, &[self.nonce, self.round, self.raft_index], 0).freeze()
    }

    /// `None` for bytes that this version does not write.
    pub fn decode(mut body: Bytes) -> Option<Self> {
        let (nonce, round) = (body.try_get_u64_le().ok()?, body.try_get_u64_le().ok()?);
        let raft_index = body.try_get_u64_le().ok()?;
        body.is_empty().then_some(Self { nonce, round, raft_index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(frame: Bytes, kind: FrameKind) -> Bytes {
        let (found, body) = FrameKind::split(&frame).unwrap();
        assert_eq!(found, kind);
        body
    }

    #[test]
    fn wishes_and_answers_come_as_they_went() {
        let write = Wish::Write(Bytes::from_static(b"0123456789abcdef\x90"));
        let renew = Wish::Renew { table: 2, key: Bytes::from_static(b"web") };
        let asked = [(4, write), (5, renew)]
            .map(|(seq, wish)| Asked { seq, left_ms: 70, since: u64::MAX, wish })
            .to_vec();
        let forward = Forward { term: 3, nonce: 9, floor: 4, asked };
        let bytes = body(forward.encode(), FrameKind::Forward);
        for cut in 0..bytes.len() {
            assert_eq!(Forward::decode(bytes.slice(..cut)), None);
        }
        assert_eq!(Forward::decode(bytes), Some(forward));

        let text = Bytes::from_static(b"key");
        let told = vec![Told { seq: 4, raft_index: 90, status: 1, index: 0, number: 7, text }];
        let answer = ForwardAnswer { term: 3, nonce: 9, told };
        let bytes = body(answer.encode(), FrameKind::ForwardAnswer);
        for cut in 0..bytes.len() {
            assert_eq!(ForwardAnswer::decode(bytes.slice(..cut)), None);
        }
        assert_eq!(ForwardAnswer::decode(bytes), Some(answer));
    }

    #[test]
    fn reads_come_as_they_went() {
        for consistency in [Consistency::Default, Consistency::Linearizable] {
            let ask = ReadAsk { nonce: 1, round: 2, consistency };
            assert_eq!(ReadAsk::decode(body(ask.encode(), FrameKind::ReadAsk)), Some(ask));
        }
        let answer = ReadAnswer { nonce: 1, round: 2, raft_index: 3 };
        assert_eq!(ReadAnswer::decode(body(answer.encode(), FrameKind::ReadAnswer)), Some(answer));
        assert_eq!(ReadAnswer::decode(Bytes::from_static(b"short")), None);
    }

    #[test]
    fn a_count_takes_no_memory_before_its_items_are_there() {
        let mut out = frame(FrameKind::Forward, &[1, 2, 3], 4);
        out.put_u32_le(u32::MAX);
        assert_eq!(Forward::decode(out.freeze().slice(1..)), None);
    }
}
