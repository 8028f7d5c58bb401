//! When a snapshot is due, the thread that writes it, and how much of the log stays behind it.
//!
//! The thread reads through a transaction of its own: writers go on. When the file is safe the log gets a
//! mark, and everything before the mark but a trailing rest is given back.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use konsul_disk::files::is_full;
use konsul_disk::wal::SnapshotMark;
use konsul_state::apply::{Position, Tables};
use konsul_state::keys;
use konsul_state::snapshot::{self, SnapshotError};
use konsul_state::store::{Read as _, Store as _};

use crate::backend::AnyStore;
use crate::code;
use crate::completions::{Completion, Ticket};
use crate::driver::{Broken, Driver};
use crate::inbox::Event;
use crate::seams::SnapshotStore;

/// So many log bytes bring a snapshot before its interval is over: a restart replays them.
const LOG_BYTES_MAX: u64 = 256 << 20;
/// What stays of the log behind a snapshot, however many entries that is.
const TRAILING_BYTES_MAX: u64 = 64 << 20;
/// How finely log positions are remembered for that.
const STRIDE_BYTES: u64 = 1 << 20;
/// How soon a snapshot for a peer is tried again after one failed.
const FAILED_RETRY_MS: u64 = 5_000;
/// What stays for a peer that is being sent the snapshot before; beyond it, it is sent another one.
const SHIPPED_BYTES_MAX: u64 = 1 << 30;

/// A snapshot that is safe.
#[derive(Debug)]
pub(crate) struct Taken {
    pub position: Position,
    pub tables_index: u64,
    /// The members at that position, encoded.
    pub members: Bytes,
    pub took: Duration,
}

/// What is known of snapshots; the thread itself runs only while one is taken.
pub(crate) struct Snapshotter {
    /// `None`: memory backend. The log is compacted against the tables in memory.
    snapshots: Option<Arc<dyn SnapshotStore>>,
    store: Arc<AnyStore>,
    last: Position,
    last_tables_index: Option<u64>,
    check_at_ms: u64,
    is_running: bool,
    /// After one that failed: a peer that needs one asks without end.
    not_before_ms: u64,
    asker: Option<(Ticket, u64)>,
    logged_bytes: u64,
    /// `logged_bytes` when the newest snapshot was begun.
    logged_at_last_bytes: u64,
    /// (Raft index, `logged_bytes` with it), one per stride.
    strides: VecDeque<(u64, u64)>,
}

impl Snapshotter {
    pub fn new(snapshots: Option<Arc<dyn SnapshotStore>>, store: Arc<AnyStore>, last: Position) -> Self {
        Self {
            snapshots,
            store,
            last,
            last_tables_index: None,
            check_at_ms: 0,
            is_running: false,
            not_before_ms: 0,
            asker: None,
            logged_bytes: 0,
            logged_at_last_bytes: 0,
            strides: VecDeque::new(),
        }
    }

    /// Where snapshots are; `None` for a lone node in memory.
    pub fn store_of_snapshots(&self) -> Option<Arc<dyn SnapshotStore>> {
        self.snapshots.clone()
    }

    /// The tables' store.
    pub fn store(&self) -> Arc<AnyStore> {
        self.store.clone()
    }

    /// A peer's snapshot took the place of ours, and of the log up to it.
    pub fn note_installed(&mut self, position: Position) {
        self.last = position;
        self.last_tables_index = None;
        self.logged_at_last_bytes = self.logged_bytes;
        self.strides.clear();
    }

    /// Counts what goes into the log.
    pub fn note_logged(&mut self, index: u64, bytes: u64) {
        self.logged_bytes += bytes;
        let newest_bytes = self.strides.back().map_or(0, |stride| stride.1);
        if self.logged_bytes - newest_bytes >= STRIDE_BYTES {
            self.strides.push_back((index, self.logged_bytes));
        }
    }

    /// Answers the asker if its time is up; says when it is.
    pub fn expire(&mut self, now_ms: u64, answers: &mut Vec<Completion>) -> u64 {
        match self.asker {
            Some((ticket, deadline_ms)) if deadline_ms <= now_ms => {
                self.asker = None;
                let message = "the snapshot is not finished in time; it goes on";
                answers.push(Completion::refused(ticket, code::TIMEOUT, message));
                u64::MAX
            }
            Some((_, deadline_ms)) => deadline_ms,
            None => u64::MAX,
        }
    }

