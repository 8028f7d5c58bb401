//! Real nodes on real sockets: what the simulation replaces is in here.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use konsul_state::msgpack::{write_array, write_map, write_text, write_unsigned};

use crate::cluster_options::tests::named;
use crate::code;
use crate::completions::{Completion, Completions, Ticket};
use crate::inbox::Event;
use crate::members::MemberChange;
use crate::node::Node;
use crate::options::{Options, tests::memory};
use crate::recovery::founder;
use crate::shared::Role;

const LONG: Duration = Duration::from_secs(30);
const LONG_MS: u64 = 20_000;
const TABLE: u16 = 1;

/// One table with one text column.
fn schema() -> Vec<u8> {
    let mut out = Vec::new();
    write_array(&mut out, 1);
    write_map(&mut out, 3);
    write_text(&mut out, b"id");
    write_unsigned(&mut out, u64::from(TABLE));
    write_text(&mut out, b"name");
    write_text(&mut out, b"kv");
    write_text(&mut out, b"columns");
    write_array(&mut out, 1);
    write_map(&mut out, 2);
    for (name, value) in [("name", "value"), ("kind", "text")] {
        write_text(&mut out, name.as_bytes());
        write_text(&mut out, value.as_bytes());
    }
    out
}

fn options(name: &str) -> Options {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut cluster = named(name);
    cluster.bind_addr = free.to_string();
    Options { node_id: 0, heartbeat_ms: 50, election_ms: 500, cluster: Some(cluster), ..memory() }
}

struct Running {
    node: Node,
    completions: Arc<Completions>,
    options: Options,
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

impl Running {
    fn start(options: Options) -> Self {
        let completions = Arc::new(Completions::new().unwrap());
        let node = Node::start(options.clone(), completions.clone(), &schema()).unwrap();
        Self { node, completions, options }
    }

    fn id(&self) -> u64 {
        self.node.shared.raft_id()
    }

    fn answer(&self, ticket: Ticket) -> Completion {
        let mut found = None;
        until("an answer", || {
            found = self.completions.take(usize::MAX).into_iter().find(|one| one.ticket == ticket);
            found.is_some()
        });
        found.unwrap()
    }

    fn ask(&self, event: impl FnOnce(Ticket, u64) -> Event) -> Completion {
        // Far above those that the node draws itself.
        let ticket = 1 << 40;
        let deadline_ms = self.node.shared.clock.now_ms() + LONG_MS;
        assert!(self.node.shared.inbox.send(event(ticket, deadline_ms)));
        self.answer(ticket)
    }

    fn change(&self, change: MemberChange) {
        until("a change of members", || {
            let change = change.clone();
            let answer = self.ask(|ticket, deadline_ms| Event::ChangeMembers { ticket, change, deadline_ms });
            // Another one is under way, or it has not caught up yet.
            assert!(matches!(answer.status, 0 | code::BUSY | code::CONFLICT), "{answer:?}");
            answer.status == 0
        });
    }

    fn put(&self, key: &str) -> Completion {
        let ticket = self.node.put(TABLE, key.as_bytes(), b"\x91\xa1v", None, LONG_MS, None).unwrap();
        self.answer(ticket)
    }

    fn leads(&self) -> bool {
        self.node.shared.role() == Role::Leader
    }

    fn rows(&self) -> u64 {
        self.node.tables().count(TABLE)
    }

