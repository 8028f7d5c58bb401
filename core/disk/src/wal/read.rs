//! The shared side of the log: positions, entries, purging and figures, for the driver and the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::error::ReadError;
use super::index::{Index, Place, Plan};
use super::prepare::Preparer;
use super::record::{Entry, Frame, HardState, Record, SnapshotMark, frame_bytes};
use super::segment::{Segment, live_name};

/// One read from disk covers at most this much, unless a single entry is larger.
const READ_MAX_BYTES: u64 = 1 << 20;

pub(crate) struct Shared {
    pub index: Mutex<Index>,
    pub preparer: Preparer,
    pub counters: Counters,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub appends: AtomicU64,
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    pub sync_us: AtomicU64,
    pub active_room_bytes: AtomicU64,
    pub pending_bytes: AtomicU64,
    pub waiting_for_room: AtomicU64,
}

/// Figures of the log.
#[derive(Debug, Clone, Default)]
pub struct WalStatus {
    /// The first entry that can be read; `last_index + 1` when there is none.
    pub first_index: u64,
    /// The last entry handed in.
    pub last_index: u64,
    /// Segments holding records.
    pub segments: u64,
    /// Bytes of those segments.
    pub disk_bytes: u64,
    /// Entry bytes held in memory.
    pub cache_bytes: u64,
    /// Room for records on already allocated disk space.
    pub capacity_bytes: u64,
    /// The disk refused room for the next segment. Clears by itself when there is space again.
    pub full: bool,
    /// Record bytes handed to the writer and not yet synced.
    pub pending_bytes: u64,
    /// Appends (one write and one sync each), records and bytes since the log was opened.
    pub appends: u64,
    pub records: u64,
    pub bytes: u64,
    /// Time spent in syncs since the log was opened, in us.
    pub sync_us: u64,
}

/// A handle on the log for any thread; clones are cheap. Every call holds a lock for well under a microsecond
/// per entry touched, and reads the disk without it.
#[derive(Clone)]
pub struct LogView {
    pub(crate) shared: Arc<Shared>,
}

impl LogView {
    /// The first readable entry; one after the last when there is none.
    pub fn first_index(&self) -> u64 {
        self.shared.index.lock().first()
    }

    /// The last entry handed in (perhaps not yet synced); the snapshot's index when there is none.
    pub fn last_index(&self) -> u64 {
        self.shared.index.lock().last()
    }

    /// The term at `index`, which may be from `first_index() - 1` (the position the log follows) to
    /// `last_index()`.
    pub fn term(&self, index: u64) -> Result<u64, ReadError> {
        self.shared.index.lock().term(index)
    }

    /// The last hard state handed in.
    pub fn hard_state(&self) -> HardState {
        self.shared.index.lock().hard_state()
    }

    /// The last snapshot mark handed in; index 0 when there is none.
    pub fn snapshot(&self) -> SnapshotMark {
        self.shared.index.lock().mark().clone()
    }

    /// The entries `low..high`: at least one (unless the range is empty), then until their data exceeds
    /// `max_bytes`. Entries that were handed in are readable at once, before they are synced.
    ///
    /// # Errors
    /// `Compacted` and `Unavailable` outside the log; `Damaged` if the disk does not return what was written.
    pub fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, ReadError> {
        let Plan { runs, mut recent } = self.shared.index.lock().plan(low, high, max_bytes)?;
        if runs.is_empty() {
            return Ok(recent);
        }
        let mut entries =
            Vec::with_capacity(runs.iter().map(|run| run.1.len()).sum::<usize>() + recent.len());
        for (segment, places) in &runs {
            if let Err(damaged) = read_run(segment, places, low, &mut entries, &self.shared.preparer) {
                // The segment may have been purged and recycled under the read; then the caller just came too
                // late.
                let first = self.first_index();
                return Err(if low < first { ReadError::Compacted { first } } else { damaged });
            }
        }
        entries.append(&mut recent);
        Ok(entries)
    }

    /// Forgets the entries up to `through`, at most up to the last snapshot mark, and recycles segments as
    /// soon as the mark that covers them is synced. Answers at once; the files are renamed behind the scenes.
    pub fn purge(&self, through: u64) {
        let mut index = self.shared.index.lock();
        index.purge(through);
        let retired = index.retire();
        self.shared.preparer.retire(retired);
    }

    /// Room for records on already allocated disk space, in bytes.
    pub fn capacity_bytes(&self) -> u64 {
        self.shared.counters.active_room_bytes.load(Ordering::Relaxed) + self.shared.preparer.room_bytes()
    }

    /// True while the disk refuses room for the next segment: stop taking client writes. Clears by itself.
    pub fn is_full(&self) -> bool {
        self.shared.counters.waiting_for_room.load(Ordering::Relaxed) > 0 || self.shared.preparer.is_full()
    }

    /// All figures.
    pub fn status(&self) -> WalStatus {
        let counters = &self.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (capacity_bytes, full) = (self.capacity_bytes(), self.is_full());
        let index = self.shared.index.lock();
        WalStatus {
            first_index: index.first(),
            last_index: index.last(),
            segments: index.live().len() as u64,
            disk_bytes: index.live().iter().map(|live| live.segment.bytes).sum(),
            cache_bytes: index.recent_bytes() as u64,
            capacity_bytes,
            full,
            pending_bytes: get(&counters.pending_bytes),
            appends: get(&counters.appends),
            records: get(&counters.records),
            bytes: get(&counters.bytes),
            sync_us: get(&counters.sync_us),
        }
    }
}

/// Reads the entries at `places`, which ascend within one segment, in as few reads as their distances allow.
fn read_run(
    segment: &Segment,
    places: &[Place],
    low: u64,
    entries: &mut Vec<Entry>,
    preparer: &Preparer,
) -> Result<(), ReadError> {
    let end = |place: &Place| u64::from(place.offset) + frame_bytes(place.payload_bytes as usize) as u64;
    let mut rest = places;
    while let Some(first) = rest.first() {
        let from = u64::from(first.offset);
        let count = rest.iter().take_while(|place| end(place) - from <= READ_MAX_BYTES).count().max(1);
        let (now, later) = rest.split_at(count);
        rest = later;
        let mut bytes = vec![0; (end(&now[count - 1]) - from) as usize];
        let damaged = |offset: u64, detail: String| {
            let file = preparer.describe(&live_name(segment.sequence));
            ReadError::Damaged(format!("{file} at byte {offset}: {detail}"))
        };
        let mut done = 0;
        while done < bytes.len() {
            match segment.file.read_at(&mut bytes[done..], from + done as u64) {
                Ok(0) => return Err(damaged(from + done as u64, "the file ends early".into())),
                Ok(n) => done += n,
                Err(error) => return Err(damaged(from, error.to_string())),
            }
        }
        let bytes = Bytes::from(bytes);
        for place in now {
            let at = (u64::from(place.offset) - from) as usize;
            let record = Frame::parse(&bytes[at..], segment.seed).map(|f| f.record(|d| bytes.slice_ref(d)));
            let expected = low + entries.len() as u64;
            match record {
                Some(Record::Entry(entry)) if entry.index == expected => entries.push(entry),
                _ => {
                    let detail = format!("entry {expected} does not match its checksum");
                    return Err(damaged(u64::from(place.offset), detail));
                }
            }
        }
    }
    Ok(())
}
