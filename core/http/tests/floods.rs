//! HTTP/2: clients that flood a connection, starve it, or want what is not there.

mod house;

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::Builder;
use house::talk::{asked, body, get, talk};
use house::{PATIENCE, closed, diary, echo, head, next};
use http::{Method, Request as HttpRequest, StatusCode};
use konsul_http::{Answer, Options, Piece};

#[test]
fn a_line_that_ends_waits_seconds_and_not_for_ever() {
    let mut with = Builder::new();
    with.initial_window_size(0);
    let (mut talk, asked) = asked(Options::default(), &with);
    let response = talk.ask(get("/sse"));
    let (user, events) = diary();
    let line = next(&asked).exchange.open_stream(head(200, &[]), user).unwrap();
    let stream = talk.runtime.block_on(response).unwrap().into_body();
    line.send(line.framing().frame(b"never read"));
    line.close(1000, "done");
    assert_eq!(closed(&events), "done");
    assert!(talk.runtime.block_on(body(stream)).is_err());
}

/// CVE-2023-44487: requests that are taken back as soon as they are sent cost the client nothing.
#[test]
fn requests_taken_back_in_a_flood_end_the_connection() {
    let mut with = Builder::new();
    with.max_concurrent_reset_streams(100_000);
    let mut flood = talk(Options::default(), &with, echo);
    let mut sent = 0;
    let runtime = &flood.runtime;
    let send = &mut flood.send;
    runtime.block_on(async {
        while sent < 100_000 {
            if poll_fn(|cx| send.poll_ready(cx)).await.is_err() {
                break;
            }
            let Ok((_, mut stream)) = send.send_request(get("/a"), false) else { break };
            stream.send_reset(Reason::CANCEL);
            sent += 1;
            tokio::task::yield_now().await;
        }
    });
    assert!(sent < 100_000, "it was never told to stop");
    assert!(flood.end().is_err());
}

#[test]
fn who_takes_back_a_request_after_it_was_seen_is_counted() {
    let (mut talk, asked) = asked(Options::default(), &Builder::new());
    let mut taken_back = 0;
    loop {
        let runtime = &talk.runtime;
        let send = &mut talk.send;
        let sent = runtime.block_on(async {
            poll_fn(|cx| send.poll_ready(cx)).await?;
            send.send_request(get("/a"), false)
        });
        let Ok((_, mut stream)) = sent else { break };
        let Ok(request) = asked.recv_timeout(PATIENCE) else { break };
        stream.send_reset(Reason::CANCEL);
        assert!(matches!(house::piece(&request.exchange), Piece::Gone));
        taken_back += 1;
        if talk.house.server.stats().floods > 0 {
            break;
        }
        assert!(taken_back < 10_000);
    }
    assert!(taken_back >= 200, "{taken_back}");
    talk.until(|stats| (stats.floods, stats.connections, stats.streams) == (1, 0, 0));
}

#[test]
fn too_many_requests_in_flight_are_refused_with_words() {
    let (mut talk, asked) = asked(Options { streams_max: 2, ..Options::default() }, &Builder::new());
    let held: Vec<_> = (0..2).map(|_| talk.ask(get("/held"))).collect();
    let requests = [next(&asked), next(&asked)];
    let refused = talk.ask(get("/refused"));
    let (status, text) = talk.answer(refused).unwrap();
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "the node has enough requests in flight\n")
    );
    for (response, request) in held.into_iter().zip(requests) {
        request.exchange.answer(Answer::whole(head(200, &[]), Bytes::new()));
        assert_eq!(talk.answer(response).unwrap().0, StatusCode::OK);
    }
    assert_eq!(talk.house.server.stats().streams_refused, 1);
}

#[test]
fn tunnels_are_refused() {
    let mut talk = talk(Options::default(), &Builder::new(), echo);
    let tunnel = HttpRequest::builder().method(Method::CONNECT).uri("elsewhere:443").body(()).unwrap();
    let (response, _sending) = talk.send.send_request(tunnel, false).unwrap();
    assert_eq!(talk.answer(response).unwrap().0, StatusCode::NOT_IMPLEMENTED);
    // RFC 8441 is not announced, so clients of WebSockets use HTTP/1.1.
    assert!(!talk.send.is_extended_connect_protocol_enabled());
    let response = talk.ask(get("/a"));
    assert_eq!(talk.answer(response).unwrap().1, "GET /a 0");
}

#[test]
fn a_head_that_is_too_big_is_refused() {
    let mut talk = talk(Options::default(), &Builder::new(), echo);
    let big = HttpRequest::get("https://localhost/a").header("x-big", "y".repeat(70_000)).body(()).unwrap();
    let response = talk.ask(big);
    let (status, _) =
        talk.answer(response).unwrap_or((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, String::new()));
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[test]
fn an_answer_that_nobody_takes_is_given_up() {
    let mut with = Builder::new();
    with.initial_window_size(1_000);
    let options = Options { write_timeout: Duration::from_millis(200), ..Options::default() };
    let (mut talk, asked) = asked(options, &with);
    let response = talk.ask(get("/big"));
    next(&asked).exchange.answer(Answer::whole(head(200, &[]), Bytes::from(vec![b'x'; 1 << 20])));
    let stream = talk.runtime.block_on(response).unwrap().into_body();
    talk.until(|stats| stats.streams == 0);
    // What it read before is what its window held.
    assert!(talk.runtime.block_on(body(stream)).is_err());
    let response = talk.ask(get("/again"));
    next(&asked).exchange.answer(Answer::whole(head(200, &[]), Bytes::from_static(b"x")));
    assert_eq!(talk.answer(response).unwrap().1, "x");
}

#[test]
fn connections_without_requests_end() {
    let options = Options { head_timeout: Duration::from_millis(300), ..Options::default() };
    let (mut talk, asked) = asked(options, &Builder::new());
    let response = talk.ask(get("/slow"));
    let request = next(&asked);
    // An idle connection comes and ends meanwhile: this one is not idle.
    let mut idle = talk.house.secure(&talk.authority.client());
    idle.0.conn.complete_io(&mut idle.0.sock).unwrap();
    talk.until(|stats| stats.handshakes == 2 && stats.connections == 1);
    request.exchange.answer(Answer::whole(head(200, &[]), Bytes::from_static(b"x")));
    assert_eq!(talk.answer(response).unwrap().1, "x");
    talk.until(|stats| stats.connections == 0);
    // Whether it could still say goodbye or not.
    let _ = talk.end();
}
