//! Lines over a real socket: event streams, WebSockets, and clients that misbehave.

mod house;

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bytes::Bytes;
use house::{Client, House, UPGRADE, closed, diary, head, masked, next, text, websocket};
use konsul_http::{
    Answer, HIGH_WATER_BYTES, Line, LineEvent, Message, OpenFailed, Options, WAITING_MAX_BYTES,
};

fn stream(version: &str) -> (House, Client, Arc<Line>, Receiver<LineEvent>) {
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    client.send(format!("GET /sse HTTP/{version}\r\nhost: x\r\n\r\n"));
    let (user, events) = diary();
    let exchange = next(&asked).exchange;
    let line = exchange.open_stream(head(200, &[("content-type", "text/event-stream")]), user).unwrap();
    let (again, _) = diary();
    assert_eq!(exchange.open_stream(head(200, &[]), again).unwrap_err(), OpenFailed::Answered);
    assert!(!exchange.answer(Answer::whole(head(200, &[]), Bytes::new())));
    exchange.finish();
    let answer = client.until("\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\ncontent-type: text/event-stream\r\n"), "{answer}");
    assert_eq!(answer.contains("\r\ntransfer-encoding: chunked\r\n"), version == "1.1");
    (house, client, line, events)
}

fn send(line: &Line, text: &str) -> bool {
    line.send(line.framing().frame(text.as_bytes()))
}

#[test]
fn an_event_stream_is_chunks_until_its_end() {
    let (_house, mut client, line, events) = stream("1.1");
    assert!(send(&line, "data: a\n\n") && send(&line, "data: b\n\n"));
    assert_eq!(client.until("b\n\n\r\n"), "9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\n");
    client.send("what it says is nothing to us");
    send(&line, "last");
    line.close(1000, "done");
    assert!(!send(&line, "too late"));
    assert_eq!(client.rest(), "4\r\nlast\r\n0\r\n\r\n");
    assert_eq!(closed(&events), "done");
    assert_eq!(line.queued_bytes(), 0);
}

#[test]
fn an_event_stream_of_http_1_0_ends_with_the_connection() {
    let (_house, mut client, line, _events) = stream("1.0");
    send(&line, "data: a\n\n");
    line.close(1000, "done");
    assert_eq!(client.rest(), "data: a\n\n");
}

#[test]
fn a_reader_that_leaves_is_told() {
    let (house, client, _line, events) = stream("1.1");
    assert_eq!((house.server.stats().lines, house.server.stats().connections), (1, 0));
    drop(client);
    assert_eq!(closed(&events), "the client went away");
}

