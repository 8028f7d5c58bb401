//! Read models fed by applied changes: derived, never replicated, safe to lose.
#![warn(missing_docs)]

pub mod access;
mod access_beginnings;
mod access_compiled;
mod access_glob;
mod access_hints;
mod access_index;
mod access_openings;
mod access_rules;
mod access_swarm;
#[cfg(test)]
mod access_tests;
mod automaton;
mod facts;
mod flow;
mod form;
mod hub;
mod lane;
mod matcher;
mod note;
mod pattern;
mod queue;
mod ring;
mod segments;
mod spec;
mod trie;
#[cfg(test)]
mod trie_tests;
mod watcher;

pub use form::{Form, Member};
pub use hub::{BUFFER_MAX, Hub, HubOptions, WHERE_BYTES_MAX, WHERES_MAX};
pub use pattern::{PATTERN_BYTES_MAX, Pattern};
pub use spec::{CLUSTER, Item, ItemKind, Spec, Stats, WatchError};
