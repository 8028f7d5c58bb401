//! WebSocket frames (RFC 6455, section 5) of the server's side, without extensions: a decoder that holds
//! nothing between messages, and frames as bytes that many lines may share.

use std::mem;

use bytes::{BufMut, Bytes, BytesMut};

/// A control frame's payload has at most this much.
const CONTROL_MAX: usize = 125;
/// A message's room grows at most this far ahead of what has arrived: nobody reserves memory by announcing.
const GROW_MAX: usize = 16 << 10;

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
const CONTINUATION: u8 = 0x0;

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// With its code, if it had one.
    Close(Option<u16>),
}

/// Why a connection cannot go on: a close code and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

const fn protocol(reason: &'static str) -> Broken {
    Broken { code: 1002, reason }
}

const TOO_BIG: Broken = Broken { code: 1009, reason: "the message is too big" };
const NOT_UTF8: Broken = Broken { code: 1007, reason: "text must be UTF-8" };

/// Takes bytes as they come, in any cut.
#[derive(Debug)]
pub(crate) struct Decoder {
    message_max: usize,
    head: [u8; 14],
    head_len: u8,
    /// Of the frame whose head is whole: its bytes still to come.
    left: Option<u64>,
    mask_at: u8,
    /// Of the message that is not whole: text or binary, 0 for none.
    kind: u8,
    message: Vec<u8>,
    control: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(message_max: usize) -> Self {
        Self {
            message_max,
            head: [0; 14],
            head_len: 0,
            left: None,
            mask_at: 0,
            kind: 0,
            message: Vec::new(),
            control: Vec::new(),
        }
    }

    /// Eats from `input` up to the end of the next message or control frame; None when `input` is eaten.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Arrived>, Broken> {
        loop {
            let left = match self.left {
                Some(left) => left,
                None => match self.eat_head(input)? {
                    Some(left) => left,
                    None => return Ok(None),
                },
            };
            let left = self.eat_payload(input, left);
            self.left = Some(left);
            if left > 0 {
                return Ok(None);
            }
            if let Some(arrived) = self.end_frame()? {
                return Ok(Some(arrived));
            }
        }
    }

    fn opcode(&self) -> u8 {
        self.head[0] & 0x0F
    }

    fn is_control(&self) -> bool {
        self.opcode() & 0x8 != 0
    }

    fn head_size(&self) -> usize {
        match self.head[1] & 0x7F {
            126 => 8,
            127 => 14,
            _ => 6,
        }
    }

    fn eat_head(&mut self, input: &mut &[u8]) -> Result<Option<u64>, Broken> {
        loop {
            let have = usize::from(self.head_len);
            let want = if have < 2 { 2 } else { self.head_size() };
            let take = (want - have).min(input.len());
            self.head[have..have + take].copy_from_slice(&input[..take]);
            *input = &input[take..];
            self.head_len += take as u8;
            if have + take < want {
                return Ok(None);
            }
            if want == 2 {
                self.check_start()?;
            } else {
                break;
            }
        }
        let left = self.payload_size()?;
        self.left = Some(left);
        self.mask_at = 0;
        Ok(Some(left))
    }

    /// Everything the first two bytes can be wrong about.
    fn check_start(&self) -> Result<(), Broken> {
        let is_final = self.head[0] & 0x80 != 0;
        if self.head[0] & 0x70 != 0 {
            return Err(protocol("reserved bits are set"));
        }
        if self.head[1] & 0x80 == 0 {
            return Err(protocol("a client's frames must be masked"));
        }
        match self.opcode() {
            CLOSE | PING | PONG if !is_final => Err(protocol("control frames are never in pieces")),
            CLOSE | PING | PONG if usize::from(self.head[1] & 0x7F) > CONTROL_MAX => {
                Err(protocol("control frames are short"))
            }
            CLOSE | PING | PONG => Ok(()),
            CONTINUATION if self.kind == 0 => Err(protocol("a continuation of nothing")),
            TEXT | BINARY if self.kind != 0 => Err(protocol("a message within a message")),
            CONTINUATION | TEXT | BINARY => Ok(()),
            _ => Err(protocol("an unknown kind of frame")),
        }
    }

    fn payload_size(&mut self) -> Result<u64, Broken> {
        let size = match self.head[1] & 0x7F {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => u64::from_be_bytes(self.head[2..10].try_into().unwrap_or_default()),
            small => u64::from(small),
        };
        let least = match self.head_size() {
            8 => 126,
            14 => 1 << 16,
            _ => 0,
        };
        if size < least || size >> 63 != 0 {
            return Err(protocol("a length that is not written as it should be"));
        }
        if !self.is_control() {
            if size > (self.message_max - self.message.len()) as u64 {
                return Err(TOO_BIG);
            }
            if self.opcode() != CONTINUATION {
                self.kind = self.opcode();
            }
        }
        Ok(size)
    }

    fn eat_payload(&mut self, input: &mut &[u8], left: u64) -> u64 {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (piece, rest) = input.split_at(take);
        *input = rest;
        let at = self.head_size() - 4;
        let mask = [self.head[at], self.head[at + 1], self.head[at + 2], self.head[at + 3]];
        let into = if self.is_control() { &mut self.control } else { &mut self.message };
        into.reserve(usize::try_from(left).unwrap_or(GROW_MAX).min(GROW_MAX.max(take)));
        let begin = into.len();
        into.extend_from_slice(piece);
        let mut turned = mask;
        turned.rotate_left(usize::from(self.mask_at));
        for four in into[begin..].chunks_mut(4) {
            for (byte, key) in four.iter_mut().zip(turned) {
                *byte ^= key;
            }
        }
        self.mask_at = ((usize::from(self.mask_at) + take) % 4) as u8;
        left - take as u64
    }

    fn end_frame(&mut self) -> Result<Option<Arrived>, Broken> {
        self.left = None;
        self.head_len = 0;
        match self.opcode() {
            PING => return Ok(Some(Arrived::Ping(mem::take(&mut self.control)))),
            PONG => {
                self.control = Vec::new();
                return Ok(Some(Arrived::Pong));
            }
            CLOSE => return closed(&mem::take(&mut self.control)).map(|code| Some(Arrived::Close(code))),
            _ => {}
        }
        if self.head[0] & 0x80 == 0 {
            return Ok(None);
        }
        let message = mem::take(&mut self.message);
        match mem::take(&mut self.kind) {
            TEXT => String::from_utf8(message).map(|text| Some(Arrived::Text(text))).map_err(|_| NOT_UTF8),
            _ => Ok(Some(Arrived::Binary(message))),
        }
    }
}

