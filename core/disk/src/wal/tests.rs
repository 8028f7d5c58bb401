//! The log through its public face: appending, reading, purging, recycling, the writer thread.

use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;

use super::*;
use crate::files::{LogFiles, MemoryFiles, RealFiles};

const NO_LIMIT: u64 = u64::MAX;

fn options() -> WalOptions {
    WalOptions { segment_bytes: 16 << 10, cache_max_bytes: 4 << 10, background: false, ..WalOptions::new("") }
}

fn open(files: &MemoryFiles) -> (Wal, Recovered) {
    Wal::open_in(Arc::new(files.clone()), options()).expect("opens")
}

fn data(index: u64, bytes: usize) -> Bytes {
    Bytes::from((0..bytes).map(|i| (index as usize * 31 + i) as u8).collect::<Vec<u8>>())
}

fn entry(term: u64, index: u64, bytes: usize) -> Record {
    Record::Entry(Entry { term, index, kind: 0, data: data(index, bytes) })
}

fn mark(index: u64, term: u64) -> SnapshotMark {
    SnapshotMark { index, term, conf_state: Bytes::from_static(b"voters: 1") }
}

fn check_entries(view: &LogView, low: u64, high: u64, bytes: usize) {
    let entries = view.entries(low, high, NO_LIMIT).expect("readable");
    assert_eq!(entries.len() as u64, high - low);
    for (entry, index) in entries.iter().zip(low..) {
        assert_eq!((entry.index, &entry.data), (index, &data(index, bytes)));
    }
}

#[test]
fn what_was_appended_is_there_after_reopening() {
    let files = MemoryFiles::new();
    let (mut wal, recovered) = open(&files);
    assert!(recovered.fresh && recovered.last_index == 0 && recovered.first_index == 1);
    let state = HardState { term: 2, vote: 1, commit: 1 };
    wal.append(&[entry(1, 1, 10), entry(2, 2, 20), Record::HardState(state)]).expect("appends");
    drop(wal);
    let (wal, recovered) = open(&files);
    assert!(!recovered.fresh && recovered.note.is_none());
    assert_eq!((recovered.first_index, recovered.last_index, recovered.hard_state), (1, 2, state));
    assert_eq!(wal.view().entries(1, 3, NO_LIMIT).expect("readable")[1].data, data(2, 20));
    assert_eq!((wal.view().term(0), wal.view().term(1), wal.view().term(2)), (Ok(0), Ok(1), Ok(2)));
}

#[test]
fn an_entry_takes_the_place_of_what_follows_it() {
    let files = MemoryFiles::new();
    let (mut wal, _) = open(&files);
    wal.append(&[entry(1, 1, 9), entry(1, 2, 9), entry(1, 3, 9)]).expect("appends");
    wal.append(&[entry(2, 2, 9)]).expect("appends");
    assert_eq!((wal.view().last_index(), wal.view().term(2)), (2, Ok(2)));
    drop(wal);
    let (wal, recovered) = open(&files);
    assert_eq!((recovered.last_index, wal.view().term(2)), (2, Ok(2)));
    assert_eq!(wal.view().term(3), Err(ReadError::Unavailable { last: 2 }));
}

#[test]
fn gaps_and_steps_back_are_misuse() {
    let (mut wal, _) = open(&MemoryFiles::new());
    wal.append(&[entry(1, 1, 9)]).expect("appends");
    assert!(matches!(wal.append(&[entry(1, 3, 9)]), Err(WalError::Misused(_))));
    assert!(
        matches!(wal.append(&[entry(1, 2, 9)]), Err(WalError::Misused(_))),
        "a misused log takes nothing more"
    );
}

#[test]
fn segments_are_filled_read_back_purged_and_recycled() {
    let files = MemoryFiles::new();
    let (mut wal, _) = open(&files);
    let state = HardState { term: 1, vote: 1, commit: 7 };
    wal.append(&[Record::HardState(state)]).expect("appends");
    for index in 1..=200 {
        wal.append(&[entry(1, index, 500)]).expect("appends");
    }
    let view = wal.view();
    assert!(view.status().segments > 8 && view.status().cache_bytes <= 4 << 10);
    check_entries(&view, 1, 201, 500);
    view.purge(150);
    assert_eq!(view.first_index(), 1, "nothing is purged without a snapshot");
    wal.append(&[Record::Snapshot(mark(160, 1))]).expect("appends");
    view.purge(150);
    assert_eq!((view.first_index(), view.term(150)), (151, Ok(1)));
    assert_eq!(view.entries(150, 160, NO_LIMIT), Err(ReadError::Compacted { first: 151 }));
    assert!(view.status().segments < 5);
    check_entries(&view, 151, 201, 500);
    drop(wal);
    let (wal, recovered) = open(&files);
    assert_eq!((recovered.hard_state, recovered.snapshot, recovered.note), (state, mark(160, 1), None));
    assert!(recovered.first_index > 100 && recovered.first_index <= 151 && recovered.last_index == 200);
    check_entries(&wal.view(), recovered.first_index, 201, 500);
    let names = files.list().expect("lists");
    assert!(names.len() <= 12, "used segments go back: {names:?}");
}

