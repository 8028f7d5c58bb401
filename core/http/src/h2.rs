//! HTTP/2 on one connection: hyper reads and writes frames, each stream is a task with a request of its own.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue, RETRY_AFTER, SERVER};
use http::{Method, Request as HttpRequest, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::Service;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant, Sleep, sleep};

use crate::answer::{Answer, AnswerBody, Cut, Head};
use crate::connection::Conn;
use crate::exchange::Asks;
use crate::io::{Clock, Io};
use crate::line::Ending;
use crate::line_task::CLOSING;
use crate::server::Shared;
use crate::serving::{Never, Serving};
use crate::stream::Stream;

/// Streams a client may have open at once on one connection; RFC 9113 asks for no fewer than 100.
const STREAMS_MAX: u32 = 100;
/// Room for a request's body before it is read: per stream, and for a connection's streams together.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;
/// Of an answer, so much is in hyper's hands at once.
const SEND_MAX_BYTES: usize = 64 << 10;
const PIECE_BYTES: usize = 32 << 10;
/// A request's head counts 32 bytes more per header, and a connection may have a hundred of them.
const HEAD_MAX_BYTES: usize = 64 << 10;
/// Streams that were reset before hyper saw them, after which the connection is told to calm down and ended.
const UNSEEN_RESETS_MAX: usize = 20;
/// Streams that we reset for errors of the client's.
const ERROR_RESETS_MAX: usize = 100;
/// Requests a client may take back before they are answered (CVE-2023-44487), at once and per second after.
const TAKEN_BACK_MAX: u32 = 200;
const TAKEN_BACK_PER_S: u32 = 20;
const TOO_MANY: &[u8] = b"the node has enough requests in flight\n";
const NO_PROXY: &[u8] = b"this is not a proxy, and WebSockets are opened with HTTP/1.1\n";

/// What the streams of one connection share.
struct Streams {
    conn: Arc<Conn>,
    open: AtomicUsize,
    /// The stream whose task is about to be spawned.
    latest: Mutex<Option<Arc<Conn>>>,
    patience: Mutex<Patience>,
    is_flooded: AtomicBool,
}

/// How many more requests may be taken back.
struct Patience {
    left: u32,
    since: Instant,
}

impl Patience {
    fn spend(&mut self, now: Instant) -> bool {
        let back = (now - self.since).as_secs().min(u64::from(TAKEN_BACK_MAX)) as u32 * TAKEN_BACK_PER_S;
        if back > 0 {
            self.left = (self.left + back).min(TAKEN_BACK_MAX);
            self.since = now;
        }
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }
}

impl Streams {
    fn ended(&self, stream: &Conn) {
        self.conn.shared.streams.fetch_sub(1, Ordering::Relaxed);
        let was_taken_back = !stream.is_answered.load(Ordering::Relaxed);
        if was_taken_back && !self.patience.lock().spend(Instant::now()) {
            self.is_flooded.store(true, Ordering::Relaxed);
        }
        if self.open.fetch_sub(1, Ordering::Relaxed) == 1 || self.is_flooded.load(Ordering::Relaxed) {
            self.conn.wake();
        }
    }
}

/// Serves a connection until its end.
pub(crate) async fn drive(stream: Stream, conn: Arc<Conn>) {
    let shared = conn.shared.clone();
    let options = &shared.options;
    let streams = Arc::new(Streams {
        conn: conn.clone(),
        open: AtomicUsize::new(0),
        latest: Mutex::new(None),
        patience: Mutex::new(Patience { left: TAKEN_BACK_MAX, since: Instant::now() }),
        is_flooded: AtomicBool::new(false),
    });
    let mut http = http2::Builder::new(Spawn(streams.clone()))
        .timer(Clock)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_MAX_BYTES)
        .max_header_list_size(options.head_max_bytes.min(HEAD_MAX_BYTES) as u32)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .serve_connection(Io::new(stream, conn.clone()), Requests(streams.clone()));
    let mut idle = Idle { timer: Some(Box::pin(sleep(options.head_timeout))), is_ending: false };
    let mut is_stopping = false;
    poll_fn(|cx| {
        conn.set_task(cx);
        shared.take_turn();
        if !is_stopping && shared.is_stopping.load(Ordering::Relaxed) {
            is_stopping = true;
            Pin::new(&mut http).graceful_shutdown();
        }
        if Pin::new(&mut http).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if streams.is_flooded.load(Ordering::Relaxed) {
            shared.stats.floods.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(());
        }
        match idle.check(cx, streams.open.load(Ordering::Relaxed) == 0, &shared) {
            Idling::No => Poll::Pending,
            Idling::End => {
                Pin::new(&mut http).graceful_shutdown();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Idling::Cut => Poll::Ready(()),
        }
    })
    .await;
}

/// The deadline of a connection without streams. The first counts as one that it still owes.
struct Idle {
    timer: Option<Pin<Box<Sleep>>>,
    /// It was told to end, and has this long for it.
    is_ending: bool,
}

enum Idling {
    No,
    End,
    Cut,
}

impl Idle {
    fn check(&mut self, cx: &mut Context<'_>, is_idle: bool, shared: &Shared) -> Idling {
        if !is_idle {
            self.timer = None;
            return Idling::No;
        }
        let after = shared.options.head_timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(after)));
        if timer.as_mut().poll(cx).is_pending() {
            return Idling::No;
        }
        if self.is_ending {
            return Idling::Cut;
        }
        self.is_ending = true;
        timer.as_mut().reset(Instant::now() + CLOSING);
        Idling::End
    }
}

