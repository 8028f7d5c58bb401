//! HTTP/1.1 and lines over TLS, and certificates that change meanwhile.

mod house;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use house::secure::{Authority, GET, asked, connect, gets, parts, served, until};
use house::{House, PATIENCE, UPGRADE, closed, diary, head, masked, next, text};
use konsul_http::{Answer, Options, Piece, Request, Tls, cipher_names};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

#[test]
fn requests_are_answered_as_in_the_clear() {
    let authority = Authority::new();
    for only in [&TLS12, &TLS13] {
        let house = served(Options::default(), authority.tls());
        let mut talk = authority.client();
        talk.only = Some(only);
        let mut client = house.secure(&talk);
        for size in [0, 1, 100_000] {
            let body = "b".repeat(size);
            client.send(format!("PUT /a HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n{body}"));
            // More than 64 KiB is not read ahead.
            let known = if size > 65_536 { usize::MAX } else { size };
            assert_eq!(client.answer().1, format!("PUT /a {known}"));
        }
        assert_eq!(house.server.stats().handshakes, 1);
    }
}

#[test]
fn what_a_handshake_came_to_is_known_to_every_request() {
    let authority = Authority::new();
    let (house, asked) = asked(Options::default(), authority.tls());
    let mut talk = authority.client();
    (talk.only, talk.alpn) = (Some(&TLS12), vec!["http/1.1"]);
    let mut client = house.secure(&talk);
    client.send(GET).send(GET);
    let first = next(&asked);
    first.exchange.answer(Answer::whole(head(200, &[]), Bytes::new()));
    let (first, second) = (first.tls.unwrap(), next(&asked).tls.unwrap());
    assert!(std::sync::Arc::ptr_eq(&first, &second));
    assert_eq!((first.version, first.alpn, &first.client_cert), ("TLSv1.2", Some("http/1.1"), &None));
    assert!(cipher_names().contains(&first.cipher), "{}", first.cipher);
}

#[test]
fn a_big_answer_arrives_whole_at_a_slow_reader() {
    let authority = Authority::new();
    let body = Bytes::from((0..8 << 20).map(|at: u32| (at % 251) as u8).collect::<Vec<_>>());
    let sent = body.clone();
    let house = House::with(Options::default(), Some(authority.tls()), move |request: Request| {
        request.exchange.answer(Answer::whole(head(200, &[]), sent.clone()));
    });
    let mut client = house.secure(&authority.client());
    client.send(GET).until("\r\n\r\n");
    let mut got = Vec::new();
    while got.len() < body.len() {
        got.extend(client.exactly((body.len() - got.len()).min(7_777)));
    }
    assert!(got == body);
    client.send(GET).until("\r\n\r\n");
}

#[test]
fn an_event_stream_ends_with_the_goodbye_of_tls() {
    let authority = Authority::new();
    let (house, asked) = asked(Options::default(), authority.tls());
    let mut client = house.secure(&authority.client());
    client.send(GET);
    let (user, events) = diary();
    let line = next(&asked).exchange.open_stream(head(200, &[]), user).unwrap();
    client.until("\r\n\r\n");
    let big = "x".repeat(60_000);
    for text in ["data: a\n\n", &big, "data: b\n\n"] {
        line.send(line.framing().frame(text.as_bytes()));
    }
    let all = client.until("data: b\n\n\r\n");
    assert!(all.starts_with("9\r\ndata: a\n\n\r\n") && all.contains(&big));
    until(&house, |_| line.queued_bytes() == 0);
    line.close(1000, "done");
    let mut rest = Vec::new();
    // Without the goodbye this would be an error.
    client.0.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"0\r\n\r\n");
    assert_eq!(closed(&events), "done");
}

#[test]
fn a_reader_that_is_stuck_is_told_when_there_is_room_again() {
    let authority = Authority::new();
    let (house, asked) = asked(Options::default(), authority.tls());
    let mut client = house.secure(&authority.client());
    client.send(GET);
    let (user, events) = diary();
    let line = next(&asked).exchange.open_stream(head(200, &[]), user).unwrap();
    client.until("\r\n\r\n");
    let mut sent = 0;
    let piece = line.framing().frame(&[b'y'; 10_000]);
    while line.send(piece.clone()) {
        sent += piece.len();
    }
    let got = client.exactly(sent + piece.len());
    assert_eq!(got.len(), sent + piece.len());
    assert!(matches!(next(&events), konsul_http::LineEvent::Drained));
    // One message of any size may be said to whom has read everything.
    let huge = line.framing().frame(&vec![b'z'; 3 << 20]);
    line.send(huge.clone());
    assert!(client.exactly(huge.len()) == huge);
    drop(client);
    assert_eq!(closed(&events), "the client went away");
}

