//! What a group of nodes promises, played in one thread.

mod changes;
mod machine;
mod snapshots;
mod stage;
mod votes;
