//! Committed entries into tables: one write transaction per batch, all of it or nothing.

use std::time::Instant;

use konsul_state::apply::{ApplyError, Change, Outcome, Position, Tables};
use konsul_state::store::{Store, StoreError, Write};
use raft::eraftpb::Entry;

use crate::backend::AnyStore;
use crate::packed;

/// What became of one Raft entry of a batch.
pub(crate) struct Applied {
    pub position: Position,
    /// One per envelope inside it.
    pub outcomes: Vec<Outcome>,
}

/// A whole batch, visible to readers.
pub(crate) struct Batch {
    pub applied: Vec<Applied>,
    /// When the next row expires (wall clock), if any does.
    pub next_expiry_ms: Option<u64>,
}

/// Why a batch was not applied; the tables are as before it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    /// No space; the same batch may be tried again.
    #[error("{0}")]
    Full(String),
    /// The store failed, or the log holds what this version cannot apply. The process must stop.
    #[error("{0}")]
    Fatal(String),
}

/// The store, its tables and what the last batch changed.
pub(crate) struct Machine {
    store: std::sync::Arc<AnyStore>,
    tables: Tables,
    /// The rows the last batch wrote, in order.
    pub changes: Vec<Change>,
}

impl Machine {
    pub fn new(store: std::sync::Arc<AnyStore>, tables: Tables) -> Self {
        Self { store, tables, changes: Vec::new() }
    }

    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    pub fn store(&self) -> &AnyStore {
        &self.store
    }

    /// Applies `entries` in order. `before` is the tables' state as it is now.
    pub fn apply(&mut self, entries: &[Entry], before: &Tables) -> Result<Batch, BatchError> {
        let result = self.apply_all(entries);
        if result.is_err() {
            self.tables = before.clone();
        }
        result
    }

    fn apply_all(&mut self, entries: &[Entry]) -> Result<Batch, BatchError> {
        self.changes.clear();
        let mut writer = self.store.write()?;
        let mut applied = Vec::with_capacity(entries.len());
        for entry in entries {
            let position = Position { index: entry.index, term: entry.term };
            let damaged = |what: String| BatchError::Fatal(format!("log entry {}: {what}", entry.index));
            let envelopes = packed::envelopes(&entry.data).map_err(|error| damaged(error.to_string()))?;
            let mut outcomes = Vec::with_capacity(envelopes.len());
            for envelope in envelopes {
                outcomes.push(self.tables.apply(&mut writer, envelope, &mut self.changes)?);
            }
            applied.push(Applied { position, outcomes });
        }
        if let Some(last) = applied.last() {
            self.tables.finish(&mut writer, last.position)?;
        }
        let next_expiry_ms = self.tables.next_expiry_ms(&writer)?;
        writer.commit()?;
        Ok(Batch { applied, next_expiry_ms })
    }

    /// When the next row expires (wall clock).
    pub fn next_expiry_ms(&self) -> Result<Option<u64>, BatchError> {
        Ok(self.tables.next_expiry_ms(&self.store.read()?)?)
    }
}

impl From<StoreError> for BatchError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(why) => Self::Full(why),
            StoreError::Failed(why) => Self::Fatal(why),
        }
    }
}

impl From<ApplyError> for BatchError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Store(error) => error.into(),
            other => Self::Fatal(other.to_string()),
        }
    }
}

/// Runs `work` and says how long it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, std::time::Duration) {
    let started = Instant::now();
    let answer = work();
    (answer, started.elapsed())
}
