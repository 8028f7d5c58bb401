//! probe
#[path = "../../state/tests/sketch/mod.rs"]
mod sketch;
#[path = "stage/mod.rs"]
mod stage;
use stage::*;
use std::time::Instant;

#[test]
fn probe_catch_up() {
    let mut stage = Stage::new(65_536, 16 << 20);
    let a = "a".repeat(1000);
    for n in 0..10_000 {
        stage.put(&format!("{a}{n:06}"), b"v");
    }
    eprintln!("ring {:?}", stage.hub.stats());
    let pattern = format!("{}b", "**a?".repeat(42));
    let pattern = &pattern[..];
    let floor = stage.hub.stats().ring_floor;
    let _w = stage.watch_since(pattern, floor);
    let mut n = 0;
    let start = Instant::now();
    let more = stage.hub.take(1024, &mut |_| n += 1);
    eprintln!("one take: {:?} more {more} {n}", start.elapsed());
}

#[test]
fn probe_write() {
    let mut stage = Stage::new(65_536, 16 << 20);
    let a = "a".repeat(1000);
    stage.put(&a, b"v");
    for n in 0..29 {
        let pattern = format!("**{}{n:03}", "a*".repeat(60));
        stage.watch(&pattern);
    }
    let start = Instant::now();
    for _ in 0..10 { stage.put(&a, b"v"); }
    eprintln!("write with 29 odd: {:?}", start.elapsed() / 10);
    let mut stage = Stage::new(65_536, 16 << 20);
    for n in 0..29 {
        let pattern = format!("{}{n:03}", "*a".repeat(60));
        stage.watch(&pattern);
    }
    let start = Instant::now();
    for _ in 0..10 { stage.put(&a, b"v"); }
    eprintln!("write with 29 globs: {:?}", start.elapsed() / 10);
    let key = "a/".repeat(500);
    let mut stage = Stage::new(65_536, 16 << 20);
    for n in 0..29 {
        let pattern = format!("{}x{n}", "**/a/".repeat(8));
        stage.watch(&pattern);
        let pattern = format!("**/*/**/a/**/?/**/[a]/**/*{n}/**/*/*/*/*/**/*/*/**/*/*/*/*");
        let _ = stage.open(spec(KV, &pattern, 10), None);
    }
    let start = Instant::now();
    for _ in 0..10 { stage.put(&key, b"v"); }
    eprintln!("write with deep: {:?}", start.elapsed() / 10);
}
