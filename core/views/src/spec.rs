//! What a watch asks for, what it is told, and why one is refused.

use bytes::Bytes;

/// The pseudo table of what happens to the group itself: its leader and its members. Told live only.
pub const CLUSTER: u16 = 0xFFFE;

/// What one watch wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The table's id, or [`CLUSTER`].
    pub table: u16,
    /// What divides a key into segments: `/` for paths, a space for `name id`. ASCII.
    pub separator: u8,
    /// The keys, as [`crate::Pattern`] reads them.
    pub pattern: String,
    /// `(column, index value)`: one of the rows, before or after, must have them all.
    pub wheres: Vec<(u8, Box<[u8]>)>,
    /// Also what only renewed a lease. It is told live and never from the ring.
    pub renewals: bool,
    /// A queued event is replaced by the next of the same key, which takes its place at the end of the queue
    /// and keeps the first row before.
    pub coalesce: bool,
    /// Most events that wait for the reader.
    pub buffer: usize,
}

/// What an [`Item`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A change that matches.
    Event = 0,
    /// The reader is too slow: what follows waits in the ring until it resumes. `index` is what a new watch
    /// could go on from.
    Behind = 1,
    /// Changes were lost to this watch: list again. It goes on with what is above `index`.
    Compacted = 2,
}

/// One thing told to one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<'a> {
    /// Whose it is.
    pub watch: u64,
    /// What it is.
    pub kind: ItemKind,
    /// The entry's index; of a live event the tables' index when it happened.
    pub index: u64,
    /// The row's key; empty in notices.
    pub key: &'a [u8],
    /// The event as JSON, the same allocation for all who are told the same; empty in notices.
    pub payload: Bytes,
}

/// Why a watch is not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// There are as many watches as there may be.
    #[error("this node has its {0} watches")]
    Full(usize),
    /// What is asked for cannot be watched.
    #[error("{0}")]
    Bad(&'static str),
}

/// Figures of a hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open watches.
    pub watchers: usize,
    /// Open watches of each table that has some.
    pub by_table: Vec<(u16, usize)>,
    /// Changes in the ring.
    pub ring_entries: usize,
    /// Bytes of them, with the texts made of them.
    pub ring_bytes: usize,
    /// Every change above this index is in the ring.
    pub ring_floor: u64,
    /// Bytes of changes that have left the ring and still wait for slow readers.
    pub held_bytes: usize,
    /// Events handed out so far.
    pub events: u64,
    /// How often a watch was told that it is behind, so far.
    pub behind: u64,
    /// How often a watch was told to list again, so far.
    pub compacted: u64,
    /// Renewals that slow readers were not told of, so far.
    pub renewals_dropped: u64,
}
