//! Konsul disk: the durable half of a node. The data directory ([`datadir`]) and what lives in it: the log
//! ([`wal`]), the applied state ([`lmdb`]) and [`snapshots`]. [`files`] is the disk as the log sees it.

pub mod datadir;
pub mod files;
pub mod lmdb;
pub mod snapshots;
pub mod wal;

/// A random number from the operating system, for salts and ids.
pub(crate) fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: the buffer is valid for the length given. Up to 256 bytes are never returned in part.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    assert_eq!(got, 8, "the system has no random numbers");
    u64::from_ne_bytes(bytes)
}
