//! One machine of the stage: its clock is everybody's, its disk outlives its processes, its way out is a
//! list.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use konsul_disk::files::MemoryFiles;
use konsul_disk::wal::Wal;
use konsul_node::seams::{Clock, Durable, IdentityKeeper, LogWriter, NodeIdentity, Peers, Shipment, Tasks};
use konsul_node::{AnyStore, Member, MemorySnapshots};
use parking_lot::Mutex;

#[derive(Default)]
pub struct SetClock(pub AtomicU64);

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + self.now_ms()
    }
}

pub type Work = Box<dyn FnOnce() + Send>;

#[derive(Clone, Default)]
pub struct Later(pub Arc<Mutex<Vec<Work>>>);

impl Tasks for Later {
    fn spawn(&self, _name: &'static str, work: Work) -> io::Result<()> {
        self.0.lock().push(work);
        Ok(())
    }
}

pub enum Sent {
    Frame(Bytes),
    Snapshot(Bytes, Vec<u8>),
}

type Out = Vec<(u64, Sent)>;

#[derive(Clone, Default)]
pub struct Wire(pub Arc<Mutex<Out>>);

impl Peers for Wire {
    fn send(&mut self, to: u64, frame: Bytes) -> bool {
        self.0.lock().push((to, Sent::Frame(frame)));
        true
    }

    fn ship(&mut self, to: u64, mut shipment: Shipment) {
        let mut content = Vec::new();
        shipment.content.read_to_end(&mut content).unwrap();
        assert_eq!(content.len() as u64, shipment.total_bytes);
        self.0.lock().push((to, Sent::Snapshot(shipment.header, content)));
    }

    fn set_members(&mut self, _members: &[Member]) {}

    fn set_cluster(&mut self, _cluster_id: u64) {}
}

#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Option<NodeIdentity>>>);

impl IdentityKeeper for Kept {
    fn identity(&self) -> Option<NodeIdentity> {
        *self.0.lock()
    }

    fn keep(&mut self, identity: NodeIdentity) -> Result<(), String> {
        *self.0.lock() = Some(identity);
        Ok(())
    }
}

/// A log that syncs at once, or when it is told to.
pub struct SlowLog {
    pub wal: Wal,
    pub waiting: Arc<Mutex<Vec<Durable>>>,
    pub is_slow: Arc<AtomicU64>,
}

impl LogWriter for SlowLog {
    fn submit(
        &mut self,
        records: Vec<konsul_disk::wal::Record>,
        done: Durable,
    ) -> Result<(), konsul_disk::wal::WalError> {
        self.wal.append(&records)?;
        if self.is_slow.load(Relaxed) > 0 {
            self.waiting.lock().push(done);
        } else {
            done(Ok(()));
        }
        Ok(())
    }

    fn view(&self) -> konsul_disk::wal::LogView {
        self.wal.view()
    }

    fn stop(self: Box<Self>) {}
}

/// What outlives a process.
#[derive(Clone)]
pub struct Machine {
    pub name: String,
    pub files: Arc<MemoryFiles>,
    pub store: Arc<AnyStore>,
    pub snapshots: MemorySnapshots,
    pub identity: Kept,
    pub tasks: Later,
    pub wire: Wire,
    pub syncs: Arc<Mutex<Vec<Durable>>>,
    pub is_slow: Arc<AtomicU64>,
}
