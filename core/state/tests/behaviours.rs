//! What features build on the vocabulary, on the tables they would declare: locks, session cascades,
//! lock-delay, quotas, unique names, rings; and that replicas agree.

mod sketch;

use konsul_state::apply::{ChangeKind, Outcome};
use konsul_state::code;
use sketch::*;

const NODES: u16 = 1;
const CHECKS: u16 = 3;
const SERVICES: u16 = 2;
const SESSIONS: u16 = 4;
const KV: u16 = 5;
const DELAYS: u16 = 6;
const NAMES: u16 = 7;
const QUOTAS: u16 = 8;
const EVENTS: u16 = 9;

/// Sessions' columns.
const NODE: usize = 0;
const BEHAVIOUR: i64 = 2;
const DELAY_MS: u8 = 3;
/// Keys' columns.
const SESSION: u64 = 1;
const LOCKS: u64 = 2;

fn die(table: u16) -> Vec<Vec<u8>> {
    vec![delete(table, V::Myself)]
}

fn catalog() -> Vec<Tab> {
    let delay = put(DELAYS, V::Myself, &[V::Parent(DELAY_MS, true)]);
    let release = vec![patch(KV, V::Myself, &[(SESSION, V::Nil)]), delay.clone()];
    let critical = Some((2, V::from("critical")));
    vec![
        Tab::new(NODES, "nodes"),
        Tab::new(SERVICES, "services").column("node", "text").points_at(0, 1, &die(SERVICES)),
        Tab::new(CHECKS, "checks")
            .column("node", "text")
            .column("service", "text")
            .column("status", "text")
            .points_at(0, 1, &die(CHECKS))
            .points_at(1, 2, &die(CHECKS)),
        Tab::new(SESSIONS, "sessions")
            .column("node", "text")
            .column("checks", "list")
            .column("behaviour", "text")
            .column("lock_delay_ms", "u64")
            .column("deadline_ms", "u64")
            .expires(4)
            .points_at(NODE as i64, 1, &die(SESSIONS))
            .reference(1, 3, critical, None, &[(V::Nil, die(SESSIONS))]),
        Tab::new(KV, "kv")
            .column("value", "bytes")
            .column("session", "text")
            .column("locks", "u64")
            .reference(
                1,
                4,
                None,
                Some(BEHAVIOUR),
                &[("release".into(), release), ("delete".into(), vec![delete(KV, V::Myself), delay])],
            ),
        Tab::new(DELAYS, "lock_delays").column("until_ms", "u64").expires(0),
        Tab::new(NAMES, "queries").indexed("name", "text", "unique").column("session", "text").points_at(
            1,
            4,
            &die(NAMES),
        ),
        Tab::new(QUOTAS, "quotas").column("keys", "u64"),
        Tab::new(EVENTS, "events").column("n", "u64").keep(3),
    ]
}

fn session(node: &str, checks: &[&str], behaviour: &str, delay_ms: i64, deadline_ms: V) -> Vec<V> {
    vec![node.into(), checks.into(), behaviour.into(), delay_ms.into(), deadline_ms]
}

/// What a lock command proposes: renew if it is mine, else take it if it is free and no delay holds.
fn acquire(key: &str, session: &str, value: &str) -> Vec<u8> {
    let value = V::Bytes(value.into());
    let free = |last: Vec<u8>| {
        let due = le(DELAYS, key, 0, V::Now(0));
        vec![is(KV, key, SESSION, V::Nil), due, exists(SESSIONS, session), last]
    };
    let taken = patch(KV, key, &[(0, value.clone()), (SESSION, session.into())]);
    cases(&[
        (vec![is(KV, key, SESSION, session)], vec![patch(KV, key, &[(0, value.clone())])]),
        (free(exists(KV, key)), vec![taken, add(KV, key, LOCKS, 1, None)]),
        (free(absent(KV, key)), vec![put(KV, key, &[value, session.into(), V::Int(1)])]),
    ])
}

fn world(behaviour: &str, delay_ms: i64) -> Replica {
    let mut replica = Replica::new(&catalog());
    replica.must(
        0,
        &[
            put(NODES, "n1", &[]),
            put(SERVICES, "web", &["n1".into()]),
            put(CHECKS, "c1", &["n1".into(), "web".into(), "passing".into()]),
        ],
    );
    replica.must(0, &[put(SESSIONS, "s1", &session("n1", &["c1"], behaviour, delay_ms, V::Nil))]);
    replica.must(0, &[put(SESSIONS, "s2", &session("n1", &[], behaviour, delay_ms, V::Nil))]);
    replica
}

