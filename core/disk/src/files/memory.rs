//! [`LogFiles`] in memory: the log of `KONSUL_PERSISTENCE_TYPE=memory`, and the disk that crash tests break.
//!
//! With faults on, the disk keeps two images: what a reader sees and what a power cut leaves. `sync` copies
//! the dirty sectors of the first to the second; [`MemoryFiles::crash`] lets each dirty sector survive,
//! vanish or tear by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{LogFile, LogFiles};

const SECTOR_BYTES: usize = 512;

/// What the simulated disk refuses. Changed at any time through [`MemoryFiles::faults`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Bytes that may still be allocated; `None` = no limit. Overwriting allocated bytes costs nothing.
    pub room_bytes: Option<u64>,
    /// Syncs of files and of the directory that still succeed, before every one fails with EIO; `None` = all
    /// succeed.
    pub syncs_left: Option<u64>,
    /// Every read fails with EIO.
    pub read_fails: bool,
    /// Every rename and removal finds no room, as on a copy-on-write file system.
    pub names_full: bool,
}

#[derive(Default, Clone)]
struct Image {
    size: u64,
    /// Absent sectors are zeros, so that pre-written segments cost no memory.
    sectors: BTreeMap<u64, Box<[u8]>>,
}

struct State {
    seen: Image,
    kept: Image,
    dirty: BTreeSet<u64>,
}

struct Content {
    state: Mutex<State>,
    disk: Arc<Disk>,
}

struct Disk {
    faults: Mutex<Faults>,
    crashes: bool,
}

type Names = BTreeMap<String, Arc<Content>>;

/// A directory in memory; a clone is another handle to the same directory.
#[derive(Clone)]
pub struct MemoryFiles {
    names: Arc<Mutex<(Names, Names)>>,
    disk: Arc<Disk>,
}

impl MemoryFiles {
    /// A plain in-memory directory.
    pub fn new() -> MemoryFiles {
        MemoryFiles::build(false)
    }

    /// A directory that remembers what was synced, so that [`MemoryFiles::crash`] works. Costs twice the
    /// memory.
    pub fn with_crashes() -> MemoryFiles {
        MemoryFiles::build(true)
    }

    fn build(crashes: bool) -> MemoryFiles {
        let disk = Disk { faults: Mutex::default(), crashes };
        MemoryFiles { names: Arc::default(), disk: Arc::new(disk) }
    }

    /// Changes what the disk refuses from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.disk.faults.lock());
    }

    /// A power cut, as a new directory holding what survived it; this one stays as it was for whoever still
    /// holds it. `chance` answers each question with a number: for every unsynced sector modulo 4: 0, 1 lost,
    /// 2 kept, 3 torn. Unsynced renames and removals are lost.
    pub fn crash(&self, mut chance: impl FnMut() -> u64) -> MemoryFiles {
        assert!(self.disk.crashes, "crash() needs MemoryFiles::with_crashes()");
        let after = MemoryFiles::with_crashes();
        let mut names = Names::new();
        for (name, content) in &self.names.lock().1 {
            let state = content.state.lock();
            let mut kept = state.kept.clone();
            kept.size = if chance().is_multiple_of(2) { state.kept.size } else { state.seen.size };
            for sector in &state.dirty {
                let (old, new) = (state.kept.sector(*sector), state.seen.sector(*sector));
                match chance() % 4 {
                    0 | 1 => {}
                    2 => kept.set_sector(*sector, new),
                    _ => {
                        let cut = chance() as usize % SECTOR_BYTES;
                        let mut torn = old;
                        torn[..cut].copy_from_slice(&new[..cut]);
                        kept.set_sector(*sector, torn);
                    }
                }
            }
            let state = State { seen: kept.clone(), kept, dirty: BTreeSet::new() };
            let content = Content { state: Mutex::new(state), disk: Arc::clone(&after.disk) };
            names.insert(name.clone(), Arc::new(content));
        }
        *after.names.lock() = (names.clone(), names);
        after
    }

    /// Flips `mask` at `offset` of `name`, on the medium: no write, no sync sees it.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) {
        let names = self.names.lock();
        let mut state = names.0[name].state.lock();
        let State { seen, kept, .. } = &mut *state;
        for image in [seen, kept] {
            let mut sector = image.sector(offset / SECTOR_BYTES as u64);
            sector[offset as usize % SECTOR_BYTES] ^= mask;
            image.set_sector(offset / SECTOR_BYTES as u64, sector);
        }
    }
}

