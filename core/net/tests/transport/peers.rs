//! Members: frames between them, and who is taken for one.

use bytes::Bytes;
use konsul_net::{Hello, NetOptions, Refusal};

use crate::node::{Manners, Node, hello, nowhere, pair, quick, until};
use crate::relay::Relay;

fn fails(options: NetOptions) -> String {
    struct Nobody;
    impl konsul_net::Handler for Nobody {
        fn frame(&self, _: u64, _: Bytes) -> bool {
            false
        }
        fn call(&self, _: konsul_net::Caller, _: Bytes, _: konsul_net::Reply) {}
        fn snapshot(&self, _: u64, _: Bytes, _: u64) -> Result<Box<dyn konsul_net::Sink>, String> {
            Err(String::new())
        }
        fn shipped(&self, _: u64, _: Result<(), String>) {}
        fn peer_up(&self, _: u64, _: &Hello) {}
        fn peer_down(&self, _: u64) {}
    }
    konsul_net::Net::start(options, hello(1), std::sync::Arc::new(Nobody)).err().unwrap()
}

#[test]
fn frames_arrive_whole_and_in_order_with_long_ones_between() {
    let (one, two) = pair();
    let frames: Vec<Bytes> = (0..200usize)
        .map(|at| Bytes::from(vec![at as u8; if at % 50 == 7 { 3 << 20 } else { at * 17 }]))
        .collect();
    let mut sent = frames.clone().into_iter().peekable();
    while let Some(frame) = sent.peek() {
        // Bounded: what is refused is sent again, as Raft does.
        if one.net.send(2, frame.clone(), false) {
            sent.next();
        } else {
            std::thread::yield_now();
        }
    }
    two.memory.wait("all frames", |told| told.frames.len() == frames.len());
    two.memory.change(|told| {
        assert!(told.frames.iter().map(|(_, frame)| frame).eq(frames.iter()));
        assert!(told.frames.iter().all(|(from, _)| *from == 1));
    });
    assert!(two.net.send(1, Bytes::from_static(b"back"), true));
    one.memory.wait("the way back", |told| told.frames == [(2, Bytes::from_static(b"back"))]);
    assert_eq!(two.net.counted().frames_received, 200);
}

#[test]
fn a_lost_connection_is_made_again() {
    let (one, two) = pair();
    let bind = two.address();
    two.net.stop();
    one.memory.wait("the loss", |told| told.downs == [2]);
    until("a refusal to send", || !one.net.send(2, Bytes::from_static(b"x"), false));
    let two = Node::with(2, NetOptions { bind, ..quick() }, Manners::default());
    two.knows(&[&one]);
    one.memory.wait("the connection again", |told| told.ups == [2, 2]);
    assert!(one.net.send(2, Bytes::from_static(b"again"), false));
    two.memory.wait("a frame", |told| !told.frames.is_empty());
    assert_eq!(one.net.counted().reconnects, 1);
    let notes = one.net.take_notes();
    assert!(notes.iter().any(|note| note.is_warning && note.text.starts_with("lost the connection to n2")));
    assert!(notes.iter().any(|note| !note.is_warning && note.reason == "connected"));
}

#[test]
fn a_node_that_does_not_know_its_leaders_address_answers_on_the_leaders_connection() {
    let (leader, learner) = (Node::start(1), Node::start(2));
    leader.knows(&[&learner]);
    leader.reaches(2);
    assert!(leader.net.send(2, Bytes::from_static(b"append"), false));
    learner.memory.wait("a frame", |told| told.frames.len() == 1);
    assert!(learner.net.is_connected(1));
    assert!(learner.net.send(1, Bytes::from_static(b"appended"), true));
    leader.memory.wait("the answer", |told| told.frames == [(2, Bytes::from_static(b"appended"))]);
}

#[test]
fn who_was_removed_is_refused_and_told() {
    let (one, two) = pair();
    one.net.set_members(&[]);
    one.memory.wait("the end", |told| told.downs == [2]);
    two.memory.wait("a word", |told| told.refused.contains(&(1, Refusal::Removed)));
    assert!(!one.net.send(2, Bytes::from_static(b"x"), false));
    assert!(!one.net.is_connected(2));
}

#[test]
fn a_member_that_moved_is_reached_at_its_new_address() {
    let (one, two) = pair();
    let relay = Relay::to(two.net.address());
    one.net.set_members(&[(2, relay.address())]);
    one.memory.wait("the new way", |told| told.ups == [2, 2]);
    assert!(one.net.send(2, Bytes::from_static(b"moved"), false));
    two.memory.wait("a frame", |told| !told.frames.is_empty());
}

