//! Opens what a node lives on: the log, the tables, the snapshots; and puts together a state that fits.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use konsul_disk::datadir::{DataDir, Identity};
use konsul_disk::files::MemoryFiles;
use konsul_disk::snapshots::{Loaded, Snapshots};
use konsul_disk::wal::{HardState, Record, Recovered, SnapshotMark, Wal, WalOptions};
use konsul_state::apply::{ApplyError, Position, Tables};
use konsul_state::memory::Memory;
use konsul_state::snapshot;
use konsul_state::store::{Store as _, Write as _};
use raft::eraftpb::ConfState;

use crate::backend::AnyStore;
use crate::members;
use crate::options::{Backend, Options};

/// Where every new group starts: a snapshot at this position that holds nothing. An empty log at index 0
/// would make a later joiner, who is sent a snapshot, panic in the library.
const GENESIS: Position = Position { index: 1, term: 1 };
/// A segment of a log in memory; small, since its prepared segments are memory too.
const MEMORY_SEGMENT_BYTES: u64 = 4 << 20;

/// Everything opened and in agreement.
pub(crate) struct Opened {
    pub store: Arc<AnyStore>,
    pub tables: Tables,
    pub wal: Wal,
    pub hard_state: HardState,
    pub members: ConfState,
    pub snapshots: Option<Arc<Snapshots>>,
    /// What the newest snapshot covers.
    pub snapshot: Position,
    /// Locked until it is dropped; `None`: memory backend.
    pub dir: Option<DataDir>,
    /// What the operator should know about how it was found.
    pub notes: Vec<String>,
}

/// Opens the node's state.
pub(crate) fn open(options: &Options) -> Result<Opened, String> {
    match options.backend {
        Backend::Memory => open_memory(options),
        Backend::Durable => open_durable(options),
    }
}

fn open_memory(options: &Options) -> Result<Opened, String> {
    let mut log_options = WalOptions::new("");
    log_options.segment_bytes = options.segment_bytes.min(MEMORY_SEGMENT_BYTES);
    log_options.sync = false;
    let (mut wal, _) = Wal::open_in(Arc::new(MemoryFiles::new()), log_options).map_err(words)?;
    let (hard_state, members) = begin_log(&mut wal, GENESIS, options.node_id)?;
    Ok(Opened {
        store: Arc::new(AnyStore::Memory(Memory::new())),
        tables: Tables::default(),
        wal,
        hard_state,
        members,
        snapshots: None,
        snapshot: GENESIS,
        dir: None,
        notes: Vec::new(),
    })
}

fn open_durable(options: &Options) -> Result<Opened, String> {
    let mut dir = open_dir(options)?;
    let mut log_options = WalOptions::new(dir.log_dir());
    log_options.segment_bytes = options.segment_bytes;
    log_options.sync = options.sync_writes;
    let (mut wal, log) = Wal::open(log_options).map_err(words)?;
    // The identity is written last, after the log was begun. Without syncs a power cut may take the log and
    // leave the identity.
    if log.fresh && dir.identity().is_some() && options.sync_writes {
        return Err(format!(
            "the log of {} is missing, and a node has run there: put its log directory back, or restore \
             the data directory from a backup (a snapshot alone is restored into a new directory)",
            dir.path().display()
        ));
    }
    let (store, note) = dir.open_state(options.map_max_bytes).map_err(words)?;
    let mut notes: Vec<String> = log.note.iter().cloned().chain(note).collect();
    let retained = usize::try_from(options.snapshot_retention).unwrap_or(usize::MAX);
    let snapshots = Snapshots::open(&dir.snapshots_dir(), retained)
        .map_err(|error| format!("cannot open {}: {error}", dir.snapshots_dir().display()))?;

    let store = AnyStore::Durable(store);
    let mut tables = open_tables(&store, &mut notes)?;
    if log.fresh && tables.applied().index > 0 {
        return Err(format!(
            "{} has tables but no log: put its log directory back, or restore the data directory from a \
             backup",
            dir.path().display()
        ));
    }
    let is_behind_log = !log.fresh && tables.applied().index + 1 < log.first_index;
    if tables.applied().index == 0 || is_behind_log {
        tables = load_snapshot(&store, &snapshots, &mut wal, &log, options.node_id, &mut notes)?;
    }
    let (hard_state, members) = read_log(&wal, &tables)?;
    if dir.identity().is_none() {
        // The keys of a hasher come from the system's random numbers.
        let cluster_id = RandomState::new().hash_one(options.node_id);
        dir.set_identity(Identity { node_id: options.node_id, cluster_id }).map_err(words)?;
    }
    let newest = snapshots.newest_first().map_err(words)?;
    let snapshot = newest.first().map_or(GENESIS, |file| Position { index: file.index, term: file.term });
    let (store, snapshots) = (Arc::new(store), Some(Arc::new(snapshots)));
    Ok(Opened { store, tables, wal, hard_state, members, snapshots, snapshot, dir: Some(dir), notes })
}

