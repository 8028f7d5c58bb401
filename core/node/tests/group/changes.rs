//! Members come, vote, hand over and go.

use bytes::Bytes;
use konsul_node::{GroupState, Member, MemberChange, Role, code};

use crate::stage::Stage;

#[test]
fn members_come_as_listeners_and_vote_when_they_are_near() {
    let mut stage = Stage::new();
    let one = stage.found("n1");
    stage.write(one, "k", "v");
    let two = stage.join(one, "n2");
    assert_eq!(stage.peek(one).members.conf.learners, [two]);
    assert!(stage.has(two, "k"));
    stage.promote(one, two);
    stage.agree();
    assert_eq!(stage.peek(two).members.conf.voters, [one, two]);
    assert_eq!(stage.peek(two).members.records[&two].node_id, "n2");
    stage.crash(two);
    let ticket = stage.nodes.get_mut(&one).unwrap().submit(&crate::stage::put("x", "v"), None, 500);
    assert_eq!(stage.answer(one, ticket).status, code::TIMEOUT, "two voters decide together");
}

#[test]
fn a_listener_far_behind_is_not_promoted() {
    let mut stage = Stage::new();
    let one = stage.found("n1");
    let two = stage.add("n2");
    let change = MemberChange::Add(stage.record(two));
    assert_eq!(stage.change(one, change).status, 0);
    let refused = stage.change(one, MemberChange::Promote(two));
    assert_eq!(refused.status, code::CONFLICT);
}

#[test]
fn a_removed_member_knows_it_and_a_leader_is_not_removed() {
    let mut stage = Stage::new();
    let [one, two, three] = stage.trio();
    let refused = stage.change(one, MemberChange::Remove(one));
    assert_eq!(refused.status, code::CONFLICT);
    assert!(String::from_utf8_lossy(&refused.text).contains("hand leadership over"));
    assert_eq!(stage.change(one, MemberChange::Remove(three)).status, 0);
    stage.until("it to know", |stage| stage.peek(three).state == GroupState::Removed);
    stage.restart(three, true);
    assert_eq!(stage.peek(three).state, GroupState::Removed);
    stage.run(2_000);
    assert_eq!(stage.peek(one).role, Role::Leader, "it disturbs nobody");
    let refused = stage.write(three, "k", "v");
    assert_eq!(refused.status, code::NO_LEADER);
    let to = stage.nodes.get_mut(&one).unwrap().transfer(two, 2_000);
    assert_eq!(stage.answer(one, to).status, 0);
    let leader = stage.elect();
    assert_eq!(leader, two);
    assert_eq!(stage.change(two, MemberChange::Remove(one)).status, 0);
    let last = stage.change(two, MemberChange::Demote(two));
    assert_eq!(last.status, code::INVALID, "the last voter stays");
}

#[test]
fn who_is_no_member_writes_nothing_through_the_leader() {
    let mut stage = Stage::new();
    let [one, _, three] = stage.trio();
    // It still follows the leader, from which it hears nothing any more.
    stage.cut.insert((one, three));
    assert_eq!(stage.change(one, MemberChange::Remove(three)).status, 0);
    assert_eq!(stage.peek(three).state, GroupState::Formed);
    stage.nodes.get_mut(&three).unwrap().submit(&crate::stage::put("k", "v"), None, 5_000);
    stage.run(100);
    assert!(!stage.has(one, "k"));
}

/// A vote request of `from` that claims the leader itself asked for the election; the layout of `wire.rs`.
fn forged_request(from: u64, to: u64) -> Bytes {
    const VOTE_REQUEST: u8 = 2;
    let mut frame = vec![1];
    frame.extend_from_slice(&[0; 16]);
    frame.extend_from_slice(&[VOTE_REQUEST, 0]);
    for number in [to, from, 99, 99, 999, 0, 0, 0, 0_u64] {
        frame.extend_from_slice(&number.to_le_bytes());
    }
    frame.push(16);
    frame.extend_from_slice(b"CampaignTransfer");
    frame.extend_from_slice(&0_u32.to_le_bytes());
    frame.into()
}

#[test]
fn who_is_no_member_unseats_nobody_while_the_leader_is_well() {
    let mut stage = Stage::new();
    let [one, two, three] = stage.trio();
    // Past the time after a start in which nobody votes at all.
    stage.run(2_000);
    let term = stage.peek(one).term;
    for id in [one, two] {
        stage.nodes.get_mut(&id).unwrap().deliver(77, forged_request(77, id));
    }
    stage.run(2_000);
    assert_eq!((stage.leader(), stage.peek(two).term), (Some(one), term));
    // The same words of a member are heard.
    stage.nodes.get_mut(&two).unwrap().deliver(three, forged_request(three, two));
    stage.run(100);
    assert!(stage.peek(two).term >= 99);
}

#[test]
fn leadership_is_handed_over_at_once() {
    let mut stage = Stage::new();
    let [one, ..] = stage.trio();
    let term = stage.peek(one).term;
    let ticket = stage.nodes.get_mut(&one).unwrap().transfer(0, 2_000);
    let answer = stage.answer(one, ticket);
    assert_eq!(answer.status, 0);
    let next = stage.elect();
    assert_eq!((answer.number, stage.peek(next).term), (next, term + 1));
    assert_eq!(stage.write(next, "k", "v").status, 0);
}

#[test]
fn only_one_change_at_a_time_and_only_by_the_leader() {
    let mut stage = Stage::new();
    let [one, two, three] = stage.trio();
    let change = MemberChange::Update(Member { zone: "a".into(), ..stage.record(three) });
    assert_eq!(stage.change(two, change.clone()).status, code::NO_LEADER);
    stage.cut.extend([(one, two), (one, three)]);
    let node = stage.nodes.get_mut(&one).unwrap();
    let first = node.change(change, 60_000);
    let second = node.change(MemberChange::Demote(three), 60_000);
    assert_eq!(stage.answer(one, second).status, code::BUSY);
    stage.cut.clear();
    assert_eq!(stage.answer(one, first).status, 0);
    stage.agree();
    assert_eq!(stage.peek(two).members.records[&three].zone, "a");
    assert_eq!(stage.peek(two).members.conf.voters.len(), 3);
}
