//! What the consensus library hands out: messages at the right moment, records for the log, entries for the
//! tables.
//!
//! What a follower or candidate says waits until everything before it is on disk: a vote, an acknowledged
//! entry. A leader's messages leave at once, while its own append is being synced: it counts itself only
//! when that is done. Answers to heartbeats promise nothing that a crash could break, and do not wait.

use std::sync::atomic::Ordering::Relaxed;

use konsul_disk::wal::{Record, SnapshotMark};
use raft::Ready;
use raft::eraftpb::{Message, MessageType};

use crate::driver::{Broken, Driver};
use crate::group::Pause;
use crate::inbox::{Event, Landed};
use crate::members_codec;
use crate::storage::{to_log, to_logged};
use crate::wire;

/// While the tables cannot take entries, so many bytes of committed ones are kept; then the node falls
/// silent, and the group goes on without it.
const COMMITTED_BYTES_MAX: usize = 64 << 20;

impl Driver {
    /// Takes from the library what must be appended and what may be applied, and applies it, batch by batch:
    /// a long log is replayed without being held in memory.
    pub(crate) fn advance(&mut self, now_ms: u64) -> Result<(), Broken> {
        loop {
            while self.may_take_ready() && self.raft.has_ready() {
                let mut ready = self.raft.ready();
                if let Some(state) = ready.ss() {
                    let role = state.raft_state;
                    self.note_role(role, now_ms);
                }
                self.barriers.confirm(ready.take_read_states());
                let committed = ready.take_committed_entries();
                self.committed_bytes += committed.iter().map(|entry| entry.data.len()).sum::<usize>();
                self.committed.extend(committed);
                self.pause_lease();
                self.append(ready, now_ms)?;
                self.draw();
            }
            if self.committed.is_empty() || self.group.installing.is_some() {
                return Ok(());
            }
            self.apply_committed(now_ms)?;
            if self.is_stalled() {
                return Ok(());
            }
        }
    }

    fn may_take_ready(&self) -> bool {
        if self.group.pause.is_some() {
            return false;
        }
        let is_blocked = self.group.installing.is_some() || self.is_stalled();
        let has_peers = !self.group.is_alone;
        self.committed.is_empty() || (is_blocked && has_peers && self.committed_bytes < COMMITTED_BYTES_MAX)
    }

    fn append(&mut self, mut ready: Ready, now_ms: u64) -> Result<(), Broken> {
        let number = ready.number();
        let (messages, answers) = (ready.take_messages(), ready.take_persisted_messages());
        let entries = ready.take_entries();
        if let Some(state) = ready.hs() {
            self.group.hard_state = to_logged(state);
        }
        let is_install = !ready.snapshot().is_empty();
        if entries.is_empty() && !ready.must_sync() {
            // How far is committed need not be on disk at once, but goes there with the next append: a change
            // of the members in the log then finds the one before it known as committed. A start that forgot
            // more than one would go by members from long ago.
            self.lead(messages, now_ms);
            self.hold(answers, now_ms);
            self.raft.advance_append_async(ready);
            if self.group.handed == self.group.landed {
                self.raft.on_persist_ready(number);
            }
            return Ok(());
        }
        let mut records = Vec::with_capacity(entries.len() + 2);
        if is_install {
            records.push(Record::Install(self.begin_install(&ready, number)?));
        }
        let state = self.group.hard_state;
        if state != self.group.handed_state {
            if (state.term, state.vote) != (self.group.handed_state.term, self.group.handed_state.vote) {
                self.group.voted_in = number;
            }
            self.group.handed_state = state;
            records.push(Record::HardState(state));
        }
        self.shared.metrics.log_entries.fetch_add(entries.len() as u64, Relaxed);
        for entry in &entries {
            self.shared.metrics.log_bytes.fetch_add(entry.data.len() as u64, Relaxed);
            self.snapshotter.note_logged(entry.index, entry.data.len() as u64);
            records.push(Record::Entry(to_log(entry)));
        }
        // The library reads entries back before they are synced, so they are handed over before it is told.
        self.group.handed = number;
        self.append_records(Landed::Ready(number), records)?;
        self.lead(messages, now_ms);
        self.hold(answers, now_ms);
        self.raft.advance_append_async(ready);
        Ok(())
    }

