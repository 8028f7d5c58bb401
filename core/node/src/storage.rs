//! The log as the consensus library wants to see it: everything handed over so far, whether synced yet or
//! not.

use std::cell::Cell;

use konsul_disk::wal::{self, LogView, ReadError};
use konsul_state::apply::Position;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::members::Members;
use crate::wire;

/// A snapshot that can be sent to a peer.
#[derive(Clone, Debug)]
pub(crate) struct Shippable {
    pub position: Position,
    pub members: Members,
    pub bytes: u64,
}

/// The log's read side and what it was opened with. Owned by the driver.
pub(crate) struct LogStorage {
    log: LogView,
    hard_state: HardState,
    conf: ConfState,
    /// Most entries in one message to a peer.
    append_entries_max: usize,
    /// The newest snapshot there is.
    pub newest: Option<Shippable>,
    /// A peer needs a snapshot and none will do.
    wants_snapshot: Cell<bool>,
}

impl LogStorage {
    pub fn new(log: LogView, hard_state: HardState, conf: ConfState, append_entries_max: u64) -> Self {
        let append_entries_max = usize::try_from(append_entries_max).unwrap_or(usize::MAX).max(1);
        let (newest, wants_snapshot) = (None, Cell::new(false));
        Self { log, hard_state, conf, append_entries_max, newest, wants_snapshot }
    }

    /// True once after a peer was found to need a snapshot that is not there.
    pub fn take_wants_snapshot(&self) -> bool {
        self.wants_snapshot.take()
    }
}

/// The library's entry as a log record's.
pub(crate) fn to_log(entry: &Entry) -> wal::Entry {
    let (kind, data) = wire::entry_bytes(entry);
    wal::Entry { term: entry.term, index: entry.index, kind, data: data.clone() }
}

/// The library's vote and commit state as a log record's.
pub(crate) fn to_logged(state: &HardState) -> wal::HardState {
    wal::HardState { term: state.term, vote: state.vote, commit: state.commit }
}

fn from_log(entry: wal::Entry) -> raft::Result<Entry> {
    let wal::Entry { term, index, kind, data } = entry;
    wire::entry_of(kind, term, index, data).ok_or_else(|| {
        let message = format!("log entry {index} has the unknown kind {kind}");
        raft::Error::Store(StorageError::Other(message.into()))
    })
}

fn from_read_error(error: ReadError) -> raft::Error {
    raft::Error::Store(match error {
        ReadError::Compacted { .. } => StorageError::Compacted,
        ReadError::Unavailable { .. } => StorageError::Unavailable,
        ReadError::Damaged(_) => StorageError::Other(error.into()),
    })
}

impl Storage for LogStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        // Only what goes to a peer may come in part and later.
        let high = if context.can_async() {
            high.min(low.saturating_add(self.append_entries_max as u64))
        } else {
            high
        };
        let found = self.log.entries(low, high, bytes_max).map_err(from_read_error)?;
        found.into_iter().map(from_log).collect()
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        self.log.term(index).map_err(from_read_error)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.log.first_index())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log.last_index())
    }

    /// Only what the snapshot covers: its bytes travel on their own way.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let fits = |newest: &&Shippable| {
            // The log must lead on from it, and who is not in it would throw it away.
            newest.position.index + 1 >= self.log.first_index()
                && newest.position.index >= request_index
                && newest.members.contains(to)
        };
        let Some(newest) = self.newest.as_ref().filter(fits) else {
            self.wants_snapshot.set(true);
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = newest.position.index;
        metadata.term = newest.position.term;
        metadata.set_conf_state(newest.members.conf.clone());
        Ok(snapshot)
    }
}
