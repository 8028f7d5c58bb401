//! The driver: the one thread that owns the consensus state, turns waiting proposals into log appends and
//! committed entries into answers.
//!
//! Each turn takes everything that waits, starts the next append first and applies the previous batch while
//! the disk is busy with it. There is at most one append in flight; what arrives meanwhile gathers in the
//! inbox and leaves as one packed entry.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use konsul_disk::wal::{LogView, Record, WalError, WalWriter};
use konsul_state::apply::{Outcome, Refusal};
use raft::eraftpb::Entry;
use raft::{RawNode, Ready, StateRole};

use crate::apply::Machine;
use crate::barriers::Barriers;
use crate::code;
use crate::completions::Completion;
use crate::disk_guard::DiskGuard;
use crate::inbox::{Event, Proposal};
use crate::packed::Packer;
use crate::shared::Shared;
use crate::snapshotter::Snapshotter;
use crate::storage::{LogStorage, to_log, to_logged};
use crate::waiting::{Proposed, Waiter, Waiting, Work};

/// A packed Raft entry stays below this, unless one entry alone is larger.
const PACKED_BYTES_MAX: usize = 1 << 20;
/// What one append takes of the queue; the log refuses batches of 1 GiB.
const APPEND_BYTES_MAX: usize = 64 << 20;
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
    writer: WalWriter,
    /// Appends handed to the log's thread and not yet on disk.
    appending: usize,
    /// Committed and not yet applied.
    pub(crate) committed: Vec<Entry>,
    pub(crate) retry_apply_at_ms: Option<u64>,
    next_tick_ms: u64,
    proposals: Vec<Proposal>,
    events: Vec<Event>,
}

/// What a driver is made of, recovered from disk.
pub(crate) struct Parts {
    pub shared: Arc<Shared>,
    pub raft: RawNode<LogStorage>,
    pub machine: Machine,
    pub writer: WalWriter,
    pub log: LogView,
    pub guard: DiskGuard,
    pub snapshotter: Snapshotter,
}

