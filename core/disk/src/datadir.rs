//! The data directory: who may use it, whose it is, and whether the machine went down under it.
//!
//! ```text
//! LOCK        held (flock) by the running node, with its pid
//! identity    format version, cluster id, node id
//! run         boot id and place of the last start, and whether it was stopped cleanly
//! log/  state/  snapshots/
//! ```

use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use konsul_state::store::StoreError;

use crate::lmdb::{Lmdb, LmdbOptions};

/// The layout written and read by this build.
pub const FORMAT: u32 = 1;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why a data directory cannot be used. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The system refused an operation on it.
    #[error(
        "cannot {action} {path}: {error}; give the user that runs Konsul a writable data directory \
         (KONSUL_DATA_DIR) on a disk with room"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: String,
        /// The system's answer.
        error: io::Error,
    },
    /// Another process uses it.
    #[error(
        "{path} is in use by {owner}: stop that one first, or give this node another data directory \
         (KONSUL_DATA_DIR)"
    )]
    InUse {
        /// The directory.
        path: String,
        /// "process <pid>".
        owner: String,
    },
    /// Written by another version.
    #[error(
        "{path} has data format {found}, this version reads format {FORMAT}: start the version that wrote it"
    )]
    Version {
        /// The directory.
        path: String,
        /// The format found.
        found: u32,
    },
    /// A small file does not read as it was written.
    #[error("{path} is damaged: {detail}; restore the data directory from a backup")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        detail: String,
    },
}

/// Whose data it is. One node id per data directory, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub node_id: u64,
    pub cluster_id: u64,
}

/// An open data directory, locked until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Option<Identity>,
    state_trusted: bool,
    _lock: File,
}

impl DataDir {
    /// Opens `path`, creating it (mode 0700) if it is not there, and locks it.
    ///
    /// # Errors
    /// [`DataDirError`]: in use, not writable, damaged, or of another version.
    pub fn open(path: &Path) -> Result<DataDir, DataDirError> {
        let failed =
            |action, path: &Path, error| DataDirError::Io { action, path: path.display().to_string(), error };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| failed("create the data directory", path, error))?;
        let lock = lock(path)?;
        let identity = read_identity(path)?;
        let place = place(path).map_err(|error| failed("read", path, error))?;
        let state_trusted = trusted(&read_text(&path.join("run")).unwrap_or_default(), &place);
        let dir = DataDir { path: path.to_path_buf(), identity, state_trusted, _lock: lock };
        if state_trusted {
            // From here on a crash of the machine may damage the state. (Untrusted, the old mark stays until
            // the state is discarded: a process crash in between must not make it trusted.)
            dir.write_run("running")?;
        }
        Ok(dir)
    }

    /// Opens the applied state, discarding it first if it cannot be trusted. The second value tells, for the
    /// start log, that this happened.
    ///
    /// # Errors
    /// As [`Lmdb::open`].
    pub fn open_state(&self, map_max_bytes: u64) -> Result<(Lmdb, Option<String>), StoreError> {
        let opened =
            Lmdb::open(&LmdbOptions { dir: self.state_dir(), map_max_bytes, trusted: self.state_trusted })?;
        self.write_run("running").map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(opened)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log lives.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the applied state lives.
    pub fn state_dir(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Where snapshots live.
    pub fn snapshots_dir(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Whose data it is; `None` in a new directory.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Whether files that were not synced are as the last run left them: it ended with
    /// [`DataDir::mark_clean`], or the machine has not been restarted since and the directory is not a copy.
    pub fn state_trusted(&self) -> bool {
        self.state_trusted
    }

    /// Says whose data it is, durably.
    ///
    /// # Errors
    /// If the disk refuses; the old identity is intact then.
    pub fn set_identity(&mut self, identity: Identity) -> Result<(), DataDirError> {
        let Identity { node_id, cluster_id } = identity;
        let text = format!("format={FORMAT}\ncluster={cluster_id:016x}\nnode={node_id:016x}\n");
        let text = format!("{text}crc32c={:08x}\n", crc32c::crc32c(text.as_bytes()));
        self.replace("identity", &text)?;
        self.identity = Some(identity);
        Ok(())
    }

    /// Marks that everything was synced ([`Lmdb::sync`]) and nothing will be written any more. The last act
    /// of a clean stop.
    ///
    /// # Errors
    /// If the disk refuses; the next start then takes it for a crash, which is safe.
    pub fn mark_clean(&self) -> Result<(), DataDirError> {
        self.write_run("clean")
    }

    /// Room on the disk for this user, in bytes.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.path)
    }

    fn write_run(&self, state: &str) -> Result<(), DataDirError> {
        let place = place(&self.path).map_err(|error| self.failed("read", "", error))?;
        self.replace("run", &format!("state={state}\n{place}"))
    }

    /// Replaces a small file as a whole: readers and crashes see the old or the new.
    fn replace(&self, name: &str, text: &str) -> Result<(), DataDirError> {
        let temporary = self.path.join(format!("{name}.tmp"));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, self.path.join(name))?;
            File::open(&self.path)?.sync_all()
        })();
        written.map_err(|error| self.failed("write", name, error))
    }

    fn failed(&self, action: &'static str, name: &str, error: io::Error) -> DataDirError {
        DataDirError::Io { action, path: self.path.join(name).display().to_string(), error }
    }
}

/// Room on the disk that holds `path` for this user, in bytes.
///
/// # Errors
/// If the system does not tell.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: statvfs is plain data; the path is terminated.
    let mut answer: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    if unsafe { libc::statvfs(path.as_ptr(), &mut answer) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}

