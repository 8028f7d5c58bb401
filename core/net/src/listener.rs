//! The door: who connects, says who it is in time, and is let in or not.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::calls;
use crate::counters::add;
use crate::frame::Decoder;
use crate::greeting::{self, Answer, Greeting, Lane, PROTOCOLS, Unread};
use crate::link::{self, Ended, Pace};
use crate::net::Shared;
use crate::options::Hello;
use crate::peers::{Inbound, room, take_frame};
use crate::queue::Queue;
use crate::receive;
use crate::refusal::Refusal;
use crate::stream::{Duplex, prepare};
use crate::tls;

/// A member has one connection for frames, and few for calls and snapshots.
const MEMBER_CONNECTIONS_MAX: usize = 16;

/// A connection that was let in.
pub(crate) struct Guest {
    pub hello: Hello,
    pub address: SocketAddr,
    pub stream: Box<dyn Duplex>,
}

/// Takes connections until the transport stops.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let door = Arc::new(Door::default());
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                add(&shared.counters.accepted, 1);
                door.admit(&shared, stream, address);
            }
            Err(error) => {
                shared
                    .notes
                    .warn("listener", "accept", || format!("cannot take connections of peers: {error}"));
                // Out of file descriptors, most likely: without a pause this loop would take a whole core.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[derive(Default)]
struct Counts {
    /// Connections that have not said who they are, the oldest first.
    unknown: VecDeque<(u64, IpAddr, AbortHandle)>,
    next: u64,
    strangers: HashMap<IpAddr, usize>,
    members: HashMap<u64, usize>,
}

/// Who is inside and who waits at the door.
#[derive(Default)]
struct Door(Mutex<Counts>);

enum Seat {
    Unknown(u64),
    Stranger(IpAddr),
    Member(u64),
}

/// A place that is given back when it is dropped.
struct Place {
    door: Arc<Door>,
    seat: Seat,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.door.0.lock();
        match self.seat {
            Seat::Unknown(number) => counts.unknown.retain(|(one, ..)| *one != number),
            Seat::Stranger(address) => give_back(&mut counts.strangers, &address),
            Seat::Member(raft_id) => give_back(&mut counts.members, &raft_id),
        }
    }
}

fn give_back<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Door {
    /// Gives a new connection time to say who it is. When too many wait, the oldest goes: a node of the
    /// cluster needs milliseconds, who keeps the door busy needs long.
    fn admit(self: &Arc<Self>, shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) {
        let most = shared.options.unknown_max.max(2);
        let ip = address.ip();
        let mut counts = self.0.lock();
        let same = counts.unknown.iter().filter(|(_, other, _)| *other == ip).count();
        let oldest = if same >= most / 2 {
            counts.unknown.iter().position(|(_, other, _)| *other == ip)
        } else {
            (counts.unknown.len() >= most).then_some(0)
        };
        if let Some((_, from, task)) = oldest.and_then(|at| counts.unknown.remove(at)) {
            task.abort();
            refuse(shared, from, Refusal::Busy, || {
                "too many connections that did not say who they are".to_owned()
            });
        }
        let number = counts.next;
        counts.next += 1;
        let place = Place { door: self.clone(), seat: Seat::Unknown(number) };
        let task = tokio::spawn(serve(shared.clone(), place, stream, address));
        counts.unknown.push_back((number, ip, task.abort_handle()));
    }

    /// A place for a node that said who it is; None when all are taken.
    fn seat(self: &Arc<Self>, shared: &Shared, raft_id: u64, ip: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock();
        let seat = if shared.routes.is_member(raft_id) {
            let count = counts.members.entry(raft_id).or_default();
            *count += 1;
            (*count <= MEMBER_CONNECTIONS_MAX, Seat::Member(raft_id))
        } else {
            let all: usize = counts.strangers.values().sum();
            let count = counts.strangers.entry(ip).or_default();
            *count += 1;
            let has_room =
                all < shared.options.strangers_max && *count <= shared.options.strangers_per_address_max;
            (has_room, Seat::Stranger(ip))
        };
        drop(counts);
        let place = Place { door: self.clone(), seat: seat.1 };
        seat.0.then_some(place)
    }
}

fn refuse(shared: &Shared, from: IpAddr, why: Refusal, text: impl FnOnce() -> String) {
    shared.counters.refuse(why);
    let words = || format!("refused a connection from {from}: {}", text());
    match why {
        Refusal::Unformed => shared.notes.tell(&from.to_string(), why.name(), words),
        _ => shared.notes.warn(&from.to_string(), why.name(), words),
    }
}

/// One connection, from its first byte to its last.
async fn serve(shared: Arc<Shared>, place: Place, stream: TcpStream, address: SocketAddr) {
    let door = place.door.clone();
    let limit = Duration::from_millis(shared.options.handshake_timeout_ms);
    let ip = address.ip();
    let entered = match timeout(limit, enter(&shared, &door, stream, address)).await {
        Ok(entered) => entered,
        Err(_) => Err((Refusal::Timeout, "it did not say who it is in time".to_owned())),
    };
    drop(place);
    match entered {
        Ok((lane, guest, _place)) => inside(shared, lane, guest).await,
        Err((why, text)) => refuse(&shared, ip, why, || text),
    }
}

type Refused = (Refusal, String);

