//! The two ways between the network thread and everybody else: `Events` towards the one thread that answers,
//! `Wakes` back. Both are batches, so a busy server pays for a wake once per batch and not once per request.

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use http::request::Parts;
use parking_lot::{Condvar, Mutex};

use crate::exchange::Exchange;
use crate::line::{LineEvent, LineUser};
use crate::tls::TlsInfo;

/// So many requests wait in the network thread before the answering thread is told in the middle of a turn.
const HOLD_MAX: usize = 32;

/// A request whose head has arrived.
pub struct Request {
    /// Method, target, version and headers.
    pub head: Parts,
    /// Who asks.
    pub client: SocketAddr,
    /// What the connection's TLS handshake came to; nothing: it is in the clear.
    pub tls: Option<Arc<TlsInfo>>,
    /// The whole body if it has arrived with the head or right behind it.
    pub body: Option<Bytes>,
    /// A sound request for a WebSocket.
    pub is_websocket: bool,
    /// Where the answer goes.
    pub exchange: Arc<Exchange>,
}

/// What a reader of a body is given.
#[derive(Debug)]
pub enum Piece {
    /// The next bytes; `more` is false for the last ones.
    Data {
        /// The bytes, possibly none.
        bytes: Bytes,
        /// Whether anything may follow.
        more: bool,
    },
    /// The client is gone, or framed its body wrongly.
    Gone,
}

/// Called on the answering thread with what it waited for.
pub type Waiter = Box<dyn FnOnce(Piece) + Send>;

/// What the answering thread is told.
pub enum Event {
    /// A new request.
    Request(Box<Request>),
    /// What somebody waited for: to be called with the piece.
    Piece(Waiter, Piece),
    /// Something happened on a line.
    Line(Arc<dyn LineUser>, LineEvent),
}

#[derive(Default)]
struct Queue {
    events: Vec<Event>,
    is_waiting: bool,
    closed: bool,
}

/// The queue to the answering thread.
#[derive(Default)]
pub struct Events {
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl Events {
    /// Adds an event; the answering thread sees it with the next `flush`, or when enough are there.
    pub(crate) fn push(&self, event: Event) {
        let mut queue = self.queue.lock();
        queue.events.push(event);
        if queue.events.len().is_multiple_of(HOLD_MAX) && queue.is_waiting {
            queue.is_waiting = false;
            drop(queue);
            self.filled.notify_one();
        }
    }

    /// Wakes the answering thread if anything is there for it.
    pub(crate) fn flush(&self) {
        let mut queue = self.queue.lock();
        if queue.is_waiting && !queue.events.is_empty() {
            queue.is_waiting = false;
            drop(queue);
            self.filled.notify_one();
        }
    }

    /// For the answering thread: swaps everything there is into `taken`, which must be empty; waits until
    /// there is something. False once the server has stopped and nothing is left.
    pub fn take(&self, taken: &mut Vec<Event>) -> bool {
        let mut queue = self.queue.lock();
        while queue.events.is_empty() {
            if queue.closed {
                return false;
            }
            queue.is_waiting = true;
            self.filled.wait(&mut queue);
        }
        queue.is_waiting = false;
        mem::swap(taken, &mut queue.events);
        true
    }

    /// Whether `take` would return at once.
    pub fn is_ready(&self) -> bool {
        !self.queue.lock().events.is_empty()
    }

    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.filled.notify_one();
    }
}

#[derive(Default)]
struct Waking {
    due: Vec<Waker>,
    held: usize,
    network: Option<Waker>,
}

/// Tasks of the network thread that others want to run.
#[derive(Default)]
pub(crate) struct Wakes {
    waking: Mutex<Waking>,
}

impl Wakes {
    /// Has `task` polled soon. Only the first of a batch costs a wake of the network thread.
    pub(crate) fn push(&self, task: Waker) {
        let mut waking = self.waking.lock();
        waking.due.push(task);
        if waking.due.len() == 1 && waking.held == 0 {
            wake_network(waking);
        }
    }

    /// Until `release`, nobody wakes the network thread.
    pub(crate) fn hold(&self) {
        self.waking.lock().held += 1;
    }

    pub(crate) fn release(&self) {
        let mut waking = self.waking.lock();
        waking.held -= 1;
        if !waking.due.is_empty() {
            wake_network(waking);
        }
    }

    /// For the network thread: what is due now. `network` is woken when there is more.
    pub(crate) fn take(&self, network: &Waker, due: &mut Vec<Waker>) {
        let mut waking = self.waking.lock();
        if !waking.network.as_ref().is_some_and(|known| known.will_wake(network)) {
            waking.network = Some(network.clone());
        }
        mem::swap(&mut waking.due, due);
    }
}

fn wake_network(waking: parking_lot::MutexGuard<'_, Waking>) {
    let network = waking.network.clone();
    drop(waking);
    if let Some(network) = network {
        network.wake();
    }
}
