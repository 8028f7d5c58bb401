//! One suite for every backend of the applied state, and what only LMDB has: persistence, limits, discarding.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use konsul_disk::lmdb::{Lmdb, LmdbOptions};
use konsul_state::memory::Memory;
use konsul_state::store::{Read, Store, StoreError, Write};
use proptest::prelude::*;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn lmdb(dir: &Path) -> Lmdb {
    Lmdb::open(&LmdbOptions { map_max_bytes: 1 << 30, ..LmdbOptions::new(dir, true) }).expect("opens").0
}

fn all(read: &impl Read, from: &[u8], to: Option<&[u8]>) -> Pairs {
    let mut pairs = Pairs::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        pairs.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    read.scan(from, to, &mut visit).expect("scans");
    pairs
}

fn put(store: &impl Store, pairs: &[(&[u8], &[u8])]) {
    let mut writer = store.write().expect("begins");
    for (key, value) in pairs {
        writer.put(key, value).expect("puts");
    }
    writer.commit().expect("commits");
}

/// What every backend must do.
fn suite(store: &impl Store) {
    put(store, &[(b"b", b"2"), (b"a", b""), (b"c", b"3"), (b"a\0", b"zero"), (&[0xff; 1900], b"long")]);
    let before = store.read().expect("begins");
    assert_eq!(before.get(b"a").expect("reads"), Some(&b""[..]));
    assert_eq!(before.get(b"none").expect("reads"), None);
    let keys: Vec<Vec<u8>> = all(&before, b"", None).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [&b"a"[..], b"a\0", b"b", b"c", &[0xff; 1900]]);
    assert_eq!(all(&before, b"a\0", Some(b"c")).len(), 2);
    assert_eq!(all(&before, b"b", Some(b"b")).len(), 0);
    assert_eq!(all(&before, b"c", Some(b"a")).len(), 0);
    assert_eq!(all(&before, b"b\0", Some(b"d")), [(b"c".to_vec(), b"3".to_vec())]);

    let mut writer = store.write().expect("begins");
    assert!(writer.delete(b"b").expect("deletes"));
    assert!(!writer.delete(b"b").expect("deletes"));
    writer.put(b"a", b"changed").expect("puts");
    assert_eq!(writer.get(b"a").expect("reads"), Some(&b"changed"[..]), "it sees its own writes");
    assert_eq!(all(&writer, b"b", None).len(), 2);
    assert_eq!(store.read().expect("begins").get(b"a").expect("reads"), Some(&b""[..]), "others do not");
    drop(writer);
    assert_eq!(all(&store.read().expect("begins"), b"", None).len(), 5, "dropped, it leaves no trace");

    let mut writer = store.write().expect("begins");
    writer.clear().expect("clears");
    writer.put(b"new", b"1").expect("puts");
    writer.commit().expect("commits");
    assert_eq!(all(&store.read().expect("begins"), b"", None), [(b"new".to_vec(), b"1".to_vec())]);
    assert_eq!(all(&before, b"", None).len(), 5, "an older reader keeps its view");

    let mut seen = 0;
    put(store, &[(b"x", b"1"), (b"y", b"1")]);
    let mut first = |_: &[u8], _: &[u8]| {
        seen += 1;
        ControlFlow::Break(())
    };
    store.read().expect("begins").scan(b"", None, &mut first).expect("scans");
    assert_eq!(seen, 1, "a scan ends when told");
}

#[test]
fn memory_passes_the_suite() {
    suite(&Memory::new());
}

#[test]
fn lmdb_passes_the_suite() {
    let dir = tempfile::tempdir().expect("a directory");
    suite(&lmdb(dir.path()));
}

#[test]
fn lmdb_keeps_what_was_committed() {
    let dir = tempfile::tempdir().expect("a directory");
    put(&lmdb(dir.path()), &[(b"key", b"value")]);
    let store = lmdb(dir.path());
    assert_eq!(store.read().expect("begins").get(b"key").expect("reads"), Some(&b"value"[..]));
}

#[test]
fn lmdb_discards_what_cannot_be_trusted() {
    let dir = tempfile::tempdir().expect("a directory");
    put(&lmdb(dir.path()), &[(b"key", b"value")]);
    let (store, note) = Lmdb::open(&LmdbOptions::new(dir.path(), false)).expect("opens");
    assert!(note.expect("told").contains("the machine stopped without a clean stop"));
    assert!(all(&store.read().expect("begins"), b"", None).is_empty());
    drop(store);
    assert!(Lmdb::open(&LmdbOptions::new(dir.path(), true)).expect("opens").1.is_none());
}

