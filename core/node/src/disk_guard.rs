//! Watches the free space of the data directory, so that writes are refused before the disk is really full.

use std::path::{Path, PathBuf};

use konsul_disk::datadir::free_bytes;

/// While there is room, look at most this often.
const CHECK_MS: u64 = 1_000;
/// While there is none, look this often for its return.
const RECHECK_MS: u64 = 500;

/// What the guard knows about the disk.
#[derive(Debug)]
pub(crate) struct DiskGuard {
    /// `None`: memory backend, nothing to watch.
    path: Option<PathBuf>,
    reserve_bytes: u64,
    check_at_ms: u64,
    /// Log bytes that may still be written before the next look, however soon it is.
    allowance_bytes: u64,
    free_bytes: u64,
    is_full: bool,
}

impl DiskGuard {
    pub fn new(data_dir: Option<&Path>, reserve_bytes: u64) -> Self {
        let path = data_dir.map(Path::to_path_buf);
        Self { path, reserve_bytes, check_at_ms: 0, allowance_bytes: 0, free_bytes: u64::MAX, is_full: false }
    }

    /// True while free space is below the reserve. Looks at the disk when a look is due.
    pub fn is_full(&mut self, now_ms: u64) -> bool {
        if now_ms >= self.check_at_ms || self.allowance_bytes == 0 {
            self.look(now_ms);
        }
        self.is_full
    }

    /// Counts bytes that go to the disk; a burst brings the next look forward.
    pub fn spend(&mut self, bytes: u64) {
        self.allowance_bytes = self.allowance_bytes.saturating_sub(bytes);
    }

    /// The log or the tables met a full disk: believe them over the last look.
    pub fn met_full(&mut self, now_ms: u64) {
        self.is_full = self.path.is_some();
        self.check_at_ms = now_ms + RECHECK_MS;
        self.allowance_bytes = u64::MAX;
    }

    pub fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    fn look(&mut self, now_ms: u64) {
        let Some(path) = &self.path else {
            (self.check_at_ms, self.allowance_bytes) = (u64::MAX, u64::MAX);
            return;
        };
        // A file system that cannot be asked is treated as having room: the write itself will tell.
        self.free_bytes = free_bytes(path).unwrap_or(u64::MAX);
        self.is_full = self.free_bytes < self.reserve_bytes;
        self.check_at_ms = now_ms + if self.is_full { RECHECK_MS } else { CHECK_MS };
        let above_bytes = self.free_bytes.saturating_sub(self.reserve_bytes);
        self.allowance_bytes = if self.is_full { u64::MAX } else { (above_bytes / 2).max(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_larger_than_the_disk_is_full_and_looks_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut guard = DiskGuard::new(Some(dir.path()), u64::MAX);
        assert!(guard.is_full(0));
        assert!(guard.is_full(RECHECK_MS));
        assert!(guard.free_bytes() > 0);
    }

    #[test]
    fn a_met_full_disk_recovers_at_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let mut guard = DiskGuard::new(Some(dir.path()), 1);
        assert!(!guard.is_full(0));
        guard.met_full(10);
        assert!(guard.is_full(10));
        assert!(!guard.is_full(10 + RECHECK_MS));
    }

    #[test]
    fn memory_is_never_full() {
        let mut guard = DiskGuard::new(None, u64::MAX);
        assert!(!guard.is_full(0));
        guard.met_full(1);
        assert!(!guard.is_full(1));
    }
}
