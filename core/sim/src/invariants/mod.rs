//! What must hold at every moment, each in a file of its own. A run ends with the first that falls.

mod acknowledged_is_durable;
mod applied_once;
mod election_safety;
mod index_never_reused;
mod leader_completeness;
mod lease_safety;
mod linearizable_clients;
mod log_matching;
mod state_machine_safety;
mod watches_tell_the_same;

use konsul_disk::wal::LogView;

pub use acknowledged_is_durable::AcknowledgedIsDurable;
pub use applied_once::AppliedOnce;
pub use election_safety::ElectionSafety;
pub use index_never_reused::IndexNeverReused;
pub use leader_completeness::LeaderCompleteness;
pub use lease_safety::LeaseSafety;
pub use linearizable_clients::LinearizableClients;
pub use log_matching::LogMatching;
pub use state_machine_safety::{StateMachineSafety, digest};
pub use watches_tell_the_same::{Follower, WatchesTellTheSame};

/// An invariant that fell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallen {
    /// Its name.
    pub invariant: &'static str,
    /// What was seen.
    pub why: String,
}

impl std::fmt::Display for Fallen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.why)
    }
}

/// How one node looks after one of its turns.
pub struct Sight<'a> {
    /// The machine it runs on.
    pub slot: usize,
    /// Its name in the group.
    pub raft_id: u64,
    /// The number of this process on that machine.
    pub life: u64,
    /// It leads, as far as it knows.
    pub is_leader: bool,
    /// Its current term.
    pub term: u64,
    /// The newest Raft index it knows to be committed.
    pub commit: u64,
    /// The Raft index of the newest applied entry.
    pub applied: u64,
    /// Its log, as the consensus library sees it.
    pub log: &'a LogView,
}

/// The invariants that look at nodes, in the order they are asked.
#[derive(Default)]
pub struct NodeInvariants {
    elections: ElectionSafety,
    logs: LogMatching,
    leaders: LeaderCompleteness,
}

impl NodeInvariants {
    /// Looks at one node.
    pub fn see(&mut self, sight: &Sight<'_>) -> Result<(), Fallen> {
        self.elections.see(sight)?;
        self.logs.see(sight)?;
        self.leaders.see(sight, &self.logs)
    }

    /// The machine lost its disk: what is remembered of its log is of nobody now.
    pub fn forget(&mut self, slot: usize) {
        self.logs.forget(slot);
        self.leaders.forget(slot);
    }

    /// How many entries the group has committed.
    pub fn committed(&self) -> u64 {
        self.leaders.committed()
    }
}