#[test]
fn compare_and_set() {
    let mut replica = Replica::new(&catalog());
    let set = |n, at| cases(&[(vec![at], vec![put(QUOTAS, "a", &[V::Int(n)])])]);
    assert_eq!(replica.case(0, &set(1, at(QUOTAS, "a", 0))), Some(0));
    let conflict = replica.apply(0, &set(2, at(QUOTAS, "a", 0)));
    assert_eq!(conflict, Outcome::Conflict { current: 1, key: b"a".to_vec() });
    assert_eq!(replica.tables.index(), 1, "a conflict takes no index");
    assert_eq!(replica.case(0, &set(2, at(QUOTAS, "a", 1))), Some(0));
    assert_eq!(replica.indices(QUOTAS, "a"), (1, 2));
}

#[test]
fn a_lock_is_exclusive_and_counts() {
    let mut replica = world("release", 15);
    assert_eq!(replica.case(1, &acquire("leader", "s1", "x")), Some(2));
    assert_eq!(replica.case(1, &acquire("leader", "s2", "y")), None);
    assert_eq!(replica.case(1, &acquire("leader", "s1", "z")), Some(0), "it is mine already");
    assert_eq!(replica.cell(KV, "leader", LOCKS as u8), one(1));
    assert_eq!(replica.case(1, &acquire("leader", "ghost", "q")), None, "there is no such session");
}

#[test]
fn destroying_a_session_frees_its_keys_after_the_delay() {
    for behaviour in ["release", "delete"] {
        let mut replica = world(behaviour, 15);
        replica.case(1, &acquire("leader", "s1", "x"));
        replica.must(10, &[delete(SESSIONS, "s1")]);
        assert_eq!(replica.has(KV, "leader"), behaviour == "release");
        assert_eq!(replica.cell(KV, "leader", SESSION as u8), one(V::Nil));
        assert_eq!(replica.cell(DELAYS, "leader", 0), one(25));
        assert_eq!(replica.case(11, &acquire("leader", "s2", "y")), None, "the delay holds");
        assert_eq!(replica.pulse(24, 100), 0);
        assert_eq!(replica.pulse(25, 100), 1);
        assert!(replica.case(25, &acquire("leader", "s2", "y")).is_some());
    }
}

#[test]
fn a_critical_check_breaks_the_session() {
    let mut replica = world("release", 0);
    replica.case(1, &acquire("leader", "s1", "x"));
    let index = replica.must(2, &[patch(CHECKS, "c1", &[(2, "critical".into())])]);
    assert!(!replica.has(SESSIONS, "s1") && replica.has(SESSIONS, "s2"));
    assert_eq!(replica.cell(KV, "leader", SESSION as u8), one(V::Nil));
    assert_eq!(replica.indices(KV, "leader").1, index, "all rows of one entry share its index");
}

#[test]
fn deregistering_a_node_takes_everything_with_it() {
    let mut replica = world("release", 15);
    replica.case(1, &acquire("leader", "s1", "x"));
    replica.must(1, &[put(NAMES, "q", &["near".into(), "s2".into()])]);
    replica.changes.clear();
    replica.must(2, &[delete(NODES, "n1")]);
    for table in [NODES, SERVICES, CHECKS, SESSIONS, NAMES] {
        assert!(replica.keys(table).is_empty());
        assert_eq!(replica.tables.count(table), 0);
    }
    assert_eq!(replica.cell(KV, "leader", SESSION as u8), one(V::Nil));
    let deleted = replica.changes.iter().filter(|change| change.kind == ChangeKind::Delete).count();
    assert_eq!(deleted, 6, "{:?}", replica.changes);
}

#[test]
fn a_session_ends_at_its_deadline() {
    let mut replica = world("release", 0);
    replica.must(0, &[patch(SESSIONS, "s1", &[(4, V::Int(30))])]);
    replica.case(1, &acquire("leader", "s1", "x"));
    let before = replica.tables.index();
    assert_eq!(replica.pulse(29, 100), 0);
    assert_eq!(replica.tables.index(), before, "a pulse that finds nothing takes no index");
    assert!(replica.has(SESSIONS, "s1"));
    assert_eq!(replica.pulse(30, 100), 2, "the session, and the delay of 0 ms that its end began");
    assert_eq!(replica.tables.index(), before + 1);
    assert!(!replica.has(SESSIONS, "s1"));
    assert_eq!(replica.cell(KV, "leader", SESSION as u8), one(V::Nil));
}

