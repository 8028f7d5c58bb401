//! Answers: whole ones, and bodies that are given piece by piece.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::exchange::Exchange;
use crate::line_body::LineBody;

/// Names of our own that many answers carry. A name that is not one of HTTP's own is otherwise checked and
/// copied each time.
static OFTEN: [HeaderName; 9] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-konsul-index"),
    HeaderName::from_static("x-konsul-known-leader"),
    HeaderName::from_static("x-konsul-last-contact"),
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("ratelimit"),
];

fn named(name: &[u8]) -> Result<HeaderName, String> {
    if let Some(known) = OFTEN.iter().find(|known| known.as_str().as_bytes() == name) {
        return Ok(known.clone());
    }
    HeaderName::from_bytes(name)
        .map_err(|_| format!("a header name that is none: {:?}", String::from_utf8_lossy(name)))
}

/// Status and headers, checked.
#[derive(Debug)]
pub struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

impl Head {
    /// Begins a head; `headers` is how many will be added.
    ///
    /// # Errors
    /// A status outside 200 to 599: an answer is final.
    pub fn new(status: u16, headers: usize) -> Result<Self, String> {
        let status = StatusCode::from_u16(status).ok().filter(|code| (200..600).contains(&code.as_u16()));
        let status = status.ok_or("a status that is none")?;
        Ok(Self { status, headers: HeaderMap::with_capacity(headers + 2) })
    }

    /// Adds a header.
    ///
    /// # Errors
    /// What HTTP does not allow, as a sentence.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        let named = named(name)?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| format!("a value of the header {named} that HTTP does not allow"))?;
        self.headers.append(named, value);
        Ok(())
    }

    /// An answer with nothing but its status.
    pub(crate) fn bare(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new() }
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub struct Answer {
    pub(crate) head: Head,
    pub(crate) body: AnswerBody,
}

impl Answer {
    /// Everything at once.
    pub fn whole(head: Head, body: Bytes) -> Self {
        Self { head, body: AnswerBody::Whole(body) }
    }

    pub(crate) fn response(self) -> Response<AnswerBody> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.head.status;
        *response.headers_mut() = self.head.headers;
        response
    }
}

/// The body as hyper reads it.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    Whole(Bytes),
    /// Given piece by piece through the exchange.
    Pieces(PiecesGuard),
    /// What a line says, over HTTP/2.
    Line(LineBody),
}

/// Tells the exchange when the connection lets go of the body, for whatever reason.
#[derive(Debug)]
pub(crate) struct PiecesGuard(pub(crate) Arc<Exchange>);

impl Drop for PiecesGuard {
    fn drop(&mut self) {
        self.0.gone();
    }
}

/// A body that was cut: the client must see it, so the connection ends in the middle.
#[derive(Debug)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer was given up")
    }
}

impl std::error::Error for Cut {}

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pieces(guard) => guard.0.poll_piece(cx).map(|piece| piece.map(|it| it.map(Frame::data))),
            Self::Line(line) => line.poll_piece(cx).map(|piece| piece.map(|it| it.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Pieces(_) | Self::Line(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_) | Self::Line(_) => SizeHint::default(),
        }
    }
}

/// How a body given in pieces ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    Whole,
    Cut,
}

/// The pieces that the connection has not taken yet.
#[derive(Debug)]
pub(crate) struct Pieces {
    pub(crate) queue: VecDeque<Bytes>,
    pub(crate) bytes: usize,
    pub(crate) end: End,
}

impl Pieces {
    pub(crate) fn new() -> Self {
        Self { queue: VecDeque::new(), bytes: 0, end: End::Open }
    }
}
