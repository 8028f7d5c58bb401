//! The log itself: one owner, who appends. Everybody else has a [`LogView`].

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;

use super::error::{OpenError, WalError};
use super::index::Index;
use super::prepare::Preparer;
use super::read::{Counters, LogView, Shared};
use super::record::{HardState, LAST, MAX_PAYLOAD_BYTES, Record, SnapshotMark, UNSYNCED, encode};
use super::recover::{Recovery, recover};
use super::segment::{END, HEADER_BYTES, Segment};
use crate::files::{LogFiles, RealFiles, is_full};

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct WalOptions {
    /// The log's own directory; created if absent. Unused by [`Wal::open_in`].
    pub dir: PathBuf,
    /// Size of a segment; at least 8 KiB. Larger records get a larger segment.
    pub segment_bytes: u64,
    /// Sync each append. Without, a power cut loses acknowledged writes (a process crash does not).
    pub sync: bool,
    /// Entry bytes kept in memory for readers; entries not yet synced are kept beyond it.
    pub cache_max_bytes: usize,
    /// Prepare segments in a thread of their own; false does it inside `append` (simulation).
    pub background: bool,
    /// Makes checksums of a new log unpredictable to clients; drawn at random. An existing log keeps its own.
    pub salt: u64,
}

impl WalOptions {
    /// The defaults: 16 MiB segments, synced, 32 MiB cache, a random salt.
    pub fn new(dir: impl Into<PathBuf>) -> WalOptions {
        WalOptions {
            dir: dir.into(),
            segment_bytes: 16 << 20,
            sync: true,
            cache_max_bytes: 32 << 20,
            background: true,
            salt: crate::random_u64(),
        }
    }
}

/// What [`Wal::open`] found.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The log holds nothing yet: it is new, or never got as far as its first record.
    pub fresh: bool,
    pub hard_state: HardState,
    /// The last snapshot mark; index 0 when there never was one.
    pub snapshot: SnapshotMark,
    /// The first readable entry; `last_index + 1` when there is none.
    pub first_index: u64,
    /// The last entry; the snapshot's index when there is none.
    pub last_index: u64,
    /// What the operator should know, e.g. that an unfinished write was cut off.
    pub note: Option<String>,
}

/// The write-ahead log. Appending is one write and one sync per batch; a batch is recovered whole or not at
/// all.
pub struct Wal {
    shared: Arc<Shared>,
    sync: bool,
    segment_bytes: u64,
    active: Option<Active>,
    /// The number of the next batch; batch n + 1 is written only after batch n was synced, see `recover`.
    batch: u64,
    hard_state: HardState,
    mark: SnapshotMark,
    buffer: Vec<u8>,
    offsets: Vec<u64>,
    failed: Option<WalError>,
    preparer: Option<JoinHandle<()>>,
}

/// The segment being written and where its next batch goes.
pub(super) struct Active {
    pub segment: Segment,
    pub offset: u64,
}

impl Wal {
    /// Opens the log in `options.dir`, recovering what is there.
    ///
    /// # Errors
    /// [`OpenError`]; its message says what to do. Nothing was changed on disk then.
    pub fn open(options: WalOptions) -> Result<(Wal, Recovered), OpenError> {
        let files = RealFiles::open(&options.dir).map_err(|error| OpenError::Io {
            action: "cannot open the directory",
            file: options.dir.display().to_string(),
            error,
        })?;
        Wal::open_in(Arc::new(files), options)
    }

    /// Opens the log in `files`.
    ///
    /// # Errors
    /// As [`Wal::open`].
    pub fn open_in(files: Arc<dyn LogFiles>, options: WalOptions) -> Result<(Wal, Recovered), OpenError> {
        if !(2 * HEADER_BYTES..=1 << 30).contains(&options.segment_bytes) {
            let found = options.segment_bytes;
            return Err(OpenError::Options(format!(
                "segment_bytes is {found}, it must be 8192..=1073741824"
            )));
        }
        let Recovery {
            placed,
            live,
            active,
            ready,
            spares,
            next_sequence,
            batch,
            salt,
            fresh,
            note,
            hard_state,
            mark,
        } = recover(&files, &options)?;
        let preparer = Preparer::new(files, &options, salt, VecDeque::from(ready), spares, next_sequence);
        let index = Index::new(placed, live, hard_state, mark.clone(), options.cache_max_bytes);
        let (first_index, last_index) = (index.first(), index.last());
        let shared = Arc::new(Shared { index: Mutex::new(index), preparer, counters: Counters::default() });
        let mut wal = Wal {
            shared: Arc::clone(&shared),
            sync: options.sync,
            segment_bytes: options.segment_bytes,
            active,
            batch,
            hard_state,
            mark: mark.clone(),
            buffer: Vec::new(),
            offsets: Vec::new(),
            failed: None,
            preparer: None,
        };
        wal.note_room();
        if options.background {
            let spawned =
                std::thread::Builder::new().name("wal-prepare".into()).spawn(move || shared.preparer.run());
            let failed =
                |error| OpenError::Io { action: "cannot start a thread for", file: "the log".into(), error };
            wal.preparer = Some(spawned.map_err(failed)?);
        }
        Ok((wal, Recovered { fresh, hard_state, snapshot: mark, first_index, last_index, note }))
    }

