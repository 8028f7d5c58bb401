//! The members: one connection to each, made again whenever it is lost, and the way of every frame.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::counters::{Counters, add};
use crate::frame::{Decoder, Kind, Message};
use crate::greeting::Lane;
use crate::link::{self, Ended, Pace};
use crate::net::Shared;
use crate::options::NetOptions;
use crate::queue::{Queue, Room};
use crate::refusal::Refusal;
use crate::stream::{Backoff, Unreached, dial};

const FORMER_MAX: usize = 1_024;
/// A connection that lived so long was a good one: the next attempt comes at once.
const GOOD: Duration = Duration::from_secs(1);

/// One member.
pub(crate) struct Peer {
    address: String,
    queue: Arc<Queue>,
    is_up: AtomicBool,
    knock: Notify,
    task: Mutex<Option<AbortHandle>>,
}

/// A connection that another node made to this one for frames.
#[derive(Clone)]
pub(crate) struct Inbound {
    pub queue: Arc<Queue>,
    pub stop: Arc<Notify>,
}

#[derive(Default)]
struct Known {
    peers: HashMap<u64, Arc<Peer>>,
    inbound: HashMap<u64, Inbound>,
    former: VecDeque<u64>,
}

/// Which way frames go.
#[derive(Default)]
pub(crate) struct Routes(Mutex<Known>);

impl Routes {
    /// Holds connections with these and nobody else.
    pub fn set(&self, shared: &Arc<Shared>, runtime: &Handle, members: &[(u64, String)]) {
        let mut known = self.0.lock();
        let own = shared.hello().raft_id;
        let gone: Vec<u64> = known
            .peers
            .iter()
            .filter(|(id, peer)| !members.iter().any(|(new, address)| new == *id && *address == peer.address))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(peer) = known.peers.remove(&id) {
                peer.leave(shared, id);
            }
            if !members.iter().any(|(new, _)| *new == id) {
                known.bar(id);
            }
        }
        for (id, address) in members.iter().filter(|(id, _)| *id != own) {
            known.former.retain(|former| former != id);
            if !known.peers.contains_key(id) {
                let peer = Arc::new(Peer::new(&shared.options, address.clone()));
                let task = runtime.spawn(keep(shared.clone(), *id, peer.clone())).abort_handle();
                *peer.task.lock() = Some(task);
                known.peers.insert(*id, peer);
            }
        }
    }

    /// By this node's own connection, else by the one the other node made (it may be so new to this node that
    /// its address is not known yet).
    pub fn send(&self, counters: &Counters, to: u64, frame: Bytes, is_urgent: bool) -> bool {
        let known = self.0.lock();
        let own =
            known.peers.get(&to).filter(|peer| peer.is_up.load(Ordering::Acquire)).map(|peer| &peer.queue);
        let Some(queue) = own.or_else(|| known.inbound.get(&to).map(|inbound| &inbound.queue)) else {
            add(&counters.dropped_unconnected, 1);
            return false;
        };
        let is_taken = queue.push(Kind::Frame, frame, is_urgent);
        if !is_taken {
            add(&counters.dropped_full, 1);
        }
        is_taken
    }

    /// Whether a node is a member.
    pub fn is_member(&self, raft_id: u64) -> bool {
        self.0.lock().peers.contains_key(&raft_id)
    }

    /// Whether a node was a member while this transport ran, and no longer is.
    pub fn is_former(&self, raft_id: u64) -> bool {
        self.0.lock().former.contains(&raft_id)
    }

    /// Where a member listens.
    pub fn address(&self, raft_id: u64) -> Option<String> {
        self.0.lock().peers.get(&raft_id).map(|peer| peer.address.clone())
    }

    pub fn is_connected(&self, raft_id: u64) -> bool {
        let known = self.0.lock();
        known.peers.get(&raft_id).is_some_and(|peer| peer.is_up.load(Ordering::Acquire))
            || known.inbound.contains_key(&raft_id)
    }

    pub fn waiting_bytes(&self, raft_id: u64) -> usize {
        self.0.lock().peers.get(&raft_id).map_or(0, |peer| peer.queue.bytes())
    }

    /// A node connected for frames. It takes the place of its former connection, which is as good as dead;
    /// and it is there, so it is worth knocking at its door now.
    /// False: it was removed while it came in.
    pub fn enter(&self, raft_id: u64, inbound: Inbound) -> bool {
        let mut known = self.0.lock();
        if known.former.contains(&raft_id) {
            return false;
        }
        if let Some(peer) = known.peers.get(&raft_id) {
            peer.knock.notify_one();
        }
        if let Some(before) = known.inbound.insert(raft_id, inbound) {
            before.stop.notify_one();
        }
        true
    }

    /// Its connection ended.
    pub fn leave(&self, raft_id: u64, inbound: &Inbound) {
        let mut known = self.0.lock();
        if known.inbound.get(&raft_id).is_some_and(|now| Arc::ptr_eq(&now.stop, &inbound.stop)) {
            known.inbound.remove(&raft_id);
        }
    }
}