    /// Answers the asker with a refusal.
    pub fn refuse(&mut self, code: u16, message: &str, answers: &mut Vec<Completion>) {
        let asker = self.asker.take();
        answers.extend(asker.map(|(ticket, _)| Completion::refused(ticket, code, message)));
    }

    pub fn is_running(&self) -> bool {
        self.is_running
    }

    fn is_grown(&self, applied: u64, threshold_entries: u64) -> bool {
        applied.saturating_sub(self.last.index) >= threshold_entries || self.is_heavy()
    }

    fn is_heavy(&self) -> bool {
        self.logged_bytes - self.logged_at_last_bytes > LOG_BYTES_MAX
    }

    /// Up to where the log may go once `last` covers it.
    fn purge_through(&self, trailing_entries: u64) -> u64 {
        let by_entries = self.last.index.saturating_sub(trailing_entries);
        let keep_from = self.logged_bytes.saturating_sub(TRAILING_BYTES_MAX);
        let past = self.strides.partition_point(|stride| stride.1 <= keep_from);
        let by_bytes = past.checked_sub(1).map_or(0, |at| self.strides[at].0);
        by_entries.max(by_bytes).min(self.last.index)
    }

    /// Log bytes behind an entry, as far as that is remembered.
    fn bytes_behind(&self, index: u64) -> u64 {
        let past = self.strides.partition_point(|stride| stride.0 <= index);
        past.checked_sub(1).map_or(self.logged_bytes, |at| self.logged_bytes - self.strides[at].1)
    }

    fn forget_strides(&mut self, through: u64) {
        while self.strides.front().is_some_and(|stride| stride.0 <= through) {
            self.strides.pop_front();
        }
    }
}

impl Driver {
    /// When an automatic snapshot wants to be looked for.
    pub(crate) fn snapshot_wake_ms(&self) -> Option<u64> {
        let threshold = self.shared.options.snapshot_threshold_entries;
        let is_grown = self.snapshotter.is_grown(self.raft.raft.raft_log.applied, threshold);
        (is_grown && !self.snapshotter.is_running).then_some(self.snapshotter.check_at_ms)
    }

    /// True when stopping should leave a snapshot behind.
    pub(crate) fn is_snapshot_due(&self) -> bool {
        let threshold = self.shared.options.snapshot_threshold_entries;
        self.snapshotter.is_grown(self.raft.raft.raft_log.applied, threshold)
    }

    pub(crate) fn snapshot_if_due(&mut self, now_ms: u64) -> Result<(), Broken> {
        if self.snapshotter.is_running || self.group.installing.is_some() || self.group.is_paused() {
            return Ok(());
        }
        if now_ms >= self.snapshotter.not_before_ms && self.raft.store().take_wants_snapshot() {
            // A peer waits for it; that nothing is new for the log does not matter to it.
            return self.begin_snapshot(now_ms);
        }
        if !self.is_snapshot_due() {
            return Ok(());
        }
        if now_ms < self.snapshotter.check_at_ms && !self.snapshotter.is_heavy() {
            return Ok(());
        }
        self.begin_snapshot(now_ms)
    }

    /// Somebody asks for one.
    pub(crate) fn snapshot_now(
        &mut self,
        ticket: Ticket,
        deadline_ms: u64,
        now_ms: u64,
    ) -> Result<(), Broken> {
        let tables = self.machine.tables();
        let is_nothing_new = self.snapshotter.last.index >= tables.applied().index
            || self.snapshotter.last_tables_index == Some(tables.index());
        let refusal = if self.snapshotter.is_running || self.group.installing.is_some() {
            Some((code::BUSY, "a snapshot is being taken"))
        } else if is_nothing_new {
            Some((code::INVALID, "nothing new to snapshot"))
        } else {
            None
        };
        if let Some((code, message)) = refusal {
            self.answers.push(Completion::refused(ticket, code, message));
            return Ok(());
        }
        self.snapshotter.asker = Some((ticket, deadline_ms));
        self.begin_snapshot(now_ms)
    }

