//! Three bugs that real systems had, planted on purpose: each must make an invariant fall within a bounded
//! number of seeds, and the right one.

use konsul_sim::planted::Planted;
use konsul_sim::seeds::{Plan, run_seeds};

fn falls(planted: Planted, seeds: u64, expected: &[&str]) {
    let plan = Plan { from: 1, seeds, seconds: 0, threads: 2, planted, is_told: false };
    let report = run_seeds(&plan).fallen.expect("the planted bug was not found");
    let (fallen, _) = report.fallen.expect("a report of a fall says what fell");
    assert!(expected.contains(&fallen.invariant), "seed {}: {fallen}", report.seed);
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    let lost = ["acknowledged is durable", "leader completeness", "log matching", "state machine safety"];
    falls(Planted::AckBeforeSync, 1_500, &lost);
}

#[test]
fn a_vote_that_is_not_persisted_is_found() {
    falls(Planted::VoteNotPersisted, 1_500, &["election safety"]);
}

#[test]
fn a_lease_beyond_the_others_promise_is_found() {
    falls(Planted::StaleLease, 200, &["lease safety", "linearizable clients"]);
}
