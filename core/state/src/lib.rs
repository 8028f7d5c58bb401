//! The replicated table engine: entries in, rows out, the same bytes on every replica.
//!
//! Pure by law: no clock, no randomness, no files, no threads, no hash maps with random order
//! (`clippy.toml`). The formats are in `docs/reference/entries.md`; where things lie in the store is in
//! [`keys`].

pub mod ahead;
pub mod apply;
pub mod cell;
pub mod change;
mod define;
pub mod digest;
pub mod entry;
mod filter;
mod fold;
mod frame;
pub mod index;
mod journal;
pub mod json;
mod json_text;
pub mod keys;
pub mod memory;
pub mod msgpack;
mod ops;
mod page;
mod pulse;
pub mod read;
mod refusal;
pub mod row;
mod rows;
pub mod schema;
mod schema_check;
mod schema_codec;
mod shape;
pub mod snapshot;
mod snapshot_read;
pub mod store;
mod vocabulary;
pub mod window;

pub use refusal::{Refusal, code};

#[cfg(test)]
extern crate self as konsul_state;
#[cfg(test)]
#[path = "../tests/sketch/mod.rs"]
mod sketch;
