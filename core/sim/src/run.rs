//! One seed from its beginning to its verdict: a group forms, everything goes wrong, then nothing does any
//! more and it must heal.

use konsul_state::store::Store as _;

use crate::counts::Counts;
use crate::faults::Ending;
use crate::history::{Kind, Operation, Outcome};
use crate::invariants::{Fallen, digest};
use crate::machine::{Waiter, is_leader};
use crate::planted::Planted;
use crate::workload::{self, Wish};
use crate::world::{Happening, World, store_failed};

/// A group without faults forms within this.
const FORM_US: u64 = 20_000_000;
/// A group heals within this after the last fault: elections, snapshots and a queue of retries.
const HEAL_US: u64 = 20_000_000;
const HEALS: &str = "the cluster heals";
/// The last phase looks this often.
const LOOK_US: u64 = 50_000;

/// What a seed came to.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// The digest of everything that happened.
    pub digest: u64,
    /// How many events that was.
    pub events: u64,
    /// Virtual time, in ms.
    pub virtual_ms: u64,
    /// What happened, counted.
    pub counts: Counts,
    /// The invariant that fell, and the last events before.
    pub fallen: Option<(Fallen, Vec<String>)>,
    /// What the clients saw.
    pub history: Vec<Operation>,
}

/// Runs one seed.
pub fn run(seed: u64, planted: Planted, is_printed: bool) -> Report {
    let mut world = World::new(seed, planted, is_printed);
    let fallen = world.live().err().map(|fallen| (fallen, world.trace.last()));
    Report {
        seed,
        digest: world.trace.digest(),
        events: world.trace.events,
        virtual_ms: world.now_us() / 1_000,
        counts: world.counts,
        fallen,
        history: world.promises.clients.history,
    }
}

impl World {
    fn live(&mut self) -> Result<(), Fallen> {
        self.trace.say(|| format!("{:?}", self.profile));
        self.form()?;
        for client in 0..self.clients.len() {
            self.schedule.after(1_000 * client as u64, Happening::Begin { client });
        }
        self.schedule.after(1_000, Happening::Fault);
        self.schedule.after(1_000, Happening::Operator);
        let until_us = self.now_us() + self.profile.faults_us;
        self.run(until_us, |_| false)?;
        let healed = self.heal();
        // With a planted bug the group may be beyond healing; what matters is which promise it broke.
        if self.planted == Planted::Nothing || healed.as_ref().is_err_and(|why| why.invariant != HEALS) {
            healed?;
        }
        self.judge()
    }

    /// The first machine makes the group, the others join one after the other.
    fn form(&mut self) -> Result<(), Fallen> {
        for slot in 0..self.machines.len() {
            self.start(slot)?;
        }
        let machine = &mut self.machines[0];
        let process = machine.process.as_mut().ok_or_else(|| stuck("nothing runs"))?;
        let ticket = process.replica.bootstrap(5_000);
        process.waiters.insert(ticket, Waiter::Operator("done: group founded"));
        self.nudge(0);
        self.wait(FORM_US, "the founder does not lead", |world| world.leader().is_some())?;
        self.cluster_id = self.machines[0].process.as_ref().map_or(0, |process| process.peers.cluster_id());
        for slot in 1..self.profile.voters {
            let raft_id = self.machines[slot].raft_id();
            self.wait(FORM_US, "a node does not join", |world| {
                world.join(slot);
                world.members().contains(&(raft_id, true))
            })?;
        }
        Ok(())
    }

    /// The next step of a machine on its way to a vote.
    fn join(&mut self, slot: usize) {
        let raft_id = self.machines[slot].raft_id();
        let Some(leader) = self.leader() else { return };
        if self.is_asked(leader) {
            return;
        }
        let member = self.machines[slot].member();
        let known = self.members().into_iter().find(|(id, _)| *id == raft_id);
        match known {
            None => {
                self.adopt(slot);
                self.change(leader, "done: learner added", konsul_node::MemberChange::Add(member));
            }
            Some((_, false)) => {
                self.change(leader, "done: promoted", konsul_node::MemberChange::Promote(raft_id));
            }
            Some((_, true)) => {}
        }
    }

    fn is_asked(&self, slot: usize) -> bool {
        let process = self.machines[slot].process.as_ref();
        process.is_some_and(|process| process.waiters.values().any(|w| matches!(w, Waiter::Operator(_))))
    }

