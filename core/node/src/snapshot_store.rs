//! Where snapshots are kept: files of the data directory, or memory.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use konsul_disk::snapshots::{Receiving, SnapshotFile, Snapshots};
use konsul_state::apply::Position;
use konsul_state::snapshot;
use parking_lot::Mutex;

use crate::seams::{SnapshotInfo, SnapshotSink, SnapshotStore};

fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "there is no such snapshot")
}

/// Reads what a snapshot says about itself.
fn describe(content: impl Read, position: Position, bytes: u64) -> io::Result<SnapshotInfo> {
    let header = snapshot::peek(content).map_err(io::Error::other)?;
    if header.applied != position {
        return Err(io::Error::other("the snapshot is of another position than it says"));
    }
    Ok(SnapshotInfo { position, members: header.meta.into(), bytes })
}

/// Files of the data directory.
pub(crate) struct FileSnapshots(pub Arc<Snapshots>);

impl FileSnapshots {
    fn find(&self, position: Position) -> io::Result<SnapshotFile> {
        let files = self.0.newest_first()?;
        let is_it = |file: &SnapshotFile| (file.index, file.term) == (position.index, position.term);
        files.into_iter().find(is_it).ok_or_else(missing)
    }
}

impl SnapshotStore for FileSnapshots {
    fn list(&self) -> io::Result<Vec<Position>> {
        let files = self.0.newest_first()?;
        Ok(files.iter().map(|file| Position { index: file.index, term: file.term }).collect())
    }

    fn name(&self, position: Position) -> String {
        let path = self.find(position).map(|file| format!("snapshot {}", file.path.display()));
        path.unwrap_or_else(|_| format!("snapshot {}", position.index))
    }

    fn info(&self, position: Position) -> io::Result<SnapshotInfo> {
        let file = self.find(position)?;
        describe(file.open()?, position, file.bytes)
    }

    fn open(&self, position: Position) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.find(position)?.open()?))
    }

    fn save(
        &self,
        position: Position,
        members: &[u8],
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<SnapshotInfo> {
        let file = self.0.save(position.index, position.term, |out| write(out))?;
        Ok(SnapshotInfo { position, members: Bytes::copy_from_slice(members), bytes: file.bytes })
    }

    fn begin_receive(&self, position: Position) -> io::Result<Box<dyn SnapshotSink>> {
        let file = self.0.begin_receive(position.index, position.term)?;
        Ok(Box::new(FileSink { file, position }))
    }

    fn accept(&self, position: Position) -> io::Result<SnapshotInfo> {
        let file = self.0.accept(position.index, position.term)?;
        describe(file.open()?, position, file.bytes)
    }

    fn discard(&self, position: Position) {
        self.0.discard(position.index, position.term);
    }
}

struct FileSink {
    file: Receiving,
    position: Position,
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SnapshotSink for FileSink {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self { file, position } = *self;
        file.finish(|content| check(content, position))
    }
}

/// The log goes when a received snapshot is installed, so it is read to its end before.
fn check(content: &mut dyn Read, position: Position) -> io::Result<()> {
    let header = snapshot::verify(content).map_err(io::Error::other)?;
    if header.applied == position { Ok(()) } else { Err(io::Error::other("it is of another position")) }
}

#[derive(Default)]
struct Kept {
    whole: BTreeMap<(u64, u64), Bytes>,
    received: BTreeMap<(u64, u64), Bytes>,
}

/// Memory; keeps the newest only.
#[derive(Clone, Default)]
pub struct MemorySnapshots(Arc<Mutex<Kept>>);

fn key(position: Position) -> (u64, u64) {
    (position.index, position.term)
}

impl MemorySnapshots {
    /// An empty place.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was received and not accepted, as a restart does.
    pub fn restart(&self) {
        self.0.lock().received.clear();
    }

    fn find(&self, position: Position) -> io::Result<Bytes> {
        self.0.lock().whole.get(&key(position)).cloned().ok_or_else(missing)
    }

    fn keep(&self, position: Position, content: Bytes) {
        let mut kept = self.0.lock();
        kept.whole.insert(key(position), content);
        while kept.whole.len() > 1 {
            kept.whole.pop_first();
        }
    }
}

impl SnapshotStore for MemorySnapshots {
    fn list(&self) -> io::Result<Vec<Position>> {
        let kept = self.0.lock();
        Ok(kept.whole.keys().rev().map(|&(index, term)| Position { index, term }).collect())
    }

    fn info(&self, position: Position) -> io::Result<SnapshotInfo> {
        let content = self.find(position)?;
        describe(Cursor::new(&content), position, content.len() as u64)
    }

    fn open(&self, position: Position) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.find(position)?)))
    }

    fn save(
        &self,
        position: Position,
        members: &[u8],
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<SnapshotInfo> {
        let mut content = Vec::new();
        write(&mut content)?;
        let bytes = content.len() as u64;
        self.keep(position, content.into());
        Ok(SnapshotInfo { position, members: Bytes::copy_from_slice(members), bytes })
    }

    fn begin_receive(&self, position: Position) -> io::Result<Box<dyn SnapshotSink>> {
        Ok(Box::new(MemorySink { kept: self.0.clone(), position, content: Vec::new() }))
    }

    fn accept(&self, position: Position) -> io::Result<SnapshotInfo> {
        let content = self.0.lock().received.remove(&key(position)).ok_or_else(missing)?;
        self.keep(position, content);
        self.info(position)
    }

    fn discard(&self, position: Position) {
        self.0.lock().received.remove(&key(position));
    }
}

struct MemorySink {
    kept: Arc<Mutex<Kept>>,
    position: Position,
    content: Vec<u8>,
}

impl Write for MemorySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SnapshotSink for MemorySink {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self { kept, position, content } = *self;
        check(&mut content.as_slice(), position)?;
        kept.lock().received.insert(key(position), content.into());
        Ok(())
    }
}
