//! Elections, replication, restarts.

use konsul_node::{Consistency, GroupState, Role, code};

use crate::stage::Stage;

#[test]
fn a_fresh_node_belongs_to_nobody_and_refuses_writes() {
    let mut stage = Stage::new();
    let id = stage.add("n1");
    stage.run(2_000);
    assert_eq!((stage.peek(id).state, stage.peek(id).role), (GroupState::Unformed, Role::Follower));
    assert_eq!(stage.peek(id).term, 0);
    stage.restart(id, true);
    let cluster_id = 77;
    let ticket = stage.nodes.get_mut(&id).unwrap().adopt(cluster_id, 1_000);
    assert_eq!(stage.answer(id, ticket).status, 0);
    stage.restart(id, true);
    assert_eq!((stage.peek(id).state, stage.peek(id).cluster_id), (GroupState::Formed, cluster_id));
    let ticket = stage.nodes.get_mut(&id).unwrap().bootstrap(1_000);
    assert_eq!(stage.answer(id, ticket).status, code::CONFLICT);
    stage.run(2_000);
    assert_eq!(stage.peek(id).role, Role::Follower, "it waits for the leader of its group");
}

#[test]
fn three_nodes_replicate_and_outlive_their_leader() {
    let mut stage = Stage::new();
    let [one, ..] = stage.trio();
    for at in 0..20 {
        assert_eq!(stage.write(one, &format!("k{at}"), "v").status, 0);
    }
    assert_eq!(stage.agree(), 20);
    stage.crash(one);
    let next = stage.elect();
    assert_ne!(next, one);
    assert_eq!(stage.write(next, "after", "v").status, 0);
    stage.restart(one, true);
    assert_eq!(stage.agree(), 21);
    assert_eq!(stage.peek(one).role, Role::Follower);
    assert_eq!(stage.peek(next).role, Role::Leader, "who comes back disturbs nobody");
}

#[test]
fn a_full_restart_loses_nothing_with_or_without_tables() {
    let mut stage = Stage::new();
    let [one, two, three] = stage.trio();
    for at in 0..10 {
        stage.write(one, &format!("k{at}"), "v");
    }
    for (id, keeps_tables) in [(one, true), (two, false), (three, true)] {
        stage.crash(id);
        stage.restart(id, keeps_tables);
    }
    let leader = stage.elect();
    assert_eq!(stage.write(leader, "after", "v").status, 0);
    assert_eq!(stage.agree(), 11);
    assert!(stage.peek(leader).term > 1);
    assert_eq!(stage.peek(two).members.conf.voters.len(), 3);
}

#[test]
fn a_founder_that_lost_its_tables_does_not_lead_alone() {
    let mut stage = Stage::new();
    let [one, two, three] = stage.trio();
    stage.write(one, "k", "v");
    stage.agree();
    for other in [two, three] {
        stage.crash(other);
    }
    stage.restart(one, false);
    stage.run(3_000);
    assert_ne!(stage.peek(one).role, Role::Leader, "its log begins with a group of one");
    assert_eq!(stage.peek(one).members.conf.voters.len(), 3);
    stage.restart(two, true);
    stage.elect();
    assert_eq!(stage.agree(), 1);
}

#[test]
fn a_leader_cut_off_steps_down_and_its_lone_write_never_counts() {
    let mut stage = Stage::new();
    let [one, two, three] = stage.trio();
    for other in [two, three] {
        stage.cut.extend([(one, other), (other, one)]);
    }
    let late = crate::stage::put("lone", "v");
    let ticket = stage.nodes.get_mut(&one).unwrap().submit(&late, None, 60_000);
    stage.until("it to step down", |stage| stage.peek(one).role != Role::Leader);
    let next = stage.elect();
    assert_ne!(next, one);
    assert_eq!(stage.write(next, "kept", "v").status, 0);
    stage.cut.clear();
    stage.agree();
    assert!(stage.has(one, "kept"));
    let answer = stage.answer(one, ticket);
    assert_eq!(answer.status == 0, stage.has(one, "lone"), "{answer:?}");
}

#[test]
fn an_entry_counts_only_once_it_is_on_a_quorums_disks() {
    let mut stage = Stage::new();
    let [one, two, three] = stage.trio();
    stage.slow_down(two);
    stage.slow_down(three);
    let ticket = stage.nodes.get_mut(&one).unwrap().submit(&crate::stage::put("k", "v"), None, 60_000);
    stage.run(1_000);
    assert!(!stage.answers.contains_key(&(one, ticket)), "nobody but the leader has it on disk");
    assert_eq!(stage.peek(one).role, Role::Leader, "answers to heartbeats do not wait for the disk");
    stage.sync(two);
    assert_eq!(stage.answer(one, ticket).status, 0);
    stage.sync(three);
    assert_eq!(stage.agree(), 1);
}

#[test]
fn a_vote_is_on_disk_before_it_is_given() {
    let mut stage = Stage::new();
    let [one, two, three] = stage.trio();
    stage.agree();
    stage.crash(one);
    stage.slow_down(two);
    stage.slow_down(three);
    stage.run(3_000);
    assert_eq!(stage.leader(), None, "no vote is on a disk");
    stage.sync(two);
    stage.sync(three);
    assert_ne!(stage.elect(), one);
}

#[test]
fn a_linearizable_read_needs_a_quorum() {
    let mut stage = Stage::new();
    let [one, two, three] = stage.trio();
    let ticket = stage.nodes.get_mut(&one).unwrap().barrier(Consistency::Linearizable, 1_000);
    assert_eq!(stage.answer(one, ticket).status, 0);
    for other in [two, three] {
        stage.cut.extend([(one, other), (other, one)]);
    }
    let ticket = stage.nodes.get_mut(&one).unwrap().barrier(Consistency::Linearizable, 1_000);
    assert_ne!(stage.answer(one, ticket).status, 0);
}