fn open_dir(options: &Options) -> Result<DataDir, String> {
    let dir = DataDir::open(&options.data_dir).map_err(words)?;
    let node_id = options.node_id;
    match dir.identity() {
        Some(known) if known.node_id != node_id => Err(format!(
            "{} belongs to node {} and this is node {node_id}: an id is never given to other data. Start it \
             with its own id, or give this node another data directory (KONSUL_DATA_DIR)",
            dir.path().display(),
            known.node_id
        )),
        _ => Ok(dir),
    }
}

/// The stored tables; damaged ones are as good as none, since snapshot and log have everything.
fn open_tables(store: &AnyStore, notes: &mut Vec<String>) -> Result<Tables, String> {
    let reader = store.read().map_err(words)?;
    match Tables::open(&reader) {
        Ok(tables) => Ok(tables),
        Err(ApplyError::Store(error)) => Err(words(error)),
        Err(error) => {
            notes.push(format!("the applied state is rebuilt from snapshot and log: {error}"));
            Ok(Tables::default())
        }
    }
}

/// Rebuilds the tables from the newest snapshot that reads and that the log goes on from. In a directory that
/// holds nothing but a snapshot (a restored backup) the log begins behind it.
fn load_snapshot(
    store: &AnyStore,
    snapshots: &Snapshots,
    wal: &mut Wal,
    log: &Recovered,
    node_id: u64,
    notes: &mut Vec<String>,
) -> Result<Tables, String> {
    let loaded = snapshots.load(|file, content| {
        if !log.fresh && (file.index + 1 < log.first_index || file.index > log.last_index) {
            return Err(format!(
                "the log has {} to {} and does not go on from it",
                log.first_index, log.last_index
            ));
        }
        if !log.fresh && wal.view().term(file.index).is_ok_and(|term| term != file.term) {
            // Without syncs a power cut may shorten the log behind a snapshot, and it grew past it again.
            return Err(format!("the log has another entry {}", file.index));
        }
        let mut writer = store.write().map_err(words)?;
        let (tables, _) = snapshot::read(content, &mut writer).map_err(words)?;
        Ok((tables, writer))
    });
    let Loaded { found, notes: more } = loaded.map_err(words)?;
    notes.extend(more);
    match found {
        Some((_, (tables, writer))) => {
            if log.fresh {
                begin_log(wal, tables.applied(), node_id)?;
            }
            writer.commit().map_err(words)?;
            Ok(tables)
        }
        None if log.fresh => {
            begin_log(wal, GENESIS, node_id)?;
            empty(store)
        }
        None if log.first_index == GENESIS.index + 1 => empty(store),
        None => Err(format!(
            "no snapshot can be read and the log starts at entry {}: restore the snapshots directory from \
             a backup{}",
            log.first_index,
            notes.iter().map(|note| format!("; {note}")).collect::<String>()
        )),
    }
}

/// An empty store: everything is replayed from the log.
fn empty(store: &AnyStore) -> Result<Tables, String> {
    let mut writer = store.write().map_err(words)?;
    writer.clear().map_err(words)?;
    writer.commit().map_err(words)?;
    Ok(Tables::default())
}

/// Starts a new log behind `position`.
fn begin_log(wal: &mut Wal, position: Position, node_id: u64) -> Result<(HardState, ConfState), String> {
    let members = members::alone(node_id);
    let hard_state = HardState { term: position.term, vote: 0, commit: position.index };
    let conf_state = members::encode(&members).into();
    let mark = SnapshotMark { index: position.index, term: position.term, conf_state };
    wal.append(&[Record::Install(mark), Record::HardState(hard_state)]).map_err(words)?;
    Ok((hard_state, members))
}

/// The log's hard state and members, after a check that the tables belong to it.
fn read_log(wal: &Wal, tables: &Tables) -> Result<(HardState, ConfState), String> {
    let view = wal.view();
    let applied = tables.applied();
    let last = view.last_index();
    if applied.index > last {
        return Err(format!(
            "the tables hold log entry {} and the log ends at {last}: acknowledged writes are missing from \
             the log. \
             Restore the data directory from a backup",
            applied.index
        ));
    }
    if applied.index >= GENESIS.index && view.term(applied.index).is_ok_and(|term| term != applied.term) {
        return Err(format!(
            "the tables and the log differ about entry {}: they are not of one node. Restore the data \
             directory from a \
             backup",
            applied.index
        ));
    }
    let members = members::decode(&view.snapshot().conf_state)
        .ok_or("the log's list of members is not readable by this version of Konsul")?;
    Ok((view.hard_state(), members))
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