    pub(crate) fn begin_snapshot(&mut self, now_ms: u64) -> Result<(), Broken> {
        self.snapshotter.check_at_ms = now_ms + self.shared.options.snapshot_interval_ms;
        self.snapshotter.logged_at_last_bytes = self.snapshotter.logged_bytes;
        let Some(snapshots) = self.snapshotter.snapshots.clone() else {
            let tables = self.machine.tables();
            let taken = Taken {
                position: tables.applied(),
                tables_index: tables.index(),
                members: self.encoded_members().into(),
                took: Duration::ZERO,
            };
            return self.finish_snapshot(Ok(taken));
        };
        self.snapshotter.is_running = true;
        let (shared, store) = (self.shared.clone(), self.snapshotter.store.clone());
        let members = self.encoded_members();
        let work = move || {
            let result = write(&*snapshots, &store, members);
            // A closed inbox means that the node stopped without waiting for it.
            let _ = shared.inbox.send(Event::SnapshotDone(result));
        };
        match self.group.tasks.spawn("snapshot", Box::new(work)) {
            Ok(()) => Ok(()),
            Err(error) => self.finish_snapshot(Err(error)),
        }
    }

    /// The snapshot is safe (or not): gives the log before it back.
    pub(crate) fn finish_snapshot(&mut self, result: io::Result<Taken>) -> Result<(), Broken> {
        self.snapshotter.is_running = false;
        let asker = self.snapshotter.asker.take();
        let taken = match result {
            Ok(taken) => taken,
            Err(error) => {
                self.shared.metrics.snapshot_errors.fetch_add(1, Relaxed);
                self.snapshotter.not_before_ms = self.shared.clock.now_ms() + FAILED_RETRY_MS;
                let code = if is_full(&error) { code::DISK_FULL } else { code::INTERNAL };
                let message = format!("the snapshot could not be written: {error}");
                self.answers.extend(asker.map(|(ticket, _)| Completion::refused(ticket, code, message)));
                return Ok(());
            }
        };
        if taken.position.index < self.snapshotter.last.index || self.group.is_paused() {
            // A peer's newer one was installed meanwhile, and the log begins behind that.
            let message = "a newer snapshot was installed from the leader";
            self.answers
                .extend(asker.map(|(ticket, _)| Completion::refused(ticket, code::CONFLICT, message)));
            return Ok(());
        }
        self.shared.metrics.snapshots.fetch_add(1, Relaxed);
        self.shared.metrics.snapshot_time.observe(taken.took);
        self.shared.gauges.snapshot_index.store(taken.position.index, Relaxed);
        let applied = |(ticket, _)| Completion::applied(ticket, taken.tables_index, 0);
        self.answers.extend(asker.map(applied));
        // Should the new snapshot turn out damaged, the one before it and the log from there on must do.
        let is_kept = self.snapshotter.snapshots.is_some() && self.shared.options.snapshot_retention > 1;
        let fallback = is_kept.then_some(self.snapshotter.last.index);
        self.snapshotter.last = taken.position;
        self.snapshotter.last_tables_index = Some(taken.tables_index);
        let Position { index, term } = taken.position;
        self.append_mark(SnapshotMark { index, term, conf_state: taken.members })?;
        let wanted = self.snapshotter.purge_through(self.shared.options.trailing_entries);
        let mut through = fallback.map_or(wanted, |index| wanted.min(index));
        let shipped = self.shipped_from(self.shared.clock.now_ms());
        if let Some(index) =
            shipped.filter(|index| self.snapshotter.bytes_behind(*index) <= SHIPPED_BYTES_MAX)
        {
            through = through.min(index);
        }
        self.log.purge(through);
        self.snapshotter.forget_strides(through);
        self.offer_newest();
        Ok(())
    }
}

/// `members` is for data from before the tables held them.
fn write(snapshots: &dyn SnapshotStore, store: &AnyStore, members: Vec<u8>) -> io::Result<Taken> {
    let started = Instant::now();
    let reader = store.read().map_err(io::Error::other)?;
    let tables = Tables::open(&reader).map_err(io::Error::other)?;
    let position = tables.applied();
    // Of the same moment as the rows.
    let stored = reader.get(keys::MEMBERS).map_err(io::Error::other)?;
    let members: Bytes = stored.map_or(members, <[u8]>::to_vec).into();
    snapshots.save(position, &members, &mut |out| {
        snapshot::write(&reader, &tables, &members, out).map_err(|error| match error {
            SnapshotError::Io(error) => error,
            other => io::Error::other(other),
        })
    })?;
    Ok(Taken { position, tables_index: tables.index(), members, took: started.elapsed() })
}
