//! Konsul disk: the durable half of a node. The log ([`wal`]), the applied state on LMDB, snapshots, and the data
//! directory they live in.

pub mod files;
pub mod wal;

/// A random number from the operating system, for salts and ids.
pub(crate) fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: the buffer is valid for the length given. Up to 256 bytes are never returned in part.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    assert_eq!(got, 8, "the system has no random numbers");
    u64::from_ne_bytes(bytes)
}
