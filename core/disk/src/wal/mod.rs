//! The write-ahead log: segments, one write and one sync per batch, recovery that never guesses.
//!
//! ```text
//! submit -> staged (readable) -> writer thread: pack -> encode -> write -> fdatasync -> placed -> callbacks
//!                                     ^ ready segments             used segments v
//!                                     preparer thread: fill, head, name, recycle
//! ```

mod append;
mod error;
mod index;
mod prepare;
mod read;
mod record;
mod recover;
mod replay;
mod segment;
mod sequence;
mod writer;

#[cfg(test)]
mod tests;

pub use append::{Recovered, Wal, WalOptions};
pub use error::{OpenError, ReadError, WalError};
pub use read::{LogView, WalStatus};
pub use record::{Entry, HardState, Record, SnapshotMark};
pub use writer::{Callback, WalWriter};
