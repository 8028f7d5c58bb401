//! Winning and losing the lead: what a new leader does once, and what everybody is told.

use std::sync::atomic::Ordering::Relaxed;

use konsul_state::entry::Kind;
use konsul_state::msgpack::{Cursor, Value};
use konsul_state::read::{self, Query};
use konsul_state::row::Row;
use konsul_state::schema::Schema;
use konsul_state::store::Store as _;
use raft::{ProgressState, StateRole};

use crate::driver::{Broken, Driver};
use crate::shared::{PeerView, Role};
use crate::waiting::Work;

/// How often what a leader knows of its peers is written down.
const VIEW_MS: u64 = 100;

impl Driver {
    /// The library changed this node's role.
    pub(crate) fn note_role(&mut self, state: StateRole, now_ms: u64) {
        let role = match state {
            StateRole::Leader => Role::Leader,
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
        };
        let before = self.shared.role();
        self.shared.gauges.role.store(role as u8, Relaxed);
        if (before == Role::Leader) != (role == Role::Leader) {
            self.shared.metrics.leader_changes.fetch_add(1, Relaxed);
        }
        if before == Role::Leader && role != Role::Leader {
            self.lose_office();
        }
        self.publish_lease();
        self.note_leader(now_ms);
    }

    fn lose_office(&mut self) {
        self.group.inaugurated_term = 0;
        self.group.shipping.clear();
        *self.shared.leases.lock() = Default::default();
        let waiting = self.waiting.take_all();
        self.abandon(waiting);
    }

    /// This node leads, has everything that was committed before, and has done its first duties.
    pub(crate) fn is_in_office(&self) -> bool {
        self.is_leader() && (self.group.is_alone || self.group.inaugurated_term == self.raft.raft.term)
    }

    /// The first duties of a new leader, once all before it is applied: it grants every lease in full, since
    /// heartbeats went to another node, and brings its schema if that is newer.
    pub(crate) fn take_office(&mut self, now_ms: u64) -> Result<(), Broken> {
        if self.group.is_alone || self.is_in_office() || !self.is_caught_up() {
            return Ok(());
        }
        self.grant_leases().map_err(Broken::Apply)?;
        self.next_expiry_ms =
            self.machine.next_expiry_ms().map_err(|error| Broken::Apply(error.to_string()))?;
        self.is_pulsing = false;
        self.group.inaugurated_term = self.raft.raft.term;
        let stored = self.machine.tables().schema();
        let is_newer =
            stored.encode() != self.wanted.encode() && Schema::check_migration(&stored, &self.wanted).is_ok();
        if is_newer {
            self.propose_own(Work::Schema, Kind::Define, self.wanted.encode());
            self.propose(now_ms);
            self.advance(now_ms)?;
        }
        Ok(())
    }

    /// Grants every stored lease its full length: a change of the leader, or a restart, must not end what
    /// could not be heard of.
    pub(crate) fn grant_leases(&mut self) -> Result<(), String> {
        let now_ms = self.shared.clock.now_ms();
        let schema = self.machine.tables().schema();
        let reader = self.machine.store().read().map_err(|error| error.to_string())?;
        let mut leases = self.shared.leases.lock();
        for table in schema.tables() {
            let Some(column) = table.lease else { continue };
            let mut grant = |key: &[u8], row: &[u8]| {
                let row = Row::new(row)?;
                if let Value::Unsigned(ttl_ms) = Cursor::new(row.cell(table, column)?).value()? {
                    leases.grant(table.id, key, row.modify_index(), ttl_ms, now_ms);
                }
                Ok(())
            };
            let mut after: Option<Vec<u8>> = None;
            loop {
                let limit = read::SCAN_ROWS_MAX;
                let query =
                    Query { table: table.id, prefix: b"", filters: &[], after: after.as_deref(), limit };
                after =
                    read::scan(&reader, &schema, &query, &mut grant).map_err(|error| error.to_string())?;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn write_gauges(&mut self, now_ms: u64) {
        let is_full = self.is_full(now_ms);
        let gauges = &self.shared.gauges;
        let log = &self.raft.raft.raft_log;
        gauges.term.store(self.raft.raft.term, Relaxed);
        gauges.leader_id.store(self.raft.raft.leader_id, Relaxed);
        let leader = (self.raft.raft.leader_id, self.raft.raft.term);
        if leader != self.told_leader {
            self.told_leader = leader;
            self.shared.watches.note_leader(&self.group.members, leader.0, leader.1);
        }
        gauges.last_index.store(log.last_index(), Relaxed);
        gauges.commit_index.store(log.committed, Relaxed);
        gauges.applied_index.store(self.machine.tables().applied().index, Relaxed);
        gauges.disk_free_bytes.store(self.guard.free_bytes(), Relaxed);
        gauges.is_full.store(is_full, Relaxed);
        gauges.is_stalled.store(self.is_stalled(), Relaxed);
        let heard_ms = if self.is_leader() { self.quorum_heard_ms(now_ms) } else { 0 };
        if heard_ms > 0 {
            gauges.contact_ms.store(heard_ms, Relaxed);
        }
        if !self.group.is_alone && now_ms >= self.group.next_view_ms {
            self.group.next_view_ms = now_ms + VIEW_MS;
            let views = self.views();
            *self.shared.peers.lock() = views;
        }
    }

    fn views(&self) -> Vec<PeerView> {
        let raft = &self.raft.raft;
        if !self.is_leader() {
            return Vec::new();
        }
        let others = raft.prs().iter().filter(|(id, _)| **id != raft.id);
        others
            .map(|(id, progress)| PeerView {
                raft_id: *id,
                match_index: progress.matched,
                progress: match progress.state {
                    ProgressState::Probe => "probe",
                    ProgressState::Replicate => "replicate",
                    ProgressState::Snapshot => "snapshot",
                },
                heard_ms: self.group.contact_ms.get(id).copied().unwrap_or(0),
            })
            .collect()
    }
}
