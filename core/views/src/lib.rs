//! Read models fed by applied changes: derived, never replicated, safe to lose.
#![warn(missing_docs)]

mod pattern;
mod ring;

pub use pattern::Pattern;
pub use ring::{Gone, Ring};
