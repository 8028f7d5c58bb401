//! One client's connection: hyper reads and writes it until its end, or until a line takes it over. With
//! HTTP/2 each stream has a `Conn` of its own beside the connection's.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::server::conn::http1;
use parking_lot::Mutex;

use crate::h2;
use crate::io::{Clock, Io};
use crate::line::Line;
use crate::line_task::LineTask;
use crate::server::Shared;
use crate::serving::Requests;
use crate::stream::Stream;
use crate::tls::TlsInfo;

/// What others know of a connection.
pub(crate) struct Conn {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: SocketAddr,
    /// What its TLS handshake came to.
    pub(crate) tls: Option<Arc<TlsInfo>>,
    /// A line that wants the socket; or has the stream.
    pub(crate) taken: Mutex<Option<Arc<Line>>>,
    /// Whether the last write found no room: then hyper still holds bytes of ours. Of a stream: whether
    /// hyper has a piece of its answer.
    pub(crate) is_blocked: AtomicBool,
    /// Whoever answers has the whole request and waits to learn that the client is gone.
    pub(crate) awaits_end: AtomicBool,
    /// Of a stream: its answer has begun.
    pub(crate) is_answered: AtomicBool,
    /// Of a stream: hyper has come for the next piece of its answer.
    pub(crate) has_moved: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Conn {
    pub(crate) fn new(shared: Arc<Shared>, client: SocketAddr, tls: Option<Arc<TlsInfo>>) -> Self {
        Self {
            shared,
            client,
            tls,
            taken: Mutex::new(None),
            is_blocked: AtomicBool::new(false),
            awaits_end: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
            task: Mutex::new(None),
        }
    }

    /// Has the connection's task polled.
    pub(crate) fn wake(&self) {
        if let Some(task) = self.task.lock().clone() {
            self.shared.wakes.push(task);
        }
    }

    pub(crate) fn set_task(&self, cx: &Context<'_>) {
        let mut task = self.task.lock();
        if !task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    pub(crate) fn is_task(&self, cx: &Context<'_>) -> bool {
        self.task.lock().as_ref().is_some_and(|known| known.will_wake(cx.waker()))
    }
}

/// Serves a connection until its end.
pub(crate) async fn serve(stream: Stream, conn: Arc<Conn>) {
    let shared = conn.shared.clone();
    let slot = shared.connections.add(conn.clone());
    if conn.tls.as_ref().is_some_and(|tls| tls.is_h2()) {
        Box::pin(h2::drive(stream, conn)).await;
        shared.connections.remove(slot);
        return;
    }
    // hyper's state is large: not part of this future, so that what follows is small.
    let taken = Box::pin(drive(stream, conn.clone())).await;
    shared.connections.remove(slot);
    let line = conn.taken.lock().take();
    match (taken, line) {
        (Some((stream, ahead)), Some(line)) => {
            tokio::spawn(LineTask::new(stream, line, ahead));
        }
        (None, Some(line)) => line.never_opened(),
        (_, None) => {}
    }
}

/// hyper's part. Returns the socket and what was read of it too much, if a line takes over.
async fn drive(stream: Stream, conn: Arc<Conn>) -> Option<(Stream, Bytes)> {
    let options = &conn.shared.options;
    let io = Io::new(stream, conn.clone());
    let mut http = http1::Builder::new()
        .timer(Clock)
        .header_read_timeout(options.head_timeout)
        .max_buf_size(options.head_max_bytes)
        // Who says nothing more may still listen: requests from a pipe end so.
        .half_close(true)
        .serve_connection(io, Requests(conn.clone()));
    let mut is_stopping = false;
    let taken = poll_fn(|cx| {
        conn.set_task(cx);
        conn.shared.take_turn();
        if !is_stopping && conn.shared.is_stopping.load(Ordering::Relaxed) {
            is_stopping = true;
            Pin::new(&mut http).graceful_shutdown();
        }
        if Pin::new(&mut http).poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        // hyper flushes before it returns: if the socket took everything, nothing of an earlier answer is
        // left.
        if conn.taken.lock().is_some() && !conn.is_blocked.load(Ordering::Relaxed) {
            return Poll::Ready(true);
        }
        Poll::Pending
    })
    .await;
    if !taken {
        return None;
    }
    let parts = http.into_parts();
    Some((parts.io.stream, parts.read_buf))
}
