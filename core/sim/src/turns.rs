//! One turn of a node's driver and what comes of it: messages, writes, work, answers, and the look that the
//! invariants take at it.

use konsul_node::{Completion, code};
use konsul_state::store::Store as _;
use konsul_views::ItemKind;

use crate::around::Sent;
use crate::clients::Answer;
use crate::faults::Ending;
use crate::invariants::{Fallen, LeaseSafety, Sight, digest};
use crate::machine::{Process, Waiter, is_leader};
use crate::planted::Planted;
use crate::profile::FaultKind;
use crate::world::{Happening, World, store_failed};

/// What a paused process would do is looked at this much later.
const PAUSED_RETRY_US: u64 = 5_000;

impl World {
    /// Makes the driver of a machine run soon: what arrives meanwhile is taken in the same turn.
    pub fn nudge(&mut self, slot: usize) {
        let in_us = self.prng.between(1, 60);
        self.wake_at(slot, self.now_us() + in_us);
    }

    fn wake_at(&mut self, slot: usize, at_us: u64) {
        let machine = &mut self.machines[slot];
        let life = machine.life;
        if let Some(process) = &mut machine.process
            && at_us < process.wake_us
        {
            process.wake_us = at_us;
            self.schedule.at(at_us, Happening::Wake { slot, life });
        }
    }

    pub(crate) fn wake(&mut self, slot: usize, life: u64) -> Result<(), Fallen> {
        let now_us = self.now_us();
        let machine = &mut self.machines[slot];
        let Some(process) = machine.process.as_mut() else { return Ok(()) };
        // Of several wakes only the earliest planned counts, and then the next.
        if machine.life != life || process.wake_us > now_us {
            return Ok(());
        }
        process.wake_us = u64::MAX;
        // A paused process runs when it is continued.
        if machine.is_paused { Ok(()) } else { self.turn(slot) }
    }

    /// One turn of a machine's driver, and everything that comes of it.
    pub fn turn(&mut self, slot: usize) -> Result<(), Fallen> {
        let now_us = self.now_us();
        for machine in &self.machines {
            machine.clocks.set(now_us);
        }
        let machine = &mut self.machines[slot];
        let Some(process) = machine.process.as_mut() else { return Ok(()) };
        if let Err(why) = process.replica.turn() {
            if self.planted != Planted::Nothing {
                // It noticed by itself that something is wrong. Whether the promises hold is still open.
                self.crash(slot, false);
                return Ok(());
            }
            let why = format!("node {slot} stopped by itself: {why}");
            return Err(Fallen { invariant: "a node goes on", why });
        }
        let wake_ms = process.replica.wake_ms();
        let (sent, tasks) = (process.peers.take(), process.tasks.take());
        let answers = process.replica.completions();
        let starts_writing = process.log.is_waiting() && !process.is_writing;
        process.is_writing |= starts_writing;
        let wake_us = wake_ms.map(|at_ms| now_us + process.clock.true_us_until(at_ms));
        let life = machine.life;
        if starts_writing {
            let in_us = self.sync_us(slot);
            self.schedule.after(in_us, Happening::Written { slot, life });
        }
        for (_, work) in tasks {
            let in_us = self.prng.tailed(1_000);
            self.schedule.after(in_us, Happening::Task { slot, life, work });
        }
        for sent in sent {
            self.transmit(slot, life, sent);
        }
        self.observe(slot)?;
        for answer in answers {
            self.answered(slot, answer)?;
        }
        if let Some(at_us) = wake_us {
            self.wake_at(slot, at_us);
        }
        Ok(())
    }

    fn sync_us(&mut self, slot: usize) -> u64 {
        let machine = &mut self.machines[slot];
        let typical_us = if self.is_calm { 200 } else { self.profile.sync_us };
        let slow = if machine.slow_disk > 0 { 60 } else { 1 };
        machine.prng.tailed(typical_us * slow)
    }

    pub(crate) fn written(&mut self, slot: usize, life: u64) -> Result<(), Fallen> {
        if self.machines[slot].is_paused {
            self.schedule.after(PAUSED_RETRY_US, Happening::Written { slot, life });
            return Ok(());
        }
        let now_us = self.now_us();
        let Some(process) = self.process_of(slot, life) else { return Ok(()) };
        process.is_writing = false;
        let jobs_max = 1 + (now_us % 3) as usize * 20;
        let count = process.log.write(jobs_max);
        let is_more = process.log.is_waiting();
        process.is_writing = is_more;
        self.counts.add("disk: writes synced");
        self.note(slot, "synced", [count as u64, 0, 0]);
        if is_more {
            let in_us = self.sync_us(slot);
            self.schedule.after(in_us, Happening::Written { slot, life });
        }
        if !self.crashes_voter(slot)? {
            self.nudge(slot);
        }
        Ok(())
    }

    /// A node that has just put its vote on disk may crash before or after anybody hears of it, and be back
    /// before the election is over.
    fn crashes_voter(&mut self, slot: usize) -> Result<bool, Fallen> {
        let machine = &mut self.machines[slot];
        let Some(process) = machine.process.as_mut() else { return Ok(false) };
        let state = process.log.read().hard_state();
        let is_new = state.vote != 0 && process.voted_in != state.term;
        process.voted_in = state.term;
        if !is_new || self.is_calm || self.voters_to_crash == 0 || self.prng.chance(500) {
            return Ok(false);
        }
        self.counts.add(FaultKind::VoterCrash.name());
        self.voters_to_crash -= 1;
        if self.prng.chance(500) {
            // Its answer leaves first.
            self.turn(slot)?;
        }
        let is_power = self.prng.chance(500);
        self.crash(slot, is_power);
        let in_us = self.prng.tailed(5_000);
        self.schedule.after(in_us, Happening::End(Ending::Restart(slot)));
        Ok(true)
    }

