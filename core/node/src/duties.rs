//! What the driver does on its own account: answers for a batch, deadlines, leases, pulses, gauges.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use konsul_state::apply::{ChangeKind, Outcome};
use konsul_state::entry::{self, Kind};
use konsul_state::msgpack;

use crate::apply::{Applied, Batch, BatchError, timed};
use crate::code;
use crate::completions::Completion;
use crate::driver::{Broken, Driver, RETRY_MS};
use crate::inbox::Proposal;
use crate::leases::Ended;
use crate::members::LAPSES_FROM;
use crate::waiting::{Waiter, Work, timed_out};

/// Rows one pulse deletes at most, and leases that are ended in one turn.
const EXPIRE_MAX: usize = 1_000;
/// A lease whose row refuses to go (its reactions pass a limit) is tried again this much later.
const REFUSED_LEASE_RETRY_MS: u64 = 60_000;
/// While a deadline of the wall clock waits, it is looked at this often: somebody may set the clock.
const WALL_CHECK_MS: u64 = 1_000;
/// While a slow append holds proposals back, they are looked at this often.
const INBOX_CHECK_MS: u64 = 100;
/// Of the vocabulary in docs/reference/entries.md.
const GUARD_AT: u64 = 2;
const OP_DELETE: u64 = 3;

impl Driver {
    /// When to wake without being called; `None`: only for events.
    pub(crate) fn wake_ms(&mut self, now_ms: u64) -> Option<u64> {
        let deadline_ms = (self.deadline_ms != u64::MAX).then_some(self.deadline_ms);
        let is_full = self.is_refusing();
        let pulse_ms = self.pulse_in_ms(now_ms).map(|in_ms| now_ms + in_ms.min(WALL_CHECK_MS));
        // What is due cannot be proposed before there is space: waking for it would be waking without end.
        let may_propose = self.is_in_office() && !is_full;
        let own = [
            deadline_ms,
            pulse_ms.filter(|_| may_propose),
            self.tick_wake_ms(),
            may_propose.then(|| self.shared.leases.lock().next_ms()).flatten(),
            self.retry_apply_at_ms,
            // Whether space has returned is asked, not told.
            is_full.then_some(now_ms + RETRY_MS),
            // Proposals do not end a sleep under an append, so their deadlines are looked for.
            self.is_appending().then_some(now_ms + INBOX_CHECK_MS),
            self.snapshot_wake_ms(),
            self.load_wake_ms(),
            self.forward_wake_ms(now_ms),
            self.stop_at_ms,
        ];
        own.into_iter().flatten().min()
    }

