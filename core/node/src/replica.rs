//! The driver without its thread: for `core/sim`, and for tests that decide themselves what happens when.

use std::sync::Arc;

use bytes::Bytes;
use konsul_disk::wal::LogView;
use konsul_state::Refusal;
use konsul_state::apply::Tables;
use konsul_state::entry::{self, Kind, RequestId};
use konsul_state::store::Store as _;
use konsul_views::{Form, Spec};

use crate::backend::{AnyReader, AnyStore};
use crate::code;
use crate::completions::{Completion, Completions, Ticket};
use crate::driver::Driver;
use crate::inbox::{Consistency, Event, Proposal};
use crate::members::{MemberChange, Members};
use crate::options::Options;
use crate::post::Post;
use crate::run;
use crate::seams::Seams;
use crate::shared::{GroupState, PeerView, Role};
use crate::start;
use crate::waiting::{Waiter, Work};
use crate::watches::Seen;

/// A node whose turns somebody else takes. Dropping it is a crash of its process.
pub struct Replica {
    driver: Driver,
    post: Post,
    completions: Arc<Completions>,
    store: Arc<AnyStore>,
    next_ticket: Ticket,
    /// What the operator should know about how it was found.
    pub notes: Vec<String>,
}

/// What a replica looks like from outside.
#[derive(Clone, Debug)]
pub struct Peek {
    /// Its part in the group.
    pub role: Role,
    /// Its place in it.
    pub state: GroupState,
    /// Its id.
    pub raft_id: u64,
    /// Its group's id; 0 for none.
    pub cluster_id: u64,
    /// The term it is in.
    pub term: u64,
    /// Whom it gave its vote in that term; 0 for none.
    pub vote: u64,
    /// The leader it knows; 0 for none.
    pub leader: u64,
    /// The last log index that is known to be committed.
    pub commit: u64,
    /// The last log index that is in the tables.
    pub applied: u64,
    /// The term of that entry.
    pub applied_term: u64,
    /// The members as of that entry.
    pub members: Arc<Members>,
    /// True if a `default` read is served here without a question.
    pub has_lease: bool,
    /// What a leader knows of its peers.
    pub peers: Vec<PeerView>,
    /// A peer's snapshot is on its way into the tables.
    pub is_installing: bool,
}

impl Replica {
    /// Opens a node of a group on its seams.
    ///
    /// # Errors
    /// Why it cannot start, in words that say what to do.
    pub fn open(options: Options, seams: Seams, schema: &[u8]) -> Result<Self, String> {
        let completions = Arc::new(Completions::new().map_err(|error| error.to_string())?);
        let snapshots = seams.disk.snapshots.clone();
        let store = seams.disk.store.clone();
        let started = start::start(options, seams, completions.clone(), schema)?;
        let post = Post { shared: started.shared, snapshots };
        Ok(Self { driver: started.driver, post, completions, store, next_ticket: 1, notes: started.notes })
    }

    /// What comes from peers goes in here.
    pub fn post(&self) -> &Post {
        &self.post
    }

    /// A frame of the member `from` arrives.
    pub fn deliver(&mut self, from: u64, frame: Bytes) {
        self.post.frame(from, frame);
    }

