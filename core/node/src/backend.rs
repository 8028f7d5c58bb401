//! The two stores behind one type, so that the node and the native door are compiled once and chosen at
//! start.

use konsul_disk::lmdb::Lmdb;
use konsul_state::memory::Memory;
use konsul_state::store::{Read, Store, StoreError, Visit, Write};

/// Where applied state lives.
pub enum AnyStore {
    /// An immutable map in memory.
    Memory(Memory),
    /// An LMDB map in the data directory.
    Durable(Lmdb),
}

/// A read transaction of either store.
pub enum AnyReader<'s> {
    /// Of the memory store.
    Memory(<Memory as Store>::Reader<'s>),
    /// Of the durable store.
    Durable(<Lmdb as Store>::Reader<'s>),
}

/// The write transaction of either store.
pub enum AnyWriter<'s> {
    /// Of the memory store.
    Memory(<Memory as Store>::Writer<'s>),
    /// Of the durable store.
    Durable(<Lmdb as Store>::Writer<'s>),
}

impl Store for AnyStore {
    type Reader<'s> = AnyReader<'s>;
    type Writer<'s> = AnyWriter<'s>;

    fn read(&self) -> Result<AnyReader<'_>, StoreError> {
        Ok(match self {
            Self::Memory(store) => AnyReader::Memory(store.read()?),
            Self::Durable(store) => AnyReader::Durable(store.read()?),
        })
    }

    fn write(&self) -> Result<AnyWriter<'_>, StoreError> {
        Ok(match self {
            Self::Memory(store) => AnyWriter::Memory(store.write()?),
            Self::Durable(store) => AnyWriter::Durable(store.write()?),
        })
    }
}

impl Read for AnyReader<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        match self {
            Self::Memory(reader) => reader.get(key),
            Self::Durable(reader) => reader.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        match self {
            Self::Memory(reader) => reader.scan(from, to, visit),
            Self::Durable(reader) => reader.scan(from, to, visit),
        }
    }
}

impl Read for AnyWriter<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        match self {
            Self::Memory(writer) => writer.get(key),
            Self::Durable(writer) => writer.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        match self {
            Self::Memory(writer) => writer.scan(from, to, visit),
            Self::Durable(writer) => writer.scan(from, to, visit),
        }
    }
}

impl Write for AnyWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Memory(writer) => writer.put(key, value),
            Self::Durable(writer) => writer.put(key, value),
        }
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        match self {
            Self::Memory(writer) => writer.delete(key),
            Self::Durable(writer) => writer.delete(key),
        }
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Memory(writer) => writer.clear(),
            Self::Durable(writer) => writer.clear(),
        }
    }

    fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Memory(writer) => writer.commit(),
            Self::Durable(writer) => writer.commit(),
        }
    }
}
