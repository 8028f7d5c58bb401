//! A transport with a handler that remembers everything.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use konsul_net::{Caller, Handler, Hello, Net, NetOptions, Refusal, Reply, Sink};
use parking_lot::{Condvar, Mutex};

/// What ends a wait that should have been over long ago.
pub const LONG: Duration = Duration::from_secs(20);
pub const CLUSTER: u64 = 0xC1;

/// What a node was told.
#[derive(Default)]
pub struct Told {
    pub frames: Vec<(u64, Bytes)>,
    pub ups: Vec<u64>,
    pub downs: Vec<u64>,
    pub shipped: Vec<(u64, Result<(), String>)>,
    pub refused: Vec<(u64, Refusal)>,
    pub callers: Vec<Caller>,
    pub held_back: Vec<Reply>,
    pub sinks_opened: usize,
    pub received: Vec<(u64, Bytes, Vec<u8>)>,
}

/// How a node behaves.
#[derive(Default)]
pub struct Manners {
    pub drops_frames: bool,
    pub snapshot_refusal: Option<String>,
    pub sink_fails_at: Option<usize>,
}

#[derive(Default)]
pub struct Memory {
    told: Mutex<Told>,
    changed: Condvar,
    manners: Manners,
}

impl Memory {
    pub fn change<T>(&self, how: impl FnOnce(&mut Told) -> T) -> T {
        let result = how(&mut self.told.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `is_so`; the words are for the failure.
    pub fn wait(&self, what: &str, is_so: impl Fn(&Told) -> bool) {
        let mut told = self.told.lock();
        let until = Instant::now() + LONG;
        while !is_so(&told) {
            assert!(!self.changed.wait_until(&mut told, until).timed_out(), "never came: {what}");
        }
    }
}

struct Remembering(Arc<Memory>);

impl Handler for Remembering {
    fn frame(&self, from: u64, frame: Bytes) -> bool {
        self.0.change(|told| told.frames.push((from, frame)));
        !self.0.manners.drops_frames
    }

    /// Says back what it was asked, doubled; `hold` waits for the test, `drop` gets no answer.
    fn call(&self, caller: Caller, payload: Bytes, reply: Reply) {
        self.0.change(|told| told.callers.push(caller));
        match payload.as_ref() {
            b"hold" => self.0.change(|told| told.held_back.push(reply)),
            b"drop" => drop(reply),
            _ => {
                reply.send(7, &[payload.as_ref(), payload.as_ref()].concat());
            }
        }
    }

    fn snapshot(&self, from: u64, header: Bytes, _total_bytes: u64) -> Result<Box<dyn Sink>, String> {
        self.0.change(|told| told.sinks_opened += 1);
        match &self.0.manners.snapshot_refusal {
            Some(why) => Err(why.clone()),
            None => Ok(Box::new(Kept { memory: self.0.clone(), from, header, bytes: Vec::new() })),
        }
    }

    fn shipped(&self, to: u64, outcome: Result<(), String>) {
        self.0.change(|told| told.shipped.push((to, outcome)));
    }

    fn peer_up(&self, raft_id: u64, _hello: &Hello) {
        self.0.change(|told| told.ups.push(raft_id));
    }

    fn peer_down(&self, raft_id: u64) {
        self.0.change(|told| told.downs.push(raft_id));
    }

    fn refused(&self, by: u64, why: Refusal) {
        self.0.change(|told| told.refused.push((by, why)));
    }
}

struct Kept {
    memory: Arc<Memory>,
    from: u64,
    header: Bytes,
    bytes: Vec<u8>,
}

impl Sink for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.memory.manners.sink_fails_at.is_some_and(|at| self.bytes.len() >= at) {
            return Err(io::Error::other("no space"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self { memory, from, header, bytes } = *self;
        memory.change(|told| told.received.push((from, header, bytes)));
        Ok(())
    }
}

/// One transport.
pub struct Node {
    pub id: u64,
    pub net: Net,
    pub memory: Arc<Memory>,
}

impl Node {
    pub fn start(id: u64) -> Self {
        Self::with(id, quick(), Manners::default())
    }

    pub fn with(id: u64, options: NetOptions, manners: Manners) -> Self {
        Self::of(hello(id), options, manners)
    }

    pub fn of(hello: Hello, options: NetOptions, manners: Manners) -> Self {
        let memory = Arc::new(Memory { manners, ..Memory::default() });
        let id = hello.raft_id;
        let net = Net::start(options, hello, Arc::new(Remembering(memory.clone()))).unwrap();
        Self { id, net, memory }
    }

    pub fn address(&self) -> String {
        self.net.address().to_string()
    }

    /// As a member for another node.
    pub fn way(&self) -> (u64, String) {
        (self.id, self.address())
    }

    pub fn knows(&self, others: &[&Node]) {
        self.net.set_members(&others.iter().map(|other| other.way()).collect::<Vec<_>>());
    }

    /// Waits for its own connection to another node.
    pub fn reaches(&self, other: u64) {
        self.memory.wait("a connection", |told| told.ups.contains(&other));
    }

    /// Waits until a counter of refusals moved.
    pub fn refuses(&self, why: &str) {
        until(why, || self.refusals(why) > 0);
    }

    pub fn refusals(&self, why: &str) -> u64 {
        self.net.counted().refused.iter().find(|(name, _)| *name == why).unwrap().1
    }
}

/// Two members that know each other, connected both ways.
pub fn pair() -> (Node, Node) {
    let (one, two) = (Node::start(1), Node::start(2));
    one.knows(&[&two]);
    two.knows(&[&one]);
    one.reaches(2);
    two.reaches(1);
    (one, two)
}

pub fn hello(id: u64) -> Hello {
    Hello {
        cluster_id: CLUSTER,
        raft_id: id,
        node_id: format!("n{id}"),
        version: "0.1.0".to_owned(),
        log_version: 1,
    }
}

pub fn quick() -> NetOptions {
    NetOptions {
        handshake_timeout_ms: 2_000,
        backoff_ms: (5, 50),
        snapshot_rate_bytes: 0,
        ..NetOptions::default()
    }
}

/// Waits for something that nobody announces.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// An address where nobody listens.
pub fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
