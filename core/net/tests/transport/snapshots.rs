//! Snapshots: whole, cut, refused.

use std::io::Read;

use bytes::Bytes;
use konsul_net::{NetOptions, Shipment};

use crate::node::{Manners, Node, quick, until};
use crate::relay::Relay;

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 251) as u8 ^ at as u8).collect()
}

fn shipment(bytes: &[u8]) -> Shipment {
    let reader: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(bytes.to_vec()));
    Shipment { header: Bytes::from_static(b"about it"), reader, total_bytes: bytes.len() as u64 }
}

/// The outcome of one snapshot to a node with these manners.
fn outcome(options: NetOptions, manners: Manners, shipment: Shipment) -> Result<(), String> {
    let (one, two) = (Node::start(1), Node::with(2, options, manners));
    one.knows(&[&two]);
    one.net.ship(2, shipment);
    one.memory.wait("an outcome", |told| told.shipped.len() == 1);
    two.memory.change(|told| assert!(told.received.is_empty()));
    one.memory.change(|told| told.shipped.remove(0).1)
}

#[test]
fn snapshots_of_all_sizes_arrive_whole() {
    let (one, two) = (Node::start(1), Node::start(2));
    one.knows(&[&two]);
    for (number, bytes) in [0, 1, 248 << 10, (248 << 10) + 1, 21 << 20].into_iter().enumerate() {
        let bytes = content(bytes);
        one.net.ship(2, shipment(&bytes));
        one.memory.wait("an outcome", |told| told.shipped.len() == number + 1);
        one.memory.change(|told| assert_eq!(told.shipped[number], (2, Ok(()))));
        two.memory
            .change(|told| assert!(told.received[number] == (1, Bytes::from_static(b"about it"), bytes)));
    }
    assert_eq!((one.net.counted().snapshots_sent, two.net.counted().snapshots_received), (5, 5));
}

#[test]
fn a_snapshot_cut_in_the_middle_goes_on_where_it_was() {
    let (one, two) = (Node::start(1), Node::start(2));
    let relay = Relay::to(two.net.address());
    one.net.set_members(&[(2, relay.address())]);
    one.reaches(2);
    let bytes = content(24 << 20);
    relay.cut_after(9 << 20);
    one.net.ship(2, shipment(&bytes));
    one.memory.wait("an outcome", |told| !told.shipped.is_empty());
    one.memory.change(|told| assert_eq!(told.shipped, [(2, Ok(()))]));
    two.memory.change(|told| {
        assert!(told.received[0].2 == bytes);
        assert_eq!(told.sinks_opened, 1);
    });
    assert_eq!(one.net.counted().snapshots_resumed, 1);
    assert!(one.net.counted().bytes_sent < 30 << 20, "it did not begin anew");
}

#[test]
fn a_receiver_that_forgot_what_it_had_makes_the_sender_give_up() {
    let options = NetOptions { resume_ms: 1, ..quick() };
    let (one, two) = (Node::start(1), Node::with(2, options, Manners::default()));
    let relay = Relay::to(two.net.address());
    one.net.set_members(&[(2, relay.address())]);
    one.reaches(2);
    relay.cut_after(9 << 20);
    one.net.ship(2, shipment(&content(24 << 20)));
    one.memory.wait("an outcome", |told| !told.shipped.is_empty());
    one.memory.change(|told| {
        let why = told.shipped[0].1.clone().unwrap_err();
        assert!(why.contains("it holds 0 bytes of another attempt"), "{why}");
    });
}

#[test]
fn what_the_receiver_cannot_take_is_told_to_the_sender() {
    let refusing = Manners { snapshot_refusal: Some("it is too old".to_owned()), ..Manners::default() };
    assert_eq!(outcome(quick(), refusing, shipment(b"x")), Err("it is too old".to_owned()));
    let full = Manners { sink_fails_at: Some(1 << 20), ..Manners::default() };
    assert!(outcome(quick(), full, shipment(&content(8 << 20))).unwrap_err().contains("no space"));
    let small = NetOptions { snapshot_bytes_max: 10, ..quick() };
    let said = outcome(small, Manners::default(), shipment(&[0; 11])).unwrap_err();
    assert_eq!(said, "it has 11 bytes, this node takes 10");
}

#[test]
fn a_file_shorter_than_announced_is_not_a_snapshot() {
    let short = Shipment { total_bytes: 1 << 20, ..shipment(&content(1 << 19)) };
    assert!(outcome(quick(), Manners::default(), short).unwrap_err().contains("it cannot be read"));
}

#[test]
fn a_second_snapshot_takes_the_place_of_the_first() {
    let slow = NetOptions { snapshot_rate_bytes: 1 << 20, ..quick() };
    let (one, two) = (Node::with(1, slow, Manners::default()), Node::start(2));
    one.knows(&[&two]);
    one.net.ship(2, shipment(&content(64 << 20)));
    two.memory.wait("the first", |told| told.sinks_opened == 1);
    one.net.ship(2, Shipment { header: Bytes::from_static(b"newer"), ..shipment(b"second") });
    one.memory.wait("an outcome", |told| !told.shipped.is_empty());
    one.memory.change(|told| assert_eq!(told.shipped, [(2, Ok(()))]));
    two.memory
        .change(|told| assert!(told.received == [(1, Bytes::from_static(b"newer"), b"second".to_vec())]));
}

#[test]
fn frames_do_not_wait_behind_a_snapshot() {
    let slow = NetOptions { snapshot_rate_bytes: 4 << 20, ..quick() };
    let (one, two) = (Node::with(1, slow, Manners::default()), Node::start(2));
    one.knows(&[&two]);
    one.reaches(2);
    one.net.ship(2, shipment(&content(32 << 20)));
    two.memory.wait("the beginning", |told| told.sinks_opened == 1);
    for _ in 0..100 {
        assert!(one.net.send(2, Bytes::from_static(b"beat"), true));
    }
    two.memory.wait("the frames", |told| told.frames.len() == 100);
    one.memory.change(|told| assert!(told.shipped.is_empty(), "it is still on its way"));
    one.net.set_members(&[]);
    until("the end of the connection", || !one.net.is_connected(2));
}