#[test]
fn another_cluster_no_cluster_and_another_node_are_refused_with_their_reasons() {
    let one = Node::start(1);
    let foreign = Node::of(Hello { cluster_id: 0xBAD, ..hello(2) }, quick(), Manners::default());
    let fresh = Node::of(Hello { cluster_id: 0, ..hello(3) }, quick(), Manners::default());
    let wrong = Node::start(5);
    one.net.set_members(&[foreign.way(), fresh.way(), (4, wrong.address()), (1, one.address())]);
    let expected = [(2, Refusal::Cluster), (3, Refusal::Unformed), (4, Refusal::WrongNode)];
    one.memory.wait("three refusals", |told| expected.iter().all(|one| told.refused.contains(one)));
    for (node, why) in [(&foreign, "cluster"), (&fresh, "unformed"), (&wrong, "wrong_node")] {
        node.refuses(why);
        let notes = node.net.take_notes();
        assert!(notes.iter().all(|note| note.text.contains("n1")), "{notes:?}");
        assert_eq!(notes.len(), 1, "once a minute: {notes:?}");
    }
    fresh.net.set_cluster(crate::node::CLUSTER);
    one.memory.wait("the node that belongs to it now", |told| told.ups == [3]);
}

#[test]
fn a_full_inbox_is_counted_and_a_lost_peer_too() {
    let (one, two) =
        (Node::start(1), Node::with(2, quick(), Manners { drops_frames: true, ..Manners::default() }));
    one.knows(&[&two]);
    one.reaches(2);
    assert!(one.net.send(2, Bytes::from_static(b"unwanted"), false));
    until("the count", || two.net.counted().dropped_unwanted == 1);
    assert!(!one.net.send(9, Bytes::new(), false));
    assert_eq!(one.net.counted().dropped_unconnected, 1);
}

#[test]
fn behind_a_stuck_peer_memory_is_bounded_and_heartbeats_have_room() {
    let options = NetOptions { queue_bytes_max: 1 << 20, stall_ms: 60_000, idle_ms: 60_000, ..quick() };
    let (one, two) = (Node::with(1, options, Manners::default()), Node::start(2));
    let relay = Relay::to(two.net.address());
    one.net.set_members(&[(2, relay.address())]);
    one.reaches(2);
    relay.stop(true);
    let frame = Bytes::from(vec![1; 256 << 10]);
    until("a full queue", || !one.net.send(2, frame.clone(), false));
    assert!(one.net.waiting_bytes(2) <= 1 << 20);
    assert!(one.net.send(2, Bytes::from_static(b"beat"), true));
    assert!(one.net.counted().dropped_full >= 1);
    relay.stop(false);
    two.memory.wait("the heartbeat", |told| told.frames.iter().any(|(_, frame)| frame == &b"beat"[..]));
    until("an empty queue", || one.net.waiting_bytes(2) == 0);
    let sent = one.net.counted().frames_sent as usize;
    two.memory.wait("the rest", |told| told.frames.len() == sent);
    two.memory.change(|told| assert_ne!(told.frames.last().unwrap().1, b"beat"[..], "it passed the others"));
}

#[test]
fn a_peer_from_which_nothing_comes_any_more_is_given_up() {
    let quiet = || NetOptions { ping_ms: 40, idle_ms: 400, ..quick() };
    let (one, two) = (Node::start(1), Node::with(2, quiet(), Manners::default()));
    let relay = Relay::to(two.net.address());
    one.net.set_members(&[(2, relay.address())]);
    one.reaches(2);
    // The way there is dead, without a word from TCP; the way back lives.
    relay.stop(true);
    one.memory.wait("the end", |told| told.downs == [2]);
    relay.stop(false);
    one.memory.wait("a new connection", |told| told.ups == [2, 2]);
}

#[test]
fn who_accepts_and_says_nothing_is_not_waited_for() {
    let options = NetOptions { handshake_timeout_ms: 100, ..quick() };
    let one = Node::with(1, options, Manners::default());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    one.net.set_members(&[(3, silent.local_addr().unwrap().to_string())]);
    until("several attempts", || one.net.counted().connects_failed > 1);
    let notes = one.net.take_notes();
    assert!(notes[0].text.contains("no answer to the handshake in time"), "{notes:?}");
}

#[test]
fn settings_that_cannot_work_are_refused_in_words() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let said = fails(NetOptions { bind: bind.clone(), ..quick() });
    assert!(said.contains(&bind) && said.contains("another program listens there"), "{said}");
    let said = fails(NetOptions { bind: "no port".to_owned(), ..quick() });
    assert!(said.contains("\"no port\" is not a host:port"), "{said}");
    let said = fails(NetOptions { bind: "192.0.2.1:0".to_owned(), allow_plaintext: true, ..quick() });
    assert!(said.contains("not an address of this machine"), "{said}");
    let said = fails(NetOptions { bind: "0.0.0.0:0".to_owned(), ..quick() });
    assert!(said.contains("KONSUL_RAFT_ALLOW_PLAINTEXT"), "{said}");
    let open = NetOptions { bind: "0.0.0.0:0".to_owned(), allow_plaintext: true, ..quick() };
    let open = Node::with(1, open, Manners::default());
    assert!(open.net.take_notes().iter().any(|note| note.is_warning && note.reason == "plaintext"));
}

#[test]
fn nobody_at_an_address_is_said_once() {
    let one = Node::start(1);
    one.net.set_members(&[(2, nowhere().to_string()), (3, "no.such.host.invalid:1".to_owned())]);
    until("several attempts", || one.net.counted().connects_failed > 6);
    let notes = one.net.take_notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes.iter().all(|note| note.text.starts_with("cannot reach the member at ")));
}
