//! What the driver and every caller's thread look at together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use konsul_state::ahead;
use konsul_state::apply::Tables;
use konsul_state::schema::Schema;
use parking_lot::{Mutex, RwLock};

use crate::clock::Clocks;
use crate::completions::Completions;
use crate::inbox::Inbox;
use crate::leases::Leases;
use crate::members::Members;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::seams::NodeIdentity;
use crate::watches::Watches;

/// The node's part in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Follows a leader, or looks for one.
    Follower = 0,
    /// Leads.
    Leader = 1,
    /// Asks for votes.
    Candidate = 2,
}

impl Role {
    /// As `status` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Leader => "leader",
            Self::Candidate => "candidate",
        }
    }
}

/// The node's place in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GroupState {
    /// It belongs to no group yet.
    Unformed = 0,
    /// It is a member, or becomes one: it knows its group.
    Formed = 1,
    /// It was put out.
    Removed = 2,
}

impl GroupState {
    /// As `status` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unformed => "unformed",
            Self::Formed => "formed",
            Self::Removed => "removed",
        }
    }
}

/// Numbers the driver writes after each turn and anybody reads.
#[derive(Default)]
pub(crate) struct Gauges {
    pub role: AtomicU8,
    pub term: AtomicU64,
    pub leader_id: AtomicU64,
    pub last_index: AtomicU64,
    pub commit_index: AtomicU64,
    pub applied_index: AtomicU64,
    /// The Raft index that the newest snapshot covers.
    pub snapshot_index: AtomicU64,
    pub disk_free_bytes: AtomicU64,
    pub waiting_entries: AtomicU64,
    pub waiting_bytes: AtomicU64,
    /// New writes are refused for want of space.
    pub is_full: AtomicBool,
    /// Committed entries cannot be applied for want of space.
    pub is_stalled: AtomicBool,
    pub is_stopping: AtomicBool,
    /// Until when a read may be served without a question (`leader_lease.rs`).
    pub current_until_ms: AtomicU64,
    /// A [`GroupState`].
    pub group: AtomicU8,
    /// A peer's snapshot is on its way into the tables, which are older until then.
    pub is_installing: AtomicBool,
    /// Counts beginnings and ends of such loads: odd while the tables may hold a part.
    pub loads: AtomicU64,
    /// Leadership is being handed over.
    pub is_transferring: AtomicBool,
    /// When the leader was last heard of, or this node last knew that it leads; on the node's clock.
    pub contact_ms: AtomicU64,
}

/// How far a peer is, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// The peer.
    pub raft_id: u64,
    /// The last entry it is known to hold.
    pub match_index: u64,
    /// `probe`, `replicate` or `snapshot`.
    pub progress: &'static str,
    /// When it was last heard of, on the node's clock; 0: never.
    pub heard_ms: u64,
}

pub(crate) struct Shared {
    pub options: Options,
    pub clock: Clocks,
    pub inbox: Inbox,
    pub completions: Arc<Completions>,
    pub leases: Mutex<Leases>,
    pub watches: Watches,
    pub metrics: Metrics,
    pub gauges: Gauges,
    /// What a leader knows of its peers, renewed a few times a second; empty on others.
    pub peers: Mutex<Vec<PeerView>>,
    raft_id: AtomicU64,
    cluster_id: AtomicU64,
    members: RwLock<Arc<Members>>,
    tables: RwLock<Arc<Tables>>,
    /// The schema that this version declares.
    ours: Arc<Schema>,
    read_by: RwLock<Arc<Schema>>,
}

fn read_by(in_force: &Arc<Schema>, ours: &Arc<Schema>) -> Arc<Schema> {
    if ahead::is_ahead(in_force, ours) { ours.clone() } else { in_force.clone() }
}

impl Shared {
    pub fn new(
        options: Options,
        clock: Clocks,
        completions: Arc<Completions>,
        identity: NodeIdentity,
        (members, tables, ours): (Members, Tables, Schema),
    ) -> Self {
        let ours = Arc::new(ours);
        let watches = Watches::new(&options, tables.index(), completions.clone());
        Self {
            options,
            clock,
            inbox: Inbox::default(),
            completions,
            leases: Mutex::default(),
            watches,
            metrics: Metrics::new(),
            gauges: Gauges::default(),
            peers: Mutex::default(),
            raft_id: AtomicU64::new(identity.raft_id),
            cluster_id: AtomicU64::new(identity.cluster_id),
            members: RwLock::new(Arc::new(members)),
            read_by: RwLock::new(read_by(&tables.schema(), &ours)),
            tables: RwLock::new(Arc::new(tables)),
            ours,
        }
    }

    /// This node's id in the log.
    pub fn raft_id(&self) -> u64 {
        self.raft_id.load(Relaxed)
    }

    /// The group's id; 0 before there is one.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id.load(Relaxed)
    }

    pub fn identity(&self) -> NodeIdentity {
        NodeIdentity { raft_id: self.raft_id(), cluster_id: self.cluster_id() }
    }

    pub fn set_cluster_id(&self, cluster_id: u64) {
        self.cluster_id.store(cluster_id, Relaxed);
    }

    /// The members as of the newest applied change.
    pub fn members(&self) -> Arc<Members> {
        self.members.read().clone()
    }

    pub fn publish_members(&self, members: Members) {
        *self.members.write() = Arc::new(members);
    }

    /// The node's place in a group; a lone node is its own.
    pub fn group(&self) -> GroupState {
        match self.gauges.group.load(Relaxed) {
            0 => GroupState::Unformed,
            1 => GroupState::Formed,
            _ => GroupState::Removed,
        }
    }

    /// The tables' state after the newest batch a reader can see.
    pub fn tables(&self) -> Arc<Tables> {
        self.tables.read().clone()
    }

    /// The schema in force, or this version's own while that is ahead of it: what reads go by.
    pub fn read_by(&self) -> Arc<Schema> {
        self.read_by.read().clone()
    }

    pub fn publish(&self, tables: Tables) {
        let mut place = self.tables.write();
        let schema = tables.schema();
        if !Arc::ptr_eq(&place.schema(), &schema) {
            *self.read_by.write() = read_by(&schema, &self.ours);
        }
        *place = Arc::new(tables);
    }

    pub fn role(&self) -> Role {
        match self.gauges.role.load(Relaxed) {
            1 => Role::Leader,
            2 => Role::Candidate,
            _ => Role::Follower,
        }
    }

    /// Takes one place among the entries on their way; false if all are taken.
    pub fn reserve(&self, bytes: u64) -> bool {
        let entries = self.gauges.waiting_entries.fetch_add(1, Relaxed);
        let total_bytes = self.gauges.waiting_bytes.fetch_add(bytes, Relaxed);
        // One entry of any size may always travel, or an oversize one could never enter an idle node.
        let fits = entries < self.options.inflight_max_entries
            && (entries == 0 || total_bytes + bytes <= self.options.inflight_max_bytes);
        if !fits {
            self.release(bytes);
        }
        fits
    }

    /// Gives the place back.
    pub fn release(&self, bytes: u64) {
        self.gauges.waiting_entries.fetch_sub(1, Relaxed);
        self.gauges.waiting_bytes.fetch_sub(bytes, Relaxed);
    }
}
