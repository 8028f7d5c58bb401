//! A line: an open connection that the server pushes to. What waits for the client is shared bytes, bounded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use parking_lot::Mutex;

use crate::answer::Head;
use crate::connection::Conn;
use crate::events::Event;
use crate::frames::{self, BINARY, TEXT};
use crate::handshake;
use crate::server::Shared;

/// More than this waiting for the client: send no more until `Drained`.
pub const HIGH_WATER_BYTES: usize = 64 << 10;
/// Down to this: `Drained`.
const LOW_WATER_BYTES: usize = 16 << 10;
/// More than this waiting, and the line is closed; but to a line below the high-water mark one message of any
/// size may be said, or the client would never get past it.
pub const WAITING_MAX_BYTES: usize = 1 << 20;
/// So many messages of a client may wait for its user; then the client is not read.
const UNREAD_MAX: usize = 64;
/// So many bytes of them.
const UNREAD_MAX_BYTES: usize = 256 << 10;
/// A queue that grew past this gives its room back.
const QUEUE_KEEP: usize = 8;

/// Who is told what happens on a line. Called on the answering thread, in order.
pub trait LineUser: Send + Sync {
    /// One event.
    fn told(&self, event: LineEvent);
}

/// A client's message.
#[derive(Debug)]
pub enum Message {
    /// Text; it was UTF-8.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

/// What happens on a line.
#[derive(Debug)]
pub enum LineEvent {
    /// The client sent a message. It counts as unread until the credit is dropped.
    Message(Message, Credit),
    /// There is room again.
    Drained,
    /// It is over, for whatever reason; nothing follows. With the bytes that were sent.
    Closed(String, u64),
}

/// Drop it when the message has been dealt with: then the client's next one is read.
#[derive(Debug)]
pub struct Credit {
    line: Arc<Line>,
    bytes: usize,
}

impl Drop for Credit {
    fn drop(&mut self) {
        let before = self.line.unread.fetch_sub(1, Ordering::AcqRel);
        let bytes = self.line.unread_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        if before == UNREAD_MAX || bytes >= UNREAD_MAX_BYTES {
            self.line.wake();
        }
    }
}

/// Why a line cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFailed {
    /// The request has its answer.
    Answered,
    /// The client is gone.
    Gone,
    /// The request's body is not read.
    BodyLeft,
    /// The client did not ask for a WebSocket.
    NotAsked,
}

impl OpenFailed {
    /// As a sentence.
    pub fn text(self) -> &'static str {
        match self {
            Self::Answered => "the request is answered already",
            Self::Gone => "the client is gone",
            Self::BodyLeft => "the request's body is not read yet",
            Self::NotAsked => "the client did not ask for a WebSocket",
        }
    }
}

/// How bytes are put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// An event stream of HTTP/1.1: each piece is a chunk.
    Chunks = 0,
    /// An event stream of HTTP/1.0, until the connection ends; or of HTTP/2, whose frames are not ours.
    Plain = 1,
    /// One text message each.
    WebSocket = 2,
}

impl Framing {
    /// As `frame`, and on a WebSocket as a binary message.
    pub fn binary(self, data: &[u8]) -> Bytes {
        if self == Self::WebSocket { frames::frame(BINARY, data) } else { self.frame(data) }
    }

    /// `data` as it goes on the wire.
    pub fn frame(self, data: &[u8]) -> Bytes {
        match self {
            Self::Plain => Bytes::copy_from_slice(data),
            Self::WebSocket => frames::frame(TEXT, data),
            Self::Chunks => {
                let mut chunk = BytesMut::with_capacity(data.len() + 12);
                chunk.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
                chunk.put_slice(data);
                chunk.put_slice(b"\r\n");
                chunk.freeze()
            }
        }
    }
}

/// How a line is to end.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// Once what waits is written.
    Closing(String),
    /// Now.
    Cut(String),
}

#[derive(Debug, Default)]
struct Out {
    queue: VecDeque<Bytes>,
    /// In the queue and with the task.
    bytes: usize,
    is_over: bool,
    ending: Option<Ending>,
    is_ended: bool,
    is_woken: bool,
    task: Option<Waker>,
}

/// An open connection that the server pushes to. Every method may be called from any thread.
pub struct Line {
    pub(crate) shared: Arc<Shared>,
    pub(crate) user: Arc<dyn LineUser>,
    framing: Framing,
    pub(crate) message_max: usize,
    out: Mutex<Out>,
    unread: AtomicUsize,
    unread_bytes: AtomicUsize,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("framing", &self.framing).finish_non_exhaustive()
    }
}