    pub(crate) fn run_task(&mut self, slot: usize, life: u64, work: Box<dyn FnOnce() + Send>) {
        if self.machines[slot].is_paused {
            self.schedule.after(PAUSED_RETRY_US, Happening::Task { slot, life, work });
        } else if self.process_of(slot, life).is_some() {
            self.note(slot, "task", [0; 3]);
            work();
            self.nudge(slot);
        }
    }

    /// The process with this life, if it still runs. A paused one counts: what is done for it is done by the
    /// system, and it sees it when it is continued.
    pub fn process_of(&mut self, slot: usize, life: u64) -> Option<&mut Process> {
        let machine = &mut self.machines[slot];
        if machine.life == life { machine.process.as_mut() } else { None }
    }

    fn transmit(&mut self, slot: usize, life: u64, sent: Sent) {
        match sent {
            Sent::Frame(to, frame) => self.send_frame(slot, to, frame),
            Sent::Snapshot(to, header, content) => self.send_snapshot(slot, life, to, header, content),
        }
    }

    /// Looks at a node after its turn.
    fn observe(&mut self, slot: usize) -> Result<(), Fallen> {
        let machine = &mut self.machines[slot];
        let raft_id = machine.raft_id();
        let Some(process) = machine.process.as_mut() else { return Ok(()) };
        let peek = process.replica.peek();
        let sight = Sight {
            slot,
            raft_id,
            life: machine.life,
            is_leader: is_leader(&peek),
            term: peek.term,
            commit: peek.commit,
            applied: peek.applied,
            log: process.log.read(),
        };
        self.promises.nodes.see(&sight)?;
        if peek.applied > process.compared {
            process.compared = peek.applied;
            let store = machine.store.read().map_err(store_failed)?;
            let found = digest(&store).map_err(store_failed)?;
            self.promises.tables.see(sight.raft_id, peek.applied, found)?;
        }
        self.trace.note(
            self.schedule.now_us(),
            slot as u64,
            if is_leader(&peek) { "turn (leads)" } else { "turn" },
            [peek.term, peek.commit, peek.applied],
        );
        if self.planted == Planted::Nothing {
            self.follow_watches(slot, peek.applied)?;
        }
        self.check_leases(slot, peek.has_lease)
    }

    /// What the watches on a node saw. They stop reading now and then, for a while of the log.
    fn follow_watches(&mut self, slot: usize, applied: u64) -> Result<(), Fallen> {
        let machine = &mut self.machines[slot];
        let Some(process) = machine.process.as_mut() else { return Ok(()) };
        let is_reading = self.is_calm || applied / 16 % 3 != machine.slot as u64 % 3;
        for follower in machine.followers.values() {
            process.replica.pause_watch(follower.watch, !is_reading);
        }
        let seen = process.replica.watched();
        for (table, follower) in &mut machine.followers {
            let position = process.replica.watch_position(follower.watch).unwrap_or(0);
            self.promises.watches.see(slot, *table, follower, &seen, position)?;
        }
        for (_, kind, ..) in &seen.items {
            self.counts.add(match kind {
                ItemKind::Event => "watch: change told",
                ItemKind::Behind => "watch: told behind",
                ItemKind::Compacted => "watch: told to list again",
            });
        }
        Ok(())
    }

    fn check_leases(&mut self, slot: usize, holds: bool) -> Result<(), Fallen> {
        self.promises.leases.see(slot, holds);
        if !holds {
            return Ok(());
        }
        for other in self.promises.leases.others(slot) {
            // It was seen holding one after its last turn; what counts is whether it would serve now.
            let machine = &self.machines[other];
            let is_current = machine.is_up()
                && machine.process.as_ref().is_some_and(|process| process.replica.peek().has_lease);
            if is_current {
                return Err(LeaseSafety::fallen(self.machines[slot].raft_id(), machine.raft_id()));
            }
            self.promises.leases.see(other, false);
        }
        Ok(())
    }

    fn answered(&mut self, slot: usize, completion: Completion) -> Result<(), Fallen> {
        let machine = &mut self.machines[slot];
        let Some(process) = machine.process.as_mut() else { return Ok(()) };
        let Some(waiter) = process.waiters.remove(&completion.ticket) else { return Ok(()) };
        match waiter {
            Waiter::Write(attempt) => {
                let answer = match completion.status {
                    0 => Answer::Applied(completion.index),
                    code::CONFLICT => Answer::Conflict(completion.number),
                    code::TIMEOUT | code::STOPPING | code::INTERNAL => Answer::Unknown,
                    _ => Answer::Refused,
                };
                self.reply(attempt, answer);
            }
            Waiter::Get(attempt, key, _) if completion.status == 0 => self.read_now(slot, attempt, &key)?,
            Waiter::Get(attempt, ..) => self.reply(attempt, Answer::Refused),
            Waiter::Operator(what) => {
                self.counts.add(if completion.status == 0 { what } else { "change: refused or lost" });
                self.note(slot, what, [u64::from(completion.status), completion.index, 0]);
                self.trace.say(|| String::from_utf8_lossy(&completion.text).into_owned());
            }
            Waiter::Probe => self.probes.push(completion),
        }
        Ok(())
    }
}