fn lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join("LOCK");
    let failed = |action, error| DataDirError::Io { action, path: path.display().to_string(), error };
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| failed("open the lock file", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let owner = if known { format!("process {}", pid.trim()) } else { "another process".into() };
            return Err(DataDirError::InUse { path: dir.display().to_string(), owner });
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| failed("write", error))?;
    Ok(file)
}

/// The boot the system is in and the directory itself: equal after a process crash, different after a reboot
/// or in a copy of the directory (whose unsynced files were copied at different moments).
fn place(dir: &Path) -> io::Result<String> {
    let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
    let meta = fs::metadata(dir)?;
    Ok(format!("boot={}\ndir={}:{}\n", boot.trim(), meta.dev(), meta.ino()))
}

fn trusted(run: &str, place: &str) -> bool {
    match run.split_once('\n') {
        Some(("state=clean", _)) => true,
        // Without a boot id a reboot cannot be told from a process crash.
        Some(("state=running", before)) => before == place && !place.starts_with("boot=\n"),
        _ => false,
    }
}

fn read_text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn read_identity(dir: &Path) -> Result<Option<Identity>, DataDirError> {
    let path = dir.join("identity");
    let shown = path.display().to_string();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DataDirError::Io { action: "read", path: shown, error }),
    };
    let damaged = |detail: &str| DataDirError::Damaged { path: shown.clone(), detail: detail.into() };
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.ok_or_else(|| damaged(&format!("it does not say its {name}")))
    };
    let found = field("format")?.parse().map_err(|_| damaged("its format is not a number"))?;
    if found != FORMAT {
        return Err(DataDirError::Version { path: dir.display().to_string(), found });
    }
    let covered = text.find("crc32c=").map_or("", |at| &text[..at]);
    if field("crc32c")? != format!("{:08x}", crc32c::crc32c(covered.as_bytes())) {
        return Err(damaged("its checksum is wrong"));
    }
    let id = |name| {
        u64::from_str_radix(field(name)?, 16).map_err(|_| damaged(&format!("its {name} is not a number")))
    };
    Ok(Some(Identity { node_id: id("node")?, cluster_id: id("cluster")? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[test]
    fn a_new_directory_is_private_and_remembers_whose_it_is() {
        let parent = temporary();
        let path = parent.path().join("a/b");
        let mut dir = DataDir::open(&path).expect("opens");
        assert_eq!(fs::metadata(&path).expect("is there").mode() & 0o777, 0o700);
        assert_eq!(dir.identity(), None);
        let identity = Identity { node_id: 7, cluster_id: u64::MAX };
        dir.set_identity(identity).expect("writes");
        drop(dir);
        assert_eq!(DataDir::open(&path).expect("opens").identity(), Some(identity));
    }

    #[test]
    fn a_second_process_is_told_who_holds_it() {
        let parent = temporary();
        let dir = DataDir::open(parent.path()).expect("opens");
        let message = DataDir::open(parent.path()).expect_err("held").to_string();
        assert!(message.contains(&format!("in use by process {}", std::process::id())), "{message}");
        drop(dir);
        DataDir::open(parent.path()).expect("free again");
    }

    #[test]
    fn unsynced_files_are_trusted_after_a_clean_stop_or_in_the_same_boot_only() {
        let parent = temporary();
        let open = || DataDir::open(parent.path()).expect("opens");
        let use_state = |dir: &DataDir| dir.open_state(1 << 30).expect("opens").1.is_some();
        let run = parent.path().join("run");
        let reboot = || {
            let text = read_text(&run).expect("is there");
            fs::write(&run, text.replace("boot=", "boot=another-")).expect("writes");
        };
        assert!(!use_state(&open()), "a new directory has nothing to discard");
        assert!(open().state_trusted(), "a process crash");
        reboot();
        drop(open());
        assert!(
            !open().state_trusted(),
            "a crash of the machine, and then of the process before the state was opened"
        );
        assert!(use_state(&open()), "it is discarded");
        assert!(!use_state(&open()), "once");
        open().mark_clean().expect("writes");
        reboot();
        assert!(open().state_trusted(), "a clean stop, then a reboot");
        reboot();
        assert!(!open().state_trusted(), "the clean mark is gone with the start");
        let copy = temporary();
        use_state(&open());
        fs::copy(&run, copy.path().join("run")).expect("copies");
        assert!(!DataDir::open(copy.path()).expect("opens").state_trusted(), "a copy of a running directory");
    }

    #[test]
    fn damage_and_foreign_versions_are_refused_in_words() {
        let parent = temporary();
        let mut dir = DataDir::open(parent.path()).expect("opens");
        dir.set_identity(Identity { node_id: 1, cluster_id: 2 }).expect("writes");
        drop(dir);
        let path = parent.path().join("identity");
        let text = read_text(&path).expect("is there");
        let message = |text: String| {
            fs::write(&path, text).expect("writes");
            DataDir::open(parent.path()).expect_err("refused").to_string()
        };
        assert!(message(text.replace("node=0", "node=1")).contains("checksum"));
        assert!(message(text.replace("format=1", "format=9")).contains("data format 9"));
        assert!(message(String::new()).contains("does not say"));
    }

    #[test]
    fn an_unusable_place_is_refused_with_advice() {
        let message = DataDir::open(Path::new("/proc/konsul")).expect_err("refused").to_string();
        assert!(message.contains("KONSUL_DATA_DIR"), "{message}");
        assert!(free_bytes(Path::new("/")).expect("told") > 0);
    }
}
