//! What a seed's run is like: the cluster, its settings, its weather, and which faults it meets how often.
//! Each seed has only some kinds of faults, so that rare combinations are not drowned by common ones.

use crate::clocks::DRIFT_PPM_MAX;
use crate::network::Weather;
use crate::planted::Planted;
use crate::prng::Prng;

/// A kind of fault, or of a deed that is interesting in the middle of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum FaultKind {
    ProcessCrash,
    VoterCrash,
    PowerCut,
    PowerCutEverywhere,
    Pause,
    Split,
    OneWay,
    IsolateLeader,
    IsolateOne,
    SlowLink,
    SlowDisk,
    WallJump,
    ClockRate,
    AddLearner,
    Promote,
    Demote,
    Remove,
    ReplaceWiped,
    Transfer,
}

impl FaultKind {
    /// All kinds: the name they are counted under, and how often they come.
    pub const ALL: [(Self, &'static str, u64); 19] = [
        (Self::ProcessCrash, "fault: process crash", 10),
        (Self::VoterCrash, "fault: crash right after a vote", 4),
        (Self::PowerCut, "fault: power cut", 10),
        (Self::PowerCutEverywhere, "fault: power cut of all machines", 2),
        (Self::Pause, "fault: pause", 8),
        (Self::Split, "fault: partition in two", 6),
        (Self::OneWay, "fault: one-way partition", 6),
        (Self::IsolateLeader, "fault: leader isolated", 8),
        (Self::IsolateOne, "fault: one node isolated", 6),
        (Self::SlowLink, "fault: slow links", 5),
        (Self::SlowDisk, "fault: slow disk", 5),
        (Self::WallJump, "fault: wall clock jump", 3),
        (Self::ClockRate, "fault: monotonic clock fast or slow", 3),
        (Self::AddLearner, "change: learner added", 6),
        (Self::Promote, "change: promoted", 8),
        (Self::Demote, "change: demoted", 3),
        (Self::Remove, "change: removed", 4),
        (Self::ReplaceWiped, "fault: disk wiped, node replaced", 4),
        (Self::Transfer, "change: leadership transferred", 6),
    ];

    /// The name it is counted under.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("fault", |(_, name, _)| name)
    }
}

/// One seed's settings.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Profile {
    /// Nodes that form the group.
    pub voters: usize,
    /// Machines that wait for a place.
    pub spares: usize,
    pub heartbeat_ms: u64,
    pub election_ms: u64,
    pub tick_ms: u64,
    pub lease_ms: u64,
    pub snapshot_threshold_entries: u64,
    pub snapshot_interval_ms: u64,
    pub trailing_entries: u64,
    pub weather: Weather,
    /// A usual sync of the disk.
    pub sync_us: u64,
    /// Snapshots that are lost on their way, of a thousand.
    pub transfer_loss_per_mille: u64,
    /// Requests for votes that arrive when the election may be over, of a thousand.
    pub late_votes_per_mille: u64,
    pub clients: usize,
    pub keys: u64,
    /// A usual pause between two requests of one client.
    pub think_us: u64,
    /// How long a client waits for one answer.
    pub patience_ms: u64,
    /// Kinds with their weights.
    pub faults: Vec<(FaultKind, u64)>,
    /// A usual time between two faults.
    pub fault_gap_us: u64,
    /// How long faults go on.
    pub faults_us: u64,
    /// Monotonic clocks differ from the true time by up to this.
    pub drift_ppm: u64,
}

impl Profile {
    /// The profile of a seed, with the faults that a planted bug needs to show.
    pub fn draw(prng: &mut Prng, planted: Planted) -> Self {
        let voters = [3, 3, 3, 3, 5, 5, 4, 2, 1][prng.below(9) as usize];
        // Settings in proportion: fast, medium, slow.
        let (heartbeat_ms, election_ms, tick_ms) =
            [(50, 300, 10), (50, 300, 25), (100, 600, 20)][prng.below(3) as usize];
        let rough = prng.below(3);
        let weather = Weather {
            delay_us: prng.between(200, 3_000),
            loss_per_mille: [0, 5, 40][rough as usize],
            twice_per_mille: [0, 5, 30][prng.below(3) as usize],
            overtake_per_mille: [0, 10, 100][prng.below(3) as usize],
        };
        let mut faults = Vec::new();
        for (kind, _, weight) in FaultKind::ALL {
            if prng.chance(550) || planted.needs().contains(&kind) {
                faults.push((kind, weight));
            }
        }
        let mut profile = Self {
            voters,
            spares: prng.below(3) as usize,
            heartbeat_ms,
            election_ms,
            tick_ms,
            lease_ms: election_ms,
            snapshot_threshold_entries: [4, 15, 60, 400][prng.below(4) as usize],
            snapshot_interval_ms: [10, 100, 500][prng.below(3) as usize],
            trailing_entries: [0, 3, 20, 200][prng.below(4) as usize],
            weather,
            sync_us: prng.between(100, 4_000),
            transfer_loss_per_mille: [0, 100, 400][prng.below(3) as usize],
            late_votes_per_mille: [0, 0, 300][prng.below(3) as usize],
            clients: prng.between(2, 5) as usize,
            keys: prng.between(1, 5),
            think_us: prng.between(5_000, 60_000),
            patience_ms: prng.between(300, 1_500),
            faults,
            fault_gap_us: prng.between(80_000, 600_000),
            faults_us: prng.between(2_000_000, 6_000_000),
            drift_ppm: prng.below(DRIFT_PPM_MAX + 1),
        };
        if planted == Planted::VoteNotPersisted {
            profile.hold_elections();
        }
        profile
    }

    /// Elections one after the other, with candidates that rise together. Else a node votes in few terms, and
    /// its vote is asked for again only when the election is over.
    fn hold_elections(&mut self) {
        self.voters = if self.voters == 5 { 5 } else { 3 };
        (self.heartbeat_ms, self.election_ms, self.tick_ms) = (50, 300, 25);
        self.late_votes_per_mille = 500;
        self.fault_gap_us = 60_000;
        self.faults_us = 6_000_000;
        self.faults = vec![(FaultKind::VoterCrash, 1), (FaultKind::IsolateLeader, 1)];
    }
}
