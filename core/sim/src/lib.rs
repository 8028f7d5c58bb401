//! A seeded cluster on a simulated clock, network and disk, and the invariants it must keep. Never shipped.

pub mod clients;
pub mod clocks;
pub mod counts;
pub mod history;
pub mod invariants;
pub mod linearizable;
pub mod network;
pub mod prng;
pub mod profile;
mod register;
pub mod schedule;
pub mod trace;
pub mod workload;
