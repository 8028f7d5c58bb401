//! What the driver and every caller's thread look at together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use konsul_state::apply::Tables;
use parking_lot::{Mutex, RwLock};

use crate::completions::Completions;
use crate::inbox::{Clock, Inbox};
use crate::leases::Leases;
use crate::metrics::Metrics;
use crate::options::Options;

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
}

pub(crate) struct Shared {
    pub options: Options,
    pub clock: Clock,
    pub inbox: Inbox,
    pub completions: Arc<Completions>,
    pub leases: Mutex<Leases>,
    pub metrics: Metrics,
    pub gauges: Gauges,
    tables: RwLock<Arc<Tables>>,
}

impl Shared {
    pub fn new(options: Options, completions: Arc<Completions>, tables: Tables) -> Self {
        Self {
            options,
            clock: Clock::start(),
            inbox: Inbox::default(),
            completions,
            leases: Mutex::default(),
            metrics: Metrics::new(),
            gauges: Gauges::default(),
            tables: RwLock::new(Arc::new(tables)),
        }
    }

    /// The tables' state after the newest batch a reader can see.
    pub fn tables(&self) -> Arc<Tables> {
        self.tables.read().clone()
    }

    pub fn publish(&self, tables: Tables) {
        *self.tables.write() = Arc::new(tables);
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
