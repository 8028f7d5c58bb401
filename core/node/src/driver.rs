//! The driver: the one thread that owns the consensus state, turns waiting proposals into log appends and
//! committed entries into answers.
//!
//! Each turn takes everything that waits, starts the next append first and applies the previous batch while
//! the disk is busy with it. There is at most one append of proposals in flight; what arrives meanwhile
//! gathers in the inbox and leaves as one packed entry.

use std::collections::VecDeque;
use std::sync::Arc;

use konsul_disk::wal::{LogView, WalError};
use konsul_state::apply::Outcome;
use konsul_state::schema::Schema;
use raft::eraftpb::Entry;
use raft::{RawNode, StateRole};

use crate::apply::Machine;
use crate::barriers::Barriers;
use crate::completions::Completion;
use crate::disk_guard::DiskGuard;
use crate::forward::Forwards;
use crate::group::{Group, draw_timeout, mix};
use crate::guests::Guests;
use crate::inbox::{Event, Landed, Proposal};
use crate::leader_lease::LeaderLease;
use crate::seams::LogWriter;
use crate::shared::{GroupState, Shared};
use crate::snapshotter::Snapshotter;
use crate::storage::LogStorage;
use crate::waiting::Waiting;

/// How soon what found no space is tried again.
pub(crate) const RETRY_MS: u64 = 500;

/// What ends the node from inside; there is no going on after it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the log could not be written: {0}")]
    Log(WalError),
    #[error("committed entries could not be applied: {0}")]
    Apply(String),
    #[error("the consensus library refused: {0}")]
    Raft(#[from] raft::Error),
    #[error("the identity of the data directory could not be written: {0}")]
    Identity(String),
    #[error(
        "entries that this node had acknowledged are not in its log (the leader counts on entry {expected}, \
         the log ends at {last}): its disk lost them. Empty the data directory and join anew"
    )]
    Lost { expected: u64, last: u64 },
}

pub(crate) struct Driver {
    pub(crate) shared: Arc<Shared>,
    pub(crate) raft: RawNode<LogStorage>,
    pub(crate) machine: Machine,
    pub(crate) log: LogView,
    pub(crate) guard: DiskGuard,
    pub(crate) snapshotter: Snapshotter,
    pub(crate) barriers: Barriers,
    pub(crate) waiting: Waiting,
    pub(crate) group: Group,
    pub(crate) forwards: Forwards,
    pub(crate) guests: Guests,
    pub(crate) lease: LeaderLease,
    /// The schema this binary was started with.
    pub(crate) wanted: Schema,
    /// Proposals that are not in the log yet.
    pub(crate) queue: VecDeque<Proposal>,
    pub(crate) answers: Vec<Completion>,
    /// The earliest deadline anybody who waits may have; `u64::MAX` for none.
    pub(crate) deadline_ms: u64,
    pub(crate) next_expiry_ms: Option<u64>,
    pub(crate) is_pulsing: bool,
    pub(crate) pulse_not_before_ms: u64,
    /// The outcome of the node's own schema entry, while it starts.
    pub(crate) schema_outcome: Option<Outcome>,
    /// Set by `Stop`: when to give up on what is in flight.
    pub(crate) stop_at_ms: Option<u64>,
    pub(crate) writer: Box<dyn LogWriter>,
    /// Appends handed to the log's thread and not yet on disk.
    pub(crate) appending: usize,
    /// Committed and not yet applied.
    pub(crate) committed: Vec<Entry>,
    pub(crate) committed_bytes: usize,
    pub(crate) retry_apply_at_ms: Option<u64>,
    pub(crate) next_tick_ms: u64,
    /// The leader and the term that watches were told of.
    pub(crate) told_leader: (u64, u64),
    pub(crate) proposals: Vec<Proposal>,
    pub(crate) events: Vec<Event>,
}

/// What a driver is made of, recovered from disk.
pub(crate) struct Parts {
    pub shared: Arc<Shared>,
    pub raft: RawNode<LogStorage>,
    pub machine: Machine,
    pub writer: Box<dyn LogWriter>,
    pub guard: DiskGuard,
    pub snapshotter: Snapshotter,
    pub group: Group,
    pub wanted: Schema,
}

