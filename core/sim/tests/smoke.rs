//! A few dozen seeds, and that a seed is one run. `make sim` runs thousands.

use konsul_sim::planted::Planted;
use konsul_sim::run::run;
use konsul_sim::seeds::{Plan, run_seeds};

#[test]
fn every_promise_is_kept_in_a_few_dozen_seeds() {
    let plan = Plan { from: 1, seeds: 48, seconds: 0, threads: 2, planted: Planted::Nothing, is_told: false };
    let summary = run_seeds(&plan);
    assert!(!summary.tell());
    assert_eq!(summary.seeds, 48);
    // The faults must not silently stop happening.
    for name in ["fault: process crash", "fault: power cut", "fault: pause", "client: write acknowledged"] {
        assert!(summary.counts.of(name) > 0, "{name} never happened");
    }
}

#[test]
fn a_seed_is_one_run() {
    for seed in 1..=6 {
        let (first, second) = (run(seed, Planted::Nothing, false), run(seed, Planted::Nothing, false));
        assert_eq!((first.digest, first.events), (second.digest, second.events), "seed {seed}");
        assert_eq!(first.counts, second.counts, "seed {seed}");
    }
    assert_ne!(run(1, Planted::Nothing, false).digest, run(2, Planted::Nothing, false).digest);
}
