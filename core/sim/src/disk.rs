//! A machine's disk: the log of `core/disk` over files in memory. Appends wait until the scheduler says that
//! the disk wrote them; a power cut before that loses them, or leaves some of their sectors.

use std::collections::VecDeque;
use std::sync::Arc;

use konsul_disk::files::MemoryFiles;
use konsul_disk::wal::{HardState, LogView, Record, Recovered, Wal, WalError, WalOptions};
use konsul_node::seams::{Durable, LogWriter};
use parking_lot::Mutex;

use crate::planted::Planted;

/// Segments this small are filled and recycled many times in a run.
pub const SEGMENT_BYTES: u64 = 16 << 10;

/// How the log is opened on a simulated disk.
pub fn log_options(salt: u64) -> WalOptions {
    let mut options = WalOptions::new("");
    options.segment_bytes = SEGMENT_BYTES;
    options.background = false;
    options.salt = salt;
    // Small, so that entries are read back from the disk as well.
    options.cache_max_bytes = 8 << 10;
    options
}

struct Job {
    ticket: u64,
    records: Vec<Record>,
    callback: Option<Durable>,
}

struct Inner {
    /// `None` until the process that opened it begins to write.
    wal: Option<Wal>,
    jobs: VecDeque<Job>,
    planted: Planted,
}

impl Inner {
    fn stage(&mut self, records: &[Record]) -> Result<u64, WalError> {
        self.wal.as_mut().map_or(Err(WalError::Closed), |wal| wal.stage(records))
    }

    fn write(&mut self, ticket: u64, batch: &[Record]) -> Result<(), WalError> {
        self.wal.as_mut().map_or(Err(WalError::Closed), |wal| wal.write(ticket, batch))
    }
}

/// The log of one process; clones are handles to the same.
#[derive(Clone)]
pub struct SimLog {
    inner: Arc<Mutex<Inner>>,
    view: LogView,
}

impl SimLog {
    /// A log that takes records once it has begun; `view` is of the log it will be given.
    pub fn new(view: LogView, planted: Planted) -> Self {
        Self { inner: Arc::new(Mutex::new(Inner { wal: None, jobs: VecDeque::new(), planted })), view }
    }

    /// Opens (recovers) the log in `files`.
    ///
    /// # Errors
    /// What recovery refuses, in words.
    pub fn open(files: &MemoryFiles, salt: u64) -> Result<(Wal, Recovered), String> {
        Wal::open_in(Arc::new(files.clone()), log_options(salt)).map_err(|error| error.to_string())
    }

    /// Takes the opened log.
    pub fn begin(&self, wal: Wal) {
        self.inner.lock().wal = Some(wal);
    }

    /// The reading side.
    pub fn read(&self) -> &LogView {
        &self.view
    }

    /// True if something waits to be written.
    pub fn is_waiting(&self) -> bool {
        !self.inner.lock().jobs.is_empty()
    }

    /// Writes and syncs what waits, at most `jobs_max` submissions in one batch, and tells whoever waits.
    /// Answers how many there were.
    pub fn write(&self, jobs_max: usize) -> usize {
        let (outcome, callbacks, count) = {
            let mut inner = self.inner.lock();
            let count = inner.jobs.len().min(jobs_max);
            if count == 0 {
                return 0;
            }
            let jobs: Vec<Job> = inner.jobs.drain(..count).collect();
            let ticket = jobs.last().map_or(0, |job| job.ticket);
            let (mut batch, mut callbacks) = (Vec::new(), Vec::new());
            for job in jobs {
                batch.extend(job.records);
                callbacks.extend(job.callback);
            }
            (inner.write(ticket, &batch), callbacks, count)
        };
        for callback in callbacks {
            callback(outcome.clone());
        }
        count
    }

    /// A power cut in the middle of a write: what waits was written and not synced. The process is gone with
    /// it.
    pub fn begin_write(&self, files: &MemoryFiles) {
        let mut inner = self.inner.lock();
        let jobs: Vec<Job> = inner.jobs.drain(..).collect();
        let Some(ticket) = jobs.last().map(|job| job.ticket) else { return };
        let batch: Vec<Record> = jobs.into_iter().flat_map(|job| job.records).collect();
        // The write reaches the disk's cache and its sync fails, as it does when the power goes.
        files.faults(|faults| faults.syncs_left = Some(0));
        let _ = inner.write(ticket, &batch);
    }
}

impl LogWriter for SimLog {
    fn submit(&mut self, records: Vec<Record>, callback: Durable) -> Result<(), WalError> {
        let early = {
            let mut inner = self.inner.lock();
            let ticket = inner.stage(&records)?;
            let records = inner.planted.spoil(records);
            let is_early = inner.planted == Planted::AckBeforeSync;
            let (callback, early) = if is_early { (None, Some(callback)) } else { (Some(callback), None) };
            inner.jobs.push_back(Job { ticket, records, callback });
            early
        };
        if let Some(callback) = early {
            callback(Ok(()));
        }
        Ok(())
    }

    fn view(&self) -> LogView {
        self.view.clone()
    }

    fn stop(self: Box<Self>) {
        while self.write(usize::MAX) > 0 {}
    }
}

/// A hard state without its vote.
pub(crate) fn without_vote(record: Record) -> Record {
    match record {
        Record::HardState(state) => Record::HardState(HardState { vote: 0, ..state }),
        other => other,
    }
}
