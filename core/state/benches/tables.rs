//! What one entry, one read and one snapshot cost on the memory backend. Bounded: about a minute for all of
//! them.

#[path = "../tests/sketch/mod.rs"]
mod sketch;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use konsul_state::apply::Position;
use konsul_state::entry::{self, Kind};
use konsul_state::json::{self, Shape};
use konsul_state::memory::Memory;
use konsul_state::read::{self, KeyQuery, Query};
use konsul_state::snapshot;
use konsul_state::store::{Store, Write};
use sketch::*;

const ROWS: u64 = 20_000;
const BATCH: u64 = 256;

fn tables() -> Vec<Tab> {
    vec![
        Tab::new(1, "kv")
            .column("value", "bytes")
            .with("flags", "u64", "none", V::Int(0))
            .column("expires_at_ms", "u64")
            .expires(2),
        Tab::new(2, "services")
            .indexed("name", "text", "single")
            .column("address", "text")
            .indexed("tags", "list", "each")
            .indexed("meta", "map", "each"),
    ]
}

fn key(n: u64) -> String {
    format!("app/{:03}/setting-{n:06}", n % 100)
}

fn service(n: u64) -> Vec<V> {
    let meta = vec![("zone".into(), format!("z{}", n % 3)), ("rack".into(), format!("r{}", n % 40))];
    let tags = V::List(vec!["http".into(), format!("v{}", n % 7)]);
    vec![format!("svc-{}", n % 500).as_str().into(), "10.0.0.1".into(), tags, V::Map(meta)]
}

fn stocked() -> Replica {
    let mut replica = Replica::new(&tables());
    let value = V::Bytes(vec![b'v'; 100]);
    for start in (0..ROWS).step_by(1000) {
        let range = start..start + 1000;
        let ops: Vec<_> =
            range.clone().map(|n| put(1, key(n).as_str(), std::slice::from_ref(&value))).collect();
        replica.must(0, &ops);
        let ops: Vec<_> = range.map(|n| put(2, format!("svc/{n}").as_str(), &service(n))).collect();
        replica.must(0, &ops);
    }
    replica
}

fn encoded(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    entry::encode(1, Kind::Cases, body, &mut out);
    out
}

/// Applies a batch of entries in one transaction that is then dropped, so every round meets the same state.
fn apply_batch(replica: &mut Replica, entries: &[Vec<u8>]) {
    let mut tables = replica.tables.clone();
    let mut w = replica.store.write().unwrap();
    replica.changes.clear();
    for entry in entries {
        black_box(tables.apply(&mut w, entry, &mut replica.changes).unwrap());
    }
    tables.finish(&mut w, Position { index: 1, term: 1 }).unwrap();
}

fn writes(c: &mut Criterion) {
    let mut replica = stocked();
    let spread = |n: u64| n * 7919 % ROWS;
    let cells = row_cells(&[V::Bytes(vec![b'w'; 100]), V::Keep, V::Nil]);
    let puts: Vec<_> =
        (0..BATCH).map(|n| encoded(&entry::put_cases(1, key(spread(n)).as_bytes(), &cells, None))).collect();
    let services: Vec<_> = (0..BATCH)
        .map(|n| encoded(&always(&[put(2, format!("svc/{}", spread(n)).as_str(), &service(n))])))
        .collect();
    let body = entry::put_cases(1, b"app/001/setting-000001", &cells, Some(7));
    let schema = replica.tables.schema();
    let mut group = c.benchmark_group("apply");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("kv put, batch of 256", |b| b.iter(|| apply_batch(&mut replica, &puts)));
    group.bench_function("service put, three indexes, batch of 256", |b| {
        b.iter(|| apply_batch(&mut replica, &services));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("validate a kv put", |b| b.iter(|| entry::validate(&schema, black_box(&body))));
    group.finish();
}

/// What a scan is called, and the index values it asks for.
type Question = (&'static str, Vec<(u8, &'static [u8])>);

fn reads(c: &mut Criterion) {
    let replica = stocked();
    let schema = replica.tables.schema();
    let fields =
        [("key", -1, 0), ("value", 0, json::BYTES), ("flags", 1, json::OMIT_EMPTY), ("modify_index", -3, 0)];
    let shape = Shape::new(1, &fields).unwrap();
    let keys: Vec<_> = (0..ROWS).map(key).collect();
    let r = replica.store.read().unwrap();
    let mut at = 0;
    let mut next = || {
        at = (at + 7919) % keys.len();
        keys[at].as_bytes()
    };
    let mut group = c.benchmark_group("read");
    group.bench_function("get", |b| b.iter(|| black_box(read::get(&r, 1, next()).unwrap())));
    group.bench_function("get as JSON", |b| {
        b.iter(|| black_box(json::get(&r, &schema, &shape, next()).unwrap()))
    });
    let all = Query { table: 1, prefix: b"app/", filters: &[], after: None, limit: 1000 };
    group.bench_function("1,000 rows as JSON", |b| {
        b.iter(|| black_box(json::scan(&r, &schema, &shape, &all, None).unwrap()))
    });
    let questions: [Question; 2] = [
        ("one index, 40 rows", vec![(0, b"svc-7")]),
        ("two indexes, 72 rows", vec![(2, b"v3"), (3, b"rack=r5")]),
    ];
    for (name, filters) in &questions {
        let query = Query { table: 2, prefix: b"", filters, after: None, limit: 1000 };
        let mut count = 0;
        group.bench_function(*name, |b| {
            b.iter(|| {
                count = 0;
                read::scan(&r, &schema, &query, &mut |_, row| {
                    count += 1;
                    black_box(row);
                    Ok(())
                })
            });
        });
    }
    let folded =
        KeyQuery { table: 1, prefix: b"app/", separator: b"/", after: None, inside: false, limit: 1000 };
    group.bench_function("20,000 keys folded to 100", |b| {
        b.iter(|| black_box(json::keys(&r, &schema, &folded, None).unwrap()));
    });
    group.finish();
}

fn snapshots(c: &mut Criterion) {
    let replica = stocked();
    let bytes = replica.snapshot();
    let mut group = c.benchmark_group("snapshot");
    group.throughput(Throughput::Elements(2 * ROWS));
    group.bench_function("write 40,000 rows", |b| b.iter(|| black_box(replica.snapshot())));
    group.bench_function("read 40,000 rows", |b| {
        b.iter_batched(
            Memory::new,
            |store| {
                let mut w = store.write().unwrap();
                black_box(snapshot::read(&bytes[..], &mut w).unwrap());
                w.commit().unwrap();
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn bounded() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = bounded(); targets = writes, reads, snapshots }
criterion_main!(benches);
