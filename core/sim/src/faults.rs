//! What goes wrong, and when it is over.

use konsul_node::MemberChange;

use crate::invariants::Fallen;
use crate::machine::is_leader;
use crate::planted::Planted;
use crate::profile::FaultKind;
use crate::world::{Happening, World};

/// The end of a fault.
#[derive(Clone, Debug)]
pub enum Ending {
    /// Of nothing: time passed.
    Nothing,
    /// A machine is switched on again.
    Restart(usize),
    /// A paused process is continued.
    Continue { slot: usize, life: u64 },
    /// Links carry messages again.
    Heal(Vec<(usize, usize)>),
    /// Links are fast again.
    Fast(Vec<(usize, usize)>),
    /// A disk is fast again.
    FastDisk(usize),
}

impl World {
    /// One fault of a kind that this seed has, and the time of the next.
    pub fn fault(&mut self) {
        if self.is_calm {
            return;
        }
        let in_us = self.prng.tailed(self.profile.fault_gap_us);
        self.schedule.after(in_us, Happening::Fault);
        let weights: Vec<u64> = self.profile.faults.iter().map(|(_, weight)| *weight).collect();
        if weights.is_empty() {
            return;
        }
        let kind = self.profile.faults[self.prng.weighted(&weights)].0;
        let slot = self.prng.below(self.machines.len() as u64) as usize;
        if self.inflict(kind, slot) {
            self.counts.add(kind.name());
            self.note(slot, kind.name(), [0; 3]);
        }
    }

    /// True if there was something to do.
    fn inflict(&mut self, kind: FaultKind, slot: usize) -> bool {
        match kind {
            FaultKind::ProcessCrash => self.crash(slot, false),
            FaultKind::VoterCrash => {
                // Counted when it happens.
                self.voters_to_crash += 2;
                false
            }
            FaultKind::PowerCut => self.crash(slot, true),
            FaultKind::PowerCutEverywhere => {
                let crashed: Vec<bool> =
                    (0..self.machines.len()).map(|slot| self.crash(slot, true)).collect();
                crashed.contains(&true)
            }
            FaultKind::Pause => self.pause(slot),
            FaultKind::Split | FaultKind::OneWay | FaultKind::IsolateLeader | FaultKind::IsolateOne => {
                self.part(kind, slot)
            }
            FaultKind::SlowLink => {
                let directions = self.around(slot);
                self.network.slow(&directions, true);
                self.end_later(Ending::Fast(directions), 400_000);
                true
            }
            FaultKind::SlowDisk => {
                self.machines[slot].slow_disk += 1;
                self.end_later(Ending::FastDisk(slot), 500_000);
                true
            }
            FaultKind::WallJump => {
                let off_ms = self.prng.between(0, 20_000_000) as i64 - 10_000_000;
                self.machines[slot].clocks.set_wall_off(off_ms);
                true
            }
            FaultKind::ClockRate => {
                let (now_us, drift) = (self.now_us(), self.profile.drift_ppm);
                let rate = 1_000_000 - drift + self.prng.below(2 * drift + 1);
                self.machines[slot].clocks.set_rate(now_us, rate);
                true
            }
            FaultKind::AddLearner => self.add_learner(),
            FaultKind::Promote => self.change_any(kind, false, MemberChange::Promote),
            FaultKind::Demote => self.change_any(kind, true, MemberChange::Demote),
            FaultKind::Remove => {
                let is_voter = self.prng.chance(500);
                self.change_any(kind, is_voter, MemberChange::Remove)
            }
            FaultKind::ReplaceWiped => self.wipe_one(slot),
            FaultKind::Transfer => self.transfer(),
        }
    }

    fn end_later(&mut self, ending: Ending, typical_us: u64) {
        let in_us = self.prng.tailed(typical_us);
        self.schedule.after(in_us, Happening::End(ending));
    }

    /// A process is killed, or its machine loses power; later it starts again.
    pub(crate) fn crash(&mut self, slot: usize, is_power: bool) -> bool {
        let machine = &mut self.machines[slot];
        if machine.process.is_none() {
            return false;
        }
        if is_power {
            machine.cut_power();
        } else {
            machine.kill();
        }
        self.promises.leases.see(slot, false);
        self.end_later(Ending::Restart(slot), 200_000);
        true
    }