    fn take_in(&self, other: &Running) {
        let cluster_id = self.node.shared.cluster_id();
        let adopted = other.ask(|ticket, deadline_ms| Event::Adopt { ticket, cluster_id, deadline_ms });
        assert_eq!(adopted.status, 0, "{adopted:?}");
        self.change(MemberChange::Add(founder(&other.options, other.id()).unwrap()));
        self.change(MemberChange::Promote(other.id()));
    }
}

fn found(options: Options) -> Running {
    let one = Running::start(options);
    assert_eq!(one.ask(|ticket, deadline_ms| Event::Bootstrap { ticket, deadline_ms }).status, 0);
    until("the founder to lead and to have its tables", || {
        one.leads() && !one.node.tables().schema().tables().is_empty()
    });
    one
}

fn trio() -> [Running; 3] {
    let one = found(options("n1"));
    let (two, three) = (Running::start(options("n2")), Running::start(options("n3")));
    one.take_in(&two);
    one.take_in(&three);
    [one, two, three]
}

#[test]
fn three_nodes_agree_and_go_on_without_their_leader() {
    let [one, two, three] = trio();
    for number in 0..100 {
        assert_eq!(one.put(&format!("a{number}")).status, 0);
    }
    until("all rows everywhere", || [&two, &three].iter().all(|node| node.rows() == 100));
    drop(one);
    until("another leader", || two.leads() || three.leads());
    let (leader, other) = if two.leads() { (&two, &three) } else { (&three, &two) };
    until("a write", || leader.put("b").status == 0);
    until("it to be everywhere", || other.rows() == 101);
    let events = leader.node.network.as_ref().unwrap().events_json();
    assert!(events.contains("\"reason\":\"lost\"") && events.contains("n1"), "{events}");
}

#[test]
fn a_node_far_behind_gets_a_snapshot_over_the_network() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let durable = |name, dir: &tempfile::TempDir| Options {
        backend: crate::options::Backend::Durable,
        data_dir: dir.path().into(),
        map_max_bytes: 1 << 26,
        ..options(name)
    };
    let mut few = durable("n1", &dir);
    few.snapshot_interval_ms = 50;
    (few.snapshot_threshold_entries, few.trailing_entries) = (50, 10);
    let one = found(few);
    for number in 0..300 {
        assert_eq!(one.put(&format!("a{number}")).status, 0);
    }
    until("a snapshot that the log begins with", || one.node.log.first_index() > 100);
    let two = Running::start(durable("n2", &other));
    one.take_in(&two);
    until("the rows", || two.rows() == 300);
    assert_eq!(two.node.network.as_ref().unwrap().net.counted().snapshots_received, 1);
    drop(two);
    let two = Running::start(durable("n2", &other));
    until("the rows again", || two.rows() == 300);
    let put = one.put("late");
    assert_eq!(put.status, 0);
    until("the newest row", || two.rows() == 301);
    assert_eq!(one.node.network.as_ref().unwrap().net.counted().snapshots_sent, 1);
}

#[test]
fn long_entries_travel_while_heartbeats_do() {
    let [one, two, three] = trio();
    let mut cells = vec![0x91, 0xdb];
    cells.extend_from_slice(&(12u32 << 20).to_be_bytes());
    cells.resize(cells.len() + (12 << 20), b'x');
    let term = one.ask(|ticket, deadline_ms| Event::WaitIndex { ticket, index: 0, deadline_ms });
    assert_eq!(term.status, 0);
    for number in 0..4u8 {
        let ticket = one.node.put(TABLE, &[number], &cells, None, LONG_MS, None).unwrap();
        assert_eq!(one.answer(ticket).status, 0);
    }
    until("all rows everywhere", || [&two, &three].iter().all(|node| node.rows() == 4));
    assert!(one.leads(), "nobody stood for election meanwhile");
}

#[test]
fn a_port_that_is_taken_or_an_address_that_is_none_stops_the_start_in_words() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut wrong = options("n1");
    let mut starts = |bind: &str| {
        wrong.cluster.as_mut().unwrap().bind_addr = bind.to_owned();
        let completions = Arc::new(Completions::new().unwrap());
        Node::start(wrong.clone(), completions, &schema()).err().unwrap()
    };
    let said = starts(&taken.local_addr().unwrap().to_string());
    assert!(said.contains("another program listens there already"), "{said}");
    let said = starts("nowhere");
    assert!(said.contains("\"nowhere\" is not a host:port"), "{said}");
}

#[test]
fn questions_reach_their_handler_and_certificates_need_a_cluster_with_them() {
    let (one, two) = (Running::start(options("n1")), Running::start(options("n2")));
    let (told, answer) = std::sync::mpsc::channel();
    let target =
        konsul_net::Target { raft_id: 0, address: two.options.cluster.as_ref().unwrap().bind_addr.clone() };
    let network = one.node.network.as_ref().unwrap();
    network.net.call(target, Bytes::from_static(b"?"), LONG, move |result| told.send(result).unwrap());
    // What becomes of it is the business of those who take questions; it got there.
    until("the question", || two.node.network.as_ref().unwrap().net.counted().calls_taken == 1);
    drop(two);
    assert!(answer.recv_timeout(LONG).is_ok());
    assert!(network.net.reload_tls().unwrap_err().contains("without TLS"));
    assert!(!network.was_told_removed());
}