impl Driver {
    pub fn new(parts: Parts) -> Self {
        let Parts { shared, raft, machine, writer, guard, snapshotter, group, wanted } = parts;
        let lease = LeaderLease::new(&shared.options);
        // Two lives of a node differ in the time of their start, whatever they draw.
        let nonce = mix(mix(group.seed ^ raft.raft.id) ^ shared.clock.wall_ms());
        Self {
            shared,
            raft,
            machine,
            log: writer.view(),
            guard,
            snapshotter,
            writer,
            group,
            lease,
            wanted,
            forwards: Forwards::named(nonce),
            guests: Guests::default(),
            barriers: Barriers::default(),
            waiting: Waiting::default(),
            queue: VecDeque::new(),
            answers: Vec::new(),
            deadline_ms: u64::MAX,
            next_expiry_ms: None,
            is_pulsing: false,
            pulse_not_before_ms: 0,
            schema_outcome: None,
            stop_at_ms: None,
            appending: 0,
            committed: Vec::new(),
            committed_bytes: 0,
            retry_apply_at_ms: None,
            next_tick_ms: 0,
            told_leader: (0, 0),
            proposals: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Sleeps until there is something to do, does it, and answers whom it concerns.
    pub fn turn(&mut self) -> Result<(), Broken> {
        let now_ms = self.shared.clock.now_ms();
        let in_ms = self.wake_ms(now_ms).map(|at_ms| at_ms.saturating_sub(now_ms));
        // Who does not lead passes proposals on, whatever its own log is busy with.
        let wants_proposals = self.appending == 0 || !self.is_leader();
        self.shared.inbox.wait(in_ms, wants_proposals, &mut self.proposals, &mut self.events);
        self.turn_without_waiting()
    }

    /// Does what there is to do.
    pub fn turn_without_waiting(&mut self) -> Result<(), Broken> {
        let now_ms = self.shared.clock.now_ms();
        self.take_events(now_ms)?;
        self.take_proposals();
        self.tick(now_ms);
        if now_ms >= self.deadline_ms {
            self.expire(now_ms);
        }
        self.run_duties(now_ms);
        if self.appending == 0 || !self.is_leader() {
            self.propose(now_ms);
        }
        self.advance(now_ms)?;
        self.take_office(now_ms)?;
        self.serve_barriers(now_ms)?;
        self.run_forwards(now_ms);
        self.follow_handover(now_ms);
        self.snapshot_if_due(now_ms)?;
        self.load_if_due(now_ms)?;
        self.write_gauges(now_ms);
        self.shared.completions.push(&mut self.answers);
        Ok(())
    }

    pub fn is_leader(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    /// True when everything committed is applied and this leader's first entry is among it.
    pub fn is_caught_up(&self) -> bool {
        self.is_leader()
            && self.committed.is_empty()
            && self.group.installing.is_none()
            && self.raft.raft.commit_to_current_term()
            && {
                let log = &self.raft.raft.raft_log;
                log.applied == log.committed
            }
    }

    /// Up to where the log is in the tables, as far as readers may count on it.
    pub fn applied_index(&self) -> u64 {
        // While a snapshot is on its way into the tables the library is ahead of them.
        if self.group.installing.is_some() { 0 } else { self.raft.raft.raft_log.applied }
    }

    /// True when nothing of ours is on its way.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.waiting.is_empty() && self.committed.is_empty() && self.appending == 0
    }

    /// Committed entries wait for space.
    pub fn is_stalled(&self) -> bool {
        self.retry_apply_at_ms.is_some()
    }

    pub fn is_appending(&self) -> bool {
        self.appending > 0
    }

    pub fn is_snapshotting(&self) -> bool {
        self.snapshotter.is_running()
    }

    /// Answers everybody who still waits.
    pub fn refuse_everybody(&mut self, code: u16, message: &str) {
        for proposal in std::mem::take(&mut self.queue) {
            self.refuse(proposal.waiter, code, message);
        }
        for waiter in self.waiting.take_all().into_iter().flat_map(|proposed| proposed.waiters) {
            self.refuse(waiter, code, message);
        }
        self.refuse_forwards(code, message);
        self.refuse_group(code, message);
        self.barriers.refuse_all(code, message, &mut self.answers);
        self.snapshotter.refuse(code, message, &mut self.answers);
        self.shared.completions.push(&mut self.answers);
    }

    /// Closes the inbox, answers whoever came too late, and ends the log's thread after everything handed to
    /// it.
    pub fn close(mut self, code: u16, message: &str) {
        let (proposals, events) = self.shared.inbox.close();
        self.queue.extend(proposals);
        let late = events.iter().filter_map(Event::ticket);
        self.answers.extend(late.map(|ticket| Completion::refused(ticket, code, message)));
        self.refuse_everybody(code, message);
        self.writer.stop();
    }

    fn take_events(&mut self, now_ms: u64) -> Result<(), Broken> {
        for event in std::mem::take(&mut self.events) {
            if let Event::Barrier { deadline_ms, .. }
            | Event::WaitIndex { deadline_ms, .. }
            | Event::Snapshot { deadline_ms, .. } = &event
            {
                self.deadline_ms = self.deadline_ms.min(*deadline_ms);
            }
            match event {
                Event::Persisted(landed, result) => {
                    result.map_err(Broken::Log)?;
                    self.appending -= 1;
                    self.land(landed, now_ms)?;
                }
                Event::Barrier { ticket, consistency, deadline_ms } => {
                    self.barriers.add(ticket, consistency, deadline_ms);
                }
                Event::WaitIndex { ticket, index, deadline_ms } => {
                    self.barriers.add_index(ticket, index, deadline_ms);
                }
                Event::Snapshot { ticket, deadline_ms } => {
                    self.snapshot_now(ticket, deadline_ms, now_ms)?;
                }
                Event::SnapshotDone(result) => self.finish_snapshot(result)?,
                Event::Stop { deadline_ms } => self.stop_at_ms = Some(deadline_ms),
                Event::Frame { from, frame } => self.take_frame(from, frame, now_ms)?,
                Event::Outcast => {
                    if self.is_formed() && !self.is_leader() {
                        self.set_state(GroupState::Removed);
                    }
                }
                Event::Unreachable { peer } => {
                    self.raft.report_unreachable(peer);
                    self.forwards_unreachable(peer, now_ms);
                }
                Event::Renew { waiter, table, key } => self.renew(waiter, table, key, now_ms),
                Event::Shipped { to, is_ok } => self.finish_shipment(to, is_ok, now_ms),
                Event::Received { from, header } => self.take_snapshot(from, &header, now_ms),
                Event::Loaded(loaded) => self.finish_install(loaded, now_ms)?,
                other => self.take_verb(other, now_ms)?,
            }
            self.draw();
        }
        Ok(())
    }

    fn take_proposals(&mut self) {
        for proposal in self.proposals.drain(..) {
            self.deadline_ms = self.deadline_ms.min(proposal.waiter.deadline_ms);
            self.queue.push_back(proposal);
        }
    }

    /// A group of one has nobody to hear from and nobody to beat for: it does not tick. Until it is in office
    /// it does: one that was elected before its first turn has nothing else that would wake it.
    pub(crate) fn tick_wake_ms(&self) -> Option<u64> {
        let is_alone = self.raft.raft.prs().iter().count() == 1 && self.is_in_office();
        (!is_alone && !self.group.is_deaf()).then_some(self.next_tick_ms)
    }

    fn tick(&mut self, now_ms: u64) {
        if self.tick_wake_ms().is_none_or(|at_ms| now_ms < at_ms) {
            return;
        }
        // After a long sleep the missed ticks are not made up for: they would start an election at once.
        self.next_tick_ms = now_ms + self.shared.options.tick_ms;
        // The only voter leads as soon as it asks, and the library wants the log on disk by then.
        let is_early = self.raft.raft.prs().is_singleton() && !self.is_leader() && self.appending > 0;
        if !is_early {
            self.raft.tick();
            self.draw();
        }
    }

    /// Replaces the timeout the library may just have drawn from the system's random numbers.
    pub(crate) fn draw(&mut self) {
        if self.group.is_alone {
            return;
        }
        let raft = &mut self.raft.raft;
        let (least, most) = self.shared.options.election_ticks();
        // Who asks in the very moment its own promise ends finds others still bound by theirs.
        let from = (least + 2).min(most - 1);
        let facts = [raft.state as u64, raft.leader_id];
        let ticks = draw_timeout(self.group.seed, raft.id, raft.term, facts, (from, most));
        raft.set_randomized_election_timeout(ticks);
    }

    /// What an append that is on disk leads to.
    fn land(&mut self, landed: Landed, now_ms: u64) -> Result<(), Broken> {
        match landed {
            Landed::Ready(number) => self.land_ready(number, now_ms),
            Landed::Mark => Ok(()),
            Landed::Genesis => self.land_genesis(),
        }
    }

    /// The node belongs to a group and is not put out of it.
    pub(crate) fn is_formed(&self) -> bool {
        self.group.state == GroupState::Formed
    }
}
