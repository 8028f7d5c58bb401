//! What one change costs the hub: with many who match, with many who do not, with many patterns; and what a
//! watch takes of memory. Bounded: under a minute for all of them.

#[path = "../../state/tests/sketch/mod.rs"]
mod sketch;

#[path = "../tests/stage/mod.rs"]
mod stage;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use konsul_state::apply::Change;
use konsul_state::entry::{Kind, encode};
use konsul_state::schema::Schema;
use konsul_state::store::Store;
use konsul_views::{Form, Hub, HubOptions, Spec};
use sketch::{Replica, V, always, put};
use stage::{AT_MS, KV, kv_form, spec, tables};

/// The system's allocator, counting what is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WATCHERS: usize = 10_000;

struct Stream {
    hub: Hub,
    form: Arc<Form>,
    schema: Arc<Schema>,
    change: Change,
    index: u64,
}

/// A change of `key`, over and over, each with an index of its own.
fn stream(key: &str) -> Stream {
    let mut replica = Replica::new(&tables());
    replica.must(AT_MS, &[put(KV, key, &[V::Bytes(vec![b'o'; 100])])]);
    replica.changes.clear();
    replica.must(AT_MS, &[put(KV, key, &[V::Bytes(vec![b'n'; 100])])]);
    let options = HubOptions { ring_entries: 65_536, ring_bytes: 16 << 20, watchers_max: 1 << 20, floor: 0 };
    Stream {
        hub: Hub::new(options),
        form: Arc::new(kv_form()),
        schema: replica.tables.schema(),
        change: replica.changes.remove(0),
        index: 2,
    }
}

impl Stream {
    fn watch(&mut self, spec: Spec) {
        self.hub.watch(spec, Some(Arc::clone(&self.form)), None).unwrap();
    }

    fn note(&mut self) {
        self.index += 1;
        let change = Change { index: self.index, ..self.change.clone() };
        self.hub.note(self.index, &self.schema, &[change]);
    }

    fn take(&mut self) -> usize {
        let mut items = 0;
        while self.hub.take(1_024, &mut |item| {
            items += 1;
            black_box(item);
        }) {}
        items
    }
}

fn matching(c: &mut Criterion) {
    let mut group = c.benchmark_group("one change, 10,000 who match");
    let mut same = stream("app/web/port");
    for at in 0..WATCHERS {
        let pattern = ["**", "app/**", "app/*/port", "app/web/port"][at % 4];
        same.watch(spec(KV, pattern, 100));
    }
    group.bench_function("into the queues and out", |b| {
        b.iter(|| {
            same.note();
            assert_eq!(same.take(), WATCHERS);
        });
    });
    let queued = |size| {
        let mut paused = stream("app/web/port");
        (0..WATCHERS).for_each(|_| paused.watch(spec(KV, "app/**", size)));
        paused
    };
    let mut full = queued(1);
    (0..WATCHERS as u64).for_each(|slot| full.hub.pause((slot + 1) << 32 | slot));
    full.note();
    group.bench_function("all of them stuck", |b| b.iter(|| full.note()));
    group.bench_function("into the queues", |b| {
        b.iter_batched_ref(
            || (),
            |()| {
                same.note();
            },
            BatchSize::NumIterations(90),
        );
        same.take();
    });
    group.finish();
}

fn others(c: &mut Criterion) {
    let mut group = c.benchmark_group("one change, nobody matches");
    let mut none = stream("app/web/port");
    group.bench_function("nobody watches", |b| b.iter(|| none.note()));
    let mut exact = stream("app/web/port");
    (0..WATCHERS).for_each(|at| exact.watch(spec(KV, &format!("app/web/{at}"), 100)));
    group.bench_function("10,000 watch other keys", |b| b.iter(|| exact.note()));
    let mut prefixes = stream("app/web/port");
    (0..WATCHERS).for_each(|at| prefixes.watch(spec(KV, &format!("app/{at}/**"), 100)));
    group.bench_function("10,000 watch other prefixes", |b| b.iter(|| prefixes.note()));
    let mut globs = stream("app/web/port");
    (0..WATCHERS).for_each(|at| globs.watch(spec(KV, &format!("app/w{at}*/*/[a-z]?"), 100)));
    group.bench_function("10,000 watch other globs", |b| b.iter(|| globs.note()));
    let mut valued = stream("app/web/port");
    for at in 0..WATCHERS {
        let wheres = vec![(0, format!("{at}").into_bytes().into())];
        valued.watch(Spec { wheres, ..spec(KV, "**", 100) });
    }
    group.bench_function("10,000 watch for other values", |b| b.iter(|| valued.note()));
    group.finish();
}

fn patterns(c: &mut Criterion) {
    let mut mixed = stream("app/7/port");
    for at in 0..1_000 {
        let pattern = match at % 4 {
            0 => format!("app/{at}/**"),
            1 => format!("app/{at}/*"),
            2 => format!("**/{at}/port"),
            _ => format!("app/{at}*/p?rt"),
        };
        mixed.watch(spec(KV, &pattern, 100));
    }
    c.bench_function("one change, 1,000 different patterns, 1 match", |b| {
        b.iter(|| {
            mixed.note();
            assert_eq!(mixed.take(), 1);
        });
    });
}

/// A batch of puts as the node applies it, alone and with the hub behind it.
fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("a batch of 256 puts");
    let mut replica = Replica::new(&tables());
    let value = V::Bytes(vec![b'v'; 100]);
    let entries: Vec<_> = (0..256)
        .map(|n| {
            let mut entry = Vec::new();
            let op = put(KV, format!("app/{n:03}").as_str(), std::slice::from_ref(&value));
            encode(AT_MS, Kind::Cases, &always(&[op]), &mut entry);
            entry
        })
        .collect();
    let mut hub = stream("x").hub;
    for with_hub in [false, true] {
        let name = if with_hub { "applied and noted" } else { "applied" };
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut w = replica.store.write().unwrap();
                replica.changes.clear();
                for entry in &entries {
                    replica.tables.apply(&mut w, entry, &mut replica.changes).unwrap();
                }
                if with_hub {
                    hub.note(replica.tables.index(), &replica.tables.schema(), &replica.changes);
                }
            });
        });
    }
    group.finish();
}

/// What the n-th of them asks for.
type Ask = fn(usize) -> Spec;

fn memory(_: &mut Criterion) {
    let kinds: [(&str, Ask); 4] = [
        ("the same pattern", |_| spec(KV, "app/**", 100)),
        ("10,000 keys", |at| spec(KV, &format!("app/web/{at}"), 100)),
        ("10,000 prefixes", |at| spec(KV, &format!("app/{at}/**"), 100)),
        ("10,000 globs", |at| spec(KV, &format!("app/{at}*/*/[a-z]?"), 100)),
    ];
    for (name, make) in kinds {
        let mut stream = stream("x");
        let before = IN_USE.load(Relaxed);
        (0..WATCHERS).for_each(|at| stream.watch(make(at)));
        let idle = (IN_USE.load(Relaxed) - before) / WATCHERS;
        println!("memory per watch, {name}: {idle} bytes");
        assert!(idle <= 1_024, "a watch is to take at most 1 KiB");
    }
}

fn bounded() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches; config = bounded(); targets = memory, matching, others, patterns, batches
}
criterion_main!(benches);