impl Line {
    fn new(
        conn: &Arc<Conn>,
        framing: Framing,
        message_max: usize,
        head: Bytes,
        user: Arc<dyn LineUser>,
    ) -> Self {
        let out = Out { bytes: head.len(), queue: VecDeque::from([head]), ..Out::default() };
        Self {
            shared: conn.shared.clone(),
            user,
            framing,
            message_max,
            out: Mutex::new(out),
            unread: AtomicUsize::new(0),
            unread_bytes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn stream(conn: &Arc<Conn>, head: &Head, is_http_11: bool, user: Arc<dyn LineUser>) -> Self {
        let (framing, own): (_, &[(&str, &[u8])]) = if is_http_11 {
            (Framing::Chunks, &[("connection", b"keep-alive"), ("transfer-encoding", b"chunked")])
        } else {
            (Framing::Plain, &[("connection", b"close")])
        };
        Self::new(conn, framing, 0, handshake::written(head.status, own, &head.headers), user)
    }

    /// The body of a stream of HTTP/2, which has frames and a head of its own.
    pub(crate) fn body(conn: &Arc<Conn>, user: Arc<dyn LineUser>) -> Self {
        Self::new(conn, Framing::Plain, 0, Bytes::new(), user)
    }

    pub(crate) fn websocket(
        conn: &Arc<Conn>,
        accept: &[u8; 28],
        subprotocol: Option<&str>,
        head: &Head,
        message_max: usize,
        user: Arc<dyn LineUser>,
    ) -> Self {
        let mut own: Vec<(&str, &[u8])> =
            vec![("connection", b"upgrade"), ("upgrade", b"websocket"), ("sec-websocket-accept", accept)];
        if let Some(name) = subprotocol {
            own.push(("sec-websocket-protocol", name.as_bytes()));
        }
        let head = handshake::written(StatusCode::SWITCHING_PROTOCOLS, &own, &head.headers);
        Self::new(conn, Framing::WebSocket, message_max, head, user)
    }

    /// How its bytes are framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// What the client has not been given yet.
    pub fn queued_bytes(&self) -> usize {
        self.out.lock().bytes
    }

    /// Queues bytes that were framed with this line's framing. False: taken, but there is more waiting than
    /// there should be, until `Drained`; or it is over. Beyond the most that may wait the line is cut.
    pub fn send(&self, framed: Bytes) -> bool {
        let mut out = self.out.lock();
        if out.ending.is_some() || out.is_ended {
            return false;
        }
        let had_room = out.bytes <= HIGH_WATER_BYTES;
        out.bytes += framed.len();
        if out.bytes > WAITING_MAX_BYTES && !had_room {
            self.shared.stats.lines_overrun.fetch_add(1, Ordering::Relaxed);
            out.ending =
                Some(Ending::Cut(format!("more than {WAITING_MAX_BYTES} bytes waited for the client")));
        } else {
            out.queue.push_back(framed);
        }
        out.is_over |= out.bytes > HIGH_WATER_BYTES;
        let has_room = !out.is_over;
        self.wake_locked(out);
        has_room
    }

    /// Ends it. What waits is still written for a few seconds, unless it is over the high-water mark. `code`
    /// is for WebSockets.
    pub fn close(&self, code: u16, reason: &str) {
        let mut out = self.out.lock();
        if out.ending.is_some() || out.is_ended {
            return;
        }
        if out.bytes > HIGH_WATER_BYTES {
            out.ending = Some(Ending::Cut(reason.to_owned()));
        } else {
            let last = match self.framing {
                Framing::Chunks => Bytes::from_static(b"0\r\n\r\n"),
                Framing::Plain => Bytes::new(),
                Framing::WebSocket => frames::close_frame(code, reason),
            };
            out.bytes += last.len();
            out.queue.push_back(last);
            out.ending = Some(Ending::Closing(reason.to_owned()));
        }
        self.wake_locked(out);
    }

    fn wake(&self) {
        self.wake_locked(self.out.lock());
    }

    fn wake_locked(&self, mut out: parking_lot::MutexGuard<'_, Out>) {
        if out.is_woken {
            return;
        }
        let Some(task) = out.task.clone() else { return };
        out.is_woken = true;
        drop(out);
        self.shared.wakes.push(task);
    }

    // For the task

    /// Moves what waits to `writing`. Returns how the line is to end, if it is.
    pub(crate) fn take(&self, cx: &Context<'_>, writing: &mut VecDeque<Bytes>) -> Option<Ending> {
        let mut out = self.out.lock();
        out.is_woken = false;
        if !out.task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            out.task = Some(cx.waker().clone());
        }
        if writing.is_empty() {
            std::mem::swap(writing, &mut out.queue);
        } else {
            writing.append(&mut out.queue);
        }
        out.queue.shrink_to(QUEUE_KEEP);
        out.ending.clone()
    }

    /// How the line is to end, if it is, without taking anything. It may be woken again.
    pub(crate) fn glance(&self) -> Option<Ending> {
        let mut out = self.out.lock();
        out.is_woken = false;
        out.ending.clone()
    }

    /// A control frame of the task's own. False if so much waits already that it is left out.
    pub(crate) fn control(&self, frame: &Bytes) -> bool {
        let mut out = self.out.lock();
        let has_room = out.bytes <= HIGH_WATER_BYTES && !out.is_ended;
        if has_room {
            out.bytes += frame.len();
        }
        has_room
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        let mut out = self.out.lock();
        out.bytes -= bytes;
        let is_drained = out.is_over && out.bytes <= LOW_WATER_BYTES;
        if is_drained {
            out.is_over = false;
        }
        drop(out);
        if is_drained {
            self.tell(LineEvent::Drained);
        }
    }

    pub(crate) fn received(self: &Arc<Self>, message: Message) {
        let bytes = match &message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
        };
        self.unread.fetch_add(1, Ordering::AcqRel);
        self.unread_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.tell(LineEvent::Message(message, Credit { line: self.clone(), bytes }));
    }

    /// Whether its user keeps up with its client.
    pub(crate) fn may_read(&self) -> bool {
        self.unread.load(Ordering::Acquire) < UNREAD_MAX
            && self.unread_bytes.load(Ordering::Acquire) < UNREAD_MAX_BYTES
    }

    /// It is over; the user is told once.
    pub(crate) fn ended(&self, reason: &str, sent: u64) {
        let mut out = self.out.lock();
        if out.is_ended {
            return;
        }
        out.is_ended = true;
        out.queue = VecDeque::new();
        out.bytes = 0;
        out.task = None;
        drop(out);
        self.tell(LineEvent::Closed(reason.to_owned(), sent));
    }

    pub(crate) fn never_opened(&self) {
        self.ended("the client went away", 0);
    }

    fn tell(&self, event: LineEvent) {
        self.shared.events.push(Event::Line(self.user.clone(), event));
    }
}