#[test]
fn a_segment_that_could_not_be_given_back_leaves_no_hole() {
    let files = MemoryFiles::new();
    let (mut wal, _) = open(&files);
    for index in 1..=200 {
        wal.append(&[entry(1, index, 500)]).expect("appends");
    }
    wal.append(&[Record::Snapshot(mark(160, 1))]).expect("appends");
    files.faults(|faults| faults.names_full = true);
    wal.view().purge(80);
    assert!(wal.view().is_full());
    files.faults(|faults| faults.names_full = false);
    wal.view().purge(150);
    assert!(!wal.view().is_full(), "it is given back as soon as that is possible");
    drop(wal);
    let (wal, recovered) = open(&files);
    assert_eq!((recovered.last_index, recovered.note), (200, None));
    check_entries(&wal.view(), recovered.first_index, 201, 500);
}

#[test]
fn a_log_without_syncs_is_synced_when_it_is_closed() {
    let files = MemoryFiles::with_crashes();
    let unsynced = WalOptions { sync: false, ..options() };
    let (mut wal, _) = Wal::open_in(Arc::new(files.clone()), unsynced.clone()).expect("opens");
    for index in 1..=100 {
        wal.append(&[entry(1, index, 500)]).expect("appends");
    }
    drop(wal);
    let (_, recovered) = Wal::open_in(Arc::new(files.crash(|| 0)), unsynced).expect("opens");
    assert_eq!((recovered.last_index, recovered.note), (100, None));
}

#[test]
fn an_installed_snapshot_starts_the_log_anew() {
    let files = MemoryFiles::new();
    let (mut wal, _) = open(&files);
    wal.append(&[entry(1, 1, 9), entry(1, 2, 9)]).expect("appends");
    wal.append(&[Record::Install(mark(50, 4)), entry(5, 51, 9)]).expect("appends");
    for _ in 0..2 {
        let view = wal.view();
        assert_eq!((view.first_index(), view.last_index(), view.term(50)), (51, 51, Ok(4)));
        drop(wal);
        wal = open(&files).0;
    }
}

#[test]
fn a_record_larger_than_a_segment_gets_a_larger_segment() {
    let files = MemoryFiles::new();
    let (mut wal, _) = open(&files);
    for (index, bytes) in [(1, 100), (2, 100_000), (3, 100)] {
        wal.append(&[entry(1, index, bytes)]).expect("appends");
    }
    drop(wal);
    let (wal, recovered) = open(&files);
    assert_eq!((recovered.last_index, recovered.note), (3, None));
    assert_eq!(wal.view().entries(2, 3, 1).expect("readable")[0].data, data(2, 100_000));
}

#[test]
fn the_size_limit_of_a_read_lets_at_least_one_entry_through() {
    let files = MemoryFiles::new();
    let (mut wal, _) = open(&files);
    let records: Vec<Record> = (1..=20).map(|index| entry(1, index, 1000)).collect();
    wal.append(&records).expect("appends");
    assert_eq!(wal.view().entries(1, 21, 0).expect("readable").len(), 1);
    assert_eq!(wal.view().entries(1, 21, 3500).expect("readable").len(), 3);
    assert_eq!(wal.view().entries(19, 21, 3500).expect("readable").len(), 2);
}

#[test]
fn the_writer_makes_entries_readable_at_once_and_durable_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = WalOptions { segment_bytes: 64 << 10, cache_max_bytes: 1000, ..WalOptions::new(dir.path()) };
    let writer = WalWriter::start(Wal::open(small.clone()).expect("opens").0).expect("starts");
    let (done, seen) = channel();
    for index in 1..=500_u64 {
        let done = done.clone();
        let submitted = writer.submit(vec![entry(1, index, 700)], move |outcome| {
            outcome.expect("durable");
            done.send(index).expect("somebody waits");
        });
        submitted.expect("taken");
        assert_eq!(writer.view().last_index(), index);
        check_entries(&writer.view(), index.saturating_sub(20).max(1), index + 1, 700);
    }
    drop(done);
    writer.stop();
    assert_eq!(seen.iter().collect::<Vec<_>>(), (1..=500).collect::<Vec<_>>());
    let (wal, recovered) = Wal::open(small).expect("opens");
    assert_eq!((recovered.last_index, recovered.note), (500, None));
    check_entries(&wal.view(), 1, 501, 700);
}

#[test]
fn foreign_files_in_the_directory_are_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("notes.txt"), "mine").expect("writes");
    drop(Wal::open(WalOptions { segment_bytes: 16 << 10, ..WalOptions::new(dir.path()) }).expect("opens"));
    assert!(RealFiles::open(dir.path()).expect("opens").list().expect("lists").contains(&"notes.txt".into()));
}
