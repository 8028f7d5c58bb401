//! The log as the consensus library wants to see it: everything handed over so far, whether synced yet or
//! not.

use konsul_disk::wal::{self, LogView, ReadError};
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// A normal entry's kind in the log; configuration changes take 1 when the group may have more members.
const KIND_NORMAL: u8 = 0;

/// The log's read side and what it was opened with. Owned by the driver.
pub(crate) struct LogStorage {
    log: LogView,
    hard_state: HardState,
    members: ConfState,
}

impl LogStorage {
    pub fn new(log: LogView, hard_state: HardState, members: ConfState) -> Self {
        Self { log, hard_state, members }
    }

    pub fn members(&self) -> &ConfState {
        &self.members
    }
}

/// The library's entry as a log record's.
pub(crate) fn to_log(entry: &Entry) -> wal::Entry {
    wal::Entry { term: entry.term, index: entry.index, kind: KIND_NORMAL, data: entry.data.clone() }
}

/// The library's vote and commit state as a log record's.
pub(crate) fn to_logged(state: &HardState) -> wal::HardState {
    wal::HardState { term: state.term, vote: state.vote, commit: state.commit }
}

fn from_log(entry: wal::Entry) -> raft::Result<Entry> {
    if entry.kind != KIND_NORMAL {
        let message = format!("log entry {} has the unknown kind {}", entry.index, entry.kind);
        return Err(raft::Error::Store(StorageError::Other(message.into())));
    }
    Ok(Entry { term: entry.term, index: entry.index, data: entry.data, ..Entry::default() })
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
        Ok(RaftState::new(self.hard_state.clone(), self.members.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
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

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        // A group of one has nobody to send it to.
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}
