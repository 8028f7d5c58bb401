//! The node as callers see it: tickets in, answers through the completions, reads at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::SeqCst};
use std::thread::JoinHandle;

use bytes::Bytes;
use konsul_disk::wal::LogView;
use konsul_state::ahead::{self, Filters};
use konsul_state::apply::{Refusal, Tables};
use konsul_state::entry::{self, Kind, RequestId};
use konsul_state::read;
use konsul_state::schema::Schema;
use konsul_state::store::Store as _;
use parking_lot::Mutex;

use crate::backend::{AnyReader, AnyStore};
use crate::calls::Calls;
use crate::clock::{SystemClock, random_u64};
use crate::code;
use crate::completions::{Completion, Completions, Ticket};
use crate::inbox::{Consistency, Event, Proposal};
use crate::network::{self, Network, Outgoing};
use crate::options::Options;
use crate::real_disk::{self, SharedDir};
use crate::seams::{Connect, Nobody, Seams, Threads};
use crate::shared::{Role, Shared};
use crate::waiting::{Waiter, Work};
use crate::{run, start};

/// A running node. Every method may be called from any thread.
pub struct Node {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: LogView,
    pub(crate) notes: Vec<String>,
    tickets: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
    is_clean: Arc<AtomicBool>,
    // In this order: the map is closed before its directory is free for somebody else.
    store: Arc<AnyStore>,
    dir: Option<SharedDir>,
    /// The way to other nodes; `None` for a lone one.
    pub(crate) network: Option<Arc<Network>>,
    pub(crate) calls: Arc<Calls>,
}

/// Filled while the node starts.
type Line = Arc<Mutex<Option<Arc<Network>>>>;

/// The system around a real node. The directory stays locked as long as any part of the answer lives.
pub(crate) fn open_seams(
    options: &Options,
    calls: &Arc<Calls>,
) -> Result<(Seams, Option<SharedDir>, Line), String> {
    // Before the disk is touched: settings that cannot work change nothing.
    options.validate()?;
    let (disk, dir) = real_disk::open(options)?;
    let line = Line::default();
    let connect: Connect = match options.cluster.clone() {
        None => Box::new(|_| Ok(Box::new(Nobody))),
        Some(cluster) => {
            let (line, calls) = (line.clone(), calls.clone());
            Box::new(move |post| {
                let identity = post.shared.identity();
                let asked = Arc::new(move |caller, payload, reply| calls.take_in(caller, payload, reply));
                let network = network::listen(&cluster, identity, post, asked)?;
                *line.lock() = Some(network.clone());
                Ok(Box::new(Outgoing(network)))
            })
        }
    };
    let (clock, tasks) = (Arc::new(SystemClock::new()), Arc::new(Threads));
    Ok((Seams { clock, tasks, disk, connect, seed: random_u64() }, dir, line))
}

/// The answer to a write that needs what the leader's version does not have.
const AHEAD: &str =
    "the cluster is being upgraded, and its leader's version cannot store this yet; try again later";

fn stopping() -> Refusal {
    Refusal::new(code::STOPPING, "the node is shutting down")
}

impl Node {
    /// Recovers the data directory and starts serving. A lone node leads and has installed `schema` when this
    /// returns; a member of a group listens for its peers and waits for nobody.
    ///
    /// # Errors
    /// Why it cannot start, in words that say what to do.
    pub fn start(options: Options, completions: Arc<Completions>, schema: &[u8]) -> Result<Self, String> {
        let calls = Arc::new(Calls::new(completions.clone()));
        let (seams, dir, line) = open_seams(&options, &calls)?;
        let store = seams.disk.store.clone();
        let start::Started { shared, notes, driver } = start::start(options, seams, completions, schema)?;
        let (log, network) = (driver.log.clone(), line.lock().take());
        let is_clean = Arc::new(AtomicBool::new(false));
        let flag = is_clean.clone();
        let thread = std::thread::Builder::new()
            .name("raft".into())
            .spawn(move || run::run(driver, &flag))
            .map_err(|error| format!("no thread for the node: {error}"))?;
        let (tickets, thread) = (AtomicU64::new(1), Mutex::new(Some(thread)));
        Ok(Self { shared, log, notes, tickets, thread, is_clean, store, dir, network, calls })
    }