    fn pause(&mut self, slot: usize) -> bool {
        let machine = &mut self.machines[slot];
        if !machine.is_up() {
            return false;
        }
        machine.is_paused = true;
        let life = machine.life;
        self.end_later(Ending::Continue { slot, life }, self.profile.election_ms * 1_500);
        true
    }

    /// Both directions between a machine and all others.
    fn around(&self, slot: usize) -> Vec<(usize, usize)> {
        let others = (0..self.machines.len()).filter(|other| *other != slot);
        others.flat_map(|other| [(slot, other), (other, slot)]).collect()
    }

    fn part(&mut self, kind: FaultKind, slot: usize) -> bool {
        let count = self.machines.len();
        let directions: Vec<(usize, usize)> = match kind {
            FaultKind::IsolateLeader => match self.leader() {
                Some(leader) => self.around(leader),
                None => return false,
            },
            FaultKind::IsolateOne => self.around(slot),
            FaultKind::OneWay => {
                let to = self.prng.chance(500);
                let all = self.around(slot).into_iter();
                let one_way = all.filter(|(from, _)| (*from == slot) != to);
                let keep = self.prng.between(1, count as u64) as usize;
                one_way.take(keep).collect()
            }
            _ => {
                let sides: Vec<bool> = (0..count).map(|_| self.prng.chance(500)).collect();
                let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
                pairs.filter(|(from, to)| sides[*from] != sides[*to]).collect()
            }
        };
        if directions.is_empty() {
            return false;
        }
        self.network.cut(&directions, true);
        let typical_us = self.profile.election_ms * self.prng.between(500, 3_000);
        self.end_later(Ending::Heal(directions), typical_us);
        true
    }

    /// The machine of the leader with the newest term.
    pub fn leader(&self) -> Option<usize> {
        let leads = |slot: &usize| {
            let machine = &self.machines[*slot];
            let peek = machine.process.as_ref().map(|process| process.replica.peek())?;
            (is_leader(&peek) && machine.is_up()).then_some((peek.term, *slot))
        };
        (0..self.machines.len()).filter_map(|slot| leads(&slot)).max().map(|(_, slot)| slot)
    }

    /// A fault is over.
    ///
    /// # Errors
    /// If a machine cannot start on what its disk holds.
    pub fn end(&mut self, ending: Ending) -> Result<(), Fallen> {
        if self.is_calm {
            return Ok(());
        }
        match ending {
            Ending::Nothing => {}
            Ending::Restart(slot) => self.start(slot)?,
            Ending::Continue { slot, life } => self.go_on(slot, life),
            Ending::Heal(directions) => self.network.cut(&directions, false),
            Ending::Fast(directions) => self.network.slow(&directions, false),
            Ending::FastDisk(slot) => {
                let machine = &mut self.machines[slot];
                machine.slow_disk = machine.slow_disk.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Starts a machine's process, if none runs.
    ///
    /// # Errors
    /// If it cannot start on what its disk holds.
    pub fn start(&mut self, slot: usize) -> Result<(), Fallen> {
        let now_us = self.now_us();
        let machine = &mut self.machines[slot];
        if machine.process.is_some() {
            return Ok(());
        }
        if let Err(why) = machine.start(now_us, &self.profile, self.planted) {
            if self.planted != Planted::Nothing {
                return Ok(());
            }
            let why = format!("node {slot} cannot start on what its disk holds: {why}");
            return Err(Fallen { invariant: "a crash leaves a disk that starts", why });
        }
        self.counts.add("process started");
        let life = self.machines[slot].life;
        self.note(slot, "start", [life, 0, 0]);
        self.nudge(slot);
        Ok(())
    }

    /// Continues a paused process.
    pub fn go_on(&mut self, slot: usize, life: u64) {
        let machine = &mut self.machines[slot];
        if machine.life == life && machine.is_paused {
            machine.is_paused = false;
            self.note(slot, "continued", [life, 0, 0]);
            self.nudge(slot);
        }
    }
}
