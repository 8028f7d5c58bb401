//! The runtime of one node: the Raft driver and its threads, timers, leases and answers.
//!
//! [`Node`] is what the native door holds: submit returns a ticket at once, the answer comes through
//! [`Completions`].
#![warn(missing_docs)]

mod apply;
mod backend;
mod barriers;
mod by_hand;
mod calls;
mod clock;
mod cluster_options;
mod completions;
mod disk_guard;
mod driver;
mod duties;
mod forming;
mod forward;
mod forward_wire;
mod group;
mod guests;
mod inbox;
mod incoming;
mod installing;
mod leader_lease;
mod leading;
mod leases;
mod members;
mod members_codec;
mod metrics;
mod network;
#[cfg(test)]
mod network_tests;
mod node;
mod options;
mod packed;
mod post;
mod proposing;
mod readies;
mod reading;
mod real_disk;
mod recovery;
mod replica;
mod run;
pub mod seams;
mod serving;
mod shared;
mod snapshot_store;
mod snapshotter;
mod start;
mod status;
mod status_cluster;
mod stepwise;
mod storage;
mod verbs;
mod waiting;
mod watches;
mod wire;

pub use backend::{AnyReader, AnyStore};
pub use calls::Call;
pub use clock::SystemClock;
pub use cluster_options::ClusterOptions;
pub use completions::{Completion, Completions, Ticket};
pub use inbox::Consistency;
pub use members::{LOG_VERSION, Member, MemberChange, Members};
pub use node::Node;
pub use options::{Backend, Options};
pub use post::Post;
pub use replica::{Peek, Replica};
pub use shared::{GroupState, PeerView, Role};
pub use snapshot_store::MemorySnapshots;
pub use watches::Seen;

pub use wire::FrameKind;

/// What a write is told while there is no room for it.
const FULL: &str = "the disk of the data directory is full, or the tables reached KONSUL_DISK_MAP_MAX_BYTES: \
                    free space and writes resume by themselves, or start with a larger map";

/// The codes of `konsul.errors` that a node answers with by itself.
pub mod code {
    pub use konsul_state::code::*;

    /// No case's guards held.
    pub const CONFLICT: u16 = 1;
    /// No answer in time; the write may still be applied.
    pub const TIMEOUT: u16 = 7;
    /// No leader is known.
    pub const NO_LEADER: u16 = 8;
    /// Too many proposals wait.
    pub const BUSY: u16 = 9;
    /// No room on the data directory's disk.
    pub const DISK_FULL: u16 = 10;
    /// The node is shutting down, or not running.
    pub const STOPPING: u16 = 11;
    /// The other node does not answer.
    pub const UNREACHABLE: u16 = 17;
    /// The node cannot start.
    pub const START_FAILED: u16 = 13;
    /// A defect of Konsul itself.
    pub const INTERNAL: u16 = 18;
    /// As many of something are open as may be.
    pub const TOO_MANY: u16 = 19;
}
