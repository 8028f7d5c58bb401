//! How one node runs, and which settings cannot work.

use std::path::PathBuf;

use crate::cluster_options::ClusterOptions;

/// Where the log and the tables live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In `data_dir`: the log is synced before an answer, the tables are an LMDB map.
    Durable,
    /// In memory: nothing survives the process.
    Memory,
}

/// Settings of one node; the same names as `konsul.engine.Options`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Options {
    pub data_dir: PathBuf,
    pub node_id: u64,
    pub backend: Backend,
    pub heartbeat_ms: u64,
    pub election_ms: u64,
    pub tick_ms: u64,
    pub snapshot_interval_ms: u64,
    pub snapshot_threshold_entries: u64,
    pub snapshot_retention: u64,
    pub trailing_entries: u64,
    pub segment_bytes: u64,
    pub inflight_max_entries: u64,
    pub inflight_max_bytes: u64,
    pub disk_reserve_bytes: u64,
    pub map_max_bytes: u64,
    pub sync_writes: bool,
    /// Newest changes kept for watches that resume.
    pub watch_ring_entries: u64,
    pub watch_ring_bytes: u64,
    pub watchers_max: u64,
    /// None: a lone node without a peer port.
    pub cluster: Option<ClusterOptions>,
}

/// Messages to one peer that may be unanswered.
const INFLIGHT_MESSAGES: usize = 64;

impl Options {
    /// Says which setting cannot work, with its name, its value and what was expected.
    pub fn validate(&self) -> Result<(), String> {
        let at_least = [
            // A member of a group draws its id.
            ("node_id", self.node_id, u64::from(self.cluster.is_none())),
            ("tick_ms", self.tick_ms, 1),
            ("heartbeat_ms", self.heartbeat_ms, self.tick_ms),
            ("election_ms", self.election_ms, self.tick_ms.saturating_mul(4)),
            ("snapshot_interval_ms", self.snapshot_interval_ms, 10),
            ("snapshot_threshold_entries", self.snapshot_threshold_entries, 1),
            ("snapshot_retention", self.snapshot_retention, 1),
            ("segment_bytes", self.segment_bytes, 64 << 10),
            ("inflight_max_entries", self.inflight_max_entries, 1),
            ("inflight_max_bytes", self.inflight_max_bytes, 1),
            ("map_max_bytes", self.map_max_bytes, 16 << 20),
        ];
        for (name, value, least) in at_least {
            if value < least {
                return Err(format!("{name} is {value}, expected at least {least}"));
            }
        }
        // A follower must be able to miss some heartbeats before half the election timeout is over.
        if self.heartbeat_ms > self.election_ms / 5 {
            return Err(format!(
                "heartbeat_ms is {} and election_ms is {}: the heartbeat must be at most a fifth of the \
                 election timeout",
                self.heartbeat_ms, self.election_ms
            ));
        }
        self.cluster.as_ref().map_or(Ok(()), ClusterOptions::validate)
    }

    fn ticks(&self, ms: u64) -> usize {
        ((ms / self.tick_ms).max(1)) as usize
    }

    /// Between which ticks an election's timeout is drawn: from the first, below the second.
    pub(crate) fn election_ticks(&self) -> (usize, usize) {
        let longest = self.ticks(self.election_ms);
        (longest / 2, longest)
    }

    /// How long a node that heard of its leader gives its vote to nobody else.
    pub(crate) fn promise_ms(&self) -> u64 {
        self.election_ticks().0 as u64 * self.tick_ms
    }

    /// Most entries in one message to a peer; the same number of messages may be unanswered.
    pub(crate) fn append_entries(&self) -> u64 {
        self.cluster.as_ref().map_or(u64::MAX, |cluster| cluster.max_append_entries)
    }

    /// The settings of the consensus library, in ticks. `election_ms` is the upper end of the drawn timeout.
    pub(crate) fn raft(&self, raft_id: u64, applied: u64) -> raft::Config {
        let (least, longest) = self.election_ticks();
        let ticks = |ms| self.ticks(ms);
        raft::Config {
            id: raft_id,
            applied,
            heartbeat_tick: ticks(self.heartbeat_ms),
            election_tick: least,
            min_election_tick: least,
            max_election_tick: longest,
            max_size_per_msg: 1 << 20,
            // Times the size of a message, what a slow peer may have on its way to it.
            max_inflight_msgs: INFLIGHT_MESSAGES.min(self.append_entries().max(1) as usize),
            max_committed_size_per_ready: 4 << 20,
            check_quorum: true,
            pre_vote: true,
            // A message stays as small as the transport was told: merged ones could grow over its frames.
            batch_append: false,
            ..raft::Config::default()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn memory() -> Options {
        Options {
            data_dir: PathBuf::new(),
            node_id: 1,
            backend: Backend::Memory,
            heartbeat_ms: 100,
            election_ms: 1_000,
            tick_ms: 10,
            snapshot_interval_ms: 120_000,
            snapshot_threshold_entries: 8_192,
            snapshot_retention: 2,
            trailing_entries: 10_240,
            segment_bytes: 1 << 20,
            inflight_max_entries: 1_024,
            inflight_max_bytes: 64 << 20,
            disk_reserve_bytes: 0,
            map_max_bytes: 1 << 30,
            sync_writes: true,
            watch_ring_entries: 1_024,
            watch_ring_bytes: 1 << 20,
            watchers_max: 16,
            cluster: None,
        }
    }

    #[test]
    fn a_heartbeat_too_slow_for_the_election_is_refused_with_both_values() {
        let message = Options { heartbeat_ms: 300, ..memory() }.validate().unwrap_err();
        assert!(message.contains("300") && message.contains("1000"), "{message}");
        assert!(memory().validate().is_ok());
    }

    #[test]
    fn the_fast_profile_is_accepted_by_the_library() {
        let fast = Options { heartbeat_ms: 50, election_ms: 300, ..memory() };
        fast.validate().unwrap();
        fast.raft(1, 0).validate().unwrap();
    }

    #[test]
    fn zeros_are_named() {
        let message = Options { snapshot_threshold_entries: 0, ..memory() }.validate().unwrap_err();
        assert!(message.starts_with("snapshot_threshold_entries is 0"), "{message}");
    }
}
