//! The writer thread: everything queued while one sync runs goes out in the next write and sync.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::append::{Wal, check_sizes};
use super::error::WalError;
use super::read::{LogView, Shared};
use super::record::Record;

/// Submissions are packed into one append up to this much; a single larger one goes alone.
const PACK_MAX_BYTES: u64 = 4 << 20;

/// Called on the writer thread when the records are durable, or will never be. It must be short and not
/// block.
pub type Callback = Box<dyn FnOnce(Result<(), WalError>) + Send>;

struct Job {
    ticket: u64,
    records: Vec<Record>,
    bytes: u64,
    callback: Callback,
}

/// The log behind its writer thread. Dropping it writes what is queued and ends the thread.
pub struct WalWriter {
    shared: Arc<Shared>,
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl WalWriter {
    /// Starts the writer thread over an open log.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(wal: Wal) -> std::io::Result<WalWriter> {
        let shared = wal.view().shared;
        let (queue, jobs) = unbounded();
        let thread = std::thread::Builder::new().name("wal-write".into()).spawn(move || run(wal, &jobs))?;
        Ok(WalWriter { shared, queue: Some(queue), thread: Some(thread) })
    }

    /// Hands records in: readable through [`WalWriter::view`] when this returns, durable when `callback` is
    /// called with `Ok`. The records of one call are recovered all or none; callbacks run in the order of the
    /// calls. While the disk is full the queue waits for room ([`LogView::is_full`]) and callbacks come late,
    /// not with an error. What is queued is bounded by the caller ([`super::WalStatus::pending_bytes`]).
    ///
    /// # Errors
    /// `Misused` if the records break the log's rules, `Closed` after a failure; `callback` is not called
    /// then.
    pub fn submit(
        &self,
        records: Vec<Record>,
        callback: impl FnOnce(Result<(), WalError>) + Send + 'static,
    ) -> Result<(), WalError> {
        check_sizes(&records)?;
        let bytes = records.iter().map(|record| record.frame_bytes() as u64).sum();
        let callback = Box::new(callback);
        // The queue must have the order of the staging, so sending is part of the locked section.
        let mut index = self.shared.index.lock();
        let ticket = index.stage(&records)?;
        self.shared.counters.pending_bytes.fetch_add(bytes, Relaxed);
        let queue = self.queue.as_ref().ok_or(WalError::Closed)?;
        queue.send(Job { ticket, records, bytes, callback }).map_err(|_| WalError::Closed)
    }

    /// A handle for readers.
    pub fn view(&self) -> LogView {
        LogView { shared: Arc::clone(&self.shared) }
    }

    /// Writes what is queued and ends the thread. If the disk is full the rest of the queue is refused with
    /// `Full`.
    pub fn stop(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.queue = None;
        self.shared.preparer.stop_waiting();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook; there is nothing more to do about it here.
            let _ = thread.join();
        }
    }
}

impl Drop for WalWriter {
    fn drop(&mut self) {
        self.finish();
    }
}

fn run(mut wal: Wal, jobs: &Receiver<Job>) {
    let shared = wal.view().shared;
    let mut held: Option<Job> = None;
    while let Some(first) = held.take().or_else(|| jobs.recv().ok()) {
        let mut bytes = first.bytes;
        let mut batch = first.records;
        let (mut ticket, mut callbacks) = (first.ticket, vec![first.callback]);
        let room = wal.pack_bytes().min(PACK_MAX_BYTES);
        while let Ok(job) = jobs.try_recv() {
            if bytes + job.bytes > room {
                held = Some(job);
                break;
            }
            bytes += job.bytes;
            ticket = job.ticket;
            batch.extend(job.records);
            callbacks.push(job.callback);
        }
        let outcome = write(&mut wal, &shared, ticket, &batch);
        shared.counters.pending_bytes.fetch_sub(bytes, Relaxed);
        for callback in callbacks {
            callback(outcome.clone());
        }
    }
}

/// Writes one batch, waiting as long as the disk is full and the log is open.
fn write(wal: &mut Wal, shared: &Shared, ticket: u64, batch: &[Record]) -> Result<(), WalError> {
    let mut outcome = wal.write(ticket, batch);
    if let Err(WalError::Full(_)) = outcome {
        shared.counters.waiting_for_room.store(1, Relaxed);
        while matches!(outcome, Err(WalError::Full(_))) && shared.preparer.wait_for_room() {
            outcome = wal.write(ticket, batch);
        }
        shared.counters.waiting_for_room.store(0, Relaxed);
    }
    outcome
}