impl Disk {
    fn check_names(&self) -> io::Result<()> {
        if self.faults.lock().names_full { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(()) }
    }

    fn count_sync(&self) -> io::Result<()> {
        match &mut self.faults.lock().syncs_left {
            Some(0) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Default for MemoryFiles {
    fn default() -> MemoryFiles {
        MemoryFiles::new()
    }
}

impl Image {
    fn sector(&self, number: u64) -> Box<[u8]> {
        self.sectors.get(&number).cloned().unwrap_or_else(|| vec![0; SECTOR_BYTES].into_boxed_slice())
    }

    /// True if the bytes changed.
    fn overwrite(&mut self, number: u64, from: usize, part: &[u8]) -> bool {
        if !self.sectors.contains_key(&number) && part.iter().all(|b| *b == 0) {
            return false;
        }
        let sector = self.sectors.entry(number).or_insert_with(|| vec![0; SECTOR_BYTES].into_boxed_slice());
        let into = &mut sector[from..from + part.len()];
        let changed = *into != *part;
        into.copy_from_slice(part);
        changed
    }

    fn set_sector(&mut self, number: u64, bytes: Box<[u8]>) {
        if bytes.iter().all(|b| *b == 0) {
            self.sectors.remove(&number);
        } else {
            self.sectors.insert(number, bytes);
        }
    }
}

impl LogFile for Content {
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut end = offset + data.len() as u64;
        let grown = end.saturating_sub(state.seen.size);
        let mut refused = 0;
        if let Some(room) = &mut self.disk.faults.lock().room_bytes {
            // Like a real disk: what fits is written, then the write fails.
            refused = grown.saturating_sub(*room);
            *room -= grown - refused;
            end -= refused;
        }
        state.seen.size = state.seen.size.max(end);
        let mut at = offset;
        while at < end {
            let number = at / SECTOR_BYTES as u64;
            let from = at as usize % SECTOR_BYTES;
            let count = (SECTOR_BYTES - from).min((end - at) as usize);
            let part = &data[(at - offset) as usize..][..count];
            if state.seen.overwrite(number, from, part) && self.disk.crashes {
                state.dirty.insert(number);
            }
            at += count as u64;
        }
        if refused > 0 { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(()) }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.disk.faults.lock().read_fails {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let state = self.state.lock();
        let count = into.len().min(state.seen.size.saturating_sub(offset) as usize);
        let mut done = 0;
        while done < count {
            let at = offset as usize + done;
            let from = at % SECTOR_BYTES;
            let part = (SECTOR_BYTES - from).min(count - done);
            match state.seen.sectors.get(&((at / SECTOR_BYTES) as u64)) {
                Some(sector) => into[done..done + part].copy_from_slice(&sector[from..from + part]),
                None => into[done..done + part].fill(0),
            }
            done += part;
        }
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.count_sync()?;
        let state = &mut *self.state.lock();
        for number in std::mem::take(&mut state.dirty) {
            let sector = state.seen.sector(number);
            state.kept.set_sector(number, sector);
        }
        state.kept.size = state.seen.size;
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.state.lock().seen.size)
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        let state = &mut *self.state.lock();
        if let Some(room) = &mut self.disk.faults.lock().room_bytes {
            *room += state.seen.size.saturating_sub(bytes);
        }
        state.seen.size = bytes;
        let beyond = bytes.div_ceil(SECTOR_BYTES as u64);
        state.seen.sectors.split_off(&beyond);
        Ok(())
    }
}

impl LogFiles for MemoryFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names.lock().0.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let mut names = self.names.lock();
        if names.0.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let state = State { seen: Image::default(), kept: Image::default(), dirty: BTreeSet::new() };
        let content = Arc::new(Content { state: Mutex::new(state), disk: Arc::clone(&self.disk) });
        names.0.insert(name.to_owned(), Arc::clone(&content));
        Ok(content)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let names = self.names.lock();
        names.0.get(name).map(|c| Arc::clone(c) as Arc<dyn LogFile>).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.check_names()?;
        let mut names = self.names.lock();
        let content = names.0.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.0.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.check_names()?;
        let content = self.names.lock().0.remove(name).ok_or(io::ErrorKind::NotFound)?;
        if let Some(room) = &mut self.disk.faults.lock().room_bytes {
            *room += content.state.lock().seen.size;
        }
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.count_sync()?;
        let mut names = self.names.lock();
        names.1 = names.0.clone();
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        format!("memory:{name}")
    }
}
