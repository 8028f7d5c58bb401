//! Damage that is not a torn end: whatever is flipped, wiped or missing, the log either holds everything or
//! refuses with advice; only its very last batch, which cannot be told from a torn write, may be cut.

use std::sync::Arc;

use bytes::Bytes;
use konsul_disk::files::{LogFiles, MemoryFiles};
use konsul_disk::wal::{Entry, HardState, OpenError, Record, Recovered, SnapshotMark, Wal, WalOptions};
use proptest::prelude::*;

type Content = Vec<(String, Vec<u8>)>;

fn open(files: &MemoryFiles) -> Result<(Wal, Recovered), OpenError> {
    let options = WalOptions { segment_bytes: 12 << 10, background: false, ..WalOptions::new("") };
    Wal::open_in(Arc::new(files.clone()), options)
}

fn append(wal: &mut Wal, index: u64, bytes: usize) {
    let data = Bytes::from((0..bytes).map(|i| (index as usize * 7 + i) as u8).collect::<Vec<u8>>());
    let state = HardState { term: 1, vote: 1, commit: index };
    let entry = Record::Entry(Entry { term: 1, index, kind: 0, data });
    wal.append(&[entry, Record::HardState(state)]).expect("appends");
}

fn content(files: &MemoryFiles) -> Content {
    let read = |name: String| {
        let file = files.open(&name).expect("opens");
        let mut bytes = vec![0; file.size().expect("has a size") as usize];
        assert_eq!(file.read_at(&mut bytes, 0).expect("reads"), bytes.len());
        (name, bytes)
    };
    files.list().expect("lists").into_iter().map(read).collect()
}

/// The file and the bytes that differ: where the last batch went.
fn changed(before: &Content, after: &Content) -> (String, u64, u64) {
    for (name, bytes) in after {
        let old = before.iter().find(|(other, _)| other == name).map(|(_, old)| old);
        let old = old.cloned().unwrap_or_else(|| vec![0; bytes.len()]);
        let differing = || (0..bytes.len()).filter(|at| old.get(*at) != Some(&bytes[*at]));
        if let (Some(low), Some(high)) = (differing().find(|at| *at >= 4096), differing().next_back()) {
            return (name.clone(), low as u64, high as u64);
        }
    }
    panic!("nothing changed");
}

/// A log of `sizes` with some of it purged and recycled, and where its last batch lies.
fn build(sizes: &[usize], purge: bool) -> (MemoryFiles, (String, u64, u64)) {
    let files = MemoryFiles::new();
    let (mut wal, _) = open(&files).expect("opens");
    let (last, most) = sizes.split_last().expect("some");
    for (index, bytes) in (1..).zip(most) {
        append(&mut wal, index, *bytes);
        if purge && index % 10 == 0 {
            let mark = SnapshotMark { index, term: 1, conf_state: Bytes::new() };
            wal.append(&[Record::Snapshot(mark)]).expect("appends");
            wal.view().purge(index - 3);
        }
    }
    let before = content(&files);
    append(&mut wal, sizes.len() as u64, *last);
    let last = changed(&before, &content(&files));
    (files, last)
}

