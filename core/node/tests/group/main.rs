//! What a group of nodes promises, played in one thread.

mod changes;
mod snapshots;
mod stage;
mod votes;
