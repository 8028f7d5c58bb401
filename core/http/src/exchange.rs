//! One request between its head and the end of its answer, as both threads see it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;

use crate::answer::{Answer, AnswerBody, Cut, End, Head, Pieces};
use crate::connection::Conn;
use crate::events::{Event, Piece, Waiter};
use crate::line::{Line, LineUser, OpenFailed};

/// Of an answer in pieces, so many bytes may wait for the client before the one who answers should.
const HIGH_WATER_BYTES: usize = 64 << 10;

/// Where a request's answer goes, and where its body comes from. Every method may be called from any thread.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) conn: Arc<Conn>,
    pub(crate) asks: Asks,
    state: Mutex<State>,
}

/// What the request's head said about its connection.
#[derive(Debug, Clone)]
pub(crate) struct Asks {
    pub(crate) is_http_11: bool,
    pub(crate) is_h2: bool,
    /// `Sec-WebSocket-Accept` of a sound request for a WebSocket.
    pub(crate) accept_key: Option<[u8; 28]>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    Answered,
    /// A line has the connection now.
    Taken,
    Gone,
}

#[derive(Default)]
struct State {
    phase: Phase,
    reader: Option<Waiter>,
    /// Waits for room in `pieces`.
    pusher: Option<Waiter>,
    /// The start of the body, read before anybody asked.
    ahead: Bytes,
    body_done: bool,
    body_broken: bool,
    /// Until the connection takes it.
    answer: Option<(Head, Content)>,
    pieces: Option<Pieces>,
}

