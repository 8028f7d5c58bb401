//! Nodes of a group in one thread: a clock that is set, a network that loses only what it is told to, disks
//! that outlive processes. Everything happens in the same order each time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use konsul_disk::files::MemoryFiles;
use konsul_disk::wal::{Wal, WalOptions};
use konsul_node::seams::{Clock as _, Disk, Seams};
use konsul_node::{
    AnyStore, Backend, ClusterOptions, Completion, LOG_VERSION, Member, MemberChange, MemorySnapshots,
    Options, Peek, Replica, Role, Ticket,
};
use konsul_state::digest::digest;
use konsul_state::memory::Memory;
use konsul_state::read;

use crate::machine::{Kept, Later, Machine, Sent, SetClock, SlowLog, Wire};

pub const TABLE: u16 = 1;
const TICK_MS: u64 = 10;

/// One table of keys with a text column.
pub fn schema() -> Vec<u8> {
    let mut out = vec![0x91, 0x83];
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(0xa0 | text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    };
    for (name, value) in [("id", &b"\x01"[..]), ("name", b"\xa1t")] {
        text(&mut out, name);
        out.extend_from_slice(value);
    }
    text(&mut out, "columns");
    out.extend_from_slice(&[0x91, 0x82]);
    for part in ["name", "v", "kind", "text"] {
        text(&mut out, part);
    }
    out
}

pub fn put(key: &str, value: &str) -> Vec<u8> {
    let mut cells = vec![0x91, 0xa0 | value.len() as u8];
    cells.extend_from_slice(value.as_bytes());
    konsul_state::entry::put_cases(TABLE, key.as_bytes(), &cells, None)
}

pub struct Stage {
    clock: Arc<SetClock>,
    machines: BTreeMap<u64, Machine>,
    pub nodes: BTreeMap<u64, Replica>,
    /// Directions that lose everything.
    pub cut: BTreeSet<(u64, u64)>,
    /// Work beside the drivers waits while this is set.
    pub is_lazy: bool,
    pub answers: BTreeMap<(u64, Ticket), Completion>,
    pub snapshots_shipped: usize,
    pub trailing_entries: u64,
}

impl Stage {
    pub fn new() -> Self {
        Self {
            clock: Arc::default(),
            machines: BTreeMap::new(),
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            is_lazy: false,
            answers: BTreeMap::new(),
            snapshots_shipped: 0,
            trailing_entries: 100,
        }
    }

    fn options(&self, name: &str) -> Options {
        Options {
            data_dir: Default::default(),
            node_id: 0,
            backend: Backend::Memory,
            heartbeat_ms: 50,
            election_ms: 300,
            tick_ms: TICK_MS,
            snapshot_interval_ms: 1_000_000_000,
            snapshot_threshold_entries: 1_000_000,
            snapshot_retention: 1,
            trailing_entries: self.trailing_entries,
            segment_bytes: 64 << 10,
            inflight_max_entries: 10_000,
            inflight_max_bytes: 64 << 20,
            disk_reserve_bytes: 0,
            map_max_bytes: 1 << 30,
            sync_writes: true,
            watch_ring_entries: 1_024,
            watch_ring_bytes: 1 << 20,
            watchers_max: 16,
            cluster: Some(ClusterOptions {
                node_name: name.into(),
                bind_addr: format!("{name}:7000"),
                advertise_addr: String::new(),
                http_addr: format!("http://{name}:8888"),
                zone: String::new(),
                read_only: false,
                lease_ms: 1_000,
                leader_wait_ms: 300,
                max_append_entries: 64,
                snapshot_rate_bytes: 0,
                tls_cert_file: Default::default(),
                tls_key_file: Default::default(),
                tls_ca_file: Default::default(),
                allow_plaintext: true,
                version: "1".into(),
            }),
        }
    }

    fn open(&self, machine: &Machine, seed: u64) -> Replica {
        let mut log_options = WalOptions::new("");
        log_options.segment_bytes = 64 << 10;
        log_options.background = false;
        log_options.salt = 1;
        machine.snapshots.restart();
        let (syncs, is_slow) = (machine.syncs.clone(), machine.is_slow.clone());
        let disk = Disk {
            store: machine.store.clone(),
            wal: Wal::open_in(machine.files.clone(), log_options).unwrap(),
            writer: Box::new(move |wal| Ok(Box::new(SlowLog { wal, waiting: syncs, is_slow }))),
            snapshots: Some(Arc::new(machine.snapshots.clone())),
            identity: Box::new(machine.identity.clone()),
            notes: Vec::new(),
        };
        let wire = machine.wire.clone();
        let seams = Seams {
            clock: self.clock.clone(),
            tasks: Arc::new(machine.tasks.clone()),
            disk,
            connect: Box::new(move |_| Ok(Box::new(wire))),
            seed,
        };
        Replica::open(self.options(&machine.name), seams, &schema()).unwrap()
    }