    /// Answers those whose time is up.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        let mut next_ms = self.waiting.expire(now_ms, &mut self.answers);
        next_ms = next_ms.min(self.barriers.expire(now_ms, &mut self.answers));
        next_ms = next_ms.min(self.snapshotter.expire(now_ms, &mut self.answers));
        next_ms = next_ms.min(self.expire_forwards(now_ms));
        for proposal in std::mem::take(&mut self.queue) {
            if proposal.waiter.deadline_ms <= now_ms {
                self.answers.push(timed_out(proposal.waiter.ticket));
                self.let_go(&proposal.waiter);
            } else {
                next_ms = next_ms.min(proposal.waiter.deadline_ms);
                self.queue.push_back(proposal);
            }
        }
        self.deadline_ms = next_ms;
    }

    /// Applies what is committed, in one transaction, and notes the answers.
    pub(crate) fn apply_committed(&mut self, now_ms: u64) -> Result<(), Broken> {
        if self.committed.is_empty() || self.retry_apply_at_ms.is_some_and(|at_ms| now_ms < at_ms) {
            return Ok(());
        }
        let (result, took) = timed(|| self.machine.apply(&self.committed, &self.shared.tables()));
        match result {
            Ok(batch) => {
                self.shared.metrics.apply_time.observe(took);
                self.retry_apply_at_ms = None;
                self.committed.clear();
                self.committed_bytes = 0;
                self.finish_batch(batch, now_ms)
            }
            Err(BatchError::Full(_)) => {
                self.guard.met_full(now_ms);
                self.retry_apply_at_ms = Some(now_ms + RETRY_MS);
                Ok(())
            }
            Err(BatchError::Fatal(why)) => Err(Broken::Apply(why)),
        }
    }

    fn finish_batch(&mut self, batch: Batch, now_ms: u64) -> Result<(), Broken> {
        let Some(last) = batch.applied.last().map(|applied| applied.position.index) else { return Ok(()) };
        self.next_expiry_ms = batch.next_expiry_ms;
        // Readers see the batch before anybody is told that it is applied.
        self.shared.publish(self.machine.tables().clone());
        let (index, schema) = (self.machine.tables().index(), self.shared.read_by());
        self.shared.watches.note(index, &schema, &self.machine.changes);
        self.follow_leases(now_ms);
        self.shared.metrics.batches_applied.fetch_add(1, Relaxed);
        for applied in batch.applied {
            self.answer(applied, now_ms);
        }
        for change in &batch.conf_changes {
            self.raft.apply_conf_change(change)?;
        }
        if let Some(members) = batch.members {
            self.adopt_members(members);
            self.keep_commit()?;
        }
        self.raft.advance_apply_to(last);
        Ok(())
    }

    fn answer(&mut self, applied: Applied, now_ms: u64) {
        self.shared.metrics.entries_applied.fetch_add(applied.outcomes.len() as u64, Relaxed);
        let position = (applied.position.index, applied.position.term);
        while let Some(proposed) = self.waiting.take(position.0) {
            if (proposed.index, proposed.term) == position {
                self.shared.metrics.commit_time.observe(proposed.at.elapsed());
                for (waiter, outcome) in proposed.waiters.into_iter().zip(applied.outcomes) {
                    self.settle(waiter, outcome, position.0, now_ms);
                }
                return;
            }
            // Another leader's entry took the place of ours.
            for waiter in proposed.waiters {
                self.refuse(waiter, code::NO_LEADER, "another leader took over; the write was not applied");
            }
        }
    }

    fn settle(&mut self, waiter: Waiter, outcome: Outcome, raft_index: u64, now_ms: u64) {
        self.let_go(&waiter);
        match waiter.work {
            Work::Client | Work::Kept(_) | Work::Members => {
                self.answers.push(completion(waiter.ticket, outcome));
            }
            Work::Forwarded(origin) => self.tell_outcome(*origin, raft_index, outcome),
            Work::Schema => self.schema_outcome = Some(outcome),
            Work::Pulse => self.note_pulse(&outcome, now_ms),
            Work::LeaseEnd(ended) => self.note_lease_end(&ended, &outcome, now_ms),
        }
    }

    fn note_pulse(&mut self, outcome: &Outcome, now_ms: u64) {
        let Outcome::Applied { expired, .. } = outcome else { return };
        self.shared.metrics.rows_expired.fetch_add(u64::from(*expired), Relaxed);
        // A due row whose reactions refuse stays due: do not fill the log with pulses for it.
        self.pulse_not_before_ms = if *expired == 0 { now_ms + WALL_CHECK_MS } else { 0 };
    }

    fn note_lease_end(&mut self, ended: &Ended, outcome: &Outcome, now_ms: u64) {
        match outcome {
            Outcome::Applied { .. } => {
                self.shared.metrics.leases_ended.fetch_add(1, Relaxed);
            }
            // The row was written again in between and has a new lease.
            Outcome::Conflict { .. } => {}
            Outcome::Refused(_) => {
                self.shared.leases.lock().put_back(ended, now_ms + REFUSED_LEASE_RETRY_MS);
            }
        }
    }

    /// Gives back what a proposal held: its place under the bounds, and for the node's own work its turn.
    pub(crate) fn let_go(&mut self, waiter: &Waiter) {
        match &waiter.work {
            Work::Client | Work::Kept(_) | Work::Forwarded(_) => self.shared.release(waiter.bytes),
            Work::Pulse => self.is_pulsing = false,
            Work::LeaseEnd(_) | Work::Schema | Work::Members => {}
        }
    }

    fn follow_leases(&mut self, now_ms: u64) {
        // Who does not lead hears no heartbeats; a new leader grants them all anew.
        if !self.is_in_office() {
            return;
        }
        let has_leases = self.machine.tables().schema().tables().iter().any(|table| table.lease.is_some());
        if !has_leases {
            return;
        }
        let mut leases = self.shared.leases.lock();
        for change in &self.machine.changes {
            match change.kind {
                ChangeKind::Put { lease_ms: Some(ttl_ms), is_begun: true } => {
                    leases.grant(change.table, change.key(), change.index, ttl_ms, now_ms);
                }
                ChangeKind::Put { lease_ms: Some(ttl_ms), is_begun: false } => {
                    leases.touch(change.table, change.key(), change.index, ttl_ms, now_ms);
                }
                ChangeKind::Put { lease_ms: None, .. } | ChangeKind::Delete => {
                    leases.drop_row(change.table, change.key());
                }
            }
        }
    }

    /// Proposes what time alone brings: ended leases and due rows.
    pub(crate) fn run_duties(&mut self, now_ms: u64) {
        let is_due = self.pulse_in_ms(now_ms) == Some(0);
        let has_ended = self.shared.leases.lock().next_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if !(is_due || has_ended) || !self.is_in_office() || self.is_full(now_ms) {
            return;
        }
        if is_due {
            self.is_pulsing = true;
            self.propose_own(Work::Pulse, Kind::Pulse, entry::pulse_body(EXPIRE_MAX as u64));
        }
        let ended = self.shared.leases.lock().take_ended(now_ms, EXPIRE_MAX);
        // While members of an older version are among us, it is a deletion like any other.
        let members = self.group.members.list();
        let is_known = members.iter().all(|member| member.log_version >= LAPSES_FROM);
        let kind = if self.group.is_alone || is_known { Kind::Lapse } else { Kind::Cases };
        for ended in ended {
            let cases = delete_at(&ended);
            self.propose_own(Work::LeaseEnd(Box::new(ended)), kind, cases);
        }
    }

    pub(crate) fn propose_own(&mut self, work: Work, kind: Kind, body: Vec<u8>) {
        let waiter = Waiter { ticket: 0, deadline_ms: u64::MAX, bytes: 0, work };
        self.queue.push_back(Proposal { waiter, kind, body: Bytes::from(body) });
    }

    /// True if the last turn found no space.
    pub(crate) fn is_refusing(&self) -> bool {
        self.shared.gauges.is_full.load(Relaxed)
    }

    pub(crate) fn is_pulse_due(&self) -> bool {
        self.is_pulsing || self.pulse_in_ms(self.shared.clock.now_ms()) == Some(0)
    }

    /// Milliseconds until the next row is due; `None` when none is, or a pulse is on its way.
    fn pulse_in_ms(&self, now_ms: u64) -> Option<u64> {
        if self.is_pulsing || !self.is_in_office() {
            return None;
        }
        let clock_ms = self.shared.clock.wall_ms().max(self.machine.tables().clock_ms());
        let in_ms = self.next_expiry_ms?.saturating_sub(clock_ms);
        Some(in_ms.max(self.pulse_not_before_ms.saturating_sub(now_ms)))
    }
}

/// The case that deletes a row which nobody has written since its lease was granted.
fn delete_at(ended: &Ended) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * ended.key.len() + 32);
    let write_row = |out: &mut Vec<u8>, members: usize, code: u64| {
        msgpack::write_array(out, members);
        msgpack::write_unsigned(out, code);
        msgpack::write_unsigned(out, u64::from(ended.table));
        msgpack::write_bytes(out, &ended.key);
    };
    msgpack::write_array(&mut out, 1);
    msgpack::write_array(&mut out, 2);
    msgpack::write_array(&mut out, 1);
    write_row(&mut out, 4, GUARD_AT);
    msgpack::write_unsigned(&mut out, ended.index);
    msgpack::write_array(&mut out, 1);
    write_row(&mut out, 3, OP_DELETE);
    out
}

/// An entry's outcome as its client's answer.
pub(crate) fn completion(ticket: u64, outcome: Outcome) -> Completion {
    match outcome {
        Outcome::Applied { index, case, .. } => Completion::applied(ticket, index, case),
        Outcome::Conflict { current, key } => {
            Completion { ticket, status: code::CONFLICT, index: 0, number: current, text: key }
        }
        Outcome::Refused(refusal) => Completion::refused(ticket, refusal.code, refusal.message),
    }
}
