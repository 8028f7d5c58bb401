//! One check beside 100,000 clients: by address, by key, with long lists, as a newcomer to a full table.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use konsul_limit::{Address, Cost, FOR_EVER, Limits, List, Network, Now, Rate, Scope};

const CLIENTS: u32 = 100_000;

fn full() -> Limits {
    let mut limits = Limits::new(Rate::per_second(1_000_000, 1_000_000), &[], CLIENTS as usize, 100, 0);
    for host in 0..CLIENTS {
        limits.take(Scope::Address, Address::V4(host), 0, Cost::of(1), Now::at(0));
        limits.take(Scope::Key(&format!("key-{host}")), Address::V4(host), 0, Cost::of(1), Now::at(0));
    }
    limits
}

/// Jumps through the clients, so that no answer is in the nearest cache.
fn hosts() -> impl Iterator<Item = u32> {
    (0..CLIENTS).cycle().map(|step| step.wrapping_mul(7_919) % CLIENTS)
}

fn checks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    let mut limits = full();
    let texts: Vec<String> =
        (0..CLIENTS).map(|host| std::net::Ipv4Addr::from_bits(host).to_string()).collect();
    let mut walk = hosts();
    group.bench_function("by address", |bencher| {
        bencher.iter(|| {
            let text = &texts[walk.next().unwrap_or(0) as usize];
            limits.take(Scope::Address, Address::read(black_box(text)), 0, Cost::of(1), Now::at(1))
        });
    });
    let keys: Vec<String> = (0..CLIENTS).map(|host| format!("key-{host}")).collect();
    group.bench_function("by key", |bencher| {
        bencher.iter(|| {
            let key = &keys[walk.next().unwrap_or(0) as usize];
            limits.take(Scope::Key(black_box(key)), Address::V4(1), 0, Cost::of(1), Now::at(1))
        });
    });
    let networks: Vec<(Network, u64)> = (0..10_000u32)
        .map(|net| (Network::V4(net << 9 | 1 << 31, net << 9 | 1 << 31 | 255), FOR_EVER))
        .collect();
    limits.set_lists(List::new(&networks, &[], &[]), List::new(&networks, &[], &[]));
    group.bench_function("with two lists of 10,000 networks", |bencher| {
        bencher.iter(|| {
            let host = walk.next().unwrap_or(0);
            limits.take(Scope::Address, Address::V4(black_box(host)), 0, Cost::of(1), Now::at(1))
        });
    });
    let mut newcomer = CLIENTS;
    let mut now_ms = 1;
    group.bench_function("a newcomer to a full table", |bencher| {
        bencher.iter(|| {
            newcomer = newcomer.wrapping_add(1);
            now_ms += 1;
            limits.take(Scope::Address, Address::V4(black_box(newcomer)), 0, Cost::of(1), Now::at(now_ms))
        });
    });
    group.bench_function("a new rate for all", |bencher| {
        bencher.iter_batched(
            || Rate::per_second(1_000_000, 1_000_000),
            |rate| limits.set_rate(rate, now_ms),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, checks);
criterion_main!(benches);
