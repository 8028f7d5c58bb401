//! The writer thread on a disk that fills up, fails, and is emptied again.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use konsul_disk::files::MemoryFiles;
use konsul_disk::wal::{
    Entry, LogView, ReadError, Record, SnapshotMark, Wal, WalError, WalOptions, WalWriter,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn start(files: &MemoryFiles) -> WalWriter {
    let options = WalOptions { segment_bytes: 16 << 10, cache_max_bytes: 1000, ..WalOptions::new("") };
    WalWriter::start(Wal::open_in(Arc::new(files.clone()), options).expect("opens").0).expect("starts")
}

fn entry(index: u64) -> Record {
    Record::Entry(Entry { term: 1, index, kind: 0, data: Bytes::from(vec![index as u8; 1000]) })
}

type Answers = (Sender<(u64, Result<(), WalError>)>, Receiver<(u64, Result<(), WalError>)>);

fn submit(writer: &WalWriter, index: u64, answers: &Answers) {
    let answer = answers.0.clone();
    let done = move |outcome| drop(answer.send((index, outcome)));
    writer.submit(vec![entry(index)], done).expect("taken");
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        std::thread::yield_now();
    }
}

/// Fills the disk until the writer waits; answers the last index handed in.
fn fill(writer: &WalWriter, files: &MemoryFiles, answers: &Answers) -> u64 {
    wait_until("segments are prepared", || writer.view().capacity_bytes() >= 2 * (12 << 10));
    files.faults(|faults| faults.room_bytes = Some(5000));
    let mut index = writer.view().last_index();
    wait_until("the disk is full", || {
        if writer.view().capacity_bytes() > 0 {
            index += 1;
            submit(writer, index, answers);
        }
        writer.view().status().pending_bytes > 40_000 && writer.view().is_full() || {
            // Keeps the queue growing once nothing can be written any more.
            if writer.view().is_full() && writer.view().status().pending_bytes <= 40_000 {
                index += 1;
                submit(writer, index, answers);
            }
            false
        }
    });
    index
}

fn check_all(view: &LogView, last: u64) {
    let entries = view.entries(1, last + 1, u64::MAX).expect("readable");
    assert!(
        entries.iter().zip(1..).all(|(entry, index)| entry.index == index && entry.data[0] == index as u8)
    );
    assert_eq!(entries.len() as u64, last);
}

#[test]
fn a_full_disk_delays_and_loses_nothing() {
    let files = MemoryFiles::new();
    let writer = start(&files);
    let answers = channel();
    let last = fill(&writer, &files, &answers);
    check_all(&writer.view(), last);
    files.faults(|faults| faults.room_bytes = None);
    for index in 1..=last {
        let (answered, outcome) = answers.1.recv_timeout(DEADLINE).expect("answered");
        assert_eq!(answered, index);
        outcome.expect("durable");
    }
    wait_until("the log has room again", || !writer.view().is_full());
    assert_eq!(writer.view().status().pending_bytes, 0);
    writer.stop();
    let reopened = start(&files);
    check_all(&reopened.view(), last);
}

#[test]
fn purging_makes_room_on_a_full_disk() {
    let files = MemoryFiles::new();
    let writer = start(&files);
    let answers = channel();
    for index in 1..=60 {
        submit(&writer, index, &answers);
    }
    for _ in 1..=60 {
        answers.1.recv_timeout(DEADLINE).expect("answered").1.expect("durable");
    }
    let mark = SnapshotMark { index: 60, term: 1, conf_state: Bytes::new() };
    let answer = answers.0.clone();
    let done = move |outcome| drop(answer.send((0, outcome)));
    writer.submit(vec![Record::Snapshot(mark)], done).expect("taken");
    answers.1.recv_timeout(DEADLINE).expect("answered").1.expect("durable");
    let last = fill(&writer, &files, &answers);
    writer.view().purge(60);
    assert_eq!(writer.view().entries(60, 61, 0), Err(ReadError::Compacted { first: 61 }));
    for _ in 61..=last {
        answers.1.recv_timeout(DEADLINE).expect("answered").1.expect("durable");
    }
}

#[test]
fn stopping_on_a_full_disk_refuses_the_queue() {
    let files = MemoryFiles::new();
    let writer = start(&files);
    let answers = channel();
    let last = fill(&writer, &files, &answers);
    writer.stop();
    drop(answers.0);
    let outcomes: Vec<bool> = answers.1.iter().map(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(outcomes.len() as u64, last);
    let durable = outcomes.iter().filter(|ok| **ok).count();
    assert!(durable < outcomes.len() && outcomes[..durable].iter().all(|ok| *ok), "{outcomes:?}");
    files.faults(|faults| faults.room_bytes = None);
    check_all(&start(&files).view(), durable as u64);
}

#[test]
fn a_failed_sync_is_final() {
    let files = MemoryFiles::new();
    let writer = start(&files);
    let answers = channel();
    submit(&writer, 1, &answers);
    answers.1.recv_timeout(DEADLINE).expect("answered").1.expect("durable");
    files.faults(|faults| faults.syncs_left = Some(0));
    submit(&writer, 2, &answers);
    let (_, outcome) = answers.1.recv_timeout(DEADLINE).expect("answered");
    assert!(matches!(&outcome, Err(WalError::Failed(why)) if why.contains("sync")), "{outcome:?}");
    files.faults(|faults| faults.syncs_left = None);
    submit(&writer, 3, &answers);
    let (_, outcome) = answers.1.recv_timeout(DEADLINE).expect("answered");
    assert!(
        matches!(outcome, Err(WalError::Failed(_))),
        "a sync that works again proves nothing: {outcome:?}"
    );
}

#[test]
fn segments_go_as_soon_as_the_snapshot_that_covers_them_is_synced() {
    let files = MemoryFiles::new();
    let writer = start(&files);
    let answers = channel();
    for index in 1..=100 {
        submit(&writer, index, &answers);
    }
    let mark = SnapshotMark { index: 90, term: 1, conf_state: Bytes::new() };
    let (done, durable) = channel();
    writer.submit(vec![Record::Snapshot(mark)], move |outcome| drop(done.send(outcome))).expect("taken");
    writer.view().purge(90);
    assert_eq!(writer.view().first_index(), 91);
    durable.recv_timeout(DEADLINE).expect("answered").expect("durable");
    let status = writer.view().status();
    assert!(status.segments <= 3, "{status:?}");
    assert_eq!(writer.view().entries(91, 101, u64::MAX).expect("readable").len(), 10);
}