    /// Sends a leader's messages. The only voter leads before its vote is on disk; a crash in between would
    /// let it lead the same term twice, with other entries: until then nobody hears of them.
    fn lead(&mut self, messages: Vec<Message>, now_ms: u64) {
        if messages.is_empty() {
            return;
        }
        if self.group.landed < self.group.voted_in {
            self.group.held.push_back((self.group.voted_in, messages));
            return;
        }
        for message in messages {
            self.send(message, now_ms);
        }
    }

    /// Hands records to the log's thread.
    pub(crate) fn append_records(&mut self, landed: Landed, records: Vec<Record>) -> Result<(), Broken> {
        self.appending += 1;
        self.shared.metrics.log_appends.fetch_add(1, Relaxed);
        let shared = self.shared.clone();
        let done = move |result| {
            // A closed inbox means that nobody waits for it any more.
            let _ = shared.inbox.send(Event::Persisted(landed, result));
        };
        self.writer.submit(records, Box::new(done)).map_err(Broken::Log)
    }

    /// New members are in force: how far is committed goes to disk without waiting for a next append.
    /// Otherwise a quiet group that loses its power would wake with the members of before, and one of those
    /// may be gone for good.
    pub(crate) fn keep_commit(&mut self) -> Result<(), Broken> {
        let (state, handed) = (self.group.hard_state, self.group.handed_state);
        if self.group.is_alone || state == handed || (state.term, state.vote) != (handed.term, handed.vote) {
            return Ok(());
        }
        self.group.handed_state = state;
        self.append_records(Landed::Mark, vec![Record::HardState(state)])
    }

    /// Notes in the log that a snapshot covers it up to the mark.
    pub(crate) fn append_mark(&mut self, mark: SnapshotMark) -> Result<(), Broken> {
        self.append_records(Landed::Mark, vec![Record::Snapshot(mark)])
    }

    /// Sends answers as soon as everything handed to the log so far is on disk.
    fn hold(&mut self, answers: Vec<Message>, now_ms: u64) {
        let mut held = Vec::new();
        let is_on_disk = self.group.handed == self.group.landed;
        for message in answers {
            if is_on_disk || message.get_msg_type() == MessageType::MsgHeartbeatResponse {
                self.send(message, now_ms);
            } else {
                held.push(message);
            }
        }
        if !held.is_empty() {
            self.group.held.push_back((self.group.handed, held));
        }
    }

    /// The ready with that number, and all before it, are on disk.
    pub(crate) fn land_ready(&mut self, number: u64, now_ms: u64) -> Result<(), Broken> {
        self.group.landed = number;
        self.raft.on_persist_ready(number);
        while let Some((_, messages)) = self.group.held.pop_front_if(|(after, _)| *after <= number) {
            for message in messages {
                self.send(message, now_ms);
            }
        }
        if let Some(Pause::Install { ready, .. }) = &self.group.pause
            && *ready <= number
        {
            self.land_install(now_ms)?;
        }
        Ok(())
    }

    /// Sends a message, or says that it could not be.
    fn send(&mut self, message: Message, now_ms: u64) {
        let to = message.to;
        if message.get_msg_type() == MessageType::MsgSnapshot {
            self.ship(&message);
            return;
        }
        let heard = self.group.heard;
        let is_for_leader = heard.leader == to && heard.term == self.raft.raft.term;
        let echo_ms = if is_for_leader { heard.sent_ms } else { 0 };
        let Some(frame) = wire::encode_raft(&message, now_ms, echo_ms) else { return };
        if !self.group.peers.send(to, frame) {
            self.raft.report_unreachable(to);
        }
    }

    /// Members as a mark holds them.
    pub(crate) fn encoded_members(&self) -> Vec<u8> {
        members_codec::encode(&self.group.members)
    }
}
