//! A seeded cluster on a simulated clock, network and disk, and the invariants it must keep. Never shipped.

pub mod around;
pub mod clients;
pub mod clocks;
pub mod counts;
pub mod disk;
pub mod faults;
pub mod history;
pub mod invariants;
pub mod linearizable;
pub mod machine;
pub mod network;
mod operator;
pub mod planted;
pub mod prng;
pub mod profile;
mod register;
pub mod run;
pub mod schedule;
pub mod seeds;
pub mod trace;
mod traffic;
mod turns;
pub mod workload;
pub mod world;
