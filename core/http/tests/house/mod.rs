//! A listener with an answering thread, and clients that write what they like.
#![allow(dead_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use konsul_http::{
    Answer, Event, Exchange, Head, Line, LineEvent, LineUser, Message, Options, Piece, Request, Server, Tls,
};

/// Longer than anything here takes; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub mod secure;
pub mod talk;

pub struct House {
    pub address: SocketAddr,
    pub server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl House {
    pub fn new(options: Options, answer: impl FnMut(Request) + Send + 'static) -> Self {
        Self::with(options, None, answer)
    }

    pub fn with(
        options: Options,
        tls: Option<Tls>,
        mut answer: impl FnMut(Request) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Server::start(listener, options, tls).unwrap());
        let events = server.events().clone();
        let thread = std::thread::spawn(move || {
            let mut taken = Vec::new();
            while events.take(&mut taken) {
                for event in taken.drain(..) {
                    match event {
                        Event::Request(request) => answer(*request),
                        Event::Piece(waiter, piece) => waiter(piece),
                        Event::Line(user, event) => user.told(event),
                    }
                }
            }
        });
        Self { address, server, thread: Some(thread) }
    }

    /// Hands every request to the test.
    pub fn asked(options: Options) -> (Self, Receiver<Request>) {
        let (sender, receiver) = channel();
        (Self::new(options, move |request| drop(sender.send(request))), receiver)
    }

    /// Answers every request with its method, path and body's length.
    pub fn echo() -> Self {
        Self::new(Options::default(), echo)
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }
}

pub fn echo(request: Request) {
    let size = request.body.as_ref().map_or(usize::MAX, Bytes::len);
    let text = format!("{} {} {size}", request.head.method, request.head.uri.path());
    request.exchange.answer(Answer::whole(head(200, &[]), Bytes::from(text)));
}

impl Drop for House {
    fn drop(&mut self) {
        self.server.stop(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

pub fn head(status: u16, headers: &[(&str, &str)]) -> Head {
    let mut head = Head::new(status, headers.len()).unwrap();
    for (name, value) in headers {
        head.add(name.as_bytes(), value.as_bytes()).unwrap();
    }
    head
}

pub fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(PATIENCE).expect("nothing came")
}

/// Asks for a piece and waits for it.
pub fn piece(exchange: &Arc<Exchange>) -> Piece {
    let (sender, receiver) = channel();
    exchange.read(Box::new(move |piece| drop(sender.send(piece))));
    next(&receiver)
}

pub struct Client<S = TcpStream>(pub S);

impl<S: Read + Write> Client<S> {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Everything up to and including `end`.
    pub fn until(&mut self, end: &str) -> String {
        let mut got = Vec::new();
        let mut byte = [0];
        while !got.ends_with(end.as_bytes()) {
            assert!(self.0.read(&mut byte).unwrap() > 0, "ended early: {:?}", String::from_utf8_lossy(&got));
            got.push(byte[0]);
        }
        String::from_utf8(got).unwrap()
    }

    pub fn exactly(&mut self, size: usize) -> Vec<u8> {
        let mut got = vec![0; size];
        self.0.read_exact(&mut got).unwrap();
        got
    }

    /// Everything until the server's end.
    pub fn rest(&mut self) -> String {
        let mut got = Vec::new();
        match self.0.read_to_end(&mut got) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "after {got:?}"),
        }
        String::from_utf8_lossy(&got).into_owned()
    }

    /// One whole answer: head and a body of its `content-length`.
    pub fn answer(&mut self) -> (String, String) {
        let head = self.until("\r\n\r\n");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = self.exactly(length.map_or(0, |digits| digits.parse().unwrap()));
        (head, String::from_utf8(body).unwrap())
    }

    pub fn status(&mut self) -> u16 {
        self.answer().0[9..12].parse().unwrap()
    }
}

/// A line's user who writes everything down.
pub struct Diary(Sender<LineEvent>);

impl LineUser for Diary {
    fn told(&self, event: LineEvent) {
        let _ = self.0.send(event);
    }
}

pub fn diary() -> (Arc<Diary>, Receiver<LineEvent>) {
    let (sender, receiver) = channel();
    (Arc::new(Diary(sender)), receiver)
}

pub fn closed(events: &Receiver<LineEvent>) -> String {
    loop {
        if let LineEvent::Closed(reason, _) = next(events) {
            return reason;
        }
    }
}

pub fn text(events: &Receiver<LineEvent>) -> String {
    match next(events) {
        LineEvent::Message(Message::Text(text), _) => text,
        other => panic!("{other:?}"),
    }
}

pub const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
    connection: keep-alive, Upgrade\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A house and a client with an open WebSocket.
pub fn websocket(options: Options, message_max: usize) -> (House, Client, Arc<Line>, Receiver<LineEvent>) {
    let (house, asked) = House::asked(options);
    let mut client = house.connect();
    client.send(UPGRADE);
    let request = next(&asked);
    assert!(request.is_websocket);
    let (user, events) = diary();
    let line =
        request.exchange.open_websocket(Some("b"), &head(200, &[("x-a", "1")]), message_max, user).unwrap();
    let answer = client.until("\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    assert!(
        answer.contains("\r\nsec-websocket-protocol: b\r\n") && answer.contains("\r\nx-a: 1\r\n"),
        "{answer}"
    );
    (house, client, line, events)
}

/// A client's frame.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 77, 177, 250];
    let mut frame = vec![first];
    match payload.len() {
        small @ 0..=125 => frame.push(0x80 | small as u8),
        medium => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    frame
}
