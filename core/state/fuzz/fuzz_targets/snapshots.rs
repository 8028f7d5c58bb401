//! Snapshots of any bytes are refused or restored, without panic and without memory ahead of data.
//!
//! The fuzzer cannot guess checksums, so the second half of the target wraps its bytes as a chunk whose sums
//! are right.
#![no_main]

#[path = "../../tests/sketch/mod.rs"]
mod sketch;

use konsul_state::memory::Memory;
use konsul_state::snapshot;
use konsul_state::store::Store;
use libfuzzer_sys::fuzz_target;
use sketch::*;

fn tables() -> Vec<Tab> {
    vec![
        Tab::new(1, "parents").indexed("name", "text", "unique").column("until_ms", "u64").expires(1),
        Tab::new(2, "ring").column("tags", "list").keep(2),
    ]
}

fn restore(bytes: &[u8]) {
    let store = Memory::new();
    let mut w = store.write().unwrap();
    drop(snapshot::read(bytes, &mut w));
}

/// An empty replica's snapshot up to its zstd frame, then a frame with one chunk.
fn wrapped(chunk: &[u8]) -> Vec<u8> {
    let whole = Replica::new(&tables()).snapshot();
    let header_bytes = u32::from_be_bytes([whole[8], whole[9], whole[10], whole[11]]) as usize;
    let mut out = whole[..16 + header_bytes].to_vec();
    let mut frame = (chunk.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&crc32c::crc32c(chunk).to_be_bytes());
    frame.extend_from_slice(chunk);
    frame.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&zstd::encode_all(&frame[..], 1).unwrap());
    out
}

fuzz_target!(|bytes: &[u8]| {
    restore(bytes);
    restore(&wrapped(bytes));
});