#[test]
fn a_line_begins_when_earlier_answers_are_written() {
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    let pair = "GET /big HTTP/1.1\r\nhost: x\r\n\r\nGET /sse HTTP/1.1\r\nhost: x\r\n\r\n";
    client.send(pair);
    let body = Bytes::from(vec![b'x'; 32 << 20]);
    next(&asked).exchange.answer(Answer::whole(head(200, &[]), body.clone()));
    let reader = std::thread::spawn(move || {
        let answer = client.answer();
        (client, answer)
    });
    // hyper takes the next request while the big answer waits for its reader, or right after.
    let (user, _events) = diary();
    let line = next(&asked).exchange.open_stream(head(200, &[]), user).unwrap();
    send(&line, "data: a\n\n");
    let (mut client, (_, got)) = reader.join().unwrap();
    assert_eq!(got.len(), body.len());
    assert!(client.until("\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(client.until("a\n\n\r\n"), "9\r\ndata: a\n\n\r\n");
}

#[test]
fn a_slow_reader_is_known_and_a_stuck_one_is_cut() {
    let (house, mut client, line, events) = stream("1.1");
    let block = "x".repeat(8 << 10);
    let mut sent = 0;
    while send(&line, &block) {
        sent += 1;
        assert!(sent < 100_000, "nothing held it back");
    }
    assert!(line.queued_bytes() > HIGH_WATER_BYTES);
    let mut left = (sent + 1) * (block.len() + 8);
    while left > 0 {
        left -= client.exactly(left.min(1 << 20)).len();
    }
    assert!(matches!(next(&events), LineEvent::Drained));
    for _ in 0..100_000 {
        send(&line, &block);
        assert!(line.queued_bytes() <= WAITING_MAX_BYTES + block.len() + 8);
        if house.server.stats().lines_overrun == 1 {
            break;
        }
    }
    assert_eq!(closed(&events), format!("more than {WAITING_MAX_BYTES} bytes waited for the client"));
}

#[test]
fn a_message_of_any_size_gets_past_a_line_with_room() {
    let (_house, mut client, line, events) = stream("1.1");
    let large = "x".repeat(3 * WAITING_MAX_BYTES);
    assert!(!send(&line, &large));
    let size = format!("{:x}\r\n", large.len());
    assert_eq!(client.until(&size), size);
    assert_eq!(client.exactly(large.len()), large.as_bytes());
    assert!(matches!(next(&events), LineEvent::Drained));
}

#[test]
fn closing_a_line_that_waits_too_much_cuts_it() {
    let (_house, _client, line, events) = stream("1.1");
    while send(&line, &"x".repeat(8 << 10)) {}
    line.close(1008, "write timeout");
    assert_eq!(closed(&events), "write timeout");
}

#[test]
fn messages_go_both_ways() {
    let (_house, mut client, line, events) = websocket(Options::default(), 1 << 20);
    client.send(masked(0x81, "h\u{e9}llo".as_bytes()));
    assert_eq!(text(&events), "h\u{e9}llo");
    client.send(masked(0x01, b"in ")).send(masked(0x89, b"ping")).send(masked(0x00, b"three "));
    client.send(masked(0x80, b"pieces"));
    assert_eq!(text(&events), "in three pieces");
    assert_eq!(client.exactly(6), b"\x8a\x04ping");
    client.send(masked(0x81, &b"x".repeat(300)));
    assert_eq!(text(&events).len(), 300);
    assert!(send(&line, "pushed"));
    assert_eq!(client.exactly(8), b"\x81\x06pushed");
    assert!(line.send(line.framing().binary(&[7; 200])));
    assert_eq!(client.exactly(204)[..5], [0x82, 126, 0, 200, 7]);
}

#[test]
fn frames_behind_the_handshake_are_not_lost() {
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    client.send([UPGRADE.as_bytes(), &masked(0x81, b"early")].concat());
    let (user, events) = diary();
    let line = next(&asked).exchange.open_websocket(None, &head(200, &[]), 100, user).unwrap();
    assert_eq!(text(&events), "early");
    line.close(1000, "");
}

#[test]
fn goodbyes_are_answered() {
    let (_house, mut client, _line, events) = websocket(Options::default(), 100);
    client.send(masked(0x88, b"\x03\xe9going"));
    assert_eq!(client.rest(), "\u{fffd}\u{2}\u{3}\u{fffd}");
    assert_eq!(closed(&events), "the client closed (1001)");

    let (_house, mut client, line, events) = websocket(Options::default(), 100);
    line.close(4400, "because");
    assert!(!send(&line, "late"));
    assert_eq!(client.exactly(11), b"\x88\x09\x11\x30because");
    client.send(masked(0x81, b"after all")).send(masked(0x88, b"\x11\x30"));
    assert_eq!(client.rest(), "");
    assert_eq!(closed(&events), "because");
}

/// Sends `bytes` on a new WebSocket and returns the code it is closed with.
fn code_for(bytes: &[u8]) -> u16 {
    let (_house, mut client, _line, events) = websocket(Options::default(), 1000);
    client.send(bytes);
    let frame = client.exactly(4);
    assert_eq!(frame[0], 0x88);
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    client.rest();
    closed(&events);
    u16::from_be_bytes([frame[2], frame[3]])
}

#[test]
fn what_breaks_the_protocol_is_closed_with_its_code() {
    let cases: [(&str, u16, Vec<u8>); 17] = [
        ("unmasked", 1002, b"\x81\x02hi".to_vec()),
        ("reserved bits", 1002, masked(0xc1, b"hi")),
        ("reserved kind", 1002, masked(0x83, b"hi")),
        ("reserved control", 1002, masked(0x8b, b"")),
        ("control in pieces", 1002, masked(0x09, b"")),
        ("long control", 1002, masked(0x89, &[0; 126])),
        ("continuation of nothing", 1002, masked(0x80, b"")),
        ("message in a message", 1002, [masked(0x01, b"a"), masked(0x81, b"b")].concat()),
        ("half a code", 1002, masked(0x88, b"\x03")),
        ("a code that is none", 1002, masked(0x88, &1005u16.to_be_bytes())),
        ("a length in too many bytes", 1002, b"\x81\xfe\x00\x05\0\0\0\0hello".to_vec()),
        ("not UTF-8", 1007, masked(0x81, b"\xff")),
        ("a reason that is not UTF-8", 1007, masked(0x88, b"\x03\xe8\xff")),
        ("UTF-8 cut off", 1007, [masked(0x01, b"\xc3"), masked(0x80, b"x")].concat()),
        ("a gigabyte announced", 1009, b"\x82\xff\0\0\0\0\x40\0\0\0\0\0\0\0".to_vec()),
        ("too much in pieces", 1009, [masked(0x01, &[b'a'; 600]), masked(0x80, &[b'a'; 600])].concat()),
        ("the sign bit of a length", 1002, b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
    ];
    for (what, code, bytes) in cases {
        assert_eq!(code_for(&bytes), code, "{what}");
    }
}

#[test]
fn a_flood_waits_until_it_is_dealt_with() {
    let (_house, client, _line, events) = websocket(Options::default(), 1000);
    let mut sender = Client(client.0.try_clone().unwrap());
    // Small and numbered: thousands come with one read, and none may be lost or change places.
    let total = 50_000;
    let flood = std::thread::spawn(move || {
        for number in 0..total {
            sender.send(masked(0x81, format!("{number}").as_bytes()));
        }
    });
    let mut held = Vec::new();
    // Not one credit is given back: reading stops, and the client's own system holds the rest.
    while let Ok(event) = events.recv_timeout(Duration::from_millis(300)) {
        held.push(event);
    }
    assert!(held.len() <= 64, "{} messages came without being dealt with", held.len());
    let mut got = 0;
    let mut check = |event| match event {
        LineEvent::Message(Message::Text(text), _) => {
            assert_eq!(text, got.to_string());
            got += 1;
            got < total
        }
        other => panic!("{other:?}"),
    };
    for event in held {
        check(event);
    }
    while check(next(&events)) {}
    flood.join().unwrap();
}

#[test]
fn pings_find_the_dead() {
    let options = Options {
        ping_every: Duration::from_millis(20),
        pong_max: Duration::from_millis(100),
        ..Options::default()
    };
    let (_house, mut client, _line, events) = websocket(options, 100);
    for _ in 0..10 {
        assert_eq!(client.exactly(2), b"\x89\x00");
        client.send(masked(0x8a, b""));
    }
    assert_eq!(closed(&events), "no answer to pings");
}

#[test]
fn a_flood_of_pings_fills_nothing() {
    let (_house, mut client, line, events) = websocket(Options::default(), 100);
    let many = masked(0x89, &[b'p'; 125]).repeat(200);
    client.0.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    use std::io::Write;
    for _ in 0..2_000 {
        if client.0.write_all(&many).is_err() {
            break;
        }
        assert!(line.queued_bytes() <= HIGH_WATER_BYTES + 200);
    }
    drop(client);
    closed(&events);
}

#[test]
fn unsound_upgrades_are_refused_as_http() {
    let house = House::echo();
    for (from, to, status) in [
        ("version: 13", "version: 8", "426"),
        ("key: dGhlIHNhbXBsZSBub25jZQ==", "key: short", "400"),
        ("sec-websocket-key", "x-key", "400"),
    ] {
        let mut client = house.connect();
        client.send(UPGRADE.replace(from, to));
        let (head, _) = client.answer();
        assert_eq!(&head[9..12], status, "{head}");
        assert_eq!(head.contains("sec-websocket-version: 13"), status == "426");
    }
    // Not an upgrade at all: a request like any other.
    for (from, to) in
        [("GET", "POST"), ("upgrade: websocket", "upgrade: h2c"), ("keep-alive, Upgrade", "keep-alive")]
    {
        let mut client = house.connect();
        client.send(UPGRADE.replace(from, to));
        assert_eq!(client.status(), 200);
    }
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let (user, _events) = diary();
    let refused = next(&asked).exchange.open_websocket(None, &head(200, &[]), 100, user);
    assert_eq!(refused.unwrap_err(), OpenFailed::NotAsked);
}

#[test]
fn a_stop_says_goodbye() {
    let (house, mut client, _line, events) = websocket(Options::default(), 100);
    let server = house.server.clone();
    let stopping = std::thread::spawn(move || server.stop(house::PATIENCE));
    assert_eq!(client.exactly(4)[..4], [0x88, 22, 0x03, 0xe9]);
    client.exactly(20);
    client.send(masked(0x88, b"\x03\xe9"));
    assert_eq!(closed(&events), "the node is stopping");
    stopping.join().unwrap();
}

#[test]
fn many_lines_share_one_message() {
    let (house, asked) = House::asked(Options::default());
    let mut clients = Vec::new();
    let mut lines = Vec::new();
    for _ in 0..200 {
        let mut client = house.connect();
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        let (user, events) = diary();
        lines.push((next(&asked).exchange.open_stream(head(200, &[]), user).unwrap(), events));
        client.until("\r\n\r\n");
        clients.push(client);
    }
    for number in 0..50 {
        let shared = lines[0].0.framing().frame(format!("event {number};").as_bytes());
        for (line, _) in &lines {
            assert!(line.send(shared.clone()));
        }
    }
    for client in &mut clients {
        for number in 0..50 {
            client.until(&format!("event {number};\r\n"));
        }
    }
}