/// Opens the damaged log; true if it holds all `count` entries, false if it was refused or, where allowed,
/// cut by one.
fn check(files: &MemoryFiles, count: u64, may_lose_last: bool) -> Result<bool, TestCaseError> {
    match open(files) {
        Err(error) => {
            let message = error.to_string();
            prop_assert!(message.contains("backup") || message.contains("start"), "no advice: {message}");
            Ok(false)
        }
        Ok((wal, recovered)) => {
            let lost = count - recovered.last_index;
            prop_assert!(lost == 0 || (lost == 1 && may_lose_last), "lost {lost}: {recovered:?}");
            let entries = wal.view().entries(recovered.first_index, recovered.last_index + 1, u64::MAX);
            prop_assert!(entries.is_ok(), "{entries:?}");
            Ok(lost == 0)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_never_loses_acknowledged_records(
        sizes in prop::collection::vec(0..1500_usize, 2..60),
        purge: bool,
        at: prop::sample::Index,
        bit in 0..8_u32,
    ) {
        let (files, (last_file, low, high)) = build(&sizes, purge);
        let live: Content = content(&files).into_iter().filter(|(name, _)| name.ends_with(".wal")).collect();
        let total: usize = live.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut at = at.index(total);
        let mut file = 0;
        while at >= live[file].1.len() {
            at -= live[file].1.len();
            file += 1;
        }
        let name = &live[file].0;
        files.flip(name, at as u64, 1 << bit);
        let in_last = *name == last_file && (low.saturating_sub(32)..=high + 8).contains(&(at as u64));
        check(&files, sizes.len() as u64, in_last)?;
    }

    #[test]
    fn a_wiped_stretch_never_loses_acknowledged_records(
        sizes in prop::collection::vec(0..1500_usize, 2..60),
        at: prop::sample::Index,
        length in 1..6000_usize,
    ) {
        let (files, (last_file, low, high)) = build(&sizes, false);
        let live: Content = content(&files).into_iter().filter(|(name, _)| name.ends_with(".wal")).collect();
        let (name, bytes) = &live[at.index(live.len())];
        let from = 4096 + at.index(bytes.len() - 4096);
        let to = (from + length).min(bytes.len());
        files.open(name).expect("opens").write_at(&vec![0; to - from], from as u64).expect("writes");
        let in_last = *name == last_file && (from as u64) <= high && to as u64 + 32 >= low;
        // A wipe that reaches back before the last batch takes acknowledged ones with it; if nothing later is
        // left, nothing can tell. The committed index can, as soon as one later hard state survives.
        if !(in_last && (from as u64) < low) {
            check(&files, sizes.len() as u64, in_last)?;
        }
    }
}

#[test]
fn a_byte_flipped_in_the_middle_is_refused_with_the_place() {
    let (files, _) = build(&[500; 40], false);
    files.flip("0000000000000002.wal", 4096 + 300, 1);
    let message = open(&files).err().expect("refused").to_string();
    assert!(message.contains("memory:0000000000000002.wal is damaged at byte 4"), "{message}");
    assert!(message.contains("Restore the data directory from a snapshot or backup"), "{message}");
}

#[test]
fn a_refusal_changes_nothing_on_disk() {
    let (files, _) = build(&[500; 40], false);
    files.flip("0000000000000002.wal", 4096 + 300, 1);
    let before = content(&files);
    assert!(open(&files).is_err() && content(&files) == before);
}

#[test]
fn frames_behind_a_torn_start_of_a_batch_are_wiped() {
    let files = MemoryFiles::with_crashes();
    let (mut wal, _) = open(&files).expect("opens");
    append(&mut wal, 1, 100);
    files.faults(|faults| faults.syncs_left = Some(0));
    let entry = |index| Record::Entry(Entry { term: 1, index, kind: 0, data: Bytes::from(vec![7; 1000]) });
    assert!(wal.append(&[entry(2), entry(3), entry(4)]).is_err());
    // Of the unsynced sectors the first is lost and the others are kept.
    let mut answers = [0].into_iter().chain(std::iter::repeat(2));
    let mut asked = 0;
    let after = files.crash(|| {
        asked += 1;
        // Each file first asks about its length.
        if asked == 1 { 0 } else { answers.next().expect("endless") }
    });
    let (_, recovered) = open(&after).expect("opens");
    assert_eq!(recovered.last_index, 1);
    assert!(recovered.note.expect("told").contains("torn write"), "a torn write is told");
    let (_, first) =
        content(&after).into_iter().find(|(name, _)| name == "0000000000000001.wal").expect("there");
    assert!(first[4096 + 512..].iter().all(|byte| *byte == 0), "a later append must not meet them");
}

#[test]
fn a_log_without_syncs_opens_after_a_power_cut_with_less() {
    let (mut told, mut whole) = (0, 0);
    for seed in 1..200_u64 {
        let files = MemoryFiles::with_crashes();
        let options =
            || WalOptions { segment_bytes: 12 << 10, background: false, sync: false, ..WalOptions::new("") };
        let (mut wal, _) = Wal::open_in(Arc::new(files.clone()), options()).expect("opens");
        for index in 1..=20 {
            append(&mut wal, index, 300);
        }
        let mut random = seed;
        let after = files.crash(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random >> 40
        });
        let (wal, recovered) = Wal::open_in(Arc::new(after), options()).expect("opens");
        let entries = wal.view().entries(1, recovered.last_index + 1, u64::MAX).expect("readable");
        assert_eq!(entries.len() as u64, recovered.last_index);
        assert!(recovered.hard_state.commit <= recovered.last_index);
        told += usize::from(recovered.note.is_some_and(|note| note.contains("without a sync are lost")));
        whole += usize::from(recovered.last_index == 20);
    }
    assert!(told > 100 && whole < 50, "told {told}, whole {whole}");
}

#[test]
fn a_missing_segment_is_refused() {
    for missing in ["0000000000000001.wal", "0000000000000002.wal"] {
        let (files, _) = build(&[500; 40], false);
        files.remove(missing).expect("removes");
        let message = open(&files).err().expect("refused").to_string();
        assert!(message.contains("the log is incomplete"), "{message}");
    }
}

#[test]
fn lost_committed_entries_at_the_end_are_refused() {
    let (files, _) = build(&[500; 40], false);
    let (mut wal, _) = open(&files).expect("opens");
    append(&mut wal, 41, 5000);
    wal.append(&[Record::HardState(HardState { term: 1, vote: 1, commit: 41 })]).expect("appends");
    drop(wal);
    // The segment of entry 41 and the prepared ones are gone, as if never renamed.
    let mut names: Vec<String> =
        files.list().expect("lists").into_iter().filter(|n| n.ends_with(".wal")).collect();
    names.sort();
    for name in names.iter().rev() {
        files.remove(name).expect("removes");
        let outcome = open(&files.clone());
        if let Ok((_, recovered)) = outcome {
            assert!(recovered.hard_state.commit <= recovered.last_index);
            return;
        }
    }
}

#[test]
fn another_format_is_refused_by_name() {
    let (files, _) = build(&[10; 3], false);
    files.flip("0000000000000001.wal", 8, 2);
    let message = open(&files).err().expect("refused").to_string();
    assert!(message.contains("has log format 3, this version reads format 1"), "{message}");
}

#[test]
fn a_segment_of_another_log_or_under_another_name_is_refused() {
    let (files, _) = build(&[500; 40], false);
    files.rename("0000000000000003.wal", "0000000000000002.wal").expect("renames");
    assert!(open(&files).is_err());
}

#[test]
fn an_unreadable_disk_is_refused_with_advice() {
    let (files, _) = build(&[10; 3], false);
    files.faults(|faults| faults.read_fails = true);
    let message = open(&files).err().expect("refused").to_string();
    assert!(message.contains("cannot read memory:0000000000000001.wal"), "{message}");
}
