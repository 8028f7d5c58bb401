//! What a snapshot carries, and what is refused when one is read. Cuts and flips are in `arbitrary_bytes.rs`.

mod sketch;

use konsul_state::snapshot::{self, SnapshotError};
use konsul_state::store::{Store, Write};
use sketch::*;

#[test]
fn a_snapshot_carries_everything_in_chunks() {
    let mut replica = Replica::new(&[
        Tab::new(1, "kv").column("value", "text").column("flags", "u64").column("until", "u64").expires(2),
        Tab::new(2, "next"),
    ]);
    let long = "v".repeat(40_000);
    for n in 0..60 {
        let ops = [
            put(1, format!("{n:03}").as_str(), &[long.as_str().into(), V::Int(n), V::Int(n + 5)]),
            put(2, "c", &[]),
        ];
        replica.must(n as u64, &ops);
    }
    let bytes = replica.snapshot();
    let header = snapshot::peek(&bytes[..]).unwrap();
    assert_eq!((header.index, header.counts, header.meta), (60, vec![(1, 60), (2, 1)], b"meta".to_vec()));
    let restored = Replica::restore(&bytes).unwrap();
    assert_eq!(restored.dump(), replica.dump());
    assert_eq!(restored.tables.applied(), replica.tables.applied());
}

#[test]
fn a_snapshot_from_another_version_says_so() {
    let mut header = one("format");
    header.insert(0, 0x81);
    header.extend_from_slice(&one(3));
    let mut bytes = b"KONSNAP1".to_vec();
    bytes.extend_from_slice(&(header.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&crc32c::crc32c(&header).to_be_bytes());
    assert!(matches!(snapshot::peek(&bytes[..]), Err(SnapshotError::Version(3))));
}

#[test]
fn rows_that_contradict_their_schema_are_not_restored() {
    let mut replica = Replica::new(&[Tab::new(1, "t").indexed("name", "text", "unique")]);
    replica.must(0, &[put(1, "a", &["x".into()]), put(1, "b", &["y".into()])]);
    let spoil = |row: Vec<u8>| {
        let mut w = replica.store.write().unwrap();
        w.put(b"\x10\x00\x01b", &row).unwrap();
        let mut bytes = Vec::new();
        snapshot::write(&w, &replica.tables, b"", &mut bytes).unwrap();
        assert!(matches!(Replica::restore(&bytes), Err(SnapshotError::Damaged(_))));
    };
    let head = [0_u64.to_be_bytes(), 1_u64.to_be_bytes()].concat();
    spoil([&head[..], &one("x")].concat());
    spoil([&head[..], &one(5)].concat());
    spoil([&head[..], &one("z"), &one("z")].concat());
    spoil([&[0xff; 16][..], &one("z")].concat());
    spoil(vec![0; 3]);
}