#[test]
fn websockets_are_opened_over_tls() {
    let authority = Authority::new();
    let (house, asked) = asked(Options::default(), authority.tls());
    let mut client = house.secure(&authority.client());
    client.send(UPGRADE);
    let (user, events) = diary();
    let line = next(&asked).exchange.open_websocket(None, &head(200, &[]), 1_000, user).unwrap();
    assert!(client.until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    client.send(masked(0x81, b"hello"));
    assert_eq!(text(&events), "hello");
    line.send(line.framing().frame(b"answer"));
    assert_eq!(client.exactly(8), b"\x81\x06answer");
    client.send(masked(0x88, &1000u16.to_be_bytes()));
    assert_eq!(client.exactly(4), b"\x88\x02\x03\xe8");
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).unwrap();
    assert_eq!((rest.len(), closed(&events)), (0, "the client closed (1000)".to_owned()));
}

#[test]
fn who_waits_for_a_change_and_leaves_is_noticed() {
    let authority = Authority::new();
    for says_goodbye in [true, false] {
        let (house, asked) = asked(Options::default(), authority.tls());
        let mut client = house.secure(&authority.client());
        client.send(GET);
        let request = next(&asked);
        let (sender, told) = channel();
        request.exchange.read(Box::new(move |piece| drop(sender.send(piece))));
        if says_goodbye {
            client.0.conn.send_close_notify();
            client.0.flush().unwrap();
        } else {
            drop(client);
        }
        assert!(matches!(next(&told), Piece::Gone));
    }
}

#[test]
fn a_new_certificate_is_shown_and_nobody_is_dropped() {
    let authority = Authority::new();
    let pair = authority.issue("localhost");
    let house = served(Options::default(), Tls::new(&parts(&pair)).unwrap());
    let config = authority.client().config();
    let mut old = connect(house.address, config.clone());
    gets(&mut old).unwrap();
    let renewed = authority.issue("localhost");
    house.server.set_tls(Tls::new(&parts(&renewed)).unwrap());
    let mut new = connect(house.address, config);
    gets(&mut new).unwrap();
    // Also not by a session of before.
    assert_eq!(new.0.conn.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(new.0.conn.peer_certificates().unwrap()[0], renewed.der());
    assert!(gets(&mut old).unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(old.0.conn.peer_certificates().unwrap()[0], pair.der());
}

#[test]
fn certificates_change_under_load() {
    let authority = Authority::new();
    let house = served(Options::default(), authority.tls());
    let (address, talk) = (house.address, authority.client());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let talk = talk.clone();
            std::thread::spawn(move || {
                let mut stays = connect(address, talk.config());
                for _ in 0..50 {
                    assert!(gets(&mut stays).unwrap().starts_with("HTTP/1.1 200"));
                    assert!(gets(&mut connect(address, talk.config())).unwrap().starts_with("HTTP/1.1 200"));
                }
            })
        })
        .collect();
    let mut changes = 0;
    while !clients.iter().all(std::thread::JoinHandle::is_finished) {
        house.server.set_tls(authority.tls());
        changes += 1;
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(changes > 1);
    assert_eq!((house.server.stats().handshakes, house.server.stats().handshake_failures), (204, 0));
}

#[test]
fn a_stop_says_goodbye_to_idle_connections_and_ends_handshakes() {
    let authority = Authority::new();
    let house = served(Options::default(), authority.tls());
    let mut client = house.secure(&authority.client());
    gets(&mut client).unwrap();
    let mut silent = TcpStream::connect(house.address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    until(&house, |stats| stats.handshaking == 1);
    house.server.stop(Duration::from_millis(200));
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert!(matches!(silent.read(&mut [0]), Ok(0) | Err(_)));
}
