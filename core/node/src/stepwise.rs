//! A long load in short transactions: LMDB keeps what a transaction has written in memory, up to half a GiB.
//!
//! Between the steps the store holds a part. It has no header then, so that a start after a crash takes it
//! for empty and loads again; and readers are kept out (`Node::read`).

use konsul_state::store::{Read, Store as _, StoreError, Visit, Write};

use crate::backend::{AnyStore, AnyWriter};

/// What one step writes.
const STEP_BYTES: usize = 32 << 20;

/// A writer that commits as it goes. Dropped in the middle it leaves a part.
pub(crate) struct Stepwise<'s> {
    store: &'s AnyStore,
    writer: Option<AnyWriter<'s>>,
    step_bytes: usize,
    written_bytes: usize,
}

impl<'s> Stepwise<'s> {
    pub fn new(store: &'s AnyStore) -> Result<Self, StoreError> {
        let step_bytes = match store {
            // One version of the map is as good as many there, and readers need not be kept out.
            AnyStore::Memory(_) => usize::MAX,
            AnyStore::Durable(_) => STEP_BYTES,
        };
        Ok(Self { store, writer: Some(store.write()?), step_bytes, written_bytes: 0 })
    }

    fn inner(&self) -> Result<&AnyWriter<'s>, StoreError> {
        self.writer.as_ref().ok_or_else(lost)
    }

    fn inner_mut(&mut self) -> Result<&mut AnyWriter<'s>, StoreError> {
        self.writer.as_mut().ok_or_else(lost)
    }

    fn step(&mut self) -> Result<(), StoreError> {
        self.written_bytes = 0;
        if let Some(writer) = self.writer.take() {
            writer.commit()?;
        }
        self.writer = Some(self.store.write()?);
        Ok(())
    }
}

fn lost() -> StoreError {
    StoreError::Failed("a step of a load failed before".into())
}

impl Read for Stepwise<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        self.inner()?.get(key)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.inner()?.scan(from, to, visit)
    }
}

impl Write for Stepwise<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if self.written_bytes >= self.step_bytes {
            self.step()?;
        }
        self.written_bytes += key.len() + value.len();
        self.inner_mut()?.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.inner_mut()?.delete(key)
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.inner_mut()?.clear()?;
        if self.step_bytes < usize::MAX {
            // The pages of what was there serve for what comes.
            self.step()?;
        }
        Ok(())
    }

    fn commit(mut self) -> Result<(), StoreError> {
        self.writer.take().ok_or_else(lost)?.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use konsul_disk::lmdb::{Lmdb, LmdbOptions};
    use konsul_state::apply::Tables;
    use konsul_state::keys;

    #[test]
    fn a_load_goes_in_steps_and_looks_empty_until_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let options = LmdbOptions { dir: dir.path().into(), map_max_bytes: 1 << 26, trusted: true };
        let store = AnyStore::Durable(Lmdb::open(&options).unwrap().0);
        let mut old = store.write().unwrap();
        old.put(b"\x10old", b"row").unwrap();
        Tables::default().finish(&mut old, Default::default()).unwrap();
        old.commit().unwrap();
        let mut load = Stepwise::new(&store).unwrap();
        load.step_bytes = 100;
        load.clear().unwrap();
        for number in 0..50_u8 {
            load.put(&[0x10, number], &[7; 30]).unwrap();
        }
        let part = store.read().unwrap();
        assert!(part.get(b"\x10old").unwrap().is_none() && part.get(&[0x10, 0]).unwrap().is_some());
        assert!(part.get(keys::HEADER).unwrap().is_none());
        assert_eq!(Tables::open(&part).unwrap().applied().index, 0);
        drop(part);
        assert_eq!(load.get(&[0x10, 49]).unwrap(), Some(&[7; 30][..]));
        load.commit().unwrap();
        assert!(store.read().unwrap().get(&[0x10, 49]).unwrap().is_some());
    }
}
