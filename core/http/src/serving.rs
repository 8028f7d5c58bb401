//! hyper's service: turns a request into an event and waits for its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{EXPECT, HeaderValue};
use http::request::Parts;
use http::{Request as HttpRequest, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;

use crate::answer::{Answer, AnswerBody, PiecesGuard};
use crate::connection::Conn;
use crate::events::{Event, Piece, Request};
use crate::exchange::{Asks, Content, Exchange};
use crate::handshake::{self, Upgrade};
use crate::line_body::LineBody;

/// So much of a body is read before the request is handed over: most bodies then need no second event.
const AHEAD_MAX_BYTES: usize = 64 << 10;

/// Never: an answer that cannot be given ends as a cut body.
#[derive(Debug)]
pub(crate) enum Never {}

impl std::fmt::Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

/// One connection's requests, one after the other.
pub(crate) struct Requests(pub(crate) Arc<Conn>);

impl Service<HttpRequest<Incoming>> for Requests {
    type Response = Response<AnswerBody>;
    type Error = Never;
    type Future = Serving;

    fn call(&self, request: HttpRequest<Incoming>) -> Serving {
        let (head, body) = request.into_parts();
        Serving::new(self.0.clone(), head, body)
    }
}

/// One request until its answer begins.
pub(crate) struct Serving {
    exchange: Arc<Exchange>,
    body: Incoming,
    /// Until it is handed over.
    pending: Option<Box<Request>>,
    /// Nothing of the body is read ahead any more: it was tried, or the client waits to be asked for it.
    asked: bool,
    ahead: BytesMut,
    done: bool,
}

impl Serving {
    /// `conn`: the connection, or the stream.
    pub(crate) fn new(conn: Arc<Conn>, head: Parts, body: Incoming) -> Self {
        let upgrade = handshake::wanted(&head);
        let is_h2 = head.version == Version::HTTP_2;
        let asks = Asks {
            is_http_11: head.version == Version::HTTP_11,
            is_h2,
            accept_key: if let Upgrade::Sound(key) = upgrade { Some(key) } else { None },
        };
        if let Upgrade::Unsound(refusal) = upgrade {
            return Self::refused(conn, asks, body, Answer::whole(refusal.head(), refusal.body()));
        }
        // Over HTTP/2 hyper never asks: who waits to be asked sends its body after a while.
        let asked = !is_h2
            && head
                .headers
                .get(EXPECT)
                .is_some_and(|value| value == HeaderValue::from_static("100-continue"));
        let exchange = Arc::new(Exchange::new(conn, asks));
        let request = Request {
            is_websocket: exchange.asks.accept_key.is_some(),
            client: exchange.conn.client,
            tls: exchange.conn.tls.clone(),
            body: None,
            exchange: exchange.clone(),
            head,
        };
        Self { exchange, body, pending: Some(Box::new(request)), asked, ahead: BytesMut::new(), done: false }
    }

    /// Answered at once, and nobody is told of the request.
    pub(crate) fn refused(conn: Arc<Conn>, asks: Asks, body: Incoming, answer: Answer) -> Self {
        let exchange = Arc::new(Exchange::new(conn, asks));
        exchange.answer(answer);
        Self { exchange, body, pending: None, asked: true, ahead: BytesMut::new(), done: false }
    }

    /// Reads what is there of the body. Returns false to be called again at once: only then has hyper looked.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut whole, mut broken) = (None, false);
        if self.body.is_end_stream() {
            whole = Some(Bytes::new());
        }
        let waits_to_be_asked = self.asked && self.ahead.is_empty();
        while whole.is_none() && !broken && !waits_to_be_asked && self.ahead.len() < AHEAD_MAX_BYTES {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Some(data) = frame.data_ref() else { continue };
                    if self.ahead.is_empty() && self.body.is_end_stream() {
                        whole = Some(data.clone());
                    } else {
                        self.ahead.extend_from_slice(data);
                    }
                    if whole.is_none() && self.body.is_end_stream() {
                        whole = Some(self.ahead.split().freeze());
                    }
                }
                Poll::Ready(None) => whole = Some(self.ahead.split().freeze()),
                Poll::Ready(Some(Err(_))) => broken = true,
                Poll::Pending if self.asked => break,
                Poll::Pending => {
                    self.asked = true;
                    cx.waker().wake_by_ref();
                    return false;
                }
            }
        }
        let ahead = std::mem::take(&mut self.ahead).freeze();
        self.exchange.set_body(ahead, whole.is_some() || broken, broken);
        if let Some(mut request) = self.pending.take() {
            request.body = whole;
            self.exchange.conn.shared.events.push(Event::Request(request));
        }
        true
    }

    fn read_piece(&mut self, cx: &mut Context<'_>) {
        while self.exchange.wants_piece() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.exchange.give(Piece::Data { bytes, more: !self.body.is_end_stream() });
                    }
                }
                Poll::Ready(None) => self.exchange.give(Piece::Data { bytes: Bytes::new(), more: false }),
                Poll::Ready(Some(Err(_))) => self.exchange.give(Piece::Gone),
                Poll::Pending => return,
            }
        }
    }
}

impl Future for Serving {
    type Output = Result<Response<AnswerBody>, Never>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.exchange.conn.set_task(cx);
        if self.pending.is_some() && !self.read_ahead(cx) {
            return Poll::Pending;
        }
        if let Some((head, content)) = self.exchange.take_answer() {
            self.exchange.conn.is_answered.store(true, Ordering::Relaxed);
            self.done = !matches!(content, Content::Whole(_));
            let body = match content {
                Content::Whole(bytes) => AnswerBody::Whole(bytes),
                Content::Pieces => AnswerBody::Pieces(PiecesGuard(self.exchange.clone())),
                Content::Line(line) => AnswerBody::Line(LineBody::new(line)),
            };
            return Poll::Ready(Ok(Answer { head, body }.response()));
        }
        self.read_piece(cx);
        self.exchange.conn.awaits_end.store(self.exchange.awaits_end(), Ordering::Relaxed);
        Poll::Pending
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.exchange.conn.awaits_end.store(false, Ordering::Relaxed);
        if !self.done {
            self.exchange.gone();
        }
    }
}
