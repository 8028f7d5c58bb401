//! Snapshots between nodes.

use konsul_node::MemberChange;

use crate::stage::{Stage, TABLE};

/// A leader whose log does not reach back to the beginning.
fn compacted(stage: &mut Stage) -> u64 {
    stage.trailing_entries = 5;
    let one = stage.found("n1");
    for at in 0..50 {
        assert_eq!(stage.write(one, &format!("k{at}"), "v").status, 0);
    }
    let ticket = stage.nodes.get_mut(&one).unwrap().snapshot(5_000);
    assert_eq!(stage.answer(one, ticket).status, 0);
    assert!(stage.nodes[&one].log().first_index() > 20);
    one
}

#[test]
fn an_empty_listener_gets_a_snapshot_and_then_the_log() {
    let mut stage = Stage::new();
    let one = compacted(&mut stage);
    let two = stage.join(one, "n2");
    assert_eq!(stage.snapshots_shipped, 1);
    assert_eq!(stage.nodes[&two].tables().count(TABLE), 50);
    stage.write(one, "after", "v");
    stage.promote(one, two);
    assert_eq!(stage.agree(), 51);
    stage.restart(two, false);
    stage.elect();
    assert_eq!(stage.agree(), 51);
}

#[test]
fn a_crash_between_the_log_and_the_tables_is_repaired_from_the_file() {
    let mut stage = Stage::new();
    let one = compacted(&mut stage);
    let two = stage.join(one, "n2");
    stage.promote(one, two);
    let three = stage.join(one, "n3");
    stage.promote(one, three);
    stage.agree();
    stage.crash(three);
    for at in 0..50 {
        stage.write(one, &format!("x{at}"), "v");
    }
    let ticket = stage.nodes.get_mut(&one).unwrap().snapshot(5_000);
    assert_eq!(stage.answer(one, ticket).status, 0);
    stage.restart(three, true);
    stage.is_lazy = true;
    stage.until("the install to begin", |stage| stage.peek(three).is_installing);
    stage.run(1_000);
    assert!(stage.peek(three).applied < stage.peek(one).applied);
    stage.restart(three, true);
    stage.is_lazy = false;
    assert_eq!(stage.agree(), 100);
}

#[test]
fn a_snapshot_that_is_lost_on_the_way_is_sent_again() {
    let mut stage = Stage::new();
    let one = compacted(&mut stage);
    let two = stage.add("n2");
    let cluster_id = stage.peek(one).cluster_id;
    stage.nodes.get_mut(&two).unwrap().adopt(cluster_id, 1_000);
    let change = MemberChange::Add(stage.record(two));
    stage.change(one, change);
    stage.cut.insert((one, two));
    stage.run(1_000);
    stage.cut.clear();
    assert_eq!(stage.agree(), 50);
}

#[test]
fn writes_go_on_while_a_snapshot_travels() {
    let mut stage = Stage::new();
    let one = compacted(&mut stage);
    let two = stage.add("n2");
    let cluster_id = stage.peek(one).cluster_id;
    stage.nodes.get_mut(&two).unwrap().adopt(cluster_id, 1_000);
    stage.is_lazy = true;
    let change = MemberChange::Add(stage.record(two));
    stage.change(one, change);
    for at in 0..30 {
        assert_eq!(stage.write(one, &format!("w{at}"), "v").status, 0);
    }
    stage.is_lazy = false;
    assert_eq!(stage.agree(), 80);
    assert!(stage.snapshots_shipped >= 1);
}
