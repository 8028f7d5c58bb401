//! What the engine asks of its store, and what is left when the store says no.

mod sketch;

use konsul_state::apply::{ApplyError, Position, Tables};
use konsul_state::entry::{self, Kind};
use konsul_state::store::{Read, Store, StoreError, Visit, Write};
use sketch::*;

fn kv() -> Tab {
    Tab::new(1, "kv")
        .column("value", "text")
        .with("flags", "u64", "none", V::Int(0))
        .column("until", "u64")
        .expires(2)
}

/// A write transaction that is full after so many writes.
struct Filling<W> {
    inner: W,
    left: u32,
}

impl<W: Write> Read for Filling<W> {
    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.inner.scan(from, to, visit)
    }
}

impl<W: Write> Filling<W> {
    fn spend(&mut self) -> Result<(), StoreError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| StoreError::Full("no room".into()))?;
        Ok(())
    }
}

impl<W: Write> Write for Filling<W> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        self.inner.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.spend()?;
        self.inner.delete(key)
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.inner.clear()
    }

    fn commit(self) -> Result<(), StoreError> {
        self.inner.commit()
    }
}

#[test]
fn tables_go_back_with_the_transaction() {
    let mut replica =
        Replica::new(&[Tab::new(1, "t").indexed("a", "text", "single").indexed("b", "text", "unique")]);
    replica.must(5, &[put(1, "k", &["x".into(), "y".into()])]);
    let (before, saved) = (replica.dump(), replica.tables.clone());
    let mut entry = Vec::new();
    let body = always(&[put(1, "k", &["z".into(), "y".into()]), put(1, "n", &["z".into(), "q".into()])]);
    entry::encode(9, Kind::Cases, &body, &mut entry);
    let mut failures = 0;
    for left in 0.. {
        let mut tables = saved.clone();
        let mut w = Filling { inner: replica.store.write().unwrap(), left };
        let done = tables.apply(&mut w, &entry, &mut replica.changes);
        if done.is_ok() {
            break;
        }
        assert!(matches!(done, Err(ApplyError::Store(StoreError::Full(_)))));
        failures += 1;
    }
    assert_eq!(failures, 6, "one row changed, one added, four index entries");
    assert_eq!(replica.dump(), before);
    replica.tables = saved;
    assert_eq!(replica.must(9, &[put(1, "n", &[])]), 2);
}

#[test]
fn a_plain_put_is_one_read_and_one_write() {
    let replica = Replica::new(&[kv()]);
    let mut entry = Vec::new();
    entry::encode(0, Kind::Cases, &always(&[put(1, "k", &["v".into()])]), &mut entry);
    let mut tables = replica.tables.clone();
    let mut w = Filling { inner: replica.store.write().unwrap(), left: 1 };
    assert!(tables.apply(&mut w, &entry, &mut Vec::new()).is_ok());
    assert!(tables.finish(&mut w, Position::default()).is_err(), "the header is the second");
}

#[test]
fn what_finish_wrote_is_what_open_reads() {
    let mut replica = Replica::new(&[kv(), Tab::new(2, "next")]);
    replica.must(70, &[put(1, "a", &[]), put(2, "b", &[])]);
    let mut w = replica.store.write().unwrap();
    replica.tables.finish(&mut w, Position { index: 40, term: 3 }).unwrap();
    w.commit().unwrap();
    let opened = Tables::open(&replica.store.read().unwrap()).unwrap();
    assert_eq!((opened.index(), opened.clock_ms(), opened.count(2)), (1, 70, 1));
    assert_eq!(opened.applied(), Position { index: 40, term: 3 });
    assert_eq!(opened.schema(), replica.tables.schema());
    assert_eq!(Tables::open(&Replica::default().store.read().unwrap()).unwrap().index(), 0);
}
