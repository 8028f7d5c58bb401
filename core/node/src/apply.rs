//! Committed entries into tables: one write transaction per batch, all of it or nothing.

use std::time::Instant;

use konsul_state::apply::{ApplyError, Change, Outcome, Position, Tables};
use konsul_state::keys;
use konsul_state::store::{Store, StoreError, Write};
use raft::eraftpb::{ConfChangeV2, Entry, EntryType};

use crate::backend::AnyStore;
use crate::members::Members;
use crate::members_codec;
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
    /// What the library must be told of the members, in order.
    pub conf_changes: Vec<ConfChangeV2>,
    /// The members after it, if they changed.
    pub members: Option<Members>,
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
    members: Members,
    /// The store has them: older data has none before the first batch of this version.
    is_members_stored: bool,
    /// The rows the last batch wrote, in order.
    pub changes: Vec<Change>,
}

impl Machine {
    pub fn new(store: std::sync::Arc<AnyStore>, tables: Tables, members: Members) -> Self {
        Self { store, tables, members, is_members_stored: false, changes: Vec::new() }
    }

    /// Goes on from other tables, which the store holds already.
    pub fn reset(&mut self, tables: Tables, members: Members) {
        self.tables = tables;
        self.members = members;
        self.changes.clear();
    }

    /// Goes on with the members of a log that just began.
    pub fn set_members(&mut self, members: Members) {
        self.members = members;
        self.is_members_stored = false;
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
        match &result {
            Ok(batch) => {
                self.is_members_stored = true;
                if let Some(members) = &batch.members {
                    self.members = members.clone();
                }
            }
            Err(_) => self.tables = before.clone(),
        }
        result
    }

    fn apply_all(&mut self, entries: &[Entry]) -> Result<Batch, BatchError> {
        self.changes.clear();
        let mut writer = self.store.write()?;
        let mut applied = Vec::with_capacity(entries.len());
        let (mut members, mut conf_changes) = (None, Vec::new());
        for entry in entries {
            let position = Position { index: entry.index, term: entry.term };
            let damaged = |what: String| BatchError::Fatal(format!("log entry {}: {what}", entry.index));
            if entry.get_entry_type() != EntryType::EntryNormal {
                let members = members.get_or_insert_with(|| self.members.clone());
                let outcome = change_members(members, entry, self.tables.index(), &mut conf_changes);
                let outcomes = vec![outcome.ok_or_else(|| {
                    damaged("its change of the members is not readable by this version of Konsul".into())
                })?];
                applied.push(Applied { position, outcomes });
                continue;
            }
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
        if members.is_some() || !self.is_members_stored {
            // In the transaction of the position: who decides is never older or newer than what is decided.
            let stored = members_codec::encode(members.as_ref().unwrap_or(&self.members));
            writer.put(keys::MEMBERS, &stored)?;
        }
        let next_expiry_ms = self.tables.next_expiry_ms(&writer)?;
        writer.commit()?;
        Ok(Batch { applied, next_expiry_ms, conf_changes, members })
    }

    /// When the next row expires (wall clock).
    pub fn next_expiry_ms(&self) -> Result<Option<u64>, BatchError> {
        Ok(self.tables.next_expiry_ms(&self.store.read()?)?)
    }
}

/// What became of a change of the members; `None` if it cannot be understood, so that going on would make
/// this node differ from the others.
fn change_members(
    members: &mut Members,
    entry: &Entry,
    tables_index: u64,
    conf_changes: &mut Vec<ConfChangeV2>,
) -> Option<Outcome> {
    let applied = Outcome::Applied { index: tables_index, case: 0, expired: 0 };
    if entry.context.is_empty() {
        // The end of a joint configuration, which no version has begun.
        return Some(applied);
    }
    let (base, change) = members_codec::decode_change(&entry.context)?;
    Some(match members.apply(base, &change, entry.index) {
        Ok(conf_change) => {
            conf_changes.extend(conf_change);
            applied
        }
        Err(refusal) => Outcome::Refused(refusal),
    })
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