    fn ticket(&mut self, timeout_ms: u64) -> (Ticket, u64) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        (ticket, self.driver.shared.clock.now_ms().saturating_add(timeout_ms))
    }

    /// Proposes an entry of `cases`; with a request id it is applied once however often it is sent.
    pub fn submit(&mut self, cases: &[u8], request_id: Option<RequestId>, timeout_ms: u64) -> Ticket {
        let (ticket, deadline_ms) = self.ticket(timeout_ms);
        let (kind, body) = match request_id {
            None => (Kind::Cases, cases.to_vec()),
            Some(id) => (Kind::Once, entry::once_body(&id, cases)),
        };
        let bytes = body.len() as u64;
        let shared = &self.driver.shared;
        if let Err(refusal) = entry::validate(&shared.tables().schema(), cases) {
            shared.completions.push_one(Completion::refused(ticket, refusal.code, refusal.message));
        } else if shared.reserve(bytes) {
            let waiter = Waiter { ticket, deadline_ms, bytes, work: Work::Client };
            shared.inbox.propose(Proposal { waiter, kind, body: Bytes::from(body) });
        } else {
            shared.completions.push_one(Completion::refused(ticket, code::BUSY, "too many writes wait"));
        }
        ticket
    }

    fn ask(&mut self, timeout_ms: u64, event: impl FnOnce(Ticket, u64) -> Event) -> Ticket {
        let (ticket, deadline_ms) = self.ticket(timeout_ms);
        let _ = self.driver.shared.inbox.send(event(ticket, deadline_ms));
        ticket
    }

    /// Answered when a read started now may be served.
    pub fn barrier(&mut self, consistency: Consistency, timeout_ms: u64) -> Ticket {
        self.ask(timeout_ms, |ticket, deadline_ms| Event::Barrier { ticket, consistency, deadline_ms })
    }

    /// Answered when the tables here are at `index` or later.
    pub fn wait_index(&mut self, index: u64, timeout_ms: u64) -> Ticket {
        self.ask(timeout_ms, |ticket, deadline_ms| Event::WaitIndex { ticket, index, deadline_ms })
    }

    /// Makes a group of this fresh node.
    pub fn bootstrap(&mut self, timeout_ms: u64) -> Ticket {
        self.ask(timeout_ms, |ticket, deadline_ms| Event::Bootstrap { ticket, deadline_ms })
    }

    /// Binds this fresh node to a group.
    pub fn adopt(&mut self, cluster_id: u64, timeout_ms: u64) -> Ticket {
        self.ask(timeout_ms, |ticket, deadline_ms| Event::Adopt { ticket, cluster_id, deadline_ms })
    }

    /// Changes the members; only a leader does it.
    pub fn change(&mut self, change: MemberChange, timeout_ms: u64) -> Ticket {
        self.ask(timeout_ms, |ticket, deadline_ms| Event::ChangeMembers { ticket, change, deadline_ms })
    }

    /// Hands leadership over; 0: to the voter that is furthest.
    pub fn transfer(&mut self, to: u64, timeout_ms: u64) -> Ticket {
        self.ask(timeout_ms, |ticket, deadline_ms| Event::Transfer { ticket, to, deadline_ms })
    }

    /// Takes a snapshot now.
    pub fn snapshot(&mut self, timeout_ms: u64) -> Ticket {
        self.ask(timeout_ms, |ticket, deadline_ms| Event::Snapshot { ticket, deadline_ms })
    }

    /// As [`crate::Node::watch`].
    ///
    /// # Errors
    /// As there.
    pub fn watch(&self, spec: Spec, form: Option<Arc<Form>>, since: Option<u64>) -> Result<u64, Refusal> {
        self.driver.shared.watches.watch(spec, form, since)
    }

    /// Stops handing out what a watch sees, or goes on.
    pub fn pause_watch(&self, watch: u64, is_paused: bool) {
        let watches = &self.driver.shared.watches;
        if is_paused { watches.pause(watch) } else { watches.resume(watch) }
    }

    /// As [`crate::Node::watch_position`].
    pub fn watch_position(&self, watch: u64) -> Option<u64> {
        self.driver.shared.watches.position(watch)
    }

    /// Everything that watches saw.
    pub fn watched(&self) -> Seen {
        self.driver.shared.watches.take_all()
    }

    /// Does what there is to do.
    ///
    /// # Errors
    /// What breaks the node: its process would end with these words.
    pub fn turn(&mut self) -> Result<(), String> {
        let shared = self.driver.shared.clone();
        shared.inbox.take(&mut self.driver.proposals, &mut self.driver.events);
        self.driver.turn_without_waiting().map_err(|broken| broken.to_string())
    }

    /// True if something waits for a turn.
    pub fn has_work(&self) -> bool {
        self.driver.shared.inbox.has_work()
    }

    /// When the next turn is due without anything happening, on the node's clock; `None` for never.
    pub fn wake_ms(&mut self) -> Option<u64> {
        let now_ms = self.driver.shared.clock.now_ms();
        self.driver.wake_ms(now_ms)
    }

    /// The answers since the last call.
    pub fn completions(&mut self) -> Vec<Completion> {
        self.completions.take(usize::MAX)
    }

    /// What it looks like now.
    pub fn peek(&self) -> Peek {
        let raft = &self.driver.raft.raft;
        let shared = &self.driver.shared;
        let applied = self.driver.machine.tables().applied();
        Peek {
            role: shared.role(),
            state: self.driver.group.state,
            raft_id: raft.id,
            cluster_id: shared.cluster_id(),
            term: raft.term,
            vote: raft.vote,
            leader: raft.leader_id,
            commit: raft.raft_log.committed,
            applied: applied.index,
            applied_term: applied.term,
            members: shared.members(),
            has_lease: self.driver.has_lease(shared.clock.now_ms()),
            peers: shared.peers.lock().clone(),
            is_installing: self.driver.group.installing.is_some(),
        }
    }

    /// The log's reading side.
    pub fn log(&self) -> LogView {
        self.driver.log.clone()
    }

    /// The tables' schema, index, clock and counts, as of the newest applied batch.
    pub fn tables(&self) -> Arc<Tables> {
        self.driver.shared.tables()
    }

    /// A read transaction on the applied state.
    ///
    /// # Errors
    /// What the store says.
    pub fn read(&self) -> Result<AnyReader<'_>, String> {
        self.store.read().map_err(|error| error.to_string())
    }

    /// Ends it in an orderly way, without waiting for what is in flight.
    pub fn close(self) {
        self.driver.close(code::STOPPING, run::TOO_LATE);
    }
}
