//! The store in memory: a persistent B-tree, so a reader is a copy of its root and never waits.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use imbl::OrdMap;
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::store::{Read, Store, StoreError, Visit, Write};

/// Keys and values are shared, not copied, when the tree copies a node on write.
type Pairs = OrdMap<Arc<[u8]>, Arc<[u8]>>;

/// An ordered store in memory; what is committed is gone with the process.
#[derive(Default)]
pub struct Memory {
    committed: RwLock<Pairs>,
    writer: Mutex<()>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

/// A view of [`Memory`] at one moment; taking it costs one reference count.
pub struct MemoryReader {
    pairs: Pairs,
}

/// The write transaction of [`Memory`].
pub struct MemoryWriter<'a> {
    pairs: Pairs,
    store: &'a Memory,
    _alone: MutexGuard<'a, ()>,
}

impl Store for Memory {
    type Reader<'a> = MemoryReader;
    type Writer<'a> = MemoryWriter<'a>;

    fn read(&self) -> Result<MemoryReader, StoreError> {
        Ok(MemoryReader { pairs: self.committed.read().clone() })
    }

    fn write(&self) -> Result<MemoryWriter<'_>, StoreError> {
        let alone = self.writer.lock();
        let pairs = self.committed.read().clone();
        Ok(MemoryWriter { pairs, store: self, _alone: alone })
    }
}

fn visit_range(pairs: &Pairs, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) {
    if to.is_some_and(|to| to <= from) {
        return;
    }
    let end = to.map_or(Bound::Unbounded, Bound::Excluded);
    for (key, value) in pairs.range::<_, [u8]>((Bound::Included(from), end)) {
        if let ControlFlow::Break(()) = visit(key, value) {
            return;
        }
    }
}

impl Read for MemoryReader {
    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        Ok(self.pairs.get(key).map(AsRef::as_ref))
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        visit_range(&self.pairs, from, to, visit);
        Ok(())
    }
}

impl Read for MemoryWriter<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        Ok(self.pairs.get(key).map(AsRef::as_ref))
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        visit_range(&self.pairs, from, to, visit);
        Ok(())
    }
}

impl Write for MemoryWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.pairs.insert(key.into(), value.into());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.pairs.remove(key).is_some())
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.pairs = Pairs::new();
        Ok(())
    }

    fn commit(self) -> Result<(), StoreError> {
        // The old tree is freed outside the lock: readers must not wait for a large drop.
        let old = std::mem::replace(&mut *self.store.committed.write(), self.pairs);
        drop(old);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(reader: &impl Read, from: &[u8], to: Option<&[u8]>) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        };
        reader.scan(from, to, &mut visit).unwrap();
        keys
    }

    #[test]
    fn readers_keep_their_moment_and_dropped_writers_leave_no_trace() {
        let store = Memory::new();
        let mut first = store.write().unwrap();
        first.put(b"a", b"1").unwrap();
        first.put(b"b", b"2").unwrap();
        first.commit().unwrap();
        let before = store.read().unwrap();
        let mut second = store.write().unwrap();
        second.delete(b"a").unwrap();
        second.put(b"c", b"3").unwrap();
        assert_eq!(keys_of(&second, b"", None), [b"b", b"c"]);
        drop(second);
        assert_eq!(keys_of(&store.read().unwrap(), b"", None), [b"a", b"b"]);
        let mut third = store.write().unwrap();
        third.clear().unwrap();
        third.commit().unwrap();
        assert_eq!(keys_of(&before, b"", None), [b"a", b"b"]);
        assert!(store.read().unwrap().get(b"a").unwrap().is_none());
    }

    #[test]
    fn ranges_are_half_open() {
        let store = Memory::new();
        let mut writer = store.write().unwrap();
        for key in [b"a", b"b", b"c"] {
            writer.put(key, b"").unwrap();
        }
        assert_eq!(keys_of(&writer, b"a", Some(b"c")), [b"a", b"b"]);
        assert_eq!(keys_of(&writer, b"b", Some(b"b")), Vec::<Vec<u8>>::new());
        assert_eq!(keys_of(&writer, b"c", Some(b"a")), Vec::<Vec<u8>>::new());
    }
}
