//! Bugs planted on purpose, outside of the product: the simulation must find each. What is never found would
//! not be found in the product either.

use konsul_disk::wal::Record;

use crate::disk::without_vote;
use crate::profile::FaultKind;

/// Which bug a run carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// None: the product as it is.
    #[default]
    Nothing,
    /// The log says that records are durable before they are written.
    AckBeforeSync,
    /// The disk forgets whom a node voted for.
    VoteNotPersisted,
    /// A leader believes in its lease for longer than the others keep their promise.
    StaleLease,
}

impl Planted {
    /// All of them, by the names of the command line.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("ack-before-fsync", Self::AckBeforeSync),
        ("vote-not-persisted", Self::VoteNotPersisted),
        ("stale-lease", Self::StaleLease),
    ];

    /// The faults that such a bug needs to show: a seed with the bug has them, whatever else it has.
    pub(crate) fn needs(self) -> &'static [FaultKind] {
        match self {
            Self::Nothing => &[],
            Self::AckBeforeSync => &[FaultKind::PowerCut, FaultKind::PowerCutEverywhere],
            Self::VoteNotPersisted => &[FaultKind::VoterCrash, FaultKind::IsolateLeader],
            Self::StaleLease => &[FaultKind::IsolateLeader, FaultKind::Transfer],
        }
    }

    /// What reaches the disk of what the driver handed to the log.
    pub(crate) fn spoil(self, records: Vec<Record>) -> Vec<Record> {
        match self {
            Self::VoteNotPersisted => records.into_iter().map(without_vote).collect(),
            _ => records,
        }
    }
}