impl Driver {
    pub fn new(parts: Parts) -> Self {
        let Parts { shared, raft, machine, writer, log, guard, snapshotter } = parts;
        Self {
            shared,
            raft,
            machine,
            log,
            guard,
            snapshotter,
            writer,
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
            retry_apply_at_ms: None,
            next_tick_ms: 0,
            proposals: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Sleeps until there is something to do, does it, and answers whom it concerns.
    pub fn turn(&mut self) -> Result<(), Broken> {
        let now_ms = self.shared.clock.now_ms();
        let until = self.wake_ms(now_ms).map(|at_ms| self.shared.clock.instant(at_ms));
        let wants_proposals = self.appending == 0;
        self.shared.inbox.wait(until, wants_proposals, &mut self.proposals, &mut self.events);
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
        if self.appending == 0 {
            self.propose(now_ms);
        }
        self.advance(now_ms)?;
        self.serve_barriers(now_ms)?;
        self.snapshot_if_due(now_ms)?;
        self.write_gauges(now_ms);
        self.shared.completions.push(&mut self.answers);
        Ok(())
    }

    pub fn is_leader(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    /// True when everything committed is applied and this leader's first entry is among it.
    pub fn is_caught_up(&self) -> bool {
        self.is_leader() && self.committed.is_empty() && self.raft.raft.commit_to_current_term() && {
            let log = &self.raft.raft.raft_log;
            log.applied == log.committed
        }
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
        self.barriers.refuse_all(code, message, &mut self.answers);
        self.snapshotter.refuse(code, message, &mut self.answers);
        self.shared.completions.push(&mut self.answers);
    }

    /// Closes the inbox, answers whoever came too late, and ends the log's thread after everything handed to
    /// it.
    pub fn close(mut self, code: u16, message: &str) {
        let (proposals, events) = self.shared.inbox.close();
        self.queue.extend(proposals);
        for event in events {
            match event {
                Event::Barrier { ticket, .. }
                | Event::WaitIndex { ticket, .. }
                | Event::Snapshot { ticket, .. } => {
                    self.answers.push(Completion::refused(ticket, code, message));
                }
                Event::Persisted(..) | Event::SnapshotDone(_) | Event::Stop { .. } => {}
            }
        }
        self.refuse_everybody(code, message);
        self.writer.stop();
    }

    fn take_events(&mut self, now_ms: u64) -> Result<(), Broken> {
        for event in std::mem::take(&mut self.events) {
            match event {
                Event::Persisted(number, result) => {
                    result.map_err(Broken::Log)?;
                    self.appending -= 1;
                    if let Some(number) = number {
                        self.raft.on_persist_ready(number);
                    }
                }
                Event::Barrier { ticket, consistency, deadline_ms } => {
                    self.deadline_ms = self.deadline_ms.min(deadline_ms);
                    self.barriers.add(ticket, consistency, deadline_ms);
                }
                Event::WaitIndex { ticket, index, deadline_ms } => {
                    self.deadline_ms = self.deadline_ms.min(deadline_ms);
                    self.barriers.add_index(ticket, index, deadline_ms);
                }
                Event::Snapshot { ticket, deadline_ms } => {
                    self.deadline_ms = self.deadline_ms.min(deadline_ms);
                    self.snapshot_now(ticket, deadline_ms, now_ms)?;
                }
                Event::SnapshotDone(result) => self.finish_snapshot(result)?,
                Event::Stop { deadline_ms } => self.stop_at_ms = Some(deadline_ms),
            }
        }
        Ok(())
    }

    fn take_proposals(&mut self) {
        for proposal in self.proposals.drain(..) {
            self.deadline_ms = self.deadline_ms.min(proposal.waiter.deadline_ms);
            self.queue.push_back(proposal);
        }
    }

    /// A group of one has nobody to hear from and nobody to beat for: it does not tick.
    pub(crate) fn tick_wake_ms(&self) -> Option<u64> {
        let is_alone = self.raft.raft.prs().is_singleton() && self.is_leader();
        (!is_alone).then_some(self.next_tick_ms)
    }

    fn tick(&mut self, now_ms: u64) {
        if self.tick_wake_ms().is_none_or(|at_ms| now_ms < at_ms) {
            return;
        }
        self.raft.tick();
        // After a long sleep the missed ticks are not made up for: they would start an election at once.
        self.next_tick_ms = now_ms + self.shared.options.tick_ms;
    }

    /// Turns the queue into packed entries.
    fn propose(&mut self, now_ms: u64) {
        if self.queue.is_empty() {
            return;
        }
        if let Some((code, message)) = self.refusal(now_ms) {
            for proposal in std::mem::take(&mut self.queue) {
                self.refuse(proposal.waiter, code, message);
            }
            return;
        }
        // The clock of the tables never runs backwards, whatever the wall clock does.
        let stamp_ms = crate::inbox::Clock::wall_ms().max(self.machine.tables().clock_ms());
        let mut taken_bytes = 0;
        while !self.queue.is_empty() && taken_bytes < APPEND_BYTES_MAX {
            let mut packer = Packer::new();
            let mut waiters = Vec::with_capacity(self.queue.len());
            while let Some(proposal) =
                self.queue.pop_front_if(|next| packer.has_room(&next.body, PACKED_BYTES_MAX))
            {
                packer.add(stamp_ms, proposal.kind, &proposal.body);
                waiters.push(proposal.waiter);
            }
            let data = packer.finish();
            taken_bytes += data.len();
            self.guard.spend(data.len() as u64);
            self.shared.metrics.proposals.fetch_add(1, Relaxed);
            match self.raft.propose(Vec::new(), data) {
                Ok(()) => {
                    let (index, term) = (self.raft.raft.raft_log.last_index(), self.raft.raft.term);
                    self.waiting.push(Proposed { index, term, at: Instant::now(), waiters });
                }
                Err(_) => {
                    for waiter in waiters {
                        self.refuse(waiter, code::NO_LEADER, "the proposal was dropped; try again");
                    }
                }
            }
        }
    }

    /// Why nothing may enter the log now, if so.
    fn refusal(&mut self, now_ms: u64) -> Option<(u16, &'static str)> {
        if !self.is_leader() {
            return Some((code::NO_LEADER, "this node is not the leader"));
        }
        if self.is_full(now_ms) {
            return Some((code::DISK_FULL, crate::FULL));
        }
        None
    }

    /// True while writes must be refused for want of space.
    pub(crate) fn is_full(&mut self, now_ms: u64) -> bool {
        self.guard.is_full(now_ms) || self.is_stalled() || self.log.is_full()
    }

    pub(crate) fn refuse(&mut self, waiter: Waiter, code: u16, message: &str) {
        self.shared.metrics.refusals.fetch_add(1, Relaxed);
        self.answers.push(Completion::refused(waiter.ticket, code, message));
        self.let_go(&waiter);
        match waiter.work {
            Work::LeaseEnd(ended) => {
                let retry_ms = self.shared.clock.now_ms() + RETRY_MS;
                self.shared.leases.lock().put_back(&ended, retry_ms);
            }
            Work::Schema => {
                self.schema_outcome = Some(Outcome::Refused(Refusal { code, message: message.into() }));
            }
            Work::Client | Work::Pulse => {}
        }
    }

    /// Takes from the library what must be appended and what may be applied, and applies it, batch by batch:
    /// a long log is replayed without being held in memory.
    pub(crate) fn advance(&mut self, now_ms: u64) -> Result<(), Broken> {
        loop {
            while self.committed.is_empty() && self.raft.has_ready() {
                let mut ready = self.raft.ready();
                if let Some(state) = ready.ss() {
                    let role = state.raft_state;
                    self.note_role(role);
                }
                self.barriers.confirm(ready.take_read_states());
                self.committed = ready.take_committed_entries();
                self.append(ready)?;
            }
            if self.committed.is_empty() {
                return Ok(());
            }
            self.apply_committed(now_ms)?;
            if self.is_stalled() {
                return Ok(());
            }
        }
    }

    fn append(&mut self, mut ready: Ready) -> Result<(), Broken> {
        let number = ready.number();
        let entries = ready.take_entries();
        let state = ready.hs().cloned();
        if entries.is_empty() && !ready.must_sync() {
            // How far is committed need not survive: a restart learns it again. It rides with the next
            // append.
            self.raft.advance_append_async(ready);
            if self.appending == 0 {
                self.raft.on_persist_ready(number);
            }
            return Ok(());
        }
        let mut records = Vec::with_capacity(entries.len() + 1);
        if let Some(state) = &state {
            records.push(Record::HardState(to_logged(state)));
        }
        self.shared.metrics.log_entries.fetch_add(entries.len() as u64, Relaxed);
        for entry in &entries {
            self.shared.metrics.log_bytes.fetch_add(entry.data.len() as u64, Relaxed);
            self.snapshotter.note_logged(entry.index, entry.data.len() as u64);
            records.push(Record::Entry(to_log(entry)));
        }
        // The library reads entries back before they are synced, so they are handed over before it is told.
        self.append_records(Some(number), records)?;
        self.raft.advance_append_async(ready);
        Ok(())
    }

    /// Hands records to the log's thread; `number` is the ready they complete.
    pub(crate) fn append_records(&mut self, number: Option<u64>, records: Vec<Record>) -> Result<(), Broken> {
        self.appending += 1;
        self.shared.metrics.log_appends.fetch_add(1, Relaxed);
        let shared = self.shared.clone();
        let done = move |result| {
            // A closed inbox means that nobody waits for it any more.
            let _ = shared.inbox.send(Event::Persisted(number, result));
        };
        self.writer.submit(records, done).map_err(Broken::Log)
    }
}