    /// A fresh node; its id.
    pub fn add(&mut self, name: &str) -> u64 {
        let machine = Machine {
            name: name.into(),
            files: Arc::new(MemoryFiles::new()),
            store: Arc::new(AnyStore::Memory(Memory::new())),
            snapshots: MemorySnapshots::new(),
            identity: Kept::default(),
            tasks: Later::default(),
            wire: Wire::default(),
            syncs: Arc::default(),
            is_slow: Arc::default(),
        };
        let seed = name.bytes().fold(7, |seed: u64, byte| seed * 31 + u64::from(byte));
        let replica = self.open(&machine, seed);
        let id = replica.peek().raft_id;
        self.machines.insert(id, machine);
        self.nodes.insert(id, replica);
        id
    }

    /// The process of a node ends without a word.
    pub fn crash(&mut self, id: u64) {
        self.nodes.remove(&id);
        self.answers.retain(|(node, _), _| *node != id);
        let machine = &self.machines[&id];
        machine.tasks.0.lock().clear();
        machine.wire.0.lock().clear();
        machine.syncs.lock().clear();
    }

    /// A new process on the same disk; without its tables, as after a crash of the machine.
    pub fn restart(&mut self, id: u64, keeps_tables: bool) {
        self.crash(id);
        let machine = self.machines.get_mut(&id).unwrap();
        if !keeps_tables {
            machine.store = Arc::new(AnyStore::Memory(Memory::new()));
        }
        let machine = machine.clone();
        let replica = self.open(&machine, id ^ self.clock.now_ms());
        assert_eq!(replica.peek().raft_id, id);
        self.nodes.insert(id, replica);
    }

    /// From now on a node's appends wait for [`Stage::sync`].
    pub fn slow_down(&mut self, id: u64) {
        self.machines[&id].is_slow.store(1, Relaxed);
    }

    /// The disk does what waits, and goes on at once from now on.
    pub fn sync(&mut self, id: u64) {
        self.machines[&id].is_slow.store(0, Relaxed);
        for done in std::mem::take(&mut *self.machines[&id].syncs.lock()) {
            done(Ok(()));
        }
    }

    /// One step of everybody and everything, in order.
    pub fn step(&mut self) {
        self.clock.0.fetch_add(TICK_MS / 2, Relaxed);
        for (id, machine) in &self.machines {
            if !self.is_lazy && self.nodes.contains_key(id) {
                for work in std::mem::take(&mut *machine.tasks.0.lock()) {
                    work();
                }
            }
        }
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in &ids {
            let replica = self.nodes.get_mut(id).unwrap();
            replica.turn().unwrap();
            self.answers.extend(replica.completions().into_iter().map(|done| ((*id, done.ticket), done)));
        }
        for from in ids {
            let out = std::mem::take(&mut *self.machines[&from].wire.0.lock());
            for (to, sent) in out {
                self.carry(from, to, sent);
            }
        }
    }

    fn carry(&mut self, from: u64, to: u64, sent: Sent) {
        let is_lost = self.cut.contains(&(from, to));
        let receiver = self.nodes.get(&to).filter(|_| !is_lost);
        match (sent, receiver) {
            (Sent::Frame(frame), Some(receiver)) => {
                assert!(receiver.post().frame(from, frame));
            }
            (Sent::Snapshot(header, content), Some(receiver)) => {
                let received = receiver.post().begin_snapshot(from, &header).and_then(|mut sink| {
                    sink.write_all(&content)?;
                    sink.finish()
                });
                if received.is_ok() {
                    receiver.post().received(from, header);
                }
                self.snapshots_shipped += 1;
                self.nodes[&from].post().shipped(to, received.is_ok());
            }
            (Sent::Frame(_), None) => self.nodes[&from].post().unreachable(to),
            (Sent::Snapshot(..), None) => self.nodes[&from].post().shipped(to, false),
        }
    }

