//! What the node above gives the transport to call, and what it may be asked to carry.

use std::io;
use std::io::Read;

use bytes::Bytes;

use crate::calls::Reply;
use crate::options::Hello;
use crate::refusal::Refusal;

/// Receives what peers send. Every method is called on the transport's own threads and must return quickly,
/// except `snapshot` and the sink, which may use the disk.
pub trait Handler: Send + Sync + 'static {
    /// A frame of another node of this cluster. False: there is no room for it, and it is dropped.
    fn frame(&self, from: u64, frame: Bytes) -> bool;
    /// Somebody asks something; `caller` says who.
    fn call(&self, caller: Caller, payload: Bytes, reply: Reply);
    /// A snapshot of `total_bytes` is about to come. An error refuses it, with a reason for the sender.
    fn snapshot(&self, from: u64, header: Bytes, total_bytes: u64) -> Result<Box<dyn Sink>, String>;
    /// What became of a [`Shipment`].
    fn shipped(&self, to: u64, outcome: Result<(), String>);
    /// This node's own connection to a member is up.
    fn peer_up(&self, raft_id: u64, hello: &Hello);
    /// And is lost.
    fn peer_down(&self, raft_id: u64);
    /// Whether frames and snapshots of this node are understood; an error is the reason why not.
    fn admit(&self, _peer: &Hello) -> Result<(), String> {
        Ok(())
    }
    /// A member does not take this node's frames.
    fn refused(&self, _by: u64, _why: Refusal) {}
}

/// Where a snapshot goes as it comes; dropped before `finish`, it is to be forgotten.
pub trait Sink: Send {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// All bytes are there, and their checksum is right.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A snapshot on its way out.
pub struct Shipment {
    /// What the receiver's [`Handler::snapshot`] is told; at most 1 MiB.
    pub header: Bytes,
    /// The bytes, read once from the beginning to the end.
    pub reader: Box<dyn Read + Send>,
    /// How many they are.
    pub total_bytes: u64,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its number if it is a member of this cluster, else 0.
    pub raft_id: u64,
    /// Who it says it is.
    pub hello: Hello,
    /// `ip:port` of its end of the connection.
    pub address: String,
}

/// Whom to call: a member by number, or anybody by address. With both, the node at the address must be that
/// one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    /// The number, or 0.
    pub raft_id: u64,
    /// `host:port`, or empty for a member's.
    pub address: String,
}
