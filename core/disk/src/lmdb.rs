//! The durable backend of the applied state: LMDB through `heed`.
//!
//! Commits are not synced: the log is the durability. After a process crash the page cache is intact and
//! LMDB's copy-on-write pages are consistent; after a crash of the machine they may not be, so the caller
//! says whether the files can be trusted ([`crate::datadir::DataDir::state_trusted`]). Untrusted or damaged
//! files are removed, and the node rebuilds the state from snapshot and log.

use std::fs::{self, DirBuilder};
use std::io;
use std::ops::Bound;
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls};
use konsul_state::store::{Read, Store, StoreError, Visit, Write};

use crate::datadir::free_bytes;
use crate::files::is_full;

/// A map smaller than this is of no use: give up asking for less.
const MAP_LEAST_BYTES: u64 = 64 << 20;
/// Readers at a time: request threads, the snapshot, other processes that read.
const MAX_READERS: u32 = 512;
/// LMDB reports a write cut short by a full disk as EIO. With less room than this it was that.
const FULL_BELOW_BYTES: u64 = 16 << 20;

type Pairs = Database<'static, Bytes, Bytes>;

/// How the state is kept.
#[derive(Debug, Clone)]
pub struct LmdbOptions {
    /// The state's own directory; created (mode 0700) if absent.
    pub dir: PathBuf,
    /// The largest the state may grow. Costs address space only; halved until the system grants it.
    pub map_max_bytes: u64,
    /// Whether files found there may be used.
    pub trusted: bool,
}

impl LmdbOptions {
    /// The defaults: up to 64 GiB.
    pub fn new(dir: impl Into<PathBuf>, trusted: bool) -> LmdbOptions {
        LmdbOptions { dir: dir.into(), map_max_bytes: 64 << 30, trusted }
    }
}

/// A [`Store`] on LMDB. Keys have 1..=1,982 bytes. Readers never wait, one writer at a time.
pub struct Lmdb {
    env: Env<WithoutTls>,
    pairs: Pairs,
    dir: PathBuf,
}

impl Lmdb {
    /// Opens the state. The second value tells, for the start log, that earlier files were discarded, and
    /// why.
    ///
    /// # Errors
    /// `Full` if there is no room, `Failed` for anything else; the messages name the directory.
    pub fn open(options: &LmdbOptions) -> Result<(Lmdb, Option<String>), StoreError> {
        let dir = &options.dir;
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| io_failed(dir, &error))?;
        let mut note = None;
        if !options.trusted && discard(dir)? {
            note = Some("the machine stopped without a clean stop of the node");
        }
        let opened = match open_env(options) {
            Err(heed::Error::Mdb(error)) if is_damage(error) && discard(dir)? => {
                note = Some("its files are damaged");
                open_env(options)
            }
            Ok(Some(opened)) => Ok(Some(opened)),
            Ok(None) if discard(dir)? => {
                note = Some("its file is shorter than it says");
                open_env(options)
            }
            other => other,
        };
        let (env, pairs) = opened
            .map_err(|error| failed(dir, error))?
            .ok_or_else(|| StoreError::Failed(format!("{}: the new file is too short", dir.display())))?;
        let note = note.map(|why| {
            format!("the applied state was discarded and is rebuilt from snapshot and log: {why}")
        });
        Ok((Lmdb { env, pairs, dir: dir.clone() }, note))
    }

    /// Makes everything committed survive a crash of the machine; before a clean stop is marked.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.env.force_sync().map_err(|error| failed(&self.dir, error))
    }

    /// Bytes of the file on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.env.real_disk_size().unwrap_or(0)
    }

    /// Bytes the file may grow to.
    pub fn map_bytes(&self) -> u64 {
        self.env.info().map_size as u64
    }
}

/// Opens the environment; `None` if the file is shorter than its own meta page says (it would fault when
/// read).
fn open_env(options: &LmdbOptions) -> heed::Result<Option<(Env<WithoutTls>, Pairs)>> {
    let page = 4096_u64;
    let mut map_bytes = options.map_max_bytes.max(MAP_LEAST_BYTES).next_multiple_of(page);
    let env = loop {
        let mut open = EnvOpenOptions::new().read_txn_without_tls();
        open.map_size(usize::try_from(map_bytes).unwrap_or(usize::MAX & !4095)).max_readers(MAX_READERS);
        // SAFETY: the data directory is locked, so nobody else changes the file under the map; unsynced
        // commits are what this store is about.
        let opened = unsafe { open.flags(EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC).open(&options.dir) };
        match opened {
            Err(heed::Error::Io(error)) if map_bytes > MAP_LEAST_BYTES && refuses_size(&error) => {
                map_bytes = (map_bytes / 2).max(MAP_LEAST_BYTES).next_multiple_of(page);
            }
            other => break other?,
        }
    };
    let used = (env.info().last_page_number as u64 + 1) * page;
    let size = env.real_disk_size()?;
    if size > 0 && size < used {
        env.prepare_for_closing().wait();
        return Ok(None);
    }
    env.clear_stale_readers()?;
    let txn = env.write_txn()?;
    let pairs = env
        .create_databases_and_commit(txn, |open, txn| {
            open.create_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
        })?
        .unwrap_commit();
    Ok(Some((env, pairs)))
}