impl Known {
    fn bar(&mut self, raft_id: u64) {
        if let Some(inbound) = self.inbound.remove(&raft_id) {
            inbound.stop.notify_one();
        }
        if self.former.len() >= FORMER_MAX {
            self.former.pop_front();
        }
        self.former.push_back(raft_id);
    }
}

impl Peer {
    fn new(options: &NetOptions, address: String) -> Self {
        Self {
            address,
            queue: Arc::new(Queue::new(room(options))),
            is_up: AtomicBool::new(false),
            knock: Notify::new(),
            task: Mutex::new(None),
        }
    }

    fn leave(&self, shared: &Shared, id: u64) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        if self.is_up.swap(false, Ordering::AcqRel) {
            shared.handler.peer_down(id);
        }
    }
}

/// The room of a connection for frames.
pub(crate) fn room(options: &NetOptions) -> Room {
    Room {
        bytes: options.queue_bytes_max,
        frames: options.queue_frames_max,
        urgent_frames: options.urgent_frames_max,
    }
}

/// Takes a frame from a connection to the node above.
pub(crate) fn take_frame(shared: &Shared, from: u64, message: Message) -> Result<(), Ended> {
    if message.kind != Kind::Frame {
        return Err(crate::frame::FrameError::Malformed("a kind of frame that does not belong there").into());
    }
    add(&shared.counters.frames_received, 1);
    if !shared.handler.frame(from, message.body) {
        add(&shared.counters.dropped_unwanted, 1);
    }
    Ok(())
}

/// Connects to a member, for as long as it is one.
async fn keep(shared: Arc<Shared>, id: u64, peer: Arc<Peer>) {
    if peer.address.is_empty() {
        // Nothing but its number is known: it may connect to this node, this node waits.
        return;
    }
    let mut backoff = Backoff::new(shared.options.backoff_ms);
    let mut was_up = false;
    loop {
        match dial(&shared, &peer.address, Lane::Frames, id).await {
            Ok((stream, hello)) => {
                if was_up {
                    add(&shared.counters.reconnects, 1);
                    shared.notes.tell(&hello.node_id, "connected", || {
                        format!("connected to {} ({}) again", hello.node_id, peer.address)
                    });
                }
                was_up = true;
                let began = Instant::now();
                peer.queue.clear();
                peer.is_up.store(true, Ordering::Release);
                shared.handler.peer_up(id, &hello);
                let decoder = Decoder::new(shared.options.frame_bytes_max);
                let pace = Pace::of(&shared.options);
                let ended = link::run(stream, &peer.queue, decoder, pace, &shared.counters, |message| {
                    take_frame(&shared, id, message)
                })
                .await;
                peer.is_up.store(false, Ordering::Release);
                shared.handler.peer_down(id);
                shared.notes.warn(&hello.node_id, "lost", || {
                    format!("lost the connection to {} ({}): {ended}", hello.node_id, peer.address)
                });
                if began.elapsed() >= GOOD {
                    backoff.reset();
                }
            }
            Err(unreached) => failed(&shared, id, &peer.address, &unreached),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.pause()) => {}
            () = peer.knock.notified() => {}
        }
    }
}

fn failed(shared: &Shared, id: u64, address: &str, unreached: &Unreached) {
    add(&shared.counters.connects_failed, 1);
    let words = || format!("cannot reach the member at {address}: {unreached}");
    match unreached {
        // It was just taken in, and its own part of that is still under way.
        Unreached::Refused(why @ Refusal::Unformed, _) => shared.notes.tell(address, why.name(), words),
        _ => shared.notes.warn(address, unreached.reason(), words),
    }
    if let Unreached::Refused(why, _) = unreached {
        shared.handler.refused(id, *why);
    }
}
