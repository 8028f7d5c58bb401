//! Whatever bytes arrive, the answer is an error or a value: never a panic, never memory ahead of data.

mod sketch;

use konsul_state::apply::{ApplyError, Tables};
use konsul_state::entry;
use konsul_state::memory::Memory;
use konsul_state::msgpack::Cursor;
use konsul_state::row::Row;
use konsul_state::schema::Schema;
use konsul_state::snapshot::{self, SnapshotError};
use konsul_state::store::Store;
use proptest::collection::vec;
use proptest::prelude::*;
use sketch::*;

fn tables() -> Vec<Tab> {
    let gone = vec![delete(2, V::Myself)];
    vec![
        Tab::new(1, "parents").indexed("name", "text", "unique").column("until_ms", "u64").expires(1),
        Tab::new(2, "children")
            .column("parent", "text")
            .indexed("tags", "map", "each")
            .points_at(0, 1, &gone),
        Tab::new(3, "ring").column("n", "json").keep(2),
    ]
}

fn replica() -> Replica {
    let mut replica = Replica::new(&tables());
    for key in ["a", "b", "c"] {
        let pairs = V::Map(vec![("k".into(), key.into())]);
        replica.must(1, &[put(1, key, &[key.into(), V::Now(5)]), put(2, key, &["a".into(), pairs])]);
        replica.must(2, &[put(3, V::Index, &[V::Bytes(b"{\"n\":[1]}".to_vec())])]);
        replica.once(2, &[key.as_bytes()[0]; 16], &always(&[delete(3, "none")]));
    }
    replica
}

/// Bytes that look like msgpack more often than chance would have it.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        0x90..0x96_u8,
        0x00..0x06_u8,
        Just(0xa1),
        Just(0xc4),
        Just(0xc0),
        Just(0xc7)
    ];
    vec(byte, 0..200)
}

/// A real body with a few bytes changed, cut or doubled.
fn mutate(mut bytes: Vec<u8>, edits: &[(usize, u8, u8)]) -> Vec<u8> {
    for (at, what, with) in edits {
        if bytes.is_empty() {
            break;
        }
        let at = at % bytes.len();
        match what {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, *with),
            2 => drop(bytes.remove(at)),
            _ => bytes[at] ^= with,
        }
    }
    bytes
}

fn edits() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    vec((any::<usize>(), 0..8_u8, any::<u8>()), 1..4)
}

fn body() -> Vec<u8> {
    let ops = vec![
        put(1, "a", &["x".into(), V::Now(3)]),
        patch(2, "b", &[(0, "b".into())]),
        add(1, "c", 1, 5, Some(100)),
        delete(1, "a"),
        delete_prefix(2, ""),
    ];
    cases(&[(vec![is(1, "a", 0, "a"), le(1, "a", 1, V::Now(0))], ops), (vec![absent(3, V::Index)], vec![])])
}

/// Applies anything; a validated body must never look corrupt.
fn apply(replica: &mut Replica, kind: u8, body: &[u8]) {
    let entry = [&7_u64.to_be_bytes()[..], &[kind], body].concat();
    let cases = if kind == 3 { body.get(16..) } else { Some(body) };
    let valid = [0, 3].contains(&kind)
        && cases.is_some_and(|cases| entry::validate(&replica.tables.schema(), cases).is_ok());
    let mut w = replica.store.write().unwrap();
    let mut tables = replica.tables.clone();
    match tables.apply(&mut w, &entry, &mut Vec::new()) {
        Ok(_) => {}
        Err(ApplyError::Corrupt(what)) => assert!(!valid, "validated, and yet corrupt: {what}"),
        Err(ApplyError::Store(error)) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn entries(kind in 0..5_u8, bytes in likely(), edits in edits()) {
        let mut replica = replica();
        apply(&mut replica, kind, &bytes);
        apply(&mut replica, kind, &mutate(body(), &edits));
        apply(&mut replica, 3, &[&[7; 16], &mutate(body(), &edits)[..]].concat());
        apply(&mut replica, 1, &mutate(schema(&tables()), &edits));
    }

    #[test]
    fn schemas(bytes in likely(), edits in edits()) {
        drop(Schema::decode(&bytes));
        if let Ok(decoded) = Schema::decode(&mutate(schema(&tables()), &edits)) {
            prop_assert_eq!(Schema::decode(&decoded.encode()).unwrap(), decoded);
        }
    }

    #[test]
    fn rows_and_values(bytes in likely()) {
        let schema = Schema::decode(&schema(&tables())).unwrap();
        if let Ok(row) = Row::new(&bytes) {
            for table in schema.tables() {
                let _ = row.check(table, &mut Vec::new());
                for column in 0..table.columns.len() {
                    let _ = row.cell(table, column as u8);
                }
            }
        }
        let _ = Cursor::new(&bytes).skip();
    }

    #[test]
    fn stored_headers(bytes in vec(any::<u8>(), 0..80)) {
        let store = Memory::new();
        let mut w = store.write().unwrap();
        konsul_state::store::Write::put(&mut w, konsul_state::keys::HEADER, &bytes).unwrap();
        konsul_state::store::Write::put(&mut w, konsul_state::keys::SCHEMA, &schema(&tables())).unwrap();
        drop(Tables::open(&w));
    }
}

fn restore(bytes: &[u8]) -> Result<(), SnapshotError> {
    let store = Memory::new();
    let mut w = store.write().unwrap();
    snapshot::read(bytes, &mut w).map(drop)
}

#[test]
fn a_cut_snapshot_is_always_noticed() {
    let whole = replica().snapshot();
    assert!(restore(&whole).is_ok());
    for length in 0..whole.len() {
        let error = restore(&whole[..length]).unwrap_err();
        assert!(matches!(error, SnapshotError::Damaged(_)), "cut at {length}: {error}");
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(matches!(restore(&longer), Err(SnapshotError::Damaged(_))));
}

#[test]
fn a_flipped_bit_is_always_noticed() {
    let whole = replica().snapshot();
    let before = replica().dump();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            match Replica::restore(&flipped) {
                Err(SnapshotError::Damaged(_) | SnapshotError::Version(_)) => {}
                Err(error) => panic!("bit {bit} of byte {at}: {error}"),
                // zstd ignores reserved and some descriptor bits; what it then decodes is checked by our own
                // sums.
                Ok(restored) => assert_eq!(restored.dump(), before, "bit {bit} of byte {at}"),
            }
        }
    }
}
