//! The few file operations the log needs, as a trait, so that the same log runs on a disk, in memory, and on
//! a disk that loses, tears and refuses what it is told to (`core/sim` and the crash tests).

mod memory;
mod real;

use std::io;
use std::sync::Arc;

pub use memory::{Faults, MemoryFiles};
pub use real::RealFiles;

/// One open file. All offsets and lengths are in bytes. Shared between the writer and readers.
pub trait LogFile: Send + Sync {
    /// Writes all of `data` at `offset`, growing the file if needed.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `into.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes everything written so far survive a power cut (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// The file's length.
    fn size(&self) -> io::Result<u64>;
    /// Cuts or grows (with zeros, possibly a hole) the file.
    fn set_size(&self, bytes: u64) -> io::Result<()>;
}

/// One flat directory of files.
pub trait LogFiles: Send + Sync + 'static {
    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates an empty file; `AlreadyExists` if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Renames within the directory, replacing `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes the name; open handles stay usable.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals survive a power cut.
    fn sync_dir(&self) -> io::Result<()>;
    /// How messages to an operator name the file (its path).
    fn describe(&self, name: &str) -> String;
}

/// True when `error` says that there is no room (disk, quota or file size limit): worth waiting for, not
/// fatal.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
        || matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Reads the whole file.
pub(crate) fn read_all(file: &dyn LogFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.size()? as usize];
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(bytes)
}
