//! Questions and answers.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use konsul_net::{CallError, Hello, NetOptions, Refusal, Target};

use crate::node::{LONG, Manners, Node, hello, nowhere, pair, quick};

type Answer = Result<(u16, Bytes), CallError>;

fn ask(node: &Node, raft_id: u64, address: &str, payload: &[u8], limit: Duration) -> Receiver<Answer> {
    let (told, answer) = channel();
    let target = Target { raft_id, address: address.to_owned() };
    node.net.call(target, Bytes::copy_from_slice(payload), limit, move |result| told.send(result).unwrap());
    answer
}

fn asked(node: &Node, raft_id: u64, address: &str, payload: &[u8]) -> Answer {
    ask(node, raft_id, address, payload, LONG).recv_timeout(LONG).unwrap()
}

#[test]
fn a_member_is_asked_by_number_and_anybody_by_address() {
    let (one, two) = pair();
    assert_eq!(asked(&one, 2, "", b"ab"), Ok((7, Bytes::from_static(b"abab"))));
    let fresh = Node::of(Hello { cluster_id: 0, ..hello(3) }, quick(), Manners::default());
    assert_eq!(asked(&fresh, 0, &two.address(), b"c"), Ok((7, Bytes::from_static(b"cc"))));
    assert_eq!(asked(&two, 0, &fresh.address(), b"d"), Ok((7, Bytes::from_static(b"dd"))));
    assert_eq!(asked(&two, 0, &two.address(), b"me"), Ok((7, Bytes::from_static(b"meme"))));
    two.memory.change(|told| {
        let callers: Vec<_> =
            told.callers.iter().map(|one| (one.raft_id, one.hello.node_id.clone())).collect();
        assert_eq!(callers, [(1, "n1".to_owned()), (0, "n3".to_owned()), (0, "n2".to_owned())]);
    });
    assert!(matches!(asked(&one, 9, "", b"x"), Err(CallError::Unreachable(_))));
}

#[test]
fn a_stranger_becomes_a_member_without_a_new_connection() {
    let (one, two) = (Node::start(1), Node::start(2));
    assert!(asked(&one, 0, &two.address(), b"a").is_ok());
    two.knows(&[&one]);
    assert!(asked(&one, 0, &two.address(), b"a").is_ok());
    two.memory.change(|told| {
        assert_eq!(told.callers.iter().map(|one| one.raft_id).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(told.callers[0].address, told.callers[1].address);
    });
}

#[test]
fn answers_come_in_any_order_and_each_call_has_its_own_limit() {
    let (one, two) = pair();
    let slow = ask(&one, 2, "", b"hold", LONG);
    let late = ask(&one, 2, "", b"hold", Duration::from_millis(30));
    assert_eq!(asked(&one, 2, "", b"quick"), Ok((7, Bytes::from_static(b"quickquick"))));
    assert_eq!(late.recv_timeout(LONG).unwrap(), Err(CallError::Timeout));
    two.memory.wait("both", |told| told.held_back.len() == 2);
    for reply in two.memory.change(|told| std::mem::take(&mut told.held_back)) {
        reply.send(3, b"at last");
    }
    assert_eq!(slow.recv_timeout(LONG).unwrap(), Ok((3, Bytes::from_static(b"at last"))));
    assert_eq!(asked(&one, 2, "", b"drop"), Err(CallError::Unanswered));
}

#[test]
fn what_cannot_be_carried_is_said_at_once() {
    let options = NetOptions { calls_open_max: 2, call_bytes_max: 1_000, ..quick() };
    let (one, two) = (Node::with(1, options, Manners::default()), Node::start(2));
    let there = two.address();
    assert_eq!(asked(&one, 0, &there, &[0; 1_001]), Err(CallError::TooLong));
    let _held = [ask(&one, 0, &there, b"hold", LONG), ask(&one, 0, &there, b"hold", LONG)];
    two.memory.wait("both", |told| told.held_back.len() == 2);
    assert_eq!(asked(&one, 0, &there, b"x"), Err(CallError::Busy));
    assert!(matches!(asked(&one, 0, &nowhere().to_string(), b"x"), Err(CallError::Unreachable(_))));
    assert!(matches!(asked(&one, 5, &there, b"x"), Err(CallError::Refused(Refusal::WrongNode, _))));
    let foreign = Node::of(Hello { cluster_id: 9, ..hello(3) }, quick(), Manners::default());
    assert!(matches!(asked(&foreign, 0, &there, b"x"), Err(CallError::Refused(Refusal::Cluster, _))));
}

#[test]
fn the_receiver_limits_the_calls_of_one_connection_by_itself() {
    let options = NetOptions { calls_open_max: 1, ..quick() };
    let (one, two) = (Node::start(1), Node::with(2, options, Manners::default()));
    let held = ask(&one, 0, &two.address(), b"hold", LONG);
    two.memory.wait("the first", |told| told.held_back.len() == 1);
    assert_eq!(asked(&one, 0, &two.address(), b"second"), Err(CallError::Busy));
    two.memory.change(|told| told.held_back.pop().unwrap()).send(0, b"");
    assert_eq!(held.recv_timeout(LONG).unwrap(), Ok((0, Bytes::new())));
}

#[test]
fn who_waits_learns_that_the_other_node_or_this_one_stopped() {
    let (one, two) = pair();
    let asked_two = ask(&one, 2, "", b"hold", LONG);
    two.memory.wait("the call", |told| told.held_back.len() == 1);
    two.net.stop();
    assert_eq!(asked_two.recv_timeout(LONG).unwrap(), Err(CallError::Unanswered));
    let three = Node::start(3);
    let asked_three = ask(&one, 0, &three.address(), b"hold", LONG);
    three.memory.wait("the call", |told| told.held_back.len() == 1);
    one.net.stop();
    assert_eq!(asked_three.recv_timeout(LONG).unwrap(), Err(CallError::Unanswered));
    assert_eq!(asked(&one, 0, &three.address(), b"x"), Err(CallError::Unanswered));
}