async fn enter(
    shared: &Arc<Shared>,
    door: &Arc<Door>,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<(Lane, Guest, Place), Refused> {
    prepare(&stream).map_err(|error| (Refusal::Silent, error.to_string()))?;
    let mut stream: Box<dyn Duplex> = match shared.tls() {
        None => Box::new(stream),
        Some(tls) => {
            let mut first = [0];
            // Connect and go is what a port scanner does; it is not worth the words of a failed handshake.
            if !matches!(stream.peek(&mut first).await, Ok(1)) {
                return Err((Refusal::Silent, "it came and went without a word".to_owned()));
            }
            let accepted = tls.acceptor.accept(stream).await;
            Box::new(accepted.map_err(|error| (Refusal::Tls, tls::explain(&error)))?)
        }
    };
    let greeting = match greeting::read(&mut stream).await {
        Ok(body) => Greeting::decode(&body).map_err(|what| (Refusal::Malformed, what.to_owned()))?,
        Err(error @ Unread::Garbage(_)) => return Err((Refusal::Garbage, error.to_string())),
        Err(error @ Unread::Malformed(_)) => return Err((Refusal::Malformed, error.to_string())),
        Err(Unread::Io(_)) => return Err((Refusal::Silent, "it came and went without a word".to_owned())),
    };
    let judged = judge(shared, &greeting).and_then(|protocol| {
        let place = door.seat(shared, greeting.hello.raft_id, address.ip());
        place.map(|place| (protocol, place)).ok_or((Refusal::Busy, "too many connections".to_owned()))
    });
    let answer = match &judged {
        Ok((protocol, _)) => Answer::Welcome { protocol: *protocol, hello: shared.hello() },
        Err((why, text)) => Answer::Refused(*why, text.clone()),
    };
    let written = greeting::write(&mut stream, &answer.encode()).await;
    let (_, place) = judged.map_err(|(why, text)| (why, format!("{}: {text}", named(&greeting.hello))))?;
    written.map_err(|_| (Refusal::Silent, "it went before it was answered".to_owned()))?;
    Ok((greeting.lane, Guest { hello: greeting.hello, address, stream }, place))
}

fn named(hello: &Hello) -> String {
    if hello.node_id.is_empty() { "a node without a name".to_owned() } else { hello.node_id.clone() }
}

/// Whether a node may do what it came for; with the protocol to speak.
fn judge(shared: &Shared, greeting: &Greeting) -> Result<u16, Refused> {
    let (own, theirs) = (shared.hello(), &greeting.hello);
    let protocol = greeting.protocol().ok_or_else(|| {
        let ((low, high), (own_low, own_high)) = (greeting.protocols, PROTOCOLS);
        let text = format!("it speaks protocols {low} to {high}, this node {own_low} to {own_high}");
        (Refusal::Protocol, text)
    })?;
    if greeting.to != 0 && greeting.to != own.raft_id {
        return Err((Refusal::WrongNode, format!("this is {}, not the node it looks for", named(&own))));
    }
    let is_other = own.cluster_id != theirs.cluster_id;
    let words = "it belongs to another cluster".to_owned();
    if greeting.lane == Lane::Calls {
        let is_foreign = is_other && own.cluster_id != 0 && theirs.cluster_id != 0;
        return if is_foreign { Err((Refusal::Cluster, words)) } else { Ok(protocol) };
    }
    if own.cluster_id == 0 {
        return Err((Refusal::Unformed, "this node belongs to no cluster yet".to_owned()));
    }
    if is_other {
        return Err((Refusal::Cluster, words));
    }
    if theirs.raft_id == own.raft_id || theirs.raft_id == 0 {
        return Err((Refusal::WrongNode, "it says it is this node itself".to_owned()));
    }
    // Who is not known yet may be the new leader of a cluster that this node lags behind: it gets in. Who is
    // known to have been removed does not.
    if shared.routes.is_former(theirs.raft_id) {
        return Err((Refusal::Removed, "it was removed from this cluster".to_owned()));
    }
    shared.handler.admit(theirs).map_err(|reason| (Refusal::Incompatible, reason))?;
    Ok(protocol)
}

async fn inside(shared: Arc<Shared>, lane: Lane, guest: Guest) {
    let (ip, name) = (guest.address.ip(), named(&guest.hello));
    let ended = match lane {
        Lane::Frames => frames(&shared, guest).await,
        Lane::Calls => calls::answer(&shared, guest).await,
        Lane::Snapshot => receive::receive(&shared, guest).await,
    };
    if let Ended::Frame(error) = ended {
        refuse(&shared, ip, Refusal::Frame, || format!("{name}: it sent {error}"));
    }
}

async fn frames(shared: &Arc<Shared>, guest: Guest) -> Ended {
    let from = guest.hello.raft_id;
    let inbound =
        Inbound { queue: Arc::new(Queue::new(room(&shared.options))), stop: Arc::new(Notify::new()) };
    if !shared.routes.enter(from, inbound.clone()) {
        return Ended::Done;
    }
    let decoder = Decoder::new(shared.options.frame_bytes_max);
    let pace = Pace::of(&shared.options);
    let ended = tokio::select! {
        ended = link::run(guest.stream, &inbound.queue, decoder, pace, &shared.counters, |message| {
            take_frame(shared, from, message)
        }) => ended,
        () = inbound.stop.notified() => Ended::Done,
    };
    shared.routes.leave(from, &inbound);
    ended
}