/// What follows an answer's head.
#[derive(Debug)]
pub(crate) enum Content {
    Whole(Bytes),
    Pieces,
    /// Over HTTP/2 only: else the line has the socket.
    Line(Arc<Line>),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Exchange {
    pub(crate) fn new(conn: Arc<Conn>, asks: Asks) -> Self {
        Self { conn, asks, state: Mutex::default() }
    }

    // For the one who answers

    /// Asks for the next piece of the body; after the last one, for the news that the client is gone. The
    /// second question before the answer to the first replaces it.
    pub fn read(&self, waiter: Waiter) {
        let mut state = self.state.lock();
        let piece = if !state.ahead.is_empty() {
            Piece::Data { bytes: std::mem::take(&mut state.ahead), more: true }
        } else if state.phase == Phase::Gone || state.body_broken {
            Piece::Gone
        } else {
            state.reader = Some(waiter);
            drop(state);
            self.conn.wake();
            return;
        };
        drop(state);
        self.tell(waiter, piece);
    }

    /// Nobody waits for the body any more.
    pub fn forget_reader(&self) {
        let reader = self.state.lock().reader.take();
        drop(reader);
    }

    /// Answers the request; false if it was answered already or the client is gone.
    pub fn answer(&self, answer: Answer) -> bool {
        let AnswerBody::Whole(body) = answer.body else { return false };
        self.begin_with(answer.head, Content::Whole(body))
    }

    /// Begins an answer whose body follows with `push`; false as for `answer`.
    pub fn begin(&self, head: Head) -> bool {
        self.begin_with(head, Content::Pieces)
    }

    fn begin_with(&self, head: Head, content: Content) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return false;
        }
        state.phase = Phase::Answered;
        if matches!(content, Content::Pieces) {
            state.pieces = Some(Pieces::new());
        }
        state.answer = Some((head, content));
        drop(state);
        self.conn.wake();
        true
    }

    /// Adds bytes to an answer that was begun. True if there is room for more; if not, `room` is called when
    /// there is, or when the client is gone.
    pub fn push(&self, bytes: Bytes, room: impl FnOnce() -> Waiter) -> bool {
        let mut state = self.state.lock();
        let Some(pieces) = state.pieces.as_mut().filter(|pieces| pieces.end == End::Open) else {
            return true;
        };
        if bytes.is_empty() {
            return true;
        }
        pieces.bytes += bytes.len();
        let has_room = pieces.bytes < HIGH_WATER_BYTES;
        pieces.queue.push_back(bytes);
        if !has_room {
            state.pusher = Some(room());
        }
        drop(state);
        self.conn.wake();
        has_room
    }

    /// The answer in pieces is complete.
    pub fn end(&self) {
        self.end_with(End::Whole);
    }

    /// Whoever should have answered is through. A request without an answer gets 500, one in the middle is
    /// cut: only that tells the client.
    pub fn finish(&self) {
        if self.answer(Answer::whole(Head::bare(StatusCode::INTERNAL_SERVER_ERROR), Bytes::new())) {
            return;
        }
        self.end_with(End::Cut);
    }

    fn end_with(&self, end: End) {
        let mut state = self.state.lock();
        let Some(pieces) = state.pieces.as_mut().filter(|pieces| pieces.end == End::Open) else { return };
        pieces.end = end;
        drop(state);
        self.conn.wake();
    }

    /// Takes the connection over for a line. Of HTTP/2 it is the stream, whose answer begins with `head`.
    ///
    /// # Errors
    /// The request was answered, its client is gone, or its body is not read yet.
    fn take_over(
        &self,
        head: Option<Head>,
        make: impl FnOnce(&Arc<Conn>) -> Line,
    ) -> Result<Arc<Line>, OpenFailed> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Open if !state.body_done => return Err(OpenFailed::BodyLeft),
            Phase::Open => {}
            Phase::Gone => return Err(OpenFailed::Gone),
            Phase::Answered | Phase::Taken => return Err(OpenFailed::Answered),
        }
        state.phase = Phase::Taken;
        let line = Arc::new(make(&self.conn));
        *self.conn.taken.lock() = Some(line.clone());
        state.answer = head.map(|head| (head, Content::Line(line.clone())));
        drop(state);
        self.conn.wake();
        Ok(line)
    }

    /// Opens an event stream: a body that the server pushes, until one side ends it.
    ///
    /// # Errors
    /// See `OpenFailed`.
    pub fn open_stream(&self, head: Head, user: Arc<dyn LineUser>) -> Result<Arc<Line>, OpenFailed> {
        if self.asks.is_h2 {
            return self.take_over(Some(head), |conn| Line::body(conn, user));
        }
        let is_http_11 = self.asks.is_http_11;
        self.take_over(None, |conn| Line::stream(conn, &head, is_http_11, user))
    }

    /// Upgrades to a WebSocket whose messages have at most `max_message_bytes`.
    ///
    /// # Errors
    /// See `OpenFailed`.
    pub fn open_websocket(
        &self,
        subprotocol: Option<&str>,
        head: &Head,
        max_message_bytes: usize,
        user: Arc<dyn LineUser>,
    ) -> Result<Arc<Line>, OpenFailed> {
        let Some(key) = self.asks.accept_key else { return Err(OpenFailed::NotAsked) };
        self.take_over(None, |conn| Line::websocket(conn, &key, subprotocol, head, max_message_bytes, user))
    }

    // For the connection

    pub(crate) fn set_body(&self, ahead: Bytes, done: bool, broken: bool) {
        let mut state = self.state.lock();
        (state.ahead, state.body_done, state.body_broken) = (ahead, done, broken);
    }

    /// The answer if there is one.
    pub(crate) fn take_answer(&self) -> Option<(Head, Content)> {
        self.state.lock().answer.take()
    }

    pub(crate) fn wants_piece(&self) -> bool {
        let state = self.state.lock();
        state.reader.is_some() && !state.body_done
    }

    pub(crate) fn awaits_end(&self) -> bool {
        let state = self.state.lock();
        state.reader.is_some() && state.body_done
    }

    pub(crate) fn give(&self, piece: Piece) {
        let mut state = self.state.lock();
        match piece {
            Piece::Data { more, .. } => state.body_done = !more,
            Piece::Gone => (state.body_done, state.body_broken) = (true, true),
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            self.conn.shared.events.push(Event::Piece(reader, piece));
        }
    }

    pub(crate) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        debug_assert!(self.conn.is_task(cx));
        let mut state = self.state.lock();
        let Some(pieces) = state.pieces.as_mut() else { return Poll::Ready(None) };
        let Some(bytes) = pieces.queue.pop_front() else {
            return match pieces.end {
                End::Open => Poll::Pending,
                End::Whole => Poll::Ready(None),
                End::Cut => Poll::Ready(Some(Err(Cut))),
            };
        };
        pieces.bytes -= bytes.len();
        let pusher = if pieces.bytes < HIGH_WATER_BYTES / 2 { state.pusher.take() } else { None };
        drop(state);
        if let Some(pusher) = pusher {
            self.conn
                .shared
                .events
                .push(Event::Piece(pusher, Piece::Data { bytes: Bytes::new(), more: true }));
        }
        Poll::Ready(Some(Ok(bytes)))
    }

    /// The connection has nothing more to do with this request.
    pub(crate) fn gone(&self) {
        let mut state = self.state.lock();
        if state.phase != Phase::Taken {
            state.phase = Phase::Gone;
        }
        if let Some(pieces) = state.pieces.as_mut() {
            pieces.queue = VecDeque::new();
            pieces.end = End::Cut;
        }
        let waiters = [state.reader.take(), state.pusher.take()];
        drop(state);
        for waiter in waiters.into_iter().flatten() {
            self.conn.shared.events.push(Event::Piece(waiter, Piece::Gone));
        }
    }

    fn tell(&self, waiter: Waiter, piece: Piece) {
        let events = &self.conn.shared.events;
        events.push(Event::Piece(waiter, piece));
        events.flush();
    }
}