    /// A handle for readers.
    pub fn view(&self) -> LogView {
        LogView { shared: Arc::clone(&self.shared) }
    }

    /// Appends `records` as one batch: one write, one sync. They are durable when this returns.
    ///
    /// # Errors
    /// `Full`: nothing was written, try again when there is room. `Failed` and `Misused` are final: stop the
    /// process.
    pub fn append(&mut self, records: &[Record]) -> Result<(), WalError> {
        self.reserve(records)?;
        let ticket = self.stage(records)?;
        self.write(ticket, records)
    }

    /// Hands records in without writing them: readable when this returns. What is staged must be given to
    /// [`Wal::write`], in this order; [`super::WalWriter`] does both, and so does a caller that decides
    /// itself when the disk works.
    ///
    /// # Errors
    /// `Misused` if the records break the log's rules, `Failed` after a failure.
    pub fn stage(&mut self, records: &[Record]) -> Result<u64, WalError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        check_sizes(records)?;
        let staged = self.shared.index.lock().stage(records);
        staged.inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Bytes of records that still fit into the active segment.
    fn active_room_bytes(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.segment.bytes.saturating_sub(active.offset))
    }

    /// How much to pack into one append: what the active segment still takes or, near its end, what a fresh
    /// one takes.
    pub(super) fn pack_bytes(&self) -> u64 {
        let fresh = (self.segment_bytes - HEADER_BYTES).saturating_sub(self.restated_bytes());
        let left = self.active_room_bytes();
        if left < fresh / 8 { fresh } else { left.min(fresh) }
    }

    /// Makes sure that `records` fit into the active segment, going on to the next one if they do not.
    fn reserve(&mut self, records: &[Record]) -> Result<(), WalError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let records_bytes: u64 = records.iter().map(|record| record.frame_bytes() as u64).sum();
        if self.active_room_bytes() >= self.head_bytes() + records_bytes {
            return Ok(());
        }
        if self.active.as_ref().is_none_or(|active| active.offset > HEADER_BYTES) {
            let segment = self.shared.preparer.take().inspect_err(|error| self.remember(error))?;
            self.active = Some(Active { segment, offset: HEADER_BYTES });
        }
        let needed = HEADER_BYTES + self.head_bytes() + records_bytes;
        self.enlarge(needed)
    }

    /// Extends a fresh active segment for records larger than a segment. The zeros come first, so that a full
    /// disk shows before any record is written.
    fn enlarge(&mut self, needed: u64) -> Result<(), WalError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let segment = &mut active.segment;
        if needed <= segment.bytes {
            return Ok(());
        }
        let old_bytes = segment.bytes;
        let zeros = vec![0; (needed - old_bytes).min(1 << 20) as usize];
        while segment.bytes < needed {
            let count = (needed - segment.bytes).min(zeros.len() as u64);
            if let Err(error) = segment.file.write_at(&zeros[..count as usize], segment.bytes) {
                // What could be allocated is given back to a disk that needs it.
                let _ = segment.file.set_size(old_bytes);
                segment.bytes = old_bytes;
                return Err(self.refuse(&error, "write"));
            }
            segment.bytes += count;
        }
        Ok(())
    }

    /// Records that open a fresh segment, so that older ones can be purged.
    fn head(&self) -> [Record; 2] {
        [Record::HardState(self.hard_state), Record::Snapshot(self.mark.clone())]
    }

    fn head_bytes(&self) -> u64 {
        if self.active.as_ref().is_some_and(|active| active.offset > HEADER_BYTES) {
            return 0;
        }
        self.restated_bytes()
    }

    fn restated_bytes(&self) -> u64 {
        self.head().iter().map(|record| record.frame_bytes() as u64).sum()
    }

    /// Writes and syncs staged records, as one batch. `ticket` is the last [`Wal::stage`]'s among them.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn write(&mut self, ticket: u64, records: &[Record]) -> Result<(), WalError> {
        if records.is_empty() {
            return Ok(());
        }
        self.reserve(records)?;
        let active = self.active.as_ref().expect("reserved");
        let (offset, seed) = (active.offset, active.segment.seed);
        let unsynced = if self.sync { 0 } else { UNSYNCED };
        self.buffer.clear();
        self.offsets.clear();
        if offset == HEADER_BYTES {
            for record in &self.head() {
                encode(&mut self.buffer, record, seed, self.batch, unsynced);
            }
        }
        for (nth, record) in records.iter().enumerate() {
            let last = if nth + 1 == records.len() { LAST } else { 0 };
            self.offsets.push(offset + self.buffer.len() as u64);
            encode(&mut self.buffer, record, seed, self.batch, last | unsynced);
        }
        let end = offset + self.buffer.len() as u64;
        if end + END.len() as u64 <= active.segment.bytes {
            self.buffer.extend_from_slice(&END);
        }
        let written = active.segment.file.write_at(&self.buffer, offset);
        written.map_err(|error| self.refuse(&error, "write"))?;
        self.sync_active()?;
        self.publish(ticket, records, end);
        Ok(())
    }

    fn sync_active(&mut self) -> Result<(), WalError> {
        let Some(active) = self.active.as_ref().filter(|_| self.sync) else { return Ok(()) };
        let start = Instant::now();
        if let Err(error) = active.segment.file.sync() {
            // The kernel may have dropped the pages: what is on disk is unknown, whatever the error says.
            let failed = WalError::Failed(format!("cannot sync: {error}"));
            self.failed = Some(failed.clone());
            return Err(failed);
        }
        self.shared.counters.sync_us.fetch_add(start.elapsed().as_micros() as u64, Relaxed);
        Ok(())
    }

    fn publish(&mut self, ticket: u64, records: &[Record], end: u64) {
        let active = self.active.as_mut().expect("just written");
        active.offset = end;
        self.batch += 1;
        for record in records {
            match record {
                Record::Entry(_) => {}
                Record::HardState(state) => self.hard_state = *state,
                Record::Snapshot(mark) | Record::Install(mark) => self.mark = mark.clone(),
            }
        }
        {
            let mut index = self.shared.index.lock();
            index.written(ticket, &active.segment, records.iter().zip(self.offsets.iter().copied()));
            // Under the lock: segments must go in their order, and a purge may be retiring the next ones.
            self.shared.preparer.retire(index.retire());
        }
        let counters = &self.shared.counters;
        counters.appends.fetch_add(1, Relaxed);
        counters.records.fetch_add(records.len() as u64, Relaxed);
        counters.bytes.fetch_add(self.buffer.len() as u64, Relaxed);
        self.note_room();
        self.buffer.shrink_to(4 << 20);
    }

    fn note_room(&self) {
        self.shared.counters.active_room_bytes.store(self.active_room_bytes(), Relaxed);
    }

    fn refuse(&mut self, error: &std::io::Error, what: &str) -> WalError {
        if is_full(error) {
            return WalError::Full(error.to_string());
        }
        let failed = WalError::Failed(format!("cannot {what}: {error}"));
        self.failed = Some(failed.clone());
        failed
    }

    fn remember(&mut self, error: &WalError) {
        if matches!(error, WalError::Failed(_)) {
            self.failed = Some(error.clone());
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.shared.preparer.close();
        if let Some(thread) = self.preparer.take() {
            // A panic there was reported by the panic hook; there is nothing more to do about it here.
            let _ = thread.join();
        }
        if !self.sync {
            // After a clean stop the tables are trusted, so the log must not be shorter than they are. A
            // failure leaves what a log without syncs promises: nothing about power cuts.
            let index = self.shared.index.lock();
            let _ = index.live().iter().try_for_each(|live| live.segment.file.sync());
        }
    }
}

/// Refuses what the format cannot hold: offsets within a segment have 32 bits.
pub(super) fn check_sizes(records: &[Record]) -> Result<(), WalError> {
    let bytes: usize = records.iter().map(Record::frame_bytes).sum();
    if bytes > MAX_PAYLOAD_BYTES {
        return Err(WalError::Misused(format!(
            "a batch of {bytes} bytes, at most {MAX_PAYLOAD_BYTES} are possible"
        )));
    }
    Ok(())
}
