//! Questions and answers: many at once on one connection, each with its own limit.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::counters::add;
use crate::frame::{self, Decoder, FrameError, Kind, Message};
use crate::greeting::Lane;
use crate::handler::{Caller, Target};
use crate::link::{self, Ended, Pace};
use crate::listener::Guest;
use crate::net::Shared;
use crate::queue::{Queue, Room};
use crate::refusal::Refusal;
use crate::stream::{Unreached, dial};

/// The status of a call that its handler dropped without an answer.
const UNANSWERED: u16 = u16::MAX;
/// The status of a call beyond the room of its connection: the node is busy.
const BUSY: u16 = u16::MAX - 1;
const HEAD_BYTES: usize = 10;
const LINKS_MAX: usize = 128;
const IDLE: Duration = Duration::from_secs(30);

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The other node was not reached: nothing was done.
    Unreachable(String),
    /// It did not let this node in: nothing was done.
    Refused(Refusal, String),
    /// Too many calls are on their way there: nothing was done.
    Busy,
    /// The payload is longer than a call may be.
    TooLong,
    /// No answer in time: it may have been done.
    Timeout,
    /// The connection or the handler ended first: it may have been done.
    Unanswered,
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(out, "the node was not reached: {why}"),
            Self::Refused(_, why) => write!(out, "the node refused the connection: {why}"),
            Self::Busy => write!(out, "too many calls are on their way there"),
            Self::TooLong => write!(out, "the call is too long"),
            Self::Timeout => write!(out, "the node did not answer in time"),
            Self::Unanswered => write!(out, "the connection ended before the answer came"),
        }
    }
}

type Answered = Result<(u16, Bytes), CallError>;

/// A connection on which this node asks.
struct CallLink {
    queue: Queue,
    /// None once the connection ended.
    open: Mutex<Option<HashMap<u64, oneshot::Sender<Answered>>>>,
    next: AtomicU64,
}

/// The connections on which this node asks, by whom they reach.
#[derive(Default)]
pub(crate) struct CallLinks(Mutex<HashMap<Target, Arc<CallLink>>>);

impl CallLinks {
    /// Uses none of them again; each ends when it has been idle.
    pub fn forget(&self) {
        self.0.lock().clear();
    }

    fn to(&self, shared: &Arc<Shared>, target: &Target) -> Result<Arc<CallLink>, CallError> {
        let mut links = self.0.lock();
        if let Some(link) = links.get(target) {
            return Ok(link.clone());
        }
        if links.len() >= LINKS_MAX {
            return Err(CallError::Busy);
        }
        let room = room(shared);
        let link = Arc::new(CallLink {
            queue: Queue::new(room),
            open: Mutex::new(Some(HashMap::new())),
            next: AtomicU64::new(1),
        });
        links.insert(target.clone(), link.clone());
        tokio::spawn(hold(shared.clone(), target.clone(), link.clone()));
        Ok(link)
    }

    fn remove(&self, target: &Target, link: &Arc<CallLink>) {
        let mut links = self.0.lock();
        if links.get(target).is_some_and(|now| Arc::ptr_eq(now, link)) {
            links.remove(target);
        }
    }
}

fn room(shared: &Shared) -> Room {
    let calls = shared.options.calls_open_max;
    Room { bytes: shared.options.call_bytes_max * 4, frames: calls, urgent_frames: calls }
}

/// Asks, and waits for the answer.
pub(crate) async fn call(shared: &Arc<Shared>, target: Target, payload: Bytes, limit: Duration) -> Answered {
    add(&shared.counters.calls_made, 1);
    let answered = timeout(limit, ask(shared, target, payload)).await.unwrap_or(Err(CallError::Timeout));
    if answered.is_err() {
        add(&shared.counters.calls_failed, 1);
    }
    answered
}

async fn ask(shared: &Arc<Shared>, mut target: Target, payload: Bytes) -> Answered {
    if payload.len() > shared.options.call_bytes_max {
        return Err(CallError::TooLong);
    }
    if target.address.is_empty() {
        target.address = shared
            .routes
            .address(target.raft_id)
            .ok_or_else(|| CallError::Unreachable("it is not a member of this cluster".to_owned()))?;
    }
    let link = shared.calls.to(shared, &target)?;
    let (told, answer) = oneshot::channel();
    let id = link.next.fetch_add(1, Ordering::Relaxed);
    {
        let mut open = link.open.lock();
        let ended = || CallError::Unreachable("its connection just ended".to_owned());
        let open = open.as_mut().ok_or_else(ended)?;
        // Those who gave up leave their entry here until the next one comes by.
        open.retain(|_, waiting| !waiting.is_closed());
        if open.len() >= shared.options.calls_open_max {
            return Err(CallError::Busy);
        }
        open.insert(id, told);
    }
    if !link.queue.push(Kind::Call, frame::numbered(id, &[&payload]), false) {
        return Err(CallError::Busy);
    }
    answer.await.unwrap_or(Err(CallError::Unanswered))
}

