//! A seeded cluster on a simulated clock, network and disk, and the invariants it must keep. Never shipped.
#![warn(missing_docs)]

pub mod history;
pub mod linearizable;
pub mod prng;
mod register;