#[test]
fn a_quota_never_oversells() {
    let mut replica = Replica::new(&catalog());
    for _ in 0..3 {
        replica.must(0, &[add(QUOTAS, "team-a", 0, 1, Some(3))]);
    }
    let before = replica.dump();
    let ops = [put(KV, "k", &[V::Bytes(vec![1])]), add(QUOTAS, "team-a", 0, 1, Some(3))];
    assert_eq!(replica.refusal(0, &ops).code, code::LIMIT_REACHED);
    assert!(!replica.has(KV, "k"), "the whole entry was refused");
    assert_eq!(replica.tables.count(KV), 0);
    assert_eq!(replica.tables.index(), 3);
    assert_eq!(replica.refusal(0, &[add(QUOTAS, "team-a", 0, -4, None)]).code, code::LIMIT_REACHED);
    assert_eq!(replica.dump()[1..], before[1..], "only the applied position moved");
}

#[test]
fn unique_names_and_rings() {
    let mut replica = Replica::new(&catalog());
    replica.must(0, &[put(NAMES, "q1", &["near".into()])]);
    assert_eq!(replica.refusal(0, &[put(NAMES, "q2", &["near".into()])]).code, code::DUPLICATE);
    replica.must(0, &[put(NAMES, "q1", &["near".into()]), put(NAMES, "q3", &["".into()])]);
    replica.must(0, &[put(NAMES, "q4", &["".into()]), put(NAMES, "q5", &[])]);
    for n in 0..5 {
        replica.must(0, &[put(EVENTS, V::Index, &[n.into()])]);
    }
    let events: Vec<_> = replica.keys(EVENTS).iter().map(|key| replica.cell(EVENTS, key, 0)).collect();
    assert_eq!(events, [one(2), one(3), one(4)]);
    assert_eq!(replica.keys(EVENTS)[0].len(), 20);
}

/// Small and seeded: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn history(length: u64) -> Vec<(u64, Vec<u8>)> {
    let mut dice = Dice(7);
    let mut history = Vec::new();
    for n in 0..length {
        let key = format!("k{}", dice.roll(8));
        let id = format!("s{}", dice.roll(6));
        let now_ms = dice.roll(n + 1);
        let behaviour = if dice.roll(2) == 0 { "release" } else { "delete" };
        let body = match dice.roll(8) {
            0..3 => acquire(&key, &id, "v"),
            3 => {
                let deadline_ms = V::Int((n + dice.roll(50)) as i64);
                let cells = session("n1", &["c1"], behaviour, dice.roll(20) as i64, deadline_ms);
                let alive = vec![exists(NODES, "n1"), is_not(CHECKS, "c1", 2, "critical")];
                cases(&[(alive, vec![put(SESSIONS, id.as_str(), &cells)])])
            }
            4 => always(&[delete(SESSIONS, id.as_str())]),
            5 => {
                let status = if dice.roll(3) == 0 { "critical" } else { "passing" };
                always(&[put(CHECKS, "c1", &["n1".into(), "web".into(), status.into()])])
            }
            6 => always(&[put(NODES, "n1", &[]), delete(KV, key.as_str())]),
            _ => always(&[if dice.roll(5) == 0 { delete(NODES, "n1") } else { delete_prefix(KV, "k") }]),
        };
        history.push((now_ms, body));
    }
    history
}

fn replay(replica: &mut Replica, history: &[(u64, Vec<u8>)]) {
    for (now_ms, body) in history {
        replica.apply(*now_ms, body);
        replica.pulse(*now_ms, 5);
        for key in replica.keys(KV) {
            let holder = replica.cell(KV, &key, SESSION as u8);
            let living = replica.keys(SESSIONS).iter().any(|id| one(id.as_str()) == holder);
            assert!(living || holder == one(V::Nil), "{key} is held by a session that is gone");
        }
    }
}

#[test]
fn replicas_agree_and_snapshots_resume() {
    let history = history(3000);
    let (mut whole, mut half) = (Replica::new(&catalog()), Replica::new(&catalog()));
    replay(&mut whole, &history);
    replay(&mut half, &history[..1500]);
    let mut resumed = Replica::restore(&half.snapshot()).unwrap();
    assert_eq!(resumed.dump(), half.dump());
    replay(&mut resumed, &history[1500..]);
    assert!(whole.tables.index() > 1000, "the history does something");
    assert_eq!(whole.dump(), resumed.dump());
    assert_eq!(whole.digest(), resumed.digest());
}
