//! One machine: its clocks and its disk, which outlive processes, and the process that runs on it now.

use std::collections::BTreeMap;
use std::sync::Arc;

use konsul_disk::files::MemoryFiles;
use konsul_node::seams::{Disk, IdentityKeeper as _, LogWriter, Seams};
use konsul_node::{
    AnyStore, ClusterOptions, Member, MemorySnapshots, Options, Peek, Post, Replica, Role, Ticket,
};
use konsul_state::memory::Memory;

use crate::around::{ProcessClock, SimIdentity, SimPeers, SimTasks};
use crate::clients::{Attempt, Read};
use crate::clocks::Clocks;
use crate::disk::SimLog;
use crate::invariants::Follower;
use crate::planted::Planted;
use crate::prng::Prng;
use crate::profile::Profile;
use crate::workload;

/// Who waits for a ticket.
#[derive(Clone, Debug)]
pub enum Waiter {
    /// A client's write.
    Write(Attempt),
    /// A client's read of a key.
    Get(Attempt, String, Read),
    /// The operator; what for.
    Operator(&'static str),
    /// The last phase's own write and reads.
    Probe,
}

/// A running process.
pub struct Process {
    /// The driver under test.
    pub replica: Replica,
    /// Its clock.
    pub clock: ProcessClock,
    /// Its log.
    pub log: SimLog,
    /// Its way out.
    pub peers: SimPeers,
    /// Its way in.
    pub post: Post,
    /// What it runs beside the driver.
    pub tasks: SimTasks,
    /// Who waits for which answer.
    pub waiters: BTreeMap<Ticket, Waiter>,
    /// The disk is at work for it.
    pub is_writing: bool,
    /// When it next wants to run, in true us.
    pub wake_us: u64,
    /// The newest term whose vote was seen on disk.
    pub voted_in: u64,
    /// The newest applied index whose digest was compared.
    pub compared: u64,
}

/// A machine of the cluster.
pub struct Machine {
    /// Its number.
    pub slot: usize,
    /// Its clocks.
    pub clocks: Clocks,
    /// Chance of this machine.
    pub prng: Prng,
    /// The log's files.
    pub files: MemoryFiles,
    /// Its snapshots.
    pub snapshots: MemorySnapshots,
    /// The applied state as the last process left it; a power cut takes it.
    pub store: Arc<AnyStore>,
    /// Whose data it holds.
    pub identity: SimIdentity,
    /// How many processes ran here; names the current one.
    pub life: u64,
    /// What runs.
    pub process: Option<Process>,
    /// Stopped by a signal; its clocks go on.
    pub is_paused: bool,
    /// Slow-downs of the disk in force.
    pub slow_disk: u32,
    /// How often the disk was replaced by an empty one.
    pub wiped: u64,
    /// Clients that watch a table each and come back after every restart.
    pub followers: BTreeMap<u16, Follower>,
}

impl Machine {
    /// A machine with an empty disk that has not run anything.
    pub fn new(slot: usize, mut prng: Prng) -> Self {
        let clocks = Clocks::new(prng.between(0, 1_000_000_000));
        Self {
            slot,
            clocks,
            prng,
            files: MemoryFiles::with_crashes(),
            snapshots: MemorySnapshots::new(),
            store: empty_store(),
            identity: SimIdentity::default(),
            life: 0,
            process: None,
            is_paused: false,
            slow_disk: 0,
            wiped: 0,
            followers: BTreeMap::new(),
        }
    }

    /// The Raft id of its data; 0 for none.
    pub fn raft_id(&self) -> u64 {
        self.identity.identity().map_or(0, |identity| identity.raft_id)
    }

    /// True if a process runs and is not paused.
    pub fn is_up(&self) -> bool {
        self.process.is_some() && !self.is_paused
    }

    /// What this node tells the group of itself.
    pub fn member(&self) -> Member {
        Member {
            raft_id: self.raft_id(),
            node_id: format!("n{}-{}", self.slot, self.wiped),
            address: format!("10.0.0.{}:8300", self.slot + 1),
            log_version: konsul_node::LOG_VERSION,
            ..Member::default()
        }
    }