/// Reads the payload of a close frame.
fn closed(payload: &[u8]) -> Result<Option<u16>, Broken> {
    match payload {
        [] => Ok(None),
        [_] => Err(protocol("half a close code")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(protocol("a close code that is none"));
            }
            std::str::from_utf8(reason).map(|_| Some(code)).map_err(|_| NOT_UTF8)
        }
    }
}

/// One whole frame of a server.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + 10);
    bytes.put_u8(0x80 | opcode);
    match payload.len() {
        small @ 0..=125 => bytes.put_u8(small as u8),
        medium @ 126..=0xFFFF => {
            bytes.put_u8(126);
            bytes.put_u16(medium as u16);
        }
        large => {
            bytes.put_u8(127);
            bytes.put_u64(large as u64);
        }
    }
    bytes.extend_from_slice(payload);
    bytes.freeze()
}

/// A close frame; a reason that is too long is cut between characters.
pub(crate) fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(CONTROL_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    frame(CLOSE, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A client's frame.
    fn masked(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut bytes = frame(0, payload).to_vec();
        bytes[0] = first;
        bytes[1] |= 0x80;
        let head = bytes.len() - payload.len();
        let coded: Vec<u8> = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
        [&bytes[..head], &mask, &coded].concat()
    }

    fn decoded(decoder: &mut Decoder, pieces: &[&[u8]]) -> Vec<Arrived> {
        let mut all = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(arrived) = decoder.next(&mut piece).unwrap() {
                all.push(arrived);
            }
            assert!(piece.is_empty());
        }
        all
    }

    /// A message, its mask, and in how many frames it goes.
    fn sent() -> impl Strategy<Value = (Vec<u8>, [u8; 4], usize)> {
        (prop::collection::vec(any::<u8>(), 0..70_000), any::<[u8; 4]>(), 1usize..4)
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(
            messages in prop::collection::vec(sent(), 1..4),
            cuts in prop::collection::vec(1usize..5_000, 1..200),
        ) {
            let mut wire = Vec::new();
            for (payload, mask, pieces) in &messages {
                let size = payload.len().div_ceil(*pieces).max(1);
                let mut chunks: Vec<&[u8]> = payload.chunks(size).collect();
                if chunks.is_empty() {
                    chunks.push(&[]);
                }
                for (at, chunk) in chunks.iter().enumerate() {
                    let is_last = at + 1 == chunks.len();
                    let kind = if at == 0 { BINARY } else { CONTINUATION };
                    wire.extend(masked(kind | if is_last { 0x80 } else { 0 }, *mask, chunk));
                    wire.extend(masked(0x80 | PING, *mask, b"still there?"));
                }
            }
            let mut rest = &wire[..];
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            let mut decoder = Decoder::new(1 << 20);
            let all = decoded(&mut decoder, &pieces);
            let binary: Vec<&Arrived> = all.iter().filter(|it| matches!(it, Arrived::Binary(_))).collect();
            let expected: Vec<Arrived> =
                messages.iter().map(|(payload, _, _)| Arrived::Binary(payload.clone())).collect();
            prop_assert_eq!(binary, expected.iter().collect::<Vec<_>>());
            prop_assert!(decoder.message.capacity() == 0 && decoder.control.capacity() == 0);
        }

        #[test]
        fn any_bytes_are_messages_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..500),
            max in 0usize..200,
        ) {
            let mut decoder = Decoder::new(max);
            let mut rest = &bytes[..];
            while let Ok(Some(arrived)) = decoder.next(&mut rest) {
                match arrived {
                    Arrived::Text(text) => prop_assert!(text.len() <= max),
                    Arrived::Binary(bytes) => prop_assert!(bytes.len() <= max),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn lengths_are_written_in_the_fewest_bytes() {
        for (size, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let bytes = frame(TEXT, &vec![b'x'; size]);
            assert_eq!(bytes.len(), head + size);
            let mut client = masked(0x81, [1, 2, 3, 4], &vec![b'x'; size]);
            let arrived = decoded(&mut Decoder::new(1 << 20), &[&client]);
            assert_eq!(arrived, [Arrived::Text("x".repeat(size))]);
            client.truncate(1);
        }
    }

    #[test]
    fn what_is_announced_is_not_reserved() {
        let mut decoder = Decoder::new(1 << 30);
        let mut wire = &masked(0x82, [0; 4], &vec![0; 1 << 20])[..100];
        assert_eq!(decoder.next(&mut wire).unwrap(), None);
        assert!(decoder.message.capacity() <= 2 * GROW_MAX);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let bytes = close_frame(1000, &"\u{e9}".repeat(100));
        assert_eq!(bytes.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&bytes[4..]).is_ok());
    }
}
