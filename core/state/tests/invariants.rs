//! Random histories on a schema that uses everything: what must hold after every entry, whatever the entries
//! were.

mod sketch;

use std::collections::BTreeMap;

use konsul_state::apply::Outcome;
use konsul_state::keys;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sketch::*;

const OWNERS: u16 = 1;
const THINGS: u16 = 2;
const RING: u16 = 3;
const NOTES: u16 = 4;
const PLAIN: u16 = 5;

fn tables() -> Vec<Tab> {
    let freed = vec![patch(THINGS, V::Myself, &[(0, V::Nil)]), put(PLAIN, V::Myself, &[])];
    let gone = vec![delete(THINGS, V::Myself), add(PLAIN, V::Parent(0, false), 1, 1, Some(3))];
    vec![
        Tab::new(OWNERS, "owners")
            .indexed("name", "text", "unique")
            .indexed("state", "text", "single")
            .column("ttl_ms", "u64")
            .expires(2),
        Tab::new(THINGS, "things")
            .column("owner", "text")
            .indexed("tags", "list", "each")
            .indexed("meta", "map", "each")
            .reference(0, 1, None, Some(1), &[("free".into(), freed), ("kill".into(), gone)]),
        Tab::new(RING, "ring").indexed("n", "i64", "single").keep(3),
        Tab::new(NOTES, "notes")
            .column("owners", "list")
            .column("ring", "bytes")
            .column("until_ms", "u64")
            .expires(2)
            .reference(0, 1, Some((1, "bad".into())), None, &[(V::Nil, vec![delete(NOTES, V::Myself)])])
            .points_at(1, 3, &[add(RING, V::Myself, 0, 1, None), delete(NOTES, V::Myself)]),
        Tab::new(PLAIN, "plain")
            .column("value", "bytes")
            .with("count", "u64", "none", V::Int(0))
            .column("expires_at_ms", "u64")
            .expires(2),
    ]
}

fn key() -> impl Strategy<Value = V> {
    prop_oneof![
        8 => "[a-d]{1,2}".prop_map(V::Text),
        1 => Just(V::Index),
        1 => vec(prop_oneof![Just(0_u8), Just(127), Just(97)], 1..3).prop_map(V::Bytes),
    ]
}

fn moment() -> impl Strategy<Value = V> {
    prop_oneof![Just(V::Nil), (0..60_i64).prop_map(V::Now), (0..200_i64).prop_map(V::Int), Just(V::Keep)]
}

fn word() -> impl Strategy<Value = V> {
    prop_oneof![
        Just(V::Nil),
        Just(V::Keep),
        prop_oneof!["free", "kill", "bad", "", "[a-d]{1,2}"].prop_map(V::Text)
    ]
}

fn words() -> impl Strategy<Value = V> {
    vec("[a-d]{0,2}", 0..4).prop_map(V::List)
}

fn cells(table: u16) -> BoxedStrategy<Vec<V>> {
    let pairs = btree_map("[a-b]", "[a-c]?", 0..3).prop_map(|pairs| V::Map(pairs.into_iter().collect()));
    match table {
        OWNERS => (prop_oneof![Just(V::Nil), "[a-b]?".prop_map(V::Text)], word(), moment())
            .prop_map(|(a, b, c)| vec![a, b, c])
            .boxed(),
        THINGS => (word(), words(), pairs).prop_map(|(a, b, c)| vec![a, b, c]).boxed(),
        RING => (-3..3_i64).prop_map(|n| vec![V::Int(n)]).boxed(),
        NOTES => {
            (words(), "[a-d]{1,2}", moment()).prop_map(|(a, b, c)| vec![a, V::Bytes(b.into()), c]).boxed()
        }
        _ => (vec(any::<u8>(), 0..9), 0..5_i64, moment())
            .prop_map(|(a, b, c)| vec![V::Bytes(a), V::Int(b), c])
            .boxed(),
    }
}

fn op() -> impl Strategy<Value = Vec<u8>> {
    let table = 1..=5_u16;
    prop_oneof![
        8 => table.clone().prop_flat_map(|table| {
            (key(), cells(table), 0..4_usize).prop_map(move |(key, cells, cut)| {
                let kept = cells.len().saturating_sub(cut / 3);
                put(table, key, &cells[..kept])
            })
        }),
        3 => table.clone().prop_flat_map(|table| {
            (key(), cells(table)).prop_map(move |(key, cells)| {
                let pairs: Vec<_> = (0..).zip(cells).filter(|(_, cell)| *cell != V::Keep).collect();
                patch(table, key, &pairs)
            })
        }),
        2 => (key(), -2..3_i64, proptest::option::of(0..4_i64))
            .prop_map(|(key, n, most)| add(PLAIN, key, 1, n, most)),
        1 => (key(), -2..3_i64).prop_map(|(key, n)| add(RING, key, 0, n, None)),
        4 => (table.clone(), key()).prop_map(|(table, key)| delete(table, key)),
        1 => (table, prop_oneof!["", "[a-d]"]).prop_map(|(table, key)| delete_prefix(table, key.as_str())),
    ]
}

fn guard() -> impl Strategy<Value = Vec<u8>> {
    (1..=5_u16, key(), 0..6_u8, 0..30_u64).prop_map(|(table, key, kind, n)| match kind {
        0 => exists(table, key),
        1 => absent(table, key),
        2 => at(table, key, n),
        3 => is(OWNERS, key, 1, "free"),
        4 => is_not(OWNERS, key, 1, "free"),
        _ => le(PLAIN, key, 2, V::Now(0)),
    })
}