    /// Steps until it is so; what is not so within a simulated minute never is.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&Stage) -> bool) {
        for _ in 0..12_000 {
            if is_so(self) {
                return;
            }
            self.step();
        }
        let peeks: Vec<Peek> = self.nodes.values().map(Replica::peek).collect();
        panic!("never: {what}\n{peeks:#?}");
    }

    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms * 2 / TICK_MS {
            self.step();
        }
    }

    pub fn answer(&mut self, id: u64, ticket: Ticket) -> Completion {
        self.until("an answer", |stage| stage.answers.contains_key(&(id, ticket)));
        self.answers[&(id, ticket)].clone()
    }

    pub fn peek(&self, id: u64) -> Peek {
        self.nodes[&id].peek()
    }

    pub fn leader(&self) -> Option<u64> {
        let leads = |id: &&u64| self.peek(**id).role == Role::Leader;
        let newest = self.nodes.keys().filter(leads).max_by_key(|id| self.peek(**id).term);
        newest.copied()
    }

    /// Waits until somebody leads and may take writes.
    pub fn elect(&mut self) -> u64 {
        self.until("a leader", |stage| {
            stage.leader().is_some_and(|id| {
                let peek = stage.peek(id);
                let has_schema = !stage.nodes[&id].tables().schema().tables().is_empty();
                has_schema && peek.applied_term == peek.term && peek.applied == peek.commit
            })
        });
        self.leader().unwrap()
    }

    pub fn write(&mut self, id: u64, key: &str, value: &str) -> Completion {
        let ticket = self.nodes.get_mut(&id).unwrap().submit(&put(key, value), None, 5_000);
        self.answer(id, ticket)
    }

    pub fn change(&mut self, leader: u64, change: MemberChange) -> Completion {
        let ticket = self.nodes.get_mut(&leader).unwrap().change(change, 5_000);
        self.answer(leader, ticket)
    }

    pub fn record(&self, id: u64) -> Member {
        let name = &self.machines[&id].name;
        Member {
            raft_id: id,
            node_id: name.clone(),
            address: format!("{name}:7000"),
            log_version: LOG_VERSION,
            ..Member::default()
        }
    }

    /// A group of one.
    pub fn found(&mut self, name: &str) -> u64 {
        let id = self.add(name);
        let ticket = self.nodes.get_mut(&id).unwrap().bootstrap(1_000);
        assert_eq!(self.answer(id, ticket).status, 0);
        self.elect()
    }

    /// A fresh node becomes a listener.
    pub fn join(&mut self, leader: u64, name: &str) -> u64 {
        let id = self.add(name);
        let cluster_id = self.peek(leader).cluster_id;
        let ticket = self.nodes.get_mut(&id).unwrap().adopt(cluster_id, 1_000);
        assert_eq!(self.answer(id, ticket).status, 0);
        let change = MemberChange::Add(self.record(id));
        assert_eq!(self.change(leader, change).status, 0);
        self.until("the listener to have everything", |stage| {
            let peek = stage.peek(id);
            peek.applied == stage.peek(leader).applied && !peek.is_installing
        });
        id
    }

    pub fn promote(&mut self, leader: u64, id: u64) {
        let answer = self.change(leader, MemberChange::Promote(id));
        assert_eq!(answer.status, 0, "{}", String::from_utf8_lossy(&answer.text));
    }

    /// Three voters; the first leads.
    pub fn trio(&mut self) -> [u64; 3] {
        let one = self.found("n1");
        let two = self.join(one, "n2");
        self.promote(one, two);
        let three = self.join(one, "n3");
        self.promote(one, three);
        [one, two, three]
    }

    /// Waits until everybody has the same rows, and returns how many.
    pub fn agree(&mut self) -> u64 {
        self.until("everybody to have everything", |stage| {
            let applied: BTreeSet<u64> = stage.nodes.keys().map(|id| stage.peek(*id).applied).collect();
            let is_calm = stage.nodes.keys().all(|id| {
                let peek = stage.peek(*id);
                peek.commit == peek.applied && !peek.is_installing
            });
            applied.len() == 1 && is_calm
        });
        let digests: BTreeSet<[u8; 16]> =
            self.nodes.values().map(|node| digest(&node.read().unwrap()).unwrap()).collect();
        assert_eq!(digests.len(), 1);
        self.nodes.values().next().unwrap().tables().count(TABLE)
    }

    pub fn has(&self, id: u64, key: &str) -> bool {
        let node = &self.nodes[&id];
        read::get(&node.read().unwrap(), TABLE, key.as_bytes()).unwrap().is_some()
    }
}
