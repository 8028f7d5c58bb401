//! HTTP/2: requests and lines on streams of one connection.

mod house;

use std::future::poll_fn;

use bytes::Bytes;
use h2::Reason;
use h2::client::Builder;
use house::talk::{asked, body, get};
use house::{PATIENCE, closed, diary, head, next};
use http::{Request as HttpRequest, StatusCode, Version};
use konsul_http::{Answer, LineEvent, Options, Piece, WAITING_MAX_BYTES};

#[test]
fn many_requests_share_a_connection() {
    let (mut talk, asked) = asked(Options::default(), &Builder::new());
    let responses: Vec<_> = (0..60).map(|number| talk.ask(get(&format!("/{number}")))).collect();
    let mut requests: Vec<_> = responses.iter().map(|_| next(&asked)).collect();
    assert_eq!(talk.house.server.stats().streams, 60);
    // The last first: nobody waits for anybody.
    requests.reverse();
    for request in requests {
        assert_eq!(request.head.version, Version::HTTP_2);
        assert_eq!(request.head.uri.authority().unwrap(), "localhost");
        let path = Bytes::from(request.head.uri.path().to_owned());
        assert!(request.exchange.answer(Answer::whole(head(200, &[("x-a", "1")]), path)));
    }
    for (number, response) in responses.into_iter().enumerate() {
        assert_eq!(talk.answer(response).unwrap(), (StatusCode::OK, format!("/{number}")));
    }
    talk.until(|stats| stats.streams == 0 && (stats.accepted, stats.connections) == (1, 1));
}

#[test]
fn bodies_go_both_ways_through_small_windows() {
    let mut with = Builder::new();
    with.initial_window_size(10_000).initial_connection_window_size(70_000);
    let (mut talk, asked) = asked(Options::default(), &with);
    let big = Bytes::from((0..3 << 20).map(|at: u32| (at % 249) as u8).collect::<Vec<_>>());
    let request = HttpRequest::put("https://localhost/big").body(()).unwrap();
    let (response, mut sending) = talk.send.send_request(request, false).unwrap();
    let sent = big.clone();
    let sender = talk.runtime.spawn(async move {
        let mut left = sent;
        while !left.is_empty() {
            sending.reserve_capacity(left.len());
            let room = poll_fn(|cx| sending.poll_capacity(cx)).await.unwrap().unwrap();
            let piece = left.split_to(room.min(left.len()));
            sending.send_data(piece, left.is_empty()).unwrap();
        }
    });
    let request = next(&asked);
    let mut got = Vec::new();
    loop {
        match house::piece(&request.exchange) {
            Piece::Data { bytes, more } => {
                got.extend_from_slice(&bytes);
                if !more {
                    break;
                }
            }
            Piece::Gone => panic!("the client was taken for gone"),
        }
    }
    assert!(got == big);
    request.exchange.answer(Answer::whole(head(200, &[]), big.clone()));
    let got = talk.runtime.block_on(async {
        sender.await.unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["content-length"], big.len().to_string());
        body(response.into_body()).await.unwrap()
    });
    assert!(got == big);
}

#[test]
fn an_answer_may_come_before_the_body_is_sent() {
    let (mut talk, asked) = asked(Options::default(), &Builder::new());
    let request =
        HttpRequest::put("https://localhost/big").header("content-length", "9999999").body(()).unwrap();
    let (response, mut sending) = talk.send.send_request(request, false).unwrap();
    sending.send_data(Bytes::from(vec![b'x'; 50_000]), false).unwrap();
    next(&asked).exchange.answer(Answer::whole(head(413, &[]), Bytes::from_static(b"too big")));
    assert_eq!(talk.answer(response).unwrap(), (StatusCode::PAYLOAD_TOO_LARGE, "too big".to_owned()));
    // RFC 9113, section 8.1: the rest of the body is not wanted, and that is no error.
    assert_eq!(talk.runtime.block_on(poll_fn(|cx| sending.poll_reset(cx))).unwrap(), Reason::NO_ERROR);
}

#[test]
fn a_head_request_gets_no_body() {
    let (mut talk, asked) = asked(Options::default(), &Builder::new());
    for (method, status, size) in [("HEAD", 200, Some("4")), ("HEAD", 404, Some("4")), ("GET", 204, None)] {
        let request = HttpRequest::builder().method(method).uri("https://localhost/a").body(()).unwrap();
        let response = talk.ask(request);
        next(&asked).exchange.answer(Answer::whole(head(status, &[]), Bytes::from_static(b"body")));
        let response = talk.runtime.block_on(response).unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().get("content-length").map(|size| size.to_str().unwrap()), size);
        assert_eq!(talk.runtime.block_on(body(response.into_body())).unwrap(), b"");
    }
}

#[test]
fn an_answer_in_pieces_ends_whole_or_is_cut() {
    let (mut talk, asked) = asked(Options::default(), &Builder::new());
    for is_whole in [true, false] {
        let response = talk.ask(get("/pieces"));
        let exchange = next(&asked).exchange;
        assert!(exchange.begin(head(200, &[])));
        assert!(exchange.push(Bytes::from_static(b"some"), || Box::new(|_| ())));
        if is_whole {
            exchange.end()
        } else {
            exchange.finish()
        }
        assert_eq!(talk.answer(response).is_ok(), is_whole);
    }
    // The connection lives on.
    let response = talk.ask(get("/again"));
    next(&asked).exchange.answer(Answer::whole(head(204, &[]), Bytes::new()));
    assert_eq!(talk.answer(response).unwrap().0, StatusCode::NO_CONTENT);
}

