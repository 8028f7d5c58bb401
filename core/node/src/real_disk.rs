//! The disk of a real node: its data directory, or memory.

use std::sync::Arc;

use konsul_disk::datadir::{DataDir, Identity};
use konsul_disk::files::MemoryFiles;
use konsul_disk::snapshots::Snapshots;
use konsul_disk::wal::{Wal, WalOptions, WalWriter};
use konsul_state::memory::Memory;
use parking_lot::Mutex;

use crate::backend::AnyStore;
use crate::options::{Backend, Options};
use crate::recovery::words;
use crate::seams::{Disk, IdentityKeeper, LogWriter, NodeIdentity, SnapshotStore};
use crate::snapshot_store::{FileSnapshots, MemorySnapshots};

/// A segment of a log in memory; small, since its prepared segments are memory too.
const MEMORY_SEGMENT_BYTES: u64 = 4 << 20;

/// The open directory, shared by the driver, who writes its identity, and the node, who closes it.
pub(crate) type SharedDir = Arc<Mutex<DataDir>>;

/// Opens what the options say; the directory stays locked as long as one of the two answers lives.
pub(crate) fn open(options: &Options) -> Result<(Disk, Option<SharedDir>), String> {
    match options.backend {
        Backend::Memory => Ok((open_memory(options)?, None)),
        Backend::Durable => open_durable(options).map(|(disk, dir)| (disk, Some(dir))),
    }
}

fn start_writer(wal: Wal) -> std::io::Result<Box<dyn LogWriter>> {
    Ok(Box::new(WalWriter::start(wal)?))
}

fn open_memory(options: &Options) -> Result<Disk, String> {
    let mut log_options = WalOptions::new("");
    log_options.segment_bytes = options.segment_bytes.min(MEMORY_SEGMENT_BYTES);
    log_options.sync = false;
    let wal = Wal::open_in(Arc::new(MemoryFiles::new()), log_options).map_err(words)?;
    // A lone node's log is compacted against the tables; only a peer needs a copy of them.
    let snapshots =
        options.cluster.is_some().then(|| Arc::new(MemorySnapshots::new()) as Arc<dyn SnapshotStore>);
    Ok(Disk {
        store: Arc::new(AnyStore::Memory(Memory::new())),
        wal,
        writer: Box::new(start_writer),
        snapshots,
        identity: Box::new(Forgetful),
        notes: Vec::new(),
    })
}

fn open_durable(options: &Options) -> Result<(Disk, SharedDir), String> {
    let dir = DataDir::open(&options.data_dir).map_err(words)?;
    let mut log_options = WalOptions::new(dir.log_dir());
    log_options.segment_bytes = options.segment_bytes;
    log_options.sync = options.sync_writes;
    let (wal, log) = Wal::open(log_options).map_err(words)?;
    let (store, note) = dir.open_state(options.map_max_bytes).map_err(words)?;
    let notes = log.note.iter().cloned().chain(note).collect();
    let retained = usize::try_from(options.snapshot_retention).unwrap_or(usize::MAX);
    let snapshots = Snapshots::open(&dir.snapshots_dir(), retained)
        .map_err(|error| format!("cannot open {}: {error}", dir.snapshots_dir().display()))?;
    let dir = Arc::new(Mutex::new(dir));
    let disk = Disk {
        store: Arc::new(AnyStore::Durable(store)),
        wal: (wal, log),
        writer: Box::new(start_writer),
        snapshots: Some(Arc::new(FileSnapshots(Arc::new(snapshots)))),
        identity: Box::new(DirKeeper(dir.clone())),
        notes,
    };
    Ok((disk, dir))
}

struct DirKeeper(SharedDir);

impl IdentityKeeper for DirKeeper {
    fn identity(&self) -> Option<NodeIdentity> {
        let Identity { node_id, cluster_id } = self.0.lock().identity()?;
        Some(NodeIdentity { raft_id: node_id, cluster_id })
    }

    fn keep(&mut self, identity: NodeIdentity) -> Result<(), String> {
        let NodeIdentity { raft_id, cluster_id } = identity;
        self.0.lock().set_identity(Identity { node_id: raft_id, cluster_id }).map_err(words)
    }
}

/// Memory has no identity to come back to.
struct Forgetful;

impl IdentityKeeper for Forgetful {
    fn identity(&self) -> Option<NodeIdentity> {
        None
    }

    fn keep(&mut self, _identity: NodeIdentity) -> Result<(), String> {
        Ok(())
    }
}
