//! The whole run: machines, network, clients, and the queue that says what happens next.

use konsul_node::Completion;

use crate::clients::{Answer, Ask, Attempt, Client};
use crate::counts::Counts;
use crate::faults::Ending;
use crate::invariants::{
    AcknowledgedIsDurable, AppliedOnce, Fallen, IndexNeverReused, LeaseSafety, LinearizableClients,
    NodeInvariants, StateMachineSafety, WatchesTellTheSame,
};
use crate::machine::Machine;
use crate::network::Network;
use crate::planted::Planted;
use crate::prng::Prng;
use crate::profile::Profile;
use crate::schedule::Schedule;
use crate::trace::Trace;

/// Something that is going to happen. What is of a process names its machine and life.
pub enum Happening {
    /// The driver wants to run.
    Wake { slot: usize, life: u64 },
    /// A frame arrives.
    Frame { slot: usize, from: u64, to: u64, cluster_id: u64, frame: bytes::Bytes },
    /// The disk has done what it was given.
    Written { slot: usize, life: u64 },
    /// Work beside the driver runs.
    Task { slot: usize, life: u64, work: Box<dyn FnOnce() + Send> },
    /// A snapshot arrives whole, or breaks off.
    Snapshot { slot: usize, to: u64, shipment: Box<Transfer> },
    /// The sender of a snapshot hears what became of it.
    Shipped { slot: usize, life: u64, to: u64, is_ok: bool },
    /// A client begins its next operation.
    Begin { client: usize },
    /// A request arrives at a machine.
    Ask { slot: usize, attempt: Attempt, ask: Ask },
    /// An answer arrives at its client.
    Answer { attempt: Attempt, answer: Answer },
    /// A client has waited long enough.
    Impatient { attempt: Attempt },
    /// The next fault.
    Fault,
    /// A fault is over.
    End(Ending),
    /// The operator looks after the members.
    Operator,
}

/// A snapshot under way.
pub struct Transfer {
    /// Its sender.
    pub from: u64,
    /// The sender's machine and life, who hears of the outcome.
    pub from_slot: usize,
    /// The sender's process.
    pub from_life: u64,
    /// What the receiver is told first.
    pub header: bytes::Bytes,
    /// The bytes; fewer than announced if it breaks off.
    pub content: Vec<u8>,
}

/// Everything that was promised.
#[derive(Default)]
pub struct Promises {
    /// Looked at after each turn of a node.
    pub nodes: NodeInvariants,
    /// Digests at equal indexes.
    pub tables: StateMachineSafety,
    /// Who would serve default reads.
    pub leases: LeaseSafety,
    /// Indexes that clients were told.
    pub indexes: IndexNeverReused,
    /// Writes that clients were told of.
    pub acknowledged: AcknowledgedIsDurable,
    /// Writes that clients were refused.
    pub once: AppliedOnce,
    /// Everything clients saw.
    pub clients: LinearizableClients,
    /// What watches were told.
    pub watches: WatchesTellTheSame,
}

/// One seed's world.
pub struct World {
    /// The seed's settings.
    pub profile: Profile,
    /// The bug planted, if any.
    pub planted: Planted,
    /// Chance of everything that has no stream of its own.
    pub prng: Prng,
    /// What comes next.
    pub schedule: Schedule<Happening>,
    /// The links.
    pub network: Network,
    /// The machines, by slot.
    pub machines: Vec<Machine>,
    /// The clients.
    pub clients: Vec<Client>,
    /// What must hold.
    pub promises: Promises,
    /// What happened, counted.
    pub counts: Counts,
    /// What happened, in order.
    pub trace: Trace,
    /// The group's id, once it is formed.
    pub cluster_id: u64,
    /// Faults are over.
    pub is_calm: bool,
    /// The next nodes to vote crash as soon as their vote is on disk.
    pub voters_to_crash: u32,
    /// The last phase's write and reads that were answered: what was answered.
    pub probes: Vec<Completion>,
}

impl World {
    /// The world of a seed before anything happened.
    pub fn new(seed: u64, planted: Planted, is_printed: bool) -> Self {
        let mut prng = Prng::new(seed);
        let profile = Profile::draw(&mut prng, planted);
        let slots = profile.voters + profile.spares;
        let machines = (0..slots).map(|slot| Machine::new(slot, prng.fork())).collect();
        let clients = (0..profile.clients).map(|id| Client::new(id, &profile, prng.fork())).collect();
        let network = Network::new(slots, profile.weather, prng.fork());
        Self {
            profile,
            planted,
            schedule: Schedule::default(),
            network,
            machines,
            clients,
            promises: Promises::default(),
            counts: Counts::default(),
            trace: Trace::new(is_printed),
            cluster_id: 0,
            is_calm: false,
            voters_to_crash: 0,
            probes: Vec::new(),
            prng,
        }
    }

    /// True microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        self.schedule.now_us()
    }

    /// Records an event of a machine.
    pub fn note(&mut self, slot: usize, what: &'static str, numbers: [u64; 3]) {
        self.trace.note(self.schedule.now_us(), slot as u64, what, numbers);
    }

    /// Lets things happen until `until_us`, or until `is_done` says so; true if it did.
    ///
    /// # Errors
    /// The first invariant that falls.
    pub fn run(&mut self, until_us: u64, is_done: impl Fn(&Self) -> bool) -> Result<bool, Fallen> {
        self.schedule.at(until_us, Happening::End(Ending::Nothing));
        while self.now_us() < until_us {
            if is_done(self) {
                return Ok(true);
            }
            let Some(next) = self.schedule.advance() else { break };
            self.happen(next)?;
        }
        Ok(is_done(self))
    }

    fn happen(&mut self, what: Happening) -> Result<(), Fallen> {
        match what {
            Happening::Wake { slot, life } => self.wake(slot, life),
            Happening::Frame { slot, from, to, cluster_id, frame } => {
                self.take_frame(slot, from, to, cluster_id, frame);
                Ok(())
            }
            Happening::Written { slot, life } => self.written(slot, life),
            Happening::Task { slot, life, work } => {
                self.run_task(slot, life, work);
                Ok(())
            }
            Happening::Snapshot { slot, to, shipment } => {
                self.take_snapshot(slot, to, *shipment);
                Ok(())
            }
            Happening::Shipped { slot, life, to, is_ok } => {
                if let Some(process) = self.process_of(slot, life) {
                    process.post.shipped(to, is_ok);
                    self.nudge(slot);
                }
                Ok(())
            }
            Happening::Begin { client } => self.begin(client),
            Happening::Ask { slot, attempt, ask } => self.take_ask(slot, attempt, ask),
            Happening::Answer { attempt, answer } => self.take_answer(attempt, &answer),
            Happening::Impatient { attempt } => self.take_answer(attempt, &Answer::Unknown),
            Happening::Fault => {
                self.fault();
                Ok(())
            }
            Happening::End(ending) => self.end(ending),
            Happening::Operator => {
                self.operate();
                Ok(())
            }
        }
    }
}

/// A store in memory does not fail.
pub fn store_failed(why: impl std::fmt::Display) -> Fallen {
    Fallen { invariant: "a node goes on", why: format!("its store failed: {why}") }
}