/// hyper's service for a connection with streams.
struct Requests(Arc<Streams>);

impl Service<HttpRequest<Incoming>> for Requests {
    type Response = Response<StreamBody>;
    type Error = Never;
    type Future = StreamServing;

    fn call(&self, request: HttpRequest<Incoming>) -> StreamServing {
        let Streams { conn, open, latest, .. } = &*self.0;
        let shared = &conn.shared;
        let stream = Arc::new(Conn::new(shared.clone(), conn.client, conn.tls.clone()));
        *latest.lock() = Some(stream.clone());
        open.fetch_add(1, Ordering::Relaxed);
        let in_flight = shared.streams.fetch_add(1, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        if in_flight >= shared.options.streams_max {
            shared.stats.streams_refused.fetch_add(1, Ordering::Relaxed);
            let mut full = Head::bare(StatusCode::SERVICE_UNAVAILABLE);
            full.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return refused(stream, body, full, TOO_MANY);
        }
        if head.method == Method::CONNECT {
            return refused(stream, body, Head::bare(StatusCode::NOT_IMPLEMENTED), NO_PROXY);
        }
        let is_head = head.method == Method::HEAD;
        StreamServing { serving: Serving::new(stream.clone(), head, body), is_head, stream }
    }
}

fn refused(stream: Arc<Conn>, body: Incoming, mut head: Head, text: &'static [u8]) -> StreamServing {
    head.headers.insert(SERVER, HeaderValue::from_static("konsul"));
    let asks = Asks { is_http_11: false, is_h2: true, accept_key: None };
    let answer = Answer::whole(head, Bytes::from_static(text));
    StreamServing { serving: Serving::refused(stream.clone(), asks, body, answer), is_head: false, stream }
}

/// A request until its answer begins.
struct StreamServing {
    serving: Serving,
    is_head: bool,
    stream: Arc<Conn>,
}

impl Future for StreamServing {
    type Output = Result<Response<StreamBody>, Never>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = Pin::new(&mut self.serving).poll(cx);
        answered.map_ok(|mut answer| {
            let has_none = matches!(answer.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            if self.is_head || has_none {
                let body = std::mem::replace(answer.body_mut(), AnswerBody::Whole(Bytes::new()));
                // With HTTP/1.1 hyper sees to this itself: an answer to HEAD says how long its body would be.
                if let (Some(size), false) = (body.size_hint().exact(), has_none) {
                    answer.headers_mut().entry(CONTENT_LENGTH).or_insert(size.into());
                }
            }
            answer.map(|body| StreamBody { body, stream: self.stream.clone() })
        })
    }
}

/// An answer's body: small pieces, and it is written down when hyper comes for the next.
struct StreamBody {
    body: AnswerBody,
    stream: Arc<Conn>,
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.stream.has_moved.store(true, Ordering::Relaxed);
        let next = match &mut self.body {
            AnswerBody::Whole(bytes) if bytes.len() > PIECE_BYTES => {
                Poll::Ready(Some(Ok(Frame::data(bytes.split_to(PIECE_BYTES)))))
            }
            body => Pin::new(body).poll_frame(cx),
        };
        self.stream.is_blocked.store(matches!(next, Poll::Ready(Some(Ok(_)))), Ordering::Relaxed);
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Spawns the tasks of streams.
#[derive(Clone)]
struct Spawn(Arc<Streams>);

impl<F: Future + Send + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, running: F) {
        // hyper has just called `Requests` for this very stream.
        let Some(conn) = self.0.latest.lock().take() else { return };
        let ends = Ends { streams: self.0.clone(), conn };
        tokio::spawn(StreamTask { running: Box::pin(running), ends, timer: None });
    }
}

/// Counts a stream while its task lives.
struct Ends {
    streams: Arc<Streams>,
    conn: Arc<Conn>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.streams.ended(&self.conn);
    }
}

/// A stream until its answer is handed over. hyper waits for a client that gives it no window for as long as
/// the connection lives: this ends it. Dropping hyper's part resets the stream.
struct StreamTask<F> {
    running: Pin<Box<F>>,
    ends: Ends,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> StreamTask<F> {
    /// How long the client has from now on, if its time counts.
    fn patience(&mut self) -> Option<Duration> {
        let conn = &self.ends.conn;
        let line = conn.taken.lock().clone();
        match line.map(|line| line.glance()) {
            Some(Some(Ending::Cut(_))) => Some(Duration::ZERO),
            Some(Some(Ending::Closing(_))) => Some(CLOSING),
            // What waits for it is bounded.
            Some(None) => None,
            None if conn.has_moved.swap(false, Ordering::Relaxed) => {
                self.timer = None;
                self.patience()
            }
            None => conn.is_blocked.load(Ordering::Relaxed).then_some(conn.shared.options.write_timeout),
        }
    }
}

impl<F: Future> Future for StreamTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.ends.conn.set_task(cx);
        this.ends.conn.shared.take_turn();
        if this.running.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(patience) = this.patience() else {
            this.timer = None;
            return Poll::Pending;
        };
        if patience.is_zero() {
            return Poll::Ready(());
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        timer.as_mut().poll(cx)
    }
}