#[derive(Debug, Clone)]
enum Step {
    Entry(u64, Vec<u8>),
    Once(u64, u8, Vec<u8>),
    Pulse(u64, u64),
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let case = || (vec(guard(), 0..3), vec(op(), 1..6));
    let entry = (0..200_u64, vec(case(), 1..3)).prop_map(|(now_ms, list)| Step::Entry(now_ms, cases(&list)));
    let once = (0..200_u64, 0..6_u8, vec(case(), 1..3))
        .prop_map(|(now_ms, id, list)| Step::Once(now_ms, id, cases(&list)));
    let pulse = (0..200_u64, 0..4_u64).prop_map(|(now_ms, limit)| Step::Pulse(now_ms, limit));
    vec(prop_oneof![6 => entry, 3 => once, 1 => pulse], 1..40)
}

/// Everything stored but the header, whose clock and position move with every entry.
fn stored(replica: &Replica) -> Vec<(Vec<u8>, Vec<u8>)> {
    replica.dump().into_iter().filter(|(key, _)| key != keys::HEADER).collect()
}

fn take(replica: &mut Replica, step: &Step) -> Option<Outcome> {
    match step {
        Step::Entry(now_ms, body) => Some(replica.apply(*now_ms, body)),
        Step::Once(now_ms, id, body) => Some(replica.once(*now_ms, &[*id; 16], body)),
        Step::Pulse(now_ms, limit) => {
            replica.pulse(*now_ms, *limit);
            None
        }
    }
}

fn check_counts(replica: &Replica) {
    for table in 1..=5 {
        assert_eq!(replica.tables.count(table), replica.keys(table).len() as u64);
    }
    assert!(replica.tables.count(RING) <= 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// A snapshot holds only rows and requests, so what it restores is every index, expiry and order entry
    /// built from scratch.
    #[test]
    fn entries_always_match_the_rows(history in history()) {
        let mut replica = Replica::new(&tables());
        for step in &history {
            take(&mut replica, step);
            check_counts(&replica);
            let rebuilt = Replica::restore(&replica.snapshot()).unwrap();
            prop_assert_eq!(rebuilt.dump(), replica.dump());
            prop_assert_eq!(rebuilt.digest(), replica.digest());
        }
    }

    #[test]
    fn an_entry_that_is_not_applied_leaves_no_trace(history in history()) {
        let mut replica = Replica::new(&tables());
        let mut answered: BTreeMap<u8, Outcome> = BTreeMap::new();
        for step in &history {
            let (before, index, changes) = (stored(&replica), replica.tables.index(), replica.changes.len());
            let outcome = take(&mut replica, step);
            let known = if let Step::Once(_, id, _) = step { answered.get(id).cloned() } else { None };
            let is_repeat = known.is_some();
            if let Some(known) = known {
                prop_assert_eq!(outcome.as_ref(), Some(&known));
            }
            match outcome {
                Some(Outcome::Applied { .. }) if !is_repeat => {
                    if let Step::Once(_, id, _) = step {
                        answered.insert(*id, outcome.clone().unwrap());
                    }
                    prop_assert_eq!(replica.tables.index(), index + 1);
                }
                None => prop_assert!(replica.tables.index() <= index + 1),
                _ => {
                    prop_assert_eq!(stored(&replica), before);
                    prop_assert_eq!(replica.tables.index(), index);
                    prop_assert_eq!(replica.changes.len(), changes);
                    check_counts(&replica);
                }
            }
        }
    }

    #[test]
    fn a_restored_snapshot_behaves_the_same_from_then_on(history in history(), cut in 0..40_usize) {
        let cut = cut.min(history.len());
        let mut replica = Replica::new(&tables());
        history[..cut].iter().for_each(|step| drop(take(&mut replica, step)));
        let mut restored = Replica::restore(&replica.snapshot()).unwrap();
        for step in &history[cut..] {
            prop_assert_eq!(take(&mut replica, step), take(&mut restored, step));
        }
        prop_assert_eq!(replica.dump(), restored.dump());
    }

    #[test]
    fn every_index_finds_exactly_its_rows(
        history in history(), tag in "[a-d]{0,2}", name in "[a-b]", value in "[a-c]?"
    ) {
        let mut replica = Replica::new(&tables());
        history.iter().for_each(|step| drop(take(&mut replica, step)));
        let pair = format!("{name}={value}");
        let holds = |key: &String| {
            let tags = replica.cell(THINGS, key, 1);
            let meta = replica.cell(THINGS, key, 2);
            let mut tagged = Vec::new();
            value_of_text(&mut tagged, &tag);
            let mut paired = Vec::new();
            value_of_text(&mut paired, &name);
            value_of_text(&mut paired, &value);
            (contains(&tags, &tagged), contains(&meta, &paired))
        };
        let all = replica.keys(THINGS);
        let tagged: Vec<_> = all.iter().filter(|key| holds(key).0).cloned().collect();
        prop_assert_eq!(replica.find(THINGS, &[(1, tag.as_bytes())]), tagged);
        let both: Vec<_> = all.iter().filter(|key| holds(key) == (true, true)).cloned().collect();
        prop_assert_eq!(replica.find(THINGS, &[(1, tag.as_bytes()), (2, pair.as_bytes())]), both);
    }
}

fn value_of_text(out: &mut Vec<u8>, text: &str) {
    value(out, &V::from(text));
}

/// True if a list or map cell holds the item at an item boundary; items are under 32 bytes, so heads are one
/// byte.
fn contains(cell: &[u8], item: &[u8]) -> bool {
    let is_map = cell.first().is_some_and(|head| head & 0xf0 == 0x80);
    let mut rest = cell.get(1..).unwrap_or_default();
    while !rest.is_empty() {
        if rest.starts_with(item) {
            return true;
        }
        for _ in 0..if is_map { 2 } else { 1 } {
            rest = &rest[1 + usize::from(rest[0] & 0x1f)..];
        }
    }
    false
}