    /// Refuses new work, waits up to `grace_ms` for what is in flight, snapshots if due and closes the log.
    /// The data directory is free again when the node is dropped.
    pub fn stop(&self, grace_ms: u64) {
        self.shared.gauges.is_stopping.store(true, Relaxed);
        let Some(thread) = self.thread.lock().take() else { return };
        let deadline_ms = self.shared.clock.now_ms().saturating_add(grace_ms);
        self.shared.inbox.send(Event::Stop { deadline_ms });
        self.calls.close();
        // A panic there has aborted the process, so there is no error to hear of.
        let _ = thread.join();
        if let Some(network) = &self.network {
            network.net.stop();
        }
        if let (AnyStore::Durable(store), Some(dir), true) =
            (&*self.store, &self.dir, self.is_clean.load(Acquire))
        {
            // Without the mark the next start takes this for a crash, which costs time and nothing else.
            let _ = store.sync().map(|()| dir.lock().mark_clean());
        }
    }

    /// Proposes an entry of `cases`.
    pub fn commit(
        &self,
        cases: &[u8],
        timeout_ms: u64,
        request_id: Option<RequestId>,
    ) -> Result<Ticket, Refusal> {
        self.propose(self.checked(cases.to_vec())?, timeout_ms, request_id)
    }

    /// Proposes one `put`; `at` guards on the row's modify_index (0: absent).
    pub fn put(
        &self,
        table: u16,
        key: &[u8],
        cells: &[u8],
        at: Option<u64>,
        timeout_ms: u64,
        request_id: Option<RequestId>,
    ) -> Result<Ticket, Refusal> {
        self.propose(self.checked(entry::put_cases(table, key, cells, at))?, timeout_ms, request_id)
    }

    /// `cases` as they may enter the log.
    fn checked(&self, cases: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let (ours, in_force) = (self.schema()?, self.shared.tables().schema());
        let Err(refusal) = entry::validate(&in_force, &cases) else { return Ok(cases) };
        if Arc::ptr_eq(&ours, &in_force) {
            return Err(refusal);
        }
        entry::validate(&ours, &cases)?;
        let fitted = ahead::fitted(&in_force, &ours, &cases)?;
        match entry::validate(&in_force, &fitted) {
            Ok(()) => Ok(fitted),
            Err(_) => Err(Refusal::new(code::BUSY, AHEAD)),
        }
    }

    fn propose(
        &self,
        cases: Vec<u8>,
        timeout_ms: u64,
        request_id: Option<RequestId>,
    ) -> Result<Ticket, Refusal> {
        // A follower's own disk says nothing about its leader's.
        if self.shared.gauges.is_full.load(Relaxed) && self.shared.role() == Role::Leader {
            return Err(Refusal::new(code::DISK_FULL, crate::FULL));
        }
        let (kind, body) = match request_id {
            None => (Kind::Cases, cases),
            Some(id) => (Kind::Once, entry::once_body(&id, &cases)),
        };
        let bytes = body.len() as u64;
        let waiter = self.waiter(bytes, timeout_ms)?;
        let ticket = waiter.ticket;
        if !self.shared.inbox.propose(Proposal { waiter, kind, body: Bytes::from(body) }) {
            self.shared.release(bytes);
            return Err(stopping());
        }
        Ok(ticket)
    }

    /// Somebody who waits, with a place under the bounds.
    pub(crate) fn waiter(&self, bytes: u64, timeout_ms: u64) -> Result<Waiter, Refusal> {
        self.check_running()?;
        if !self.shared.reserve(bytes) {
            return Err(Refusal::new(code::BUSY, "too many writes wait; try again"));
        }
        let (ticket, deadline_ms) = self.ticket(timeout_ms);
        Ok(Waiter { ticket, deadline_ms, bytes, work: Work::Client })
    }

    /// Gives the row's lease its full length again: at once by a leader that knows that it leads, else
    /// through whoever does.
    pub fn renew(&self, table: u16, key: &[u8], timeout_ms: u64) -> Result<Ticket, Refusal> {
        self.check_running()?;
        if !self.is_current() {
            return self.pass_on_renewal(table, key, timeout_ms);
        }
        let (ticket, _) = self.ticket(timeout_ms);
        let is_renewed = self.shared.leases.lock().renew(table, key, self.shared.clock.now_ms());
        let answer = if is_renewed {
            let row = || read::get(&self.read().ok()?, table, key).ok()?.map(<[u8]>::to_vec);
            self.shared.watches.renewed(table, key, self.shared.clock.wall_ms(), row);
            Completion::applied(ticket, self.shared.tables().index(), 0)
        } else {
            Completion::refused(ticket, code::NOT_FOUND, "there is no such lease")
        };
        self.shared.completions.push_one(answer);
        Ok(ticket)
    }