#[test]
fn lmdb_discards_damaged_files() {
    let damage: [fn(&std::fs::File); 2] = [
        |file| file.write_all_at(&[0; 8192], 0).expect("writes"),
        |file| file.set_len(file.metadata().expect("is there").len() / 2).expect("cuts"),
    ];
    for damage in damage {
        let dir = tempfile::tempdir().expect("a directory");
        put(&lmdb(dir.path()), &[(b"key", &[7; 100_000])]);
        let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("data.mdb")).expect("opens");
        damage(&file);
        let (store, note) = Lmdb::open(&LmdbOptions::new(dir.path(), true)).expect("opens");
        assert!(note.expect("told").contains("is rebuilt from snapshot and log"));
        assert!(all(&store.read().expect("begins"), b"", None).is_empty());
    }
}

#[test]
fn a_full_map_is_full_and_rolled_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = LmdbOptions { map_max_bytes: 1, ..LmdbOptions::new(dir.path(), true) };
    let (store, _) = Lmdb::open(&small).expect("opens");
    put(&store, &[(b"small", b"fits")]);
    let mut writer = store.write().expect("begins");
    let mut outcome = Ok(());
    for number in 0..200_u32 {
        outcome = writer.put(&number.to_be_bytes(), &vec![1; 1 << 20]);
        if outcome.is_err() {
            break;
        }
    }
    assert!(matches!(outcome, Err(StoreError::Full(_))), "{outcome:?}");
    drop(writer);
    put(&store, &[(b"small", b"again")]);
    assert_eq!(all(&store.read().expect("begins"), b"", None).len(), 1);
}

#[test]
fn one_transaction_takes_a_whole_snapshot() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = lmdb(dir.path());
    let mut writer = store.write().expect("begins");
    for number in 0..300_000_u32 {
        writer.put(&number.to_be_bytes(), &[9; 100]).expect("puts");
    }
    writer.commit().expect("commits");
    assert_eq!(all(&store.read().expect("begins"), &299_000_u32.to_be_bytes(), None).len(), 1000);
}

#[test]
fn keys_that_lmdb_cannot_hold_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = lmdb(dir.path());
    let mut writer = store.write().expect("begins");
    assert!(writer.put(&[1; 1980], b"fits").is_ok());
    assert!(matches!(writer.put(&[1; 4000], b""), Err(StoreError::Failed(_))));
}

#[derive(Debug, Clone)]
enum Act {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Clear,
    Commit,
    Drop,
}

fn act() -> impl Strategy<Value = Act> {
    let key = || prop::collection::vec(0..4_u8, 1..5);
    prop_oneof![
        8 => (key(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(key, value)| Act::Put(key, value)),
        4 => key().prop_map(Act::Delete),
        1 => Just(Act::Clear),
        2 => Just(Act::Commit),
        1 => Just(Act::Drop),
    ]
}

/// Runs `acts` on a store and on a map, comparing everything a reader and the writer can see.
fn follow(store: &impl Store, acts: &[Act], from: &[u8], to: &[u8]) -> Result<(), TestCaseError> {
    let range = |map: &BTreeMap<Vec<u8>, Vec<u8>>| -> Pairs {
        map.iter()
            .filter(|(key, _)| key.as_slice() >= from && key.as_slice() < to)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let mut committed = BTreeMap::new();
    let mut rest = acts.iter();
    let mut more = true;
    while more {
        let mut writer = store.write().expect("begins");
        let mut map = committed.clone();
        let mut commit = false;
        more = false;
        for act in rest.by_ref() {
            match act {
                Act::Put(key, value) => {
                    writer.put(key, value).expect("puts");
                    map.insert(key.clone(), value.clone());
                }
                Act::Delete(key) => {
                    prop_assert_eq!(writer.delete(key).expect("deletes"), map.remove(key).is_some());
                }
                Act::Clear => {
                    writer.clear().expect("clears");
                    map.clear();
                }
                Act::Commit | Act::Drop => {
                    (commit, more) = (matches!(act, Act::Commit), true);
                    break;
                }
            }
        }
        prop_assert_eq!(all(&writer, from, Some(to)), range(&map));
        if commit {
            writer.commit().expect("commits");
            committed = map;
        } else {
            drop(writer);
        }
        let reader = store.read().expect("begins");
        prop_assert_eq!(all(&reader, from, Some(to)), range(&committed));
        for (key, value) in &committed {
            prop_assert_eq!(reader.get(key).expect("reads"), Some(value.as_slice()));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_backends_follow_a_map(
        acts in prop::collection::vec(act(), 0..120),
        from in prop::collection::vec(0..4_u8, 0..4),
        to in prop::collection::vec(0..4_u8, 0..4),
    ) {
        follow(&Memory::new(), &acts, &from, &to)?;
        let dir = tempfile::tempdir().expect("a directory");
        follow(&lmdb(dir.path()), &acts, &from, &to)?;
    }
}