/// Connects, carries calls until the connection ends or nobody used it for a while, and tells all who wait.
async fn hold(shared: Arc<Shared>, target: Target, link: Arc<CallLink>) {
    let failure = match dial(&shared, &target.address, Lane::Calls, target.raft_id).await {
        Err(Unreached::Connect(text)) => CallError::Unreachable(text),
        Err(Unreached::Refused(why, text)) => CallError::Refused(why, text),
        Ok((stream, _)) => {
            let decoder = Decoder::new(shared.options.call_bytes_max + HEAD_BYTES);
            let pace = Pace::of(&shared.options);
            tokio::select! {
                _ = link::run(stream, &link.queue, decoder, pace, &shared.counters, |message| {
                    answered(&link, message)
                }) => {}
                () = unused(&link) => {}
            }
            CallError::Unanswered
        }
    };
    shared.calls.remove(&target, &link);
    let waiting = link.open.lock().take().unwrap_or_default();
    for (_, told) in waiting {
        let _ = told.send(Err(failure.clone()));
    }
}

async fn unused(link: &CallLink) {
    let mut last = 0;
    loop {
        tokio::time::sleep(IDLE).await;
        let next = link.next.load(Ordering::Relaxed);
        let is_idle =
            link.open.lock().as_ref().is_none_or(|open| open.values().all(oneshot::Sender::is_closed));
        if next == last && is_idle {
            return;
        }
        last = next;
    }
}

fn answered(link: &CallLink, mut message: Message) -> Result<(), Ended> {
    let id = frame::number(&mut message.body)?;
    if message.kind != Kind::Reply || message.body.len() < 2 {
        return Err(FrameError::Malformed("something else than a reply").into());
    }
    let status = message.body.get_u16_le();
    let waiting = link.open.lock().as_mut().and_then(|open| open.remove(&id));
    // Nobody waits any more: it came too late.
    if let Some(told) = waiting {
        let _ = told.send(match status {
            UNANSWERED => Err(CallError::Unanswered),
            BUSY => Err(CallError::Busy),
            status => Ok((status, message.body)),
        });
    }
    Ok(())
}

/// Where the answer to a call goes; dropped, the caller learns that there is none.
pub struct Reply {
    id: u64,
    queue: Arc<Queue>,
    open: Arc<AtomicUsize>,
    bytes_max: usize,
    is_sent: bool,
}

impl Reply {
    /// Answers. False: the caller is gone, takes nothing, or the answer is too long for it.
    pub fn send(mut self, status: u16, payload: &[u8]) -> bool {
        payload.len() <= self.bytes_max && status < BUSY && self.put(status, payload)
    }

    fn put(&mut self, status: u16, payload: &[u8]) -> bool {
        self.is_sent = true;
        let body = frame::numbered(self.id, &[&status.to_le_bytes(), payload]);
        self.queue.push(Kind::Reply, body, false)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.is_sent {
            self.put(UNANSWERED, &[]);
        }
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Reply({})", self.id)
    }
}

/// Takes the calls of one connection to the node above.
pub(crate) async fn answer(shared: &Arc<Shared>, guest: Guest) -> Ended {
    let queue = Arc::new(Queue::new(room(shared)));
    let open = Arc::new(AtomicUsize::new(0));
    let bytes_max = shared.options.call_bytes_max;
    let decoder = Decoder::new(bytes_max + HEAD_BYTES);
    let (hello, address) = (guest.hello, guest.address.to_string());
    link::run(guest.stream, &queue, decoder, Pace::of(&shared.options), &shared.counters, |mut message| {
        let id = frame::number(&mut message.body)?;
        if message.kind != Kind::Call {
            return Err(FrameError::Malformed("something else than a call").into());
        }
        let before = open.fetch_add(1, Ordering::AcqRel);
        let mut reply = Reply { id, queue: queue.clone(), open: open.clone(), bytes_max, is_sent: false };
        if before >= shared.options.calls_open_max {
            reply.put(BUSY, &[]);
            return Ok(());
        }
        add(&shared.counters.calls_taken, 1);
        // Membership may have changed since the connection was made.
        let is_member = hello.cluster_id != 0
            && hello.cluster_id == shared.hello().cluster_id
            && shared.routes.is_member(hello.raft_id);
        let raft_id = if is_member { hello.raft_id } else { 0 };
        let caller = Caller { raft_id, hello: hello.clone(), address: address.clone() };
        shared.handler.call(caller, message.body, reply);
        Ok(())
    })
    .await
}
