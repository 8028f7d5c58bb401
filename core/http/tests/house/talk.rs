//! A client of HTTP/2 with one connection.

use std::future::poll_fn;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::{Request as HttpRequest, StatusCode};
use konsul_http::{Options, Request, Stats};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::secure::{Authority, name};
use super::{House, PATIENCE};

/// A house, a client's one connection to it, and the runtime that drives that.
pub struct Talk {
    pub authority: Authority,
    pub house: House,
    pub runtime: Runtime,
    pub send: SendRequest<Bytes>,
    pub driver: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

pub fn talk(options: Options, with: &Builder, answer: impl FnMut(Request) + Send + 'static) -> Talk {
    let authority = Authority::new();
    let house = House::with(options, Some(authority.tls()), answer);
    let mut client = authority.client();
    client.alpn = vec!["h2"];
    let (runtime, address) = (runtime(), house.address);
    let (send, driver) = runtime.block_on(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = TlsConnector::from(client.config()).connect(name(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, connection) = with.handshake(stream).await.unwrap();
        (send, tokio::spawn(connection))
    });
    Talk { authority, house, runtime, send, driver }
}

pub fn asked(options: Options, with: &Builder) -> (Talk, Receiver<Request>) {
    let (sender, receiver) = channel();
    (talk(options, with, move |request| drop(sender.send(request))), receiver)
}

pub fn get(path: &str) -> HttpRequest<()> {
    HttpRequest::get(format!("https://localhost{path}")).body(()).unwrap()
}

pub async fn body(mut stream: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut got = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        got.extend_from_slice(&piece);
        stream.flow_control().release_capacity(piece.len())?;
    }
    Ok(got)
}

impl Talk {
    /// Asks without waiting for an answer.
    pub fn ask(&mut self, request: HttpRequest<()>) -> ResponseFuture {
        let send = &mut self.send;
        self.runtime.block_on(poll_fn(|cx| send.poll_ready(cx))).unwrap();
        send.send_request(request, true).unwrap().0
    }

    pub fn answer(&self, response: ResponseFuture) -> Result<(StatusCode, String), h2::Error> {
        self.runtime.block_on(async {
            let response = tokio::time::timeout(PATIENCE, response).await.unwrap()?;
            let status = response.status();
            Ok((status, String::from_utf8(body(response.into_body()).await?).unwrap()))
        })
    }

    pub fn until(&self, what: impl Fn(Stats) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !what(self.house.server.stats()) {
            assert!(Instant::now() < deadline, "{:?}", self.house.server.stats());
            std::thread::yield_now();
        }
    }

    /// How the connection ended.
    pub fn end(self) -> Result<(), h2::Error> {
        let driver = self.driver;
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, driver).await }).unwrap().unwrap()
    }
}
