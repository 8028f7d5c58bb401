//! `cargo bench -p konsul-disk`: appends with real syncs, restart, and what a request pays for LMDB.

use std::sync::mpsc::channel;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use konsul_disk::lmdb::{Lmdb, LmdbOptions};
use konsul_disk::wal::{Entry, Record, SnapshotMark, Wal, WalOptions, WalWriter};
use konsul_state::store::{Read, Store, Write};

const KEYS: u64 = 1_000_000;

fn entry(index: u64) -> Record {
    Record::Entry(Entry { term: 1, index, kind: 0, data: Bytes::from_static(&[7; 100]) })
}

/// With syncs the disk is measured; without, the log.
fn append(criterion: &mut Criterion) {
    append_with(criterion, "wal append, 100-byte entries, one sync", true);
    append_with(criterion, "wal append, 100-byte entries, no sync", false);
}

fn append_with(criterion: &mut Criterion, name: &str, sync: bool) {
    let mut group = criterion.benchmark_group(name);
    for batch in [1, 64, 512] {
        let dir = tempfile::tempdir_in(".").expect("a directory on a disk");
        let (mut wal, _) = Wal::open(WalOptions { sync, ..WalOptions::new(dir.path()) }).expect("opens");
        let mut last = 0;
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("batch of {batch}"), |bench| {
            bench.iter_batched(
                || {
                    let records: Vec<Record> = (last + 1..=last + batch).map(entry).collect();
                    last += batch;
                    records
                },
                |records| wal.append(&records).expect("appends"),
                BatchSize::PerIteration,
            );
            let mark = SnapshotMark { index: last, term: 1, conf_state: Bytes::new() };
            wal.append(&[Record::Snapshot(mark)]).expect("appends");
            wal.view().purge(last);
        });
    }
    group.finish();
}

/// 512 submissions of one entry each, as the driver hands them in, until the last is durable.
fn writer(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(".").expect("a directory on a disk");
    let writer = WalWriter::start(Wal::open(WalOptions::new(dir.path())).expect("opens").0).expect("starts");
    let mut group = criterion.benchmark_group("wal writer");
    group.throughput(Throughput::Elements(512));
    let mut last = 0;
    group.bench_function("512 submissions", |bench| {
        bench.iter(|| {
            let (done, all_done) = channel();
            for _ in 0..512 {
                last += 1;
                let done = done.clone();
                let answer =
                    move |outcome: Result<(), _>| done.send(outcome.is_ok()).expect("somebody waits");
                writer.submit(vec![entry(last)], answer).expect("taken");
            }
            drop(done);
            assert!(all_done.iter().all(|ok| ok));
        });
    });
    group.finish();
}

fn recovery(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(".").expect("a directory on a disk");
    let (mut wal, _) = Wal::open(WalOptions::new(dir.path())).expect("opens");
    for batch in 0..200 {
        let records: Vec<Record> = (batch * 1000 + 1..=batch * 1000 + 1000).map(entry).collect();
        wal.append(&records).expect("appends");
    }
    drop(wal);
    let mut group = criterion.benchmark_group("wal");
    group.sample_size(10);
    group.throughput(Throughput::Elements(200_000));
    group.bench_function("open with 200,000 entries", |bench| {
        bench.iter(|| Wal::open(WalOptions::new(dir.path())).expect("opens").1.last_index);
    });
    let (wal, _) = Wal::open(WalOptions::new(dir.path())).expect("opens");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1,000 entries from disk", |bench| {
        let mut low = 1;
        bench.iter(|| {
            low = if low > 190_000 { 1 } else { low + 1000 };
            wal.view().entries(low, low + 1000, u64::MAX).expect("readable").len()
        });
    });
    group.finish();
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:............";
    key[8..].copy_from_slice(&(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes());
    key
}

fn lmdb(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(".").expect("a directory on a disk");
    let (store, _) = Lmdb::open(&LmdbOptions::new(dir.path(), true)).expect("opens");
    let mut writer = store.write().expect("begins");
    for number in 0..KEYS {
        writer.put(&key(number), &[7; 100]).expect("puts");
    }
    writer.commit().expect("commits");
    let mut number = 0;
    let mut next = move || {
        number = (number + 7919) % KEYS;
        key(number)
    };
    let mut group = criterion.benchmark_group("lmdb, 1,000,000 keys");
    group.bench_function("begin, get, abort", |bench| {
        bench.iter(|| {
            let reader = store.read().expect("begins");
            reader.get(&next()).expect("reads").map(<[u8]>::len)
        });
    });
    group.bench_function("begin, abort", |bench| bench.iter(|| drop(store.read().expect("begins"))));
    let reader = store.read().expect("begins");
    group.bench_function("get", |bench| bench.iter(|| reader.get(&next()).expect("reads").map(<[u8]>::len)));
    drop(reader);
    for batch in [1, 64, 512] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("put {batch}, commit"), |bench| {
            bench.iter(|| {
                let mut writer = store.write().expect("begins");
                for _ in 0..batch {
                    writer.put(&next(), &[8; 100]).expect("puts");
                }
                writer.commit().expect("commits");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append, writer, recovery, lmdb);
criterion_main!(benches);
