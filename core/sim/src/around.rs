//! What a simulated process stands on: the seams of `core/node` as parts of a machine that the scheduler
//! drives.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::sync::Arc;

use bytes::Bytes;
use konsul_node::Member;
use konsul_node::seams::{Clock, IdentityKeeper, NodeIdentity, Peers, Shipment, Tasks};
use parking_lot::Mutex;

use crate::clocks::Clocks;

/// A machine's clocks as a process sees them: the monotonic one counts from its start, as in production.
#[derive(Clone)]
pub struct ProcessClock {
    clocks: Clocks,
    started_ms: u64,
}

impl ProcessClock {
    /// A process starts now.
    pub fn start(clocks: &Clocks) -> Self {
        Self { clocks: clocks.clone(), started_ms: clocks.now_ms() }
    }

    /// How much true time passes, in us, until this clock shows `at_ms`; at least 1.
    pub fn true_us_until(&self, at_ms: u64) -> u64 {
        self.clocks.true_us_until(self.started_ms.saturating_add(at_ms))
    }
}

impl Clock for ProcessClock {
    fn now_ms(&self) -> u64 {
        self.clocks.now_ms() - self.started_ms
    }

    fn wall_ms(&self) -> u64 {
        self.clocks.wall_ms()
    }
}

/// Work that a process started beside its driver.
type Work = Box<dyn FnOnce() + Send>;

/// Work waits here until the scheduler runs it.
#[derive(Clone, Default)]
pub struct SimTasks {
    waiting: Arc<Mutex<Vec<(&'static str, Work)>>>,
}

impl SimTasks {
    /// What was started since the last call.
    pub fn take(&self) -> Vec<(&'static str, Work)> {
        std::mem::take(&mut *self.waiting.lock())
    }
}

impl Tasks for SimTasks {
    fn spawn(&self, name: &'static str, work: Work) -> io::Result<()> {
        self.waiting.lock().push((name, work));
        Ok(())
    }
}

/// What a process wants of the network.
pub enum Sent {
    /// A frame to a member.
    Frame(u64, Bytes),
    /// A snapshot to a member: header and content.
    Snapshot(u64, Bytes, Vec<u8>),
}

#[derive(Default)]
struct Out {
    sent: Vec<Sent>,
    members: Vec<u64>,
    former: BTreeSet<u64>,
    cluster_id: u64,
}

/// The way out of a process; clones are handles to the same.
#[derive(Clone, Default)]
pub struct SimPeers {
    out: Arc<Mutex<Out>>,
}

impl SimPeers {
    /// What was sent since the last call.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.out.lock().sent)
    }

    /// True if this process takes frames of that node, as the transport decides it: they are of one group,
    /// and it did not see it removed. A node that it has not heard of may be newer than its log.
    pub fn takes(&self, raft_id: u64, cluster_id: u64) -> bool {
        let out = self.out.lock();
        cluster_id != 0 && out.cluster_id == cluster_id && !out.former.contains(&raft_id)
    }

    /// The group it belongs to; 0 for none.
    pub fn cluster_id(&self) -> u64 {
        self.out.lock().cluster_id
    }
}

impl Peers for SimPeers {
    fn send(&mut self, to: u64, frame: Bytes) -> bool {
        self.out.lock().sent.push(Sent::Frame(to, frame));
        true
    }

    fn ship(&mut self, to: u64, shipment: Shipment) {
        let Shipment { header, mut content, total_bytes: _ } = shipment;
        let mut bytes = Vec::new();
        // A reader that fails has sent less than it said: the receiver's check refuses it.
        let _ = content.read_to_end(&mut bytes);
        self.out.lock().sent.push(Sent::Snapshot(to, header, bytes));
    }

    fn set_members(&mut self, members: &[Member]) {
        let mut out = self.out.lock();
        let now: Vec<u64> = members.iter().map(|member| member.raft_id).collect();
        let gone = std::mem::replace(&mut out.members, now);
        out.former.extend(gone);
        let Out { former, members, .. } = &mut *out;
        former.retain(|raft_id| !members.contains(raft_id));
    }

    fn set_cluster(&mut self, cluster_id: u64) {
        self.out.lock().cluster_id = cluster_id;
    }
}

/// Who a machine's data belongs to. Survives every crash.
#[derive(Clone, Default)]
pub struct SimIdentity {
    kept: Arc<Mutex<Option<NodeIdentity>>>,
}

impl IdentityKeeper for SimIdentity {
    fn identity(&self) -> Option<NodeIdentity> {
        *self.kept.lock()
    }

    fn keep(&mut self, identity: NodeIdentity) -> Result<(), String> {
        *self.kept.lock() = Some(identity);
        Ok(())
    }
}