    /// Lets time pass until `is_done`, which may also do something.
    fn wait(
        &mut self,
        within_us: u64,
        what: &str,
        mut is_done: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Fallen> {
        let until_us = self.now_us() + within_us;
        while !is_done(self) {
            if self.now_us() >= until_us {
                return Err(stuck(what));
            }
            let next_us = self.now_us() + LOOK_US;
            self.run(next_us, |_| false)?;
        }
        Ok(())
    }

    /// No more faults: everything runs, every link carries, and the group must come together.
    fn heal(&mut self) -> Result<(), Fallen> {
        self.note(0, "calm", [0; 3]);
        self.network.calm();
        for slot in 0..self.machines.len() {
            self.end(Ending::Restart(slot))?;
            let life = self.machines[slot].life;
            self.go_on(slot, life);
            self.machines[slot].slow_disk = 0;
        }
        self.is_calm = true;
        let mut number = 0;
        let began_us = self.now_us();
        self.wait(HEAL_US, "a write does not succeed after the faults stopped", |world| {
            let is_done = world.probes.iter().any(|probe| probe.status == 0);
            number += 1;
            if !is_done && number % 5 == 1 {
                world.probe(number);
            }
            is_done
        })?;
        let healed_ms = (self.now_us() - began_us) / 1_000;
        self.counts.more("healing: ms until a write succeeded, in all", healed_ms);
        self.wait(HEAL_US, "", |world| world.is_converged()).map_err(|_| stuck(&self.disunity()))
    }

    fn probe(&mut self, number: u64) {
        let slot = self.prng.below(self.machines.len() as u64) as usize;
        let request = format!("probe-{number}");
        let (key, value) = ("probe".to_owned(), request.clone());
        let wish = Wish { kind: Kind::Put, key, value, expect_index: 0, request, is_timed: false };
        let mut request_id = [0xff; 16];
        request_id[8..].copy_from_slice(&number.to_be_bytes());
        let now_us = self.now_us();
        let machine = &mut self.machines[slot];
        machine.clocks.set(now_us);
        let Some(process) = machine.process.as_mut() else { return };
        let ticket = process.replica.submit(&workload::cases(&wish), Some(request_id), 2_000);
        process.waiters.insert(ticket, Waiter::Probe);
        self.nudge(slot);
    }

    /// The machines of all members; `None` while a member has no machine.
    fn member_slots(&self) -> Option<Vec<usize>> {
        let members = self.members();
        let slots: Option<Vec<usize>> = members.iter().map(|(raft_id, _)| self.slot_of(*raft_id)).collect();
        slots.filter(|slots| !slots.is_empty())
    }

    fn is_converged(&self) -> bool {
        let Some(slots) = self.member_slots() else { return false };
        let state = |slot: &usize| {
            let process = self.machines[*slot].process.as_ref()?;
            let peek = process.replica.peek();
            let is_whole = peek.applied == process.log.read().last_index();
            is_whole.then_some((peek.applied, peek.term, peek.members.changed_at))
        };
        let Some(first) = state(&slots[0]) else { return false };
        slots.iter().all(|slot| state(slot) == Some(first))
    }

    fn disunity(&self) -> String {
        let mut text = format!("members are {:x?} and do not come together:", self.members());
        for machine in &self.machines {
            let Some(process) = machine.process.as_ref() else { continue };
            let peek = process.replica.peek();
            text.push_str(&format!(
                "\n    node {} ({:x}) leads {} term {} log {}..={} commit {} applied {} voters {:x?} of {}",
                machine.slot,
                machine.raft_id(),
                is_leader(&peek),
                peek.term,
                process.log.read().first_index(),
                process.log.read().last_index(),
                peek.commit,
                peek.applied,
                peek.members.conf.voters,
                peek.members.changed_at,
            ));
        }
        text
    }

    /// The group is whole again: is everything there that was promised?
    fn judge(&mut self) -> Result<(), Fallen> {
        let slots = self.member_slots().unwrap_or_default();
        let unanswered = self.clients.iter_mut().filter_map(crate::clients::Client::abandon);
        self.promises.clients.history.extend(unanswered);
        let mut digests = Vec::new();
        for slot in slots {
            let machine = &self.machines[slot];
            let Some(process) = machine.process.as_ref() else { continue };
            let tables = process.replica.tables();
            let store = machine.store.read().map_err(store_failed)?;
            digests.push(digest(&store).map_err(store_failed)?);
            let times = workload::ledger(&store, &tables.schema()).map_err(store_failed)?;
            self.promises.acknowledged.check(&times, tables.index())?;
            self.promises.once.check(&times)?;
            if digests.len() == 1 {
                let now_us = self.schedule.now_us();
                for key in (0..self.profile.keys).map(|number| format!("k{number}")) {
                    let found = workload::get(&store, &key).map_err(store_failed)?;
                    self.promises.clients.history.push(last_look(key, found, now_us));
                }
            }
        }
        if digests.windows(2).any(|pair| pair[0] != pair[1]) {
            let why = format!("at the end the members' digests are {digests:x?}");
            return Err(Fallen { invariant: "state machine safety", why });
        }
        for digest in &digests {
            self.trace.bytes(&digest.to_le_bytes());
        }
        let is_decided = self.promises.clients.check()?;
        self.counts.add(if is_decided { "history: linearizable" } else { "history: search given up" });
        Ok(())
    }
}

/// What everybody would read now.
fn last_look(key: String, found: Option<(String, u64)>, now_us: u64) -> Operation {
    Operation {
        client: "last".into(),
        kind: Kind::Get,
        key,
        arg: String::new(),
        expect_index: 0,
        start_us: now_us,
        end_us: Some(now_us),
        outcome: Outcome::Ok,
        index: found.as_ref().map(|(_, index)| *index),
        value: found.map(|(value, _)| value),
    }
}

fn stuck(what: &str) -> Fallen {
    Fallen { invariant: HEALS, why: what.to_owned() }
}
