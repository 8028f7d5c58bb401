//! Everything that knocks at an open port.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use konsul_net::NetOptions;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::node::{CLUSTER, LONG, Manners, Node, pair, quick, until};

const FRAMES: u8 = 0;
const CALLS: u8 = 1;
const SNAPSHOT: u8 = 2;

fn knock(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.net.address()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// What comes until the other side closes.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Ok(_) => {}
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}")
        }
    }
    got
}

/// A greeting as a node of this cluster with this number would send it, byte for byte.
fn greeting(lane: u8, raft_id: u64, protocols: (u16, u16)) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&protocols.0.to_le_bytes());
    body.extend_from_slice(&protocols.1.to_le_bytes());
    body.push(lane);
    body.extend_from_slice(&0u64.to_le_bytes());
    body.extend_from_slice(&CLUSTER.to_le_bytes());
    body.extend_from_slice(&raft_id.to_le_bytes());
    body.extend_from_slice(&1u32.to_le_bytes());
    body.extend_from_slice(b"\x03bad\x010");
    [b"KNSLPEER".as_slice(), &(body.len() as u16).to_le_bytes(), &body].concat()
}

/// Gets in, and leaves the welcome behind.
fn enter(node: &Node, lane: u8) -> TcpStream {
    let mut stream = knock(node);
    stream.write_all(&greeting(lane, 66, (1, 1))).unwrap();
    let mut head = [0; 10];
    stream.read_exact(&mut head).unwrap();
    let mut body = vec![0; usize::from(u16::from_le_bytes([head[8], head[9]]))];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(body[0], 0, "welcome");
    stream
}

/// After all of it, the cluster works.
fn is_well(one: &Node, two: &Node) {
    let before = two.memory.change(|told| told.frames.len());
    until("a frame's way", || one.net.send(2, bytes::Bytes::from_static(b"well"), true));
    two.memory.wait("a frame", |told| told.frames.len() > before);
}

#[test]
fn garbage_is_refused_at_its_first_bytes_and_noted_once() {
    let (one, two) = pair();
    let all: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\x00", b"KNSLPEEX", &[0xff; 4096]];
    for bytes in all {
        let mut stream = knock(&two);
        stream.write_all(bytes).unwrap();
        assert_eq!(rest(stream), b"");
    }
    until("five refusals", || two.refusals("garbage") == 5);
    let notes = two.net.take_notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].is_warning && notes[0].source == "127.0.0.1" && notes[0].reason == "garbage");
    is_well(&one, &two);
}

#[test]
fn a_port_scanner_leaves_one_note() {
    let (one, two) = pair();
    for _ in 0..20 {
        drop(knock(&two));
    }
    until("twenty", || two.refusals("silent") == 20);
    assert_eq!(two.net.take_notes().len(), 1);
    is_well(&one, &two);
}

#[test]
fn half_a_handshake_is_closed_in_time_and_first_messages_have_limits() {
    let options = NetOptions { handshake_timeout_ms: 100, ..quick() };
    let two = Node::with(2, options, Manners::default());
    let mut half = knock(&two);
    half.write_all(&greeting(FRAMES, 66, (1, 1))[..20]).unwrap();
    assert_eq!(rest(half), b"");
    two.refuses("timeout");
    let mut long = knock(&two);
    long.write_all(b"KNSLPEER\xff\xff").unwrap();
    assert_eq!(rest(long), b"");
    let mut short = knock(&two);
    short.write_all(b"KNSLPEER\x01\x00\x01").unwrap();
    assert_eq!(rest(short), b"");
    until("both", || two.refusals("malformed") == 2);
}

#[test]
fn another_protocol_is_told_what_this_node_speaks() {
    let two = Node::start(2);
    let mut stream = knock(&two);
    stream.write_all(&greeting(FRAMES, 66, (7, 9))).unwrap();
    let said = rest(stream);
    assert_eq!(said[10], 1, "a refusal");
    assert!(String::from_utf8_lossy(&said).contains("it speaks protocols 7 to 9, this node 1 to 1"));
    two.refuses("protocol");
}

#[test]
fn a_header_of_four_gigabytes_ends_the_connection() {
    let (one, two) = pair();
    for lane in [FRAMES, CALLS, SNAPSHOT] {
        let mut stream = enter(&two, lane);
        stream.write_all(&[0xff; 64]).unwrap();
        rest(stream);
    }
    until("three", || two.refusals("frame") == 3);
    let notes = two.net.take_notes();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].text.contains("bad: it sent a header that announces 4294967295 bytes"), "{notes:?}");
    is_well(&one, &two);
}

#[test]
fn any_bytes_after_a_good_greeting_do_no_harm() {
    let (one, two) = pair();
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let bytes = (0u8..3, prop::collection::vec(any::<u8>(), 0..2_000));
    TestRunner::new(config)
        .run(&bytes, |(lane, bytes)| {
            let mut stream = enter(&two, lane);
            // It may have closed already.
            let _ = stream.write_all(&bytes);
            drop(stream);
            Ok(())
        })
        .unwrap();
    assert!(two.memory.change(|told| told.frames.is_empty() && told.received.is_empty()));
    is_well(&one, &two);
}

#[test]
fn a_crowd_that_says_nothing_does_not_keep_a_member_out() {
    let options = NetOptions { handshake_timeout_ms: 60_000, unknown_max: 8, ..quick() };
    let (one, two) = (Node::start(1), Node::with(2, options, Manners::default()));
    let crowd: Vec<TcpStream> = (0..40).map(|_| knock(&two)).collect();
    one.knows(&[&two]);
    one.reaches(2);
    until("the oldest to go", || two.refusals("busy") >= 32);
    is_well(&one, &two);
    drop(crowd);
}

#[test]
fn strangers_have_few_seats_and_members_have_their_own() {
    let options = NetOptions { strangers_max: 3, ..quick() };
    let (one, two) = (Node::start(1), Node::with(2, options, Manners::default()));
    two.knows(&[&one]);
    let strangers: Vec<TcpStream> = (0..3).map(|_| enter(&two, CALLS)).collect();
    let mut fourth = knock(&two);
    fourth.write_all(&greeting(CALLS, 67, (1, 1))).unwrap();
    assert!(String::from_utf8_lossy(&rest(fourth)).contains("too many connections"));
    one.knows(&[&two]);
    one.reaches(2);
    drop(strangers);
    until("a seat", || {
        let mut stream = knock(&two);
        stream.write_all(&greeting(CALLS, 67, (1, 1))).unwrap();
        let mut head = [0; 11];
        stream.read_exact(&mut head).unwrap();
        head[10] == 0
    });
}

#[test]
fn who_asks_much_and_reads_nothing_is_closed() {
    let options = NetOptions { stall_ms: 200, idle_ms: 60_000, ..quick() };
    let two = Node::with(2, options, Manners::default());
    let mut stream = enter(&two, CALLS);
    stream.set_write_timeout(Some(LONG)).unwrap();
    let mut call = vec![0; 10 + 8 + (200 << 10)];
    call[..4].copy_from_slice(&(8 + (200u32 << 10)).to_le_bytes());
    call[8] = 2;
    let sum =
        crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&call[..4]), &call[8..10]), &call[10..]);
    call[4..8].copy_from_slice(&sum.to_le_bytes());
    // Each answer is twice as long as its question, and nobody takes it.
    while stream.write_all(&call).is_ok() {}
}
