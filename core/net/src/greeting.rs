//! The first bytes of a connection: who connects and for what, and whether it is let in.
//!
//! Connector: `magic | length u16 | greeting`. Acceptor: `magic | length u16 | welcome or refusal`. Fields
//! may be added at the end; what a reader does not know it skips.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::options::Hello;
use crate::refusal::Refusal;

pub(crate) const MAGIC: [u8; 8] = *b"KNSLPEER";
/// The oldest and the newest protocol this build speaks.
pub(crate) const PROTOCOLS: (u16, u16) = (1, 1);
const BODY_BYTES_MAX: usize = 1_024;
const TEXT_BYTES_MAX: usize = 200;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Frames between members, both ways.
    Frames,
    /// Calls one way, replies the other; also for nodes that are no members yet.
    Calls,
    /// One snapshot.
    Snapshot,
}

/// What the connector says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub protocols: (u16, u16),
    pub lane: Lane,
    /// Whom the connector believes to reach; 0: anybody.
    pub to: u64,
    pub hello: Hello,
}

/// What the acceptor says to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Welcome { protocol: u16, hello: Hello },
    Refused(Refusal, String),
}

/// Why a first message could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The connection ended or broke.
    Io(io::Error),
    /// These bytes are of something else; with its first ones.
    Garbage([u8; 8]),
    /// The right magic, and then nonsense.
    Malformed(&'static str),
}

impl fmt::Display for Unread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(out, "{error}"),
            Self::Garbage([0x15 | 0x16, 3, ..]) => {
                write!(
                    out,
                    "it speaks TLS, and this node was told to speak without (KONSUL_RAFT_TLS_ENABLED)"
                )
            }
            Self::Garbage(_) => write!(out, "its first bytes are not those of a Konsul node"),
            Self::Malformed(what) => write!(out, "{what}"),
        }
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Greeting {
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.protocols.0.to_le_bytes());
        body.extend_from_slice(&self.protocols.1.to_le_bytes());
        body.push(self.lane as u8);
        body.extend_from_slice(&self.to.to_le_bytes());
        put_hello(&mut body, &self.hello);
        framed(&body)
    }

    pub fn decode(body: &[u8]) -> Result<Self, &'static str> {
        let mut fields = Fields(body);
        let protocols = (fields.u16()?, fields.u16()?);
        let lane = match fields.u8()? {
            0 => Lane::Frames,
            1 => Lane::Calls,
            2 => Lane::Snapshot,
            _ => return Err("a greeting for something unknown"),
        };
        Ok(Self { protocols, lane, to: fields.u64()?, hello: fields.hello()? })
    }

    /// The newest protocol both sides speak.
    pub fn protocol(&self) -> Option<u16> {
        let newest = self.protocols.1.min(PROTOCOLS.1);
        (newest >= self.protocols.0.max(PROTOCOLS.0)).then_some(newest)
    }
}

impl Answer {
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Welcome { protocol, hello } => {
                body.push(0);
                body.extend_from_slice(&protocol.to_le_bytes());
                put_hello(&mut body, hello);
            }
            Self::Refused(refusal, reason) => {
                body.push(*refusal as u8 + 1);
                put_text(&mut body, reason);
            }
        }
        framed(&body)
    }

    pub fn decode(body: &[u8]) -> Result<Self, &'static str> {
        let mut fields = Fields(body);
        match fields.u8()? {
            0 => Ok(Self::Welcome { protocol: fields.u16()?, hello: fields.hello()? }),
            code => Ok(Self::Refused(Refusal::numbered(code - 1), fields.text()?)),
        }
    }
}

/// Reads the first message of the other side: at most a kilobyte.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Unread> {
    let mut magic = [0; 8];
    let mut got = 0;
    // One byte that differs is enough: who speaks another protocol must not wait for more of it.
    while got < magic.len() {
        match stream.read(&mut magic[got..]).await? {
            0 => return Err(Unread::Io(io::ErrorKind::UnexpectedEof.into())),
            more => got += more,
        }
        if magic[..got] != MAGIC[..got] {
            return Err(Unread::Garbage(magic));
        }
    }
    let length = usize::from(stream.read_u16_le().await?);
    if length > BODY_BYTES_MAX {
        return Err(Unread::Malformed("a first message that is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// Writes the first message of this side.
pub(crate) async fn write<S: AsyncWrite + Unpin>(stream: &mut S, message: &[u8]) -> io::Result<()> {
    stream.write_all(message).await?;
    stream.flush().await
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(body.len() as u16).to_le_bytes());
    out.extend_from_slice(body);
    out
}

fn put_hello(body: &mut Vec<u8>, hello: &Hello) {
    body.extend_from_slice(&hello.cluster_id.to_le_bytes());
    body.extend_from_slice(&hello.raft_id.to_le_bytes());
    body.extend_from_slice(&hello.log_version.to_le_bytes());
    put_text(body, &hello.node_id);
    put_text(body, &hello.version);
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    let mut length = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    body.push(length as u8);
    body.extend_from_slice(&text.as_bytes()[..length]);
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or("a first message that is too short")?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.take().map(u16::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, &'static str> {
        let length = usize::from(self.u8()?);
        let (head, rest) = self.0.split_at_checked(length).ok_or("a first message that is too short")?;
        self.0 = rest;
        let text =
            std::str::from_utf8(head).map_err(|_| "a first message that is not text where it must be")?;
        // It goes into logs: one line, and nothing a terminal would obey.
        if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err("a first message with a name that cannot be shown");
        }
        Ok(text.to_owned())
    }

    fn hello(&mut self) -> Result<Hello, &'static str> {
        Ok(Hello {
            cluster_id: self.u64()?,
            raft_id: self.u64()?,
            log_version: self.take().map(u32::from_le_bytes)?,
            node_id: self.text()?,
            version: self.text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn greeting() -> Greeting {
        let hello = Hello {
            cluster_id: 7,
            raft_id: 8,
            node_id: "n1".to_owned(),
            version: "0.1.0".to_owned(),
            log_version: 1,
        };
        Greeting { protocols: PROTOCOLS, lane: Lane::Snapshot, to: 9, hello }
    }

    #[test]
    fn first_messages_survive_the_way() {
        let one = greeting();
        assert_eq!(Greeting::decode(&one.encode()[10..]).unwrap(), one);
        let welcome = Answer::Welcome { protocol: 1, hello: one.hello };
        assert_eq!(Answer::decode(&welcome.encode()[10..]).unwrap(), welcome);
        let refused = Answer::Refused(Refusal::Cluster, "another one".to_owned());
        assert_eq!(Answer::decode(&refused.encode()[10..]).unwrap(), refused);
    }

    #[test]
    fn later_fields_are_skipped_and_other_protocols_have_no_common_one() {
        let mut bytes = greeting().encode();
        bytes.extend_from_slice(b"of a later version");
        assert_eq!(Greeting::decode(&bytes[10..]).unwrap(), greeting());
        assert_eq!(Greeting { protocols: (1, 9), ..greeting() }.protocol(), Some(1));
        assert_eq!(Greeting { protocols: (2, 9), ..greeting() }.protocol(), None);
        assert_eq!(Greeting { protocols: (0, 0), ..greeting() }.protocol(), None);
    }

    #[test]
    fn names_that_a_terminal_would_obey_are_refused() {
        let mut one = greeting();
        one.hello.node_id = "\u{1b}[2J".to_owned();
        assert!(Greeting::decode(&one.encode()[10..]).is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Greeting::decode(&body);
            let _ = Answer::decode(&body);
        }
    }
}
