//! Where the node meets clocks, threads, disks and peers: traits with a real and a simulated side, so that
//! the same driver runs in production and in `core/sim`.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use konsul_disk::wal::{LogView, Record, Recovered, Wal, WalError, WalWriter};
use konsul_state::apply::Position;

use crate::backend::AnyStore;
use crate::members::Member;
use crate::post::Post;

/// The node's two clocks.
pub trait Clock: Send + Sync {
    /// Milliseconds on a clock that only goes forward, and goes on while the machine sleeps: for everything
    /// that waits or promises.
    fn now_ms(&self) -> u64;

    /// Milliseconds since 1970: only for what is written into entries.
    fn wall_ms(&self) -> u64;
}

/// Called when records are durable, or never will be; on any thread, or inside
/// [`LogWriter::submit`].
pub type Durable = Box<dyn FnOnce(Result<(), WalError>) + Send>;

/// The log's writing side.
pub trait LogWriter: Send {
    /// Takes records: readable through the view when this returns, durable when `done` is called. The records
    /// of one call are recovered all or none, and calls in their order.
    ///
    /// # Errors
    /// If they break the log's rules or the log failed; `done` is not called then. The node must stop.
    fn submit(&mut self, records: Vec<Record>, done: Durable) -> Result<(), WalError>;

    /// The reading side.
    fn view(&self) -> LogView;

    /// Writes what was handed over and ends.
    fn stop(self: Box<Self>);
}

impl LogWriter for WalWriter {
    fn submit(&mut self, records: Vec<Record>, done: Durable) -> Result<(), WalError> {
        WalWriter::submit(self, records, done)
    }

    fn view(&self) -> LogView {
        WalWriter::view(self)
    }

    fn stop(self: Box<Self>) {
        WalWriter::stop(*self);
    }
}

/// Runs long work beside the driver.
pub trait Tasks: Send + Sync {
    /// Runs `work` at some time, on another thread than the caller's or at least not inside this call.
    ///
    /// # Errors
    /// If the system has no thread for it.
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> io::Result<()>;
}

/// Threads of the system.
pub struct Threads;

impl Tasks for Threads {
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        std::thread::Builder::new().name(name.into()).spawn(work).map(drop)
    }
}

/// A snapshot on its way to a peer.
pub struct Shipment {
    /// What the receiver's driver must know first; comes back out of its side as it went in.
    pub header: Bytes,
    /// The snapshot's bytes.
    pub content: Box<dyn Read + Send>,
    /// How many there are.
    pub total_bytes: u64,
}

/// The way to the other members. Nothing here waits.
pub trait Peers: Send {
    /// Sends one frame to a member; false if its queue is full or it cannot be reached. What was taken may
    /// still be lost, and frames may arrive in another order.
    fn send(&mut self, to: u64, frame: Bytes) -> bool;

    /// Sends a snapshot to a member, beside the frames. What became of it comes back as
    /// `Event::Shipped`, always and once; a second one for the same member takes the place of the first.
    fn ship(&mut self, to: u64, shipment: Shipment);

    /// Whom to hold connections with: everybody in the group, this node too. Frames of others are refused.
    fn set_members(&mut self, members: &[Member]);

    /// This node belongs to the group from now on. Never called with 0.
    fn set_cluster(&mut self, cluster_id: u64);
}

/// A node without peers.
pub struct Nobody;

impl Peers for Nobody {
    fn send(&mut self, _to: u64, _frame: Bytes) -> bool {
        false
    }

    fn ship(&mut self, _to: u64, _shipment: Shipment) {}

    fn set_members(&mut self, _members: &[Member]) {}

    fn set_cluster(&mut self, _cluster_id: u64) {}
}

/// One stored snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Up to where it covers the log.
    pub position: Position,
    /// The members at that position, encoded.
    pub members: Bytes,
    /// Its length.
    pub bytes: u64,
}

/// Where snapshots are kept. Called from several threads.
pub trait SnapshotStore: Send + Sync {
    /// What there is, newest first.
    ///
    /// # Errors
    /// If the place cannot be read.
    fn list(&self) -> io::Result<Vec<Position>>;

    /// What one says about itself.
    ///
    /// # Errors
    /// If it does not read.
    fn info(&self, position: Position) -> io::Result<SnapshotInfo>;

    /// How messages to an operator name one.
    fn name(&self, position: Position) -> String {
        format!("snapshot {}", position.index)
    }

    /// Opens one for reading.
    ///
    /// # Errors
    /// If it is not there any more.
    fn open(&self, position: Position) -> io::Result<Box<dyn Read + Send>>;

    /// Writes one; durable when this returns. Removes those that are too old.
    ///
    /// # Errors
    /// What `write` or the disk says; nothing is left behind then.
    fn save(
        &self,
        position: Position,
        members: &[u8],
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<SnapshotInfo>;

    /// A place for a snapshot that a peer sends.
    ///
    /// # Errors
    /// If the disk refuses.
    fn begin_receive(&self, position: Position) -> io::Result<Box<dyn SnapshotSink>>;

    /// Makes a received one the newest; durable when this returns. It takes the place of all older ones.
    ///
    /// # Errors
    /// If the disk refuses.
    fn accept(&self, position: Position) -> io::Result<SnapshotInfo>;

    /// Forgets a received one.
    fn discard(&self, position: Position);
}

/// Takes a snapshot's bytes. Dropped without [`SnapshotSink::finish`] it leaves nothing behind.
pub trait SnapshotSink: Write + Send {
    /// All bytes are there: checks them and keeps them, durably but not yet as the newest. The driver is told
    /// next (`Event::Received`).
    ///
    /// # Errors
    /// If they are no whole, unaltered snapshot of the position, or the disk refuses.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Whose data this is. One raft id per data directory, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node's id in the log.
    pub raft_id: u64,
    /// The group's; 0 before it belongs to one.
    pub cluster_id: u64,
}

/// Remembers the identity.
pub trait IdentityKeeper: Send {
    /// What was kept last; `None` for fresh data.
    fn identity(&self) -> Option<NodeIdentity>;

    /// Keeps it, durably.
    ///
    /// # Errors
    /// If the disk refuses; the old one is intact then.
    fn keep(&mut self, identity: NodeIdentity) -> Result<(), String>;
}

/// Starts the writing side over the opened log.
pub type StartWriter = Box<dyn FnOnce(Wal) -> io::Result<Box<dyn LogWriter>> + Send>;

/// What a node keeps its state on.
pub struct Disk {
    /// The applied state.
    pub store: Arc<AnyStore>,
    /// The log and what opening it found.
    pub wal: (Wal, Recovered),
    /// How to write to it.
    pub writer: StartWriter,
    /// `None`: the state is in memory and no peer will ever need it.
    pub snapshots: Option<Arc<dyn SnapshotStore>>,
    /// Whose it is.
    pub identity: Box<dyn IdentityKeeper>,
    /// What the operator should know about how it was found.
    pub notes: Vec<String>,
}

/// Makes the way to the peers; what comes from them goes through the post.
pub type Connect = Box<dyn FnOnce(Post) -> Result<Box<dyn Peers>, String> + Send>;

/// Everything around a node.
pub struct Seams {
    /// Its clocks.
    pub clock: Arc<dyn Clock>,
    /// Its threads.
    pub tasks: Arc<dyn Tasks>,
    /// Its disk.
    pub disk: Disk,
    /// How to reach its peers.
    pub connect: Connect,
    /// Election timeouts and new ids are drawn from it.
    pub seed: u64,
}