    /// Answered when a read started now may be served.
    pub fn barrier(&self, consistency: Consistency, timeout_ms: u64) -> Result<Ticket, Refusal> {
        self.check_running()?;
        let (ticket, deadline_ms) = self.ticket(timeout_ms);
        if consistency == Consistency::Default && self.is_current() {
            self.shared.completions.push_one(Completion::applied(ticket, self.shared.tables().index(), 0));
        } else {
            self.send(Event::Barrier { ticket, consistency, deadline_ms })?;
        }
        Ok(ticket)
    }

    /// Answered when the tables here are at `index` or later.
    pub fn wait_index(&self, index: u64, timeout_ms: u64) -> Result<Ticket, Refusal> {
        self.check_running()?;
        let (ticket, deadline_ms) = self.ticket(timeout_ms);
        let reached = self.shared.tables().index();
        if index <= reached {
            self.shared.completions.push_one(Completion::applied(ticket, reached, 0));
        } else {
            self.send(Event::WaitIndex { ticket, index, deadline_ms })?;
        }
        Ok(ticket)
    }

    /// Takes a snapshot now.
    pub fn snapshot(&self, timeout_ms: u64) -> Result<Ticket, Refusal> {
        self.check_running()?;
        let (ticket, deadline_ms) = self.ticket(timeout_ms);
        self.send(Event::Snapshot { ticket, deadline_ms })?;
        Ok(ticket)
    }

    pub(crate) fn send(&self, event: Event) -> Result<(), Refusal> {
        if self.shared.inbox.send(event) { Ok(()) } else { Err(stopping()) }
    }

    pub(crate) fn check_running(&self) -> Result<(), Refusal> {
        if self.shared.gauges.is_stopping.load(Relaxed) {
            return Err(stopping());
        }
        Ok(())
    }

    pub(crate) fn ticket(&self, timeout_ms: u64) -> (Ticket, u64) {
        let deadline_ms = self.shared.clock.now_ms().saturating_add(timeout_ms);
        (self.tickets.fetch_add(1, Relaxed), deadline_ms)
    }

    /// A read transaction on the applied state.
    ///
    /// # Errors
    /// `NO_LEADER` while a peer's snapshot goes into the tables, which hold a part of it until then.
    pub fn read(&self) -> Result<AnyReader<'_>, Refusal> {
        let loads = &self.shared.gauges.loads;
        let before = loads.load(SeqCst);
        let reader = self.store.read().map_err(|error| Refusal::new(code::INTERNAL, error.to_string()))?;
        // Opened before a load or after it, not in it: the count did not move over the opening.
        if before % 2 == 1 || loads.load(SeqCst) != before {
            return Err(Refusal::new(
                code::NO_LEADER,
                "this node is taking in its leader's snapshot; ask another",
            ));
        }
        Ok(reader)
    }

    /// The tables' schema, index, clock and counts, as of the newest applied batch.
    pub fn tables(&self) -> Arc<Tables> {
        self.shared.tables()
    }

    /// The schema that reads go by: the one in force, or this version's own while its leader is of an older
    /// one, whose rows it reads with its own defaults.
    ///
    /// # Errors
    /// `NO_LEADER` on a member that has not heard of one yet.
    pub fn schema(&self) -> Result<Arc<Schema>, Refusal> {
        let schema = self.shared.read_by();
        if schema.tables().is_empty() && self.network.is_some() {
            return Err(Refusal::new(
                code::NO_LEADER,
                "this node has no tables yet: its cluster has not reached it",
            ));
        }
        Ok(schema)
    }

    /// What of a query's filters the indexes in force can be asked; `None` if no row matches.
    ///
    /// # Errors
    /// A refusal for a table or column that is not known, or has no index; as [`Node::schema`].
    pub fn filters<'q>(&self, table: u16, given: &[(u8, &'q [u8])]) -> Result<Option<Filters<'q>>, Refusal> {
        let (ours, in_force) = (self.schema()?, self.shared.tables().schema());
        if Arc::ptr_eq(&ours, &in_force) {
            return Ok(Some(given.to_vec()));
        }
        ahead::filters(&in_force, &ours, table, given)
    }

    /// Milliseconds left of the row's lease.
    pub fn lease_ms(&self, table: u16, key: &[u8]) -> Option<u64> {
        self.shared.leases.lock().left_ms(table, key, self.shared.clock.now_ms())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop(0);
    }
}