fn refuses_size(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EINVAL | libc::EOVERFLOW)) || is_full(error)
}

fn is_damage(error: MdbError) -> bool {
    matches!(
        error,
        MdbError::Invalid
            | MdbError::Corrupted
            | MdbError::PageNotFound
            | MdbError::VersionMismatch
            | MdbError::Incompatible
            | MdbError::Panic
    )
}

/// Removes the files; true if there were any.
fn discard(dir: &Path) -> Result<bool, StoreError> {
    let mut found = false;
    for name in ["data.mdb", "lock.mdb"] {
        match fs::remove_file(dir.join(name)) {
            Ok(()) => found = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_failed(dir, &error)),
        }
    }
    Ok(found)
}

fn io_failed(dir: &Path, error: &io::Error) -> StoreError {
    let message = format!("{}: {error}", dir.display());
    let cut_short =
        error.raw_os_error() == Some(libc::EIO) && free_bytes(dir).is_ok_and(|free| free < FULL_BELOW_BYTES);
    if is_full(error) || cut_short { StoreError::Full(message) } else { StoreError::Failed(message) }
}

fn failed(dir: &Path, error: heed::Error) -> StoreError {
    match error {
        heed::Error::Mdb(MdbError::MapFull) => {
            StoreError::Full(format!("{}: the state has reached its largest size", dir.display()))
        }
        heed::Error::Io(error) => io_failed(dir, &error),
        other => StoreError::Failed(format!("{}: {other}", dir.display())),
    }
}

/// A read transaction. It costs nothing but keeps the pages it sees from being reused: keep it short.
pub struct LmdbReader<'s> {
    txn: RoTxn<'s, WithoutTls>,
    store: &'s Lmdb,
}

/// The write transaction.
pub struct LmdbWriter<'s> {
    txn: RwTxn<'s>,
    store: &'s Lmdb,
}

impl Store for Lmdb {
    type Reader<'a> = LmdbReader<'a>;
    type Writer<'a> = LmdbWriter<'a>;

    fn read(&self) -> Result<LmdbReader<'_>, StoreError> {
        let txn = self.env.read_txn().map_err(|error| failed(&self.dir, error))?;
        Ok(LmdbReader { txn, store: self })
    }

    fn write(&self) -> Result<LmdbWriter<'_>, StoreError> {
        let txn = self.env.write_txn().map_err(|error| failed(&self.dir, error))?;
        Ok(LmdbWriter { txn, store: self })
    }
}

impl Lmdb {
    fn get<'t>(&self, txn: &'t RoTxn<'_>, key: &[u8]) -> Result<Option<&'t [u8]>, StoreError> {
        self.pairs.get(txn, key).map_err(|error| failed(&self.dir, error))
    }

    fn scan(
        &self,
        txn: &RoTxn<'_>,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        // LMDB has no empty key: it cannot be asked for, and everything comes after it.
        let low = if from.is_empty() { Bound::Unbounded } else { Bound::Included(from) };
        let high = to.map_or(Bound::Unbounded, Bound::Excluded);
        let pairs = self.pairs.range(txn, &(low, high)).map_err(|error| failed(&self.dir, error))?;
        for pair in pairs {
            let (key, value) = pair.map_err(|error| failed(&self.dir, error))?;
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}

impl Read for LmdbReader<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        self.store.get(&self.txn, key)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.store.scan(&self.txn, from, to, visit)
    }
}

impl Read for LmdbWriter<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        self.store.get(&self.txn, key)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.store.scan(&self.txn, from, to, visit)
    }
}

impl Write for LmdbWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.store.pairs.put(&mut self.txn, key, value).map_err(|error| failed(&self.store.dir, error))
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.store.pairs.delete(&mut self.txn, key).map_err(|error| failed(&self.store.dir, error))
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.store.pairs.clear(&mut self.txn).map_err(|error| failed(&self.store.dir, error))
    }

    fn commit(self) -> Result<(), StoreError> {
        let LmdbWriter { txn, store } = self;
        txn.commit().map_err(|error| failed(&store.dir, error))
    }
}
