//! The way to the peers over `core/net`: frames, snapshots and questions out, and what comes in to the post.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use konsul_net::{Caller, Handler, Hello, Net, NetOptions, Note, Refusal, Reply, Sink, TlsFiles};
use konsul_state::entry::ENTRY_BYTES_MAX;
use parking_lot::Mutex;

use crate::cluster_options::ClusterOptions;
use crate::members::{LOG_VERSION, Member};
use crate::post::Post;
use crate::seams::{NodeIdentity, Peers, Shipment, SnapshotSink};
use crate::status::quoted;
use crate::wire;

/// What a frame has beyond its longest entry.
const FRAME_ROOM_BYTES: usize = 1 << 20;
/// Notes that the status shows.
const EVENTS_MAX: usize = 64;

/// Takes a question of another node; the raft id of the caller is 0 unless it is a member. The transport's
/// threads call it: it must not wait. Dropping the reply says "no answer".
pub(crate) type Asked = Arc<dyn Fn(Caller, Bytes, Reply) + Send + Sync>;

/// The node's transport, shared by the driver and whoever asks other nodes something.
pub(crate) struct Network {
    /// The transport itself: calls, counters, certificates.
    pub net: Net,
    seen: Arc<Seen>,
    /// The newest notes with their numbers; whoever logs them remembers the last number.
    events: Mutex<(u64, VecDeque<(u64, Note)>)>,
}

impl Network {
    /// True if a member said that this node was removed from the group: it may have been away when it was.
    pub fn was_told_removed(&self) -> bool {
        self.seen.is_removed.load(Ordering::Relaxed)
    }

    /// What the transport counted, by the names of metrics.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let counted = self.net.counted();
        let plain = [
            ("bytes_sent", counted.bytes_sent),
            ("bytes_received", counted.bytes_received),
            ("frames_sent", counted.frames_sent),
            ("frames_received", counted.frames_received),
            ("frames_dropped_full", counted.dropped_full),
            ("frames_dropped_unconnected", counted.dropped_unconnected),
            ("frames_dropped_unwanted", counted.dropped_unwanted),
            ("reconnects", counted.reconnects),
            ("connects_failed", counted.connects_failed),
            ("connections_accepted", counted.accepted),
            ("calls_made", counted.calls_made),
            ("calls_failed", counted.calls_failed),
            ("calls_taken", counted.calls_taken),
            ("snapshots_failed", counted.snapshots_failed),
            ("snapshots_resumed", counted.snapshots_resumed),
        ];
        let named = plain.into_iter().map(|(name, value)| (format!("raft_net_{name}_total"), value));
        let refused = counted.refused.into_iter();
        named.chain(refused.map(|(why, value)| (format!("raft_net_refused_{why}_total"), value))).collect()
    }

    /// What the operator should hear of the connections: a JSON array of the newest notes, the oldest first.
    pub fn events_json(&self) -> String {
        let mut events = self.events.lock();
        let (last, kept) = &mut *events;
        for note in self.net.take_notes() {
            *last += 1;
            kept.push_back((*last, note));
            if kept.len() > EVENTS_MAX {
                kept.pop_front();
            }
        }
        let mut out = String::from("[");
        for (number, note) in kept.iter() {
            let comma = if out.len() > 1 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}{{\"number\":{number},\"at_ms\":{},\"warning\":{},\"source\":{},\"reason\":{}\
                 ,\"text\":{},\"repeated\":{}}}",
                note.at_ms,
                note.is_warning,
                quoted(&note.source),
                quoted(note.reason),
                quoted(&note.text),
                note.repeated,
            );
        }
        out.push(']');
        out
    }
}

/// Listens for peers. The error is for the operator: it says which setting cannot work and why.
pub(crate) fn listen(
    options: &ClusterOptions,
    identity: NodeIdentity,
    post: Post,
    asked: Asked,
) -> Result<Arc<Network>, String> {
    let tls = options.is_secure().then(|| TlsFiles {
        cert: options.tls_cert_file.clone(),
        key: options.tls_key_file.clone(),
        ca: options.tls_ca_file.clone(),
    });
    let limits = NetOptions {
        bind: options.bind_addr.clone(),
        tls,
        allow_plaintext: options.allow_plaintext,
        frame_bytes_max: ENTRY_BYTES_MAX + FRAME_ROOM_BYTES,
        snapshot_rate_bytes: options.snapshot_rate_bytes,
        ..NetOptions::default()
    };
    let hello = Hello {
        cluster_id: identity.cluster_id,
        raft_id: identity.raft_id,
        node_id: options.node_name.clone(),
        version: options.version.clone(),
        log_version: LOG_VERSION,
    };
    let seen = Arc::new(Seen::default());
    let incoming = Incoming { post, asked, seen: seen.clone() };
    let net = Net::start(limits, hello, Arc::new(incoming))?;
    Ok(Arc::new(Network { net, seen, events: Mutex::default() }))
}

/// The driver's side of the transport.
pub(crate) struct Outgoing(pub Arc<Network>);

impl Peers for Outgoing {
    fn send(&mut self, to: u64, frame: Bytes) -> bool {
        let is_urgent = wire::is_urgent(&frame);
        self.0.net.send(to, frame, is_urgent)
    }

    fn ship(&mut self, to: u64, shipment: Shipment) {
        let Shipment { header, content, total_bytes } = shipment;
        self.0.net.ship(to, konsul_net::Shipment { header, reader: content, total_bytes });
    }

    fn set_members(&mut self, members: &[Member]) {
        // A record without an address is one of which only the number is known yet: it can connect to this
        // node, this node not to it.
        let ways: Vec<(u64, String)> =
            members.iter().map(|member| (member.raft_id, member.address.clone())).collect();
        self.0.net.set_members(&ways);
    }

    fn set_cluster(&mut self, cluster_id: u64) {
        self.0.net.set_cluster(cluster_id);
    }
}

/// What the transport noticed and the driver need not know.
#[derive(Default)]
struct Seen {
    is_removed: AtomicBool,
}

/// The transport's side of the driver.
struct Incoming {
    post: Post,
    asked: Asked,
    seen: Arc<Seen>,
}

impl Handler for Incoming {
    fn frame(&self, from: u64, frame: Bytes) -> bool {
        self.post.frame(from, frame)
    }

    fn call(&self, caller: Caller, payload: Bytes, reply: Reply) {
        (self.asked)(caller, payload, reply);
    }

    fn snapshot(&self, from: u64, header: Bytes, _total_bytes: u64) -> Result<Box<dyn Sink>, String> {
        let sink = self.post.begin_snapshot(from, &header).map_err(|error| error.to_string())?;
        Ok(Box::new(Arriving { sink, from, header, post: self.post.clone() }))
    }

    fn shipped(&self, to: u64, outcome: Result<(), String>) {
        self.post.shipped(to, outcome.is_ok());
    }

    fn peer_up(&self, _raft_id: u64, _hello: &Hello) {
        self.seen.is_removed.store(false, Ordering::Relaxed);
    }

    fn peer_down(&self, raft_id: u64) {
        self.post.unreachable(raft_id);
    }

    fn refused(&self, _by: u64, why: Refusal) {
        if why == Refusal::Removed {
            self.post.removed();
            self.seen.is_removed.store(true, Ordering::Relaxed);
        }
    }
}

/// A snapshot as it comes.
struct Arriving {
    sink: Box<dyn SnapshotSink>,
    from: u64,
    header: Bytes,
    post: Post,
}

impl Sink for Arriving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write_all(bytes)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.sink.finish()?;
        self.post.received(self.from, self.header);
        Ok(())
    }
}