    /// Starts a process on what the disk holds.
    ///
    /// # Errors
    /// What the start refuses, in words: never to happen, since disks here lose only what they may.
    pub fn start(&mut self, now_us: u64, profile: &Profile, planted: Planted) -> Result<(), String> {
        self.clocks.set(now_us);
        self.life += 1;
        let (wal, found) = SimLog::open(&self.files, self.prng.next())?;
        let log = SimLog::new(wal.view(), planted);
        let clock = ProcessClock::start(&self.clocks);
        let (peers, tasks) = (SimPeers::default(), SimTasks::default());
        self.snapshots.restart();
        let writer = log.clone();
        let disk = Disk {
            store: self.store.clone(),
            wal: (wal, found),
            writer: Box::new(move |wal| {
                writer.begin(wal);
                Ok(Box::new(writer) as Box<dyn LogWriter>)
            }),
            snapshots: Some(Arc::new(self.snapshots.clone())),
            identity: Box::new(self.identity.clone()),
            notes: Vec::new(),
        };
        let out = peers.clone();
        let seams = Seams {
            clock: Arc::new(clock.clone()),
            tasks: Arc::new(tasks.clone()),
            disk,
            connect: Box::new(move |_| Ok(Box::new(out))),
            seed: self.prng.next(),
        };
        let replica = Replica::open(self.options(profile, planted), seams, &workload::schema())?;
        for (table, spec, form) in workload::watches() {
            let known = self.followers.get(&table).map(|follower| follower.told_to);
            let watch = replica.watch(spec, form, known).map_err(|refusal| refusal.message)?;
            let begins = replica.watch_position(watch).unwrap_or(0);
            self.followers.entry(table).or_insert_with(|| Follower::new(begins)).restart(watch);
        }
        let post = replica.post().clone();
        self.process = Some(Process {
            replica,
            clock,
            log,
            peers,
            post,
            tasks,
            waiters: BTreeMap::new(),
            is_writing: false,
            wake_us: u64::MAX,
            voted_in: 0,
            compared: 0,
        });
        Ok(())
    }

    fn options(&self, profile: &Profile, planted: Planted) -> Options {
        // A leader that reckons with longer elections than the others hold trusts its lease for too long.
        let is_stale = planted == Planted::StaleLease && self.slot == 0;
        let election_ms = if is_stale { profile.election_ms * 8 } else { profile.election_ms };
        Options {
            data_dir: Default::default(),
            node_id: 0,
            backend: konsul_node::Backend::Memory,
            heartbeat_ms: profile.heartbeat_ms,
            election_ms,
            tick_ms: profile.tick_ms,
            snapshot_interval_ms: profile.snapshot_interval_ms,
            snapshot_threshold_entries: profile.snapshot_threshold_entries,
            snapshot_retention: 1,
            trailing_entries: profile.trailing_entries,
            segment_bytes: crate::disk::SEGMENT_BYTES.max(64 << 10),
            inflight_max_entries: 256,
            inflight_max_bytes: 1 << 20,
            disk_reserve_bytes: 0,
            map_max_bytes: 1 << 30,
            sync_writes: true,
            watch_ring_entries: 1_024,
            watch_ring_bytes: 1 << 20,
            watchers_max: 16,
            cluster: Some(ClusterOptions {
                node_name: format!("n{}-{}", self.slot, self.wiped),
                bind_addr: format!("10.0.0.{}:8300", self.slot + 1),
                advertise_addr: String::new(),
                http_addr: String::new(),
                zone: String::new(),
                read_only: false,
                lease_ms: if is_stale { profile.election_ms * 8 } else { profile.lease_ms },
                leader_wait_ms: profile.election_ms,
                max_append_entries: 64,
                snapshot_rate_bytes: 0,
                tls_cert_file: Default::default(),
                tls_key_file: Default::default(),
                tls_ca_file: Default::default(),
                allow_plaintext: true,
                version: "sim".into(),
            }),
        }
    }

    /// The process is killed. What it handed to the system is kept; what it had not, is gone.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            if self.prng.chance(500) {
                process.log.begin_write(&self.files);
                self.files.faults(|faults| *faults = Default::default());
            }
            self.is_paused = false;
        }
    }

    /// The power is cut: everything that was not synced may be lost, kept or torn, sector by sector.
    pub fn cut_power(&mut self) {
        if let Some(process) = self.process.take() {
            if self.prng.chance(700) {
                process.log.begin_write(&self.files);
            }
            self.is_paused = false;
        }
        let mut prng = self.prng.fork();
        self.files = self.files.crash(|| prng.next());
        self.store = empty_store();
    }

    /// The disk is replaced by an empty one.
    pub fn wipe(&mut self) {
        self.process = None;
        self.is_paused = false;
        self.files = MemoryFiles::with_crashes();
        self.snapshots = MemorySnapshots::new();
        self.store = empty_store();
        self.identity = SimIdentity::default();
        self.followers.clear();
        self.wiped += 1;
    }
}

fn empty_store() -> Arc<AnyStore> {
    Arc::new(AnyStore::Memory(Memory::new()))
}

/// True if the node leads, as far as it knows.
pub fn is_leader(peek: &Peek) -> bool {
    peek.role == Role::Leader
}