#[test]
fn an_event_stream_is_one_stream_among_others() {
    let (mut talk, asked) = asked(Options::default(), &Builder::new());
    let response = talk.ask(get("/sse"));
    let (user, events) = diary();
    let request = next(&asked);
    let line =
        request.exchange.open_stream(head(200, &[("content-type", "text/event-stream")]), user).unwrap();
    assert!(!request.exchange.answer(Answer::whole(head(200, &[]), Bytes::new())));
    let mut stream = talk.runtime.block_on(response).unwrap().into_body();
    assert_eq!((talk.house.server.stats().lines, talk.house.server.stats().streams), (1, 1));
    for text in ["data: a\n\n", "data: b\n\n"] {
        assert!(line.send(line.framing().frame(text.as_bytes())));
        assert_eq!(talk.runtime.block_on(stream.data()).unwrap().unwrap(), text);
    }
    let other = talk.ask(get("/other"));
    next(&asked).exchange.answer(Answer::whole(head(200, &[]), Bytes::from_static(b"x")));
    assert_eq!(talk.answer(other).unwrap().1, "x");
    line.send(line.framing().frame(b"last"));
    line.close(1000, "done");
    assert_eq!(talk.runtime.block_on(body(stream)).unwrap(), b"last");
    assert_eq!(closed(&events), "done");
    talk.until(|stats| (stats.lines, stats.streams) == (0, 0));
}

#[test]
fn a_stuck_reader_holds_back_its_own_line_only() {
    let mut with = Builder::new();
    with.initial_connection_window_size(1 << 20);
    let (mut talk, asked) = asked(Options::default(), &with);
    let stuck = talk.ask(get("/stuck"));
    let (user, events) = diary();
    let line = next(&asked).exchange.open_stream(head(200, &[]), user).unwrap();
    let mut stream = talk.runtime.block_on(stuck).unwrap().into_body();
    let piece = line.framing().frame(&[b'y'; 10_000]);
    let mut sent = piece.len();
    while line.send(piece.clone()) {
        sent += piece.len();
    }
    let other = talk.ask(get("/other"));
    next(&asked).exchange.answer(Answer::whole(head(200, &[]), Bytes::from_static(b"x")));
    assert_eq!(talk.answer(other).unwrap().1, "x");
    let mut got = 0;
    talk.runtime.block_on(async {
        while got < sent {
            let piece = stream.data().await.unwrap().unwrap();
            got += piece.len();
            stream.flow_control().release_capacity(piece.len()).unwrap();
        }
    });
    assert!(matches!(next(&events), LineEvent::Drained));
    assert_eq!(got, sent);
    // Nothing is read any more: beyond the most that may wait, the line is cut, and its stream is reset.
    let mut waiting = 0;
    while waiting < WAITING_MAX_BYTES * 2 {
        line.send(piece.clone());
        waiting += piece.len();
    }
    assert!(closed(&events).starts_with("more than 1048576 bytes waited"));
    assert_eq!(talk.house.server.stats().lines_overrun, 1);
    let ended = talk.runtime.block_on(body(stream));
    assert!(ended.is_err());
}

#[test]
fn a_reset_tells_whoever_answers() {
    let (mut talk, asked) = asked(Options::default(), &Builder::new());
    let (response, mut sending) = talk.send.send_request(get("/wait"), false).unwrap();
    let request = next(&asked);
    sending.send_reset(Reason::CANCEL);
    assert!(matches!(house::piece(&request.exchange), Piece::Gone));
    drop(response);
    let response = talk.ask(get("/sse"));
    let (user, events) = diary();
    let _line = next(&asked).exchange.open_stream(head(200, &[]), user).unwrap();
    drop(response);
    assert_eq!(closed(&events), "the client went away");
    talk.until(|stats| stats.streams == 0);
}

#[test]
fn a_client_that_leaves_ends_all_its_streams() {
    let (mut talk, asked) = asked(Options::default(), &Builder::new());
    let _response = talk.ask(get("/sse"));
    let _other = talk.ask(get("/wait"));
    let (user, events) = diary();
    let _line = next(&asked).exchange.open_stream(head(200, &[]), user).unwrap();
    let request = next(&asked);
    talk.driver.abort();
    assert_eq!(closed(&events), "the client went away");
    assert!(matches!(house::piece(&request.exchange), Piece::Gone));
    talk.until(|stats| (stats.connections, stats.streams) == (0, 0));
}

#[test]
fn a_stop_ends_streams_and_says_so() {
    let (mut talk, asked) = asked(Options::default(), &Builder::new());
    let response = talk.ask(get("/sse"));
    let late = talk.ask(get("/late"));
    let (user, events) = diary();
    let _line = next(&asked).exchange.open_stream(head(200, &[]), user).unwrap();
    let request = next(&asked);
    let stream = talk.runtime.block_on(response).unwrap().into_body();
    let server = talk.house.server.clone();
    let stopping = std::thread::spawn(move || server.stop(PATIENCE));
    assert_eq!(talk.runtime.block_on(body(stream)).unwrap(), b"");
    assert_eq!(closed(&events), "the node is stopping");
    // Who is in the middle of something is waited for.
    request.exchange.answer(Answer::whole(head(200, &[]), Bytes::from_static(b"late")));
    assert_eq!(talk.answer(late).unwrap().1, "late");
    stopping.join().unwrap();
}
