//! Requests and answers over a real socket.

mod house;

use std::io::{ErrorKind, Write};
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use house::{House, PATIENCE, head, next, piece};
use konsul_http::{Answer, Options, Piece};

#[test]
fn a_connection_serves_many_requests() {
    let house = House::echo();
    let mut client = house.connect();
    for size in [0, 1, 1_000] {
        let body = "b".repeat(size);
        client.send(format!("PUT /a{size} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n{body}"));
        let (head, body) = client.answer();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\ndate: "), "{head}");
        assert_eq!(body, format!("PUT /a{size} {size}"));
    }
    assert_eq!(house.server.stats().accepted, 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let house = House::echo();
    let mut client = house.connect();
    let many: String = (0..50).map(|number| format!("GET /{number} HTTP/1.1\r\nhost: x\r\n\r\n")).collect();
    client.send(many);
    for number in 0..50 {
        assert_eq!(client.answer().1, format!("GET /{number} 0"));
    }
}

#[test]
fn http_1_0_ends_the_connection_unless_asked() {
    let house = House::echo();
    let mut client = house.connect();
    client.send("GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    assert_eq!(client.answer().1, "GET /a 0");
    client.send("GET /b HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().1, "GET /b 0");
    assert_eq!(client.rest(), "");
}

#[test]
fn a_head_request_gets_no_body() {
    let house = House::echo();
    let mut client = house.connect();
    client.send("HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n");
    let head = client.until("\r\n\r\n");
    assert!(head.contains("\r\ncontent-length: 9\r\n"), "{head}");
    client.send("GET /b HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(client.answer().1, "GET /b 0");
}

#[test]
fn what_could_smuggle_a_request_is_refused() {
    let house = House::echo();
    let hidden = "0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 40",
        "content-length: 5, 40",
        "content-length: +5",
        "content-length: -5",
        "content-length: 99999999999999999999",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: xchunked",
        "transfer-encoding : chunked",
        "content-length : 5",
        " content-length: 5",
        "x: y\rz",
        "x\0: y",
    ] {
        let mut client = house.connect();
        client.send(format!("POST /a HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n{hidden}"));
        let all = client.rest();
        assert!(!all.contains("/hidden"), "{framing}: {all}");
        // RFC 9112, 6.1: with both, the chunks count, and the connection ends.
        let has_both =
            framing.contains("content-length: 5") && framing.contains("transfer-encoding: chunked");
        let as_chunks = all.contains("\r\nconnection: close\r\n") && all.ends_with("POST /a 0");
        assert!(all.starts_with("HTTP/1.1 400 ") || (has_both && as_chunks), "{framing}: {all}");
    }
}

#[test]
fn a_slow_head_ends_the_connection() {
    let options = Options { head_timeout: Duration::from_millis(50), ..Options::default() };
    let (house, asked) = House::asked(options);
    let (mut idle, mut slow) = (house.connect(), house.connect());
    slow.send("GET / HTTP/1.1\r\nhost:");
    assert_eq!((idle.rest(), slow.rest()), (String::new(), String::new()));
    assert!(asked.try_recv().is_err());
}

#[test]
fn a_long_head_is_refused() {
    let options = Options { head_max_bytes: 8192, ..Options::default() };
    let (house, asked) = House::asked(options);
    let mut client = house.connect();
    client.send(format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(9000)));
    assert!(client.rest().starts_with("HTTP/1.1 431 "));
    assert!(asked.try_recv().is_err());
}

#[test]
fn a_body_in_chunks_comes_piece_by_piece() {
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let request = next(&asked);
    assert!(request.body.is_none());
    let mut body = Vec::new();
    let mut more = true;
    let mut rest = ["2\r\nde\r\n", "1;ext=1\r\nf\r\n", "0\r\ntrailer: x\r\n\r\n"].into_iter();
    while more {
        match piece(&request.exchange) {
            Piece::Data { bytes, more: follows } => {
                body.extend_from_slice(&bytes);
                more = follows;
            }
            Piece::Gone => panic!("cut"),
        }
        rest.next().map(|piece| client.send(piece));
    }
    assert_eq!(body, b"abcdef");
    assert!(request.exchange.answer(Answer::whole(head(204, &[]), Bytes::new())));
    assert_eq!(client.status(), 204);
}

#[test]
fn a_body_that_breaks_or_ends_early_is_told() {
    let (house, asked) = House::asked(Options::default());
    for (framing, body) in [("transfer-encoding: chunked", "zz\r\n"), ("content-length: 9", "abc")] {
        let mut client = house.connect();
        client.send(format!("POST / HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n{body}"));
        drop(client);
        let request = next(&asked);
        let mut told = piece(&request.exchange);
        while matches!(told, Piece::Data { more: true, .. }) {
            told = piece(&request.exchange);
        }
        assert!(matches!(told, Piece::Gone), "{told:?}");
    }
}

#[test]
fn a_body_that_is_not_read_is_not_taken() {
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    let size = 64 << 20;
    client.send(format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n"));
    let request = next(&asked);
    client.0.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let block = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while sent < size {
        match client.0.write(&block[..block.len().min(size - sent)]) {
            Ok(wrote) => sent += wrote,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
                break;
            }
        }
    }
    assert!(sent < size / 2, "the listener took {sent} bytes that nobody asked for");
    client.0.set_write_timeout(Some(PATIENCE)).unwrap();
    let writer = std::thread::spawn(move || {
        client.send(vec![b'x'; size - sent]);
        client
    });
    let mut got = 0;
    while let Piece::Data { bytes, more } = piece(&request.exchange) {
        got += bytes.len();
        if !more {
            break;
        }
    }
    assert_eq!(got, size);
    request.exchange.answer(Answer::whole(head(200, &[]), Bytes::from_static(b"ok")));
    assert_eq!(writer.join().unwrap().answer().1, "ok");
}

#[test]
fn who_waits_to_be_asked_for_a_body_is_refused_without() {
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    client.send("PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    next(&asked).exchange.answer(Answer::whole(head(413, &[("connection", "close")]), Bytes::new()));
    assert!(client.rest().starts_with("HTTP/1.1 413 "));
    let mut client = house.connect();
    client.send("PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    let request = next(&asked);
    let reader = std::thread::spawn(move || (piece(&request.exchange), request));
    assert!(client.until("\r\n\r\n").starts_with("HTTP/1.1 100 "));
    client.send("hello");
    let (got, request) = reader.join().unwrap();
    assert!(matches!(got, Piece::Data { ref bytes, more: false } if bytes == "hello"), "{got:?}");
    request.exchange.answer(Answer::whole(head(200, &[]), Bytes::new()));
    assert_eq!(client.status(), 200);
}

#[test]
fn an_answer_in_pieces_waits_for_its_reader() {
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let exchange = next(&asked).exchange;
    assert!(exchange.begin(head(200, &[("content-type", "text/plain")])));
    let (sender, room) = channel();
    let mut sent = 0;
    let block = Bytes::from(vec![b'#'; 32 << 10]);
    // Until the socket's own room is used up as well, the connection takes what is queued.
    loop {
        let sender = sender.clone();
        sent += block.len();
        if !exchange.push(block.clone(), || Box::new(move |piece| drop(sender.send(piece))))
            && room.recv_timeout(Duration::from_millis(300)).is_err()
        {
            break;
        }
        assert!(sent < 256 << 20, "nothing held it back");
    }
    let reader = std::thread::spawn(move || client.rest());
    assert!(matches!(next(&room), Piece::Data { .. }));
    exchange.end();
    house.server.stop(PATIENCE);
    let all = reader.join().unwrap();
    assert_eq!(all.matches('#').count(), sent);
    assert!(all.ends_with("0\r\n\r\n"));
}

#[test]
fn whoever_gives_up_is_noticed() {
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    next(&asked).exchange.finish();
    assert_eq!(client.status(), 500);
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let exchange = next(&asked).exchange;
    exchange.begin(head(200, &[]));
    exchange.push(Bytes::from_static(b"half"), || panic!("there is room"));
    client.until("half\r\n");
    exchange.finish();
    assert_eq!(client.rest(), "", "no end of the body");
}

#[test]
fn a_client_that_leaves_is_told() {
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let exchange = next(&asked).exchange;
    let (sender, told) = channel();
    exchange.read(Box::new(move |piece| drop(sender.send(piece))));
    drop(client);
    assert!(matches!(next(&told), Piece::Gone));
    assert!(!exchange.answer(Answer::whole(head(200, &[]), Bytes::new())));
    assert!(matches!(piece(&exchange), Piece::Gone));
}

#[test]
fn more_connections_than_allowed_are_told_so() {
    let (house, _asked) = House::asked(Options { connections_max: 2, ..Options::default() });
    let mut kept = [house.connect(), house.connect()];
    for client in &mut kept {
        client.send("GET");
    }
    let mut third = house.connect();
    assert!(third.rest().starts_with("HTTP/1.1 503 "));
    assert_eq!(house.server.stats().refused_full, 1);
}

#[test]
fn what_http_forbids_is_refused() {
    for status in [0, 99, 101, 199, 600, 1000] {
        assert!(konsul_http::Head::new(status, 0).is_err(), "{status}");
    }
    let mut head = head(200, &[]);
    for (name, value) in [("a b", "c"), ("", "c"), ("a", "b\r\nset-cookie: x"), ("a\n", "b"), ("a", "b\0")] {
        assert!(head.add(name.as_bytes(), value.as_bytes()).is_err(), "{name:?}: {value:?}");
    }
}

#[test]
fn a_stop_lets_what_was_begun_finish() {
    let (house, asked) = House::asked(Options::default());
    let (mut idle, mut busy) = (house.connect(), house.connect());
    busy.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let exchange = next(&asked).exchange;
    let server = house.server.clone();
    let stopping = std::thread::spawn(move || server.stop(PATIENCE));
    assert_eq!(idle.rest(), "");
    assert!(exchange.answer(Answer::whole(head(200, &[]), Bytes::from_static(b"late"))));
    assert!(busy.rest().ends_with("late"));
    stopping.join().unwrap();
    assert!(std::net::TcpStream::connect(house.address).is_err());
}

#[test]
fn who_has_said_everything_still_listens() {
    let (house, asked) = House::asked(Options::default());
    let mut client = house.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\nPUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\na");
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    for text in ["one", "two"] {
        let answer = Answer::whole(head(200, &[]), Bytes::from(text));
        assert!(next(&asked).exchange.answer(answer));
        assert!(client.until(text).starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(client.rest(), "");
}

#[test]
fn who_takes_nothing_of_its_answer_is_cut() {
    let options = Options { write_timeout: Duration::from_millis(50), ..Options::default() };
    let (house, asked) = House::asked(options);
    let mut client = house.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let exchange = next(&asked).exchange;
    assert!(exchange.begin(head(200, &[])));
    exchange.push(Bytes::from(vec![b'x'; 64 << 20]), || Box::new(drop));
    exchange.end();
    assert!(matches!(piece(&exchange), Piece::Gone));
    // What the kernel had taken, and no more.
    assert!(client.rest().len() < 64 << 20);
}

#[test]
fn a_flood_answered_by_the_network_thread_keeps_nobody_waiting() {
    let house = House::echo();
    let refused =
        "GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".repeat(1_000);
    let mut flooding = Vec::new();
    for _ in 0..3 {
        let mut reading = house.connect().0;
        let mut writing = reading.try_clone().unwrap();
        let text = refused.clone();
        flooding.push((
            reading.try_clone().unwrap(),
            std::thread::spawn(move || while writing.write_all(text.as_bytes()).is_ok() {}),
            std::thread::spawn(move || drop(std::io::copy(&mut reading, &mut std::io::sink()))),
        ));
    }
    let mut client = house.connect();
    for _ in 0..50 {
        client.send("GET /a HTTP/1.1\r\nhost: x\r\n\r\n").until("GET /a 0");
    }
    for (socket, writer, reader) in flooding {
        let _ = socket.shutdown(std::net::Shutdown::Both);
        writer.join().unwrap();
        reader.join().unwrap();
    }
}
