//! Read models fed by applied changes: derived, never replicated, safe to lose.
#![warn(missing_docs)]

mod form;
mod hub;
mod pattern;
mod ring;
mod spec;

pub use form::{Form, Member};
pub use hub::{Hub, HubOptions};
pub use pattern::Pattern;
pub use ring::{Gone, Ring};
pub use spec::{CLUSTER, Item, ItemKind, Spec, Stats, WatchError};
