//! The table engine's own rules, one by one.

mod sketch;

use konsul_state::apply::{ApplyError, Cause, ChangeKind, Outcome};
use konsul_state::code;
use konsul_state::entry::Kind;
use konsul_state::store::Store;
use sketch::*;

const KV: u16 = 1;

fn kv() -> Tab {
    Tab::new(KV, "kv")
        .column("value", "text")
        .with("flags", "u64", "none", V::Int(0))
        .column("until", "u64")
        .expires(2)
}

#[test]
fn put_keeps_the_create_index_and_keep_keeps_the_cell() {
    let mut replica = Replica::new(&[kv()]);
    assert_eq!(replica.must(0, &[put(KV, "a", &["x".into(), V::Int(7), V::Int(9)])]), 1);
    assert_eq!(replica.must(0, &[put(KV, "a", &["y".into(), V::Keep])]), 2);
    assert_eq!(replica.indices(KV, "a"), (1, 2));
    assert_eq!(replica.cell(KV, "a", 1), one(7));
    assert_eq!(replica.cell(KV, "a", 2), one(V::Nil), "a missing cell takes the default");
    replica.must(0, &[put(KV, "b", &[V::Keep, V::Keep])]);
    assert_eq!(replica.cell(KV, "b", 1), one(0), "there is nothing to keep: the default");
    assert_eq!(replica.tables.count(KV), 2);
}

#[test]
fn placeholders_take_the_entrys_index_and_clock() {
    let mut replica = Replica::new(&[kv()]);
    replica.must(100, &[put(KV, V::Index, &["x".into(), V::Index, V::Now(-30)])]);
    let key = "00000000000000000001";
    assert_eq!(replica.cell(KV, key, 1), one(1));
    assert_eq!(replica.cell(KV, key, 2), one(70));
    replica.must(50, &[put(KV, "b", &[V::Nil, V::Nil, V::Now(0)])]);
    assert_eq!(replica.cell(KV, "b", 2), one(100), "the clock never runs backwards");
    replica.must(50, &[put(KV, "c", &[V::Nil, V::Nil, V::Now(i64::MIN)])]);
    assert_eq!(replica.cell(KV, "c", 2), one(0));
    assert_eq!(replica.tables.clock_ms(), 100);
}

#[test]
fn a_conflict_names_the_guard_that_failed() {
    let mut replica = Replica::new(&[kv()]);
    replica.must(0, &[put(KV, "a", &["x".into()])]);
    let body = cases(&[
        (vec![absent(KV, "a")], vec![]),
        (vec![exists(KV, "a"), is(KV, "a", 0, "y"), absent(KV, "a")], vec![]),
    ]);
    assert_eq!(replica.apply(9, &body), Outcome::Conflict { current: 1, key: b"a".to_vec() });
    assert_eq!((replica.tables.index(), replica.tables.clock_ms()), (1, 9));
    let holds = [at(KV, "z", 0), is(KV, "z", 0, V::Nil), is_not(KV, "a", 0, V::Nil), le(KV, "z", 1, 5)];
    assert_eq!(replica.case(9, &cases(&[(holds.to_vec(), vec![])])), Some(0));
    assert_eq!(replica.tables.index(), 2, "an applied case takes an index even without ops");
}

#[test]
fn add_stays_within_its_bounds() {
    let numbers = Tab::new(1, "n").column("u", "u64").column("i", "i64");
    let mut replica = Replica::new(&[numbers]);
    replica.must(0, &[add(1, "a", 0, 5, Some(5)), add(1, "a", 0, -5, None), add(1, "a", 1, i64::MIN, None)]);
    assert_eq!(replica.cell(1, "a", 0), one(0));
    assert_eq!(replica.cell(1, "a", 1), one(i64::MIN));
    for op in [add(1, "a", 0, -1, None), add(1, "a", 1, -1, None), add(1, "a", 0, 6, Some(5))] {
        assert_eq!(replica.refusal(0, &[op]).code, code::LIMIT_REACHED);
    }
    assert_eq!(replica.refusal(0, &[patch(1, "b", &[(0, V::Int(1))])]).code, code::NOT_FOUND);
}

#[test]
fn delete_prefix_takes_exactly_the_prefix() {
    let mut replica = Replica::new(&[kv(), Tab::new(2, "next")]);
    let keys: Vec<_> = (0..9000).map(|n| format!("a/{n:05}")).collect();
    for chunk in keys.chunks(3000) {
        let ops: Vec<_> = chunk.iter().map(|key| put(KV, key.as_str(), &[])).collect();
        replica.must(0, &ops);
    }
    replica.must(0, &[put(KV, "a", &[]), put(KV, "a0", &[]), put(2, "x", &[])]);
    replica.changes.clear();
    replica.must(0, &[delete_prefix(KV, "a/")]);
    assert_eq!(replica.keys(KV), ["a", "a0"]);
    assert_eq!((replica.changes.len(), replica.tables.count(KV)), (9000, 2));
    replica.must(0, &[delete_prefix(KV, "")]);
    assert_eq!((replica.tables.count(KV), replica.tables.count(2)), (0, 1));
}

#[test]
fn changes_tell_of_leases() {
    let mut replica = Replica::new(&[Tab::new(1, "s").column("ttl_ms", "u64").lease(0)]);
    replica.must(0, &[put(1, "a", &[V::Int(30)]), put(1, "b", &[]), delete(1, "a"), delete(1, "a")]);
    let kinds: Vec<_> = replica.changes.iter().map(|change| change.kind).collect();
    let written = |lease_ms, is_begun| ChangeKind::Put { lease_ms, is_begun };
    assert_eq!(kinds, [written(Some(30), true), written(None, true), ChangeKind::Delete]);
    assert!(replica.changes.iter().all(|change| change.index == 1 && change.table == 1));
}

#[test]
fn a_lease_begins_with_the_row_or_with_its_cell() {
    let tab = Tab::new(1, "s").column("ttl_ms", "u64").column("n", "u64").lease(0);
    let mut replica = Replica::new(&[tab]);
    replica.must(0, &[put(1, "a", &[V::Int(30)]), patch(1, "a", &[(1, V::Int(5))]), add(1, "a", 1, 1, None)]);
    replica
        .must(0, &[patch(1, "a", &[(0, V::Int(30))]), put(1, "a", &[V::Int(30)]), add(1, "b", 1, 1, None)]);
    let begun =
        replica.changes.iter().map(|change| matches!(change.kind, ChangeKind::Put { is_begun: true, .. }));
    assert_eq!(begun.collect::<Vec<_>>(), [true, false, false, true, true, true]);
}

#[test]
fn changes_tell_the_row_before_and_after_and_when() {
    let mut replica = Replica::new(&[kv()]);
    let writes =
        [vec![put(KV, "k", &["1".into()])], vec![put(KV, "k", &["2".into()])], vec![delete(KV, "k")]];
    let mut before = None;
    for (ops, now_ms) in writes.iter().zip([7, 5, 9]) {
        replica.changes.clear();
        let index = replica.must(now_ms, ops);
        let after = replica.row(KV, "k");
        let [change] = &replica.changes[..] else { panic!("{:?}", replica.changes) };
        assert_eq!((change.index, change.key(), change.cause), (index, &b"k"[..], Cause::Write));
        assert_eq!((change.before(), change.after()), (before.as_deref(), after.as_deref()));
        assert_eq!(change.at_ms, now_ms.max(7), "the clock never runs backwards");
        before = after;
    }
}

#[test]
fn what_time_took_is_told_apart() {
    let child =
        Tab::new(2, "children").column("parent", "text").points_at(0, KV.into(), &[delete(2, V::Myself)]);
    let mut replica = Replica::new(&[kv(), child]);
    let row = |until: i64| [V::Nil, V::Nil, V::Int(until)];
    replica.must(0, &[put(KV, "a", &row(5)), put(KV, "b", &[]), put(2, "of a", &["a".into()])]);
    replica.must(0, &[put(2, "of b", &["b".into()])]);
    replica.changes.clear();
    assert_eq!(replica.pulse(5, 9), 1);
    let lapse = cases(&[(vec![at(KV, "b", 1)], vec![delete(KV, "b")])]);
    assert!(matches!(replica.entry(6, Kind::Lapse, &lapse), Outcome::Applied { .. }));
    assert!(matches!(replica.entry(6, Kind::Lapse, &lapse), Outcome::Conflict { .. }));
    let told: Vec<_> = replica.changes.iter().map(|change| (change.table, change.cause)).collect();
    let lapsed = |table| (table, Cause::Lapse);
    assert_eq!(told, [lapsed(KV), lapsed(2), lapsed(KV), lapsed(2)], "with what hangs on it");
    replica.must(7, &[put(KV, "a", &[])]);
    assert_eq!(replica.changes[4].cause, Cause::Write);
}

/// A table whose rows, when one goes, take the next with them: a chain as long as there are rows.
fn chain() -> Tab {
    Tab::new(2, "chain").column("previous", "text").column("until", "u64").points_at(
        0,
        2,
        &[delete(2, V::Myself)],
    )
}

#[test]
fn reactions_have_a_depth() {
    let mut replica = Replica::new(&[kv(), chain()]);
    for n in 1..=10 {
        replica.must(0, &[put(2, format!("r{n:02}").as_str(), &[format!("r{:02}", n - 1).as_str().into()])]);
    }
    let before = replica.dump();
    let refusal = replica.refusal(0, &[put(KV, "a", &[]), delete(2, "r01")]);
    assert_eq!(refusal.code, code::LIMIT_REACHED);
    assert_eq!(replica.dump()[1..], before[1..]);
    replica.must(0, &[delete(2, "r02")]);
    assert_eq!(replica.keys(2), ["r01"], "eight levels are allowed");
}

#[test]
fn a_circle_of_rows_ends() {
    let mut replica = Replica::new(&[kv(), chain()]);
    replica.must(0, &[put(2, "a", &["b".into()]), put(2, "b", &["a".into()]), put(2, "c", &["c".into()])]);
    replica.must(0, &[delete(2, "a"), delete(2, "c")]);
    assert!(replica.keys(2).is_empty());
}

#[test]
fn a_pulse_is_bounded_and_ordered() {
    let other = Tab::new(2, "other").column("until", "u64").expires(0);
    let mut replica = Replica::new(&[kv(), other]);
    for (key, until) in [("c", 10), ("a", 20), ("b", 10), ("d", 31)] {
        replica.must(0, &[put(KV, key, &[V::Nil, V::Nil, V::Int(until)]), put(2, key, &[V::Int(until)])]);
    }
    let next = |replica: &Replica| replica.tables.next_expiry_ms(&replica.store.read().unwrap()).unwrap();
    assert_eq!(next(&replica), Some(10));
    replica.changes.clear();
    assert_eq!(replica.pulse(30, 5), 5);
    let gone: Vec<_> = replica.changes.iter().map(|c| (c.table, c.key()[0] as char)).collect();
    assert_eq!(gone, [(1, 'b'), (1, 'c'), (1, 'a'), (2, 'b'), (2, 'c')]);
    assert_eq!((replica.pulse(30, 0), replica.pulse(30, 9), replica.pulse(30, 9)), (0, 1, 0));
    assert_eq!(next(&replica), Some(31));
    replica.must(30, &[put(KV, "d", &[]), delete(2, "d")]);
    assert_eq!((next(&replica), replica.pulse(99, 9)), (None, 0), "a plain write clears the deadline");
}

#[test]
fn a_pulse_passes_over_a_row_whose_reactions_are_refused() {
    let capped = vec![add(3, "total", 0, 1, Some(1)), delete(2, V::Myself)];
    let tables = [
        Tab::new(1, "parents").column("until", "u64").expires(0),
        Tab::new(2, "children").column("parent", "text").points_at(0, 1, &capped),
        Tab::new(3, "totals").column("n", "u64"),
    ];
    let mut replica = Replica::new(&tables);
    for key in ["a", "b", "c"] {
        replica
            .must(0, &[put(1, key, &[V::Int(5)]), put(2, key, &[if key == "c" { "x" } else { key }.into()])]);
    }
    replica.changes.clear();
    assert_eq!(replica.pulse(5, 100), 2, "a reached the limit for b; c has no child");
    assert_eq!((replica.keys(1), replica.keys(2)), (vec!["b".into()], vec!["b".into(), "c".into()]));
    assert_eq!(replica.cell(3, "total", 0), one(1));
    assert_eq!(replica.changes.len(), 4, "what was undone is not told: {:?}", replica.changes);
}

#[test]
fn a_define_builds_what_it_adds() {
    let old = Tab::new(1, "t").column("name", "text").column("tags", "list");
    let mut replica = Replica::new(std::slice::from_ref(&old));
    for n in 0..600 {
        let tags = [format!("t{}", n % 3)];
        let tags: Vec<_> = tags.iter().map(String::as_str).collect();
        replica.must(
            0,
            &[put(1, format!("k{n:03}").as_str(), &[format!("n{n}").as_str().into(), tags[..].into()])],
        );
    }
    let new = Tab::new(1, "t")
        .indexed("name", "text", "unique")
        .indexed("tags", "list", "each")
        .with("colour", "text", "single", "red".into())
        .keep(500);
    let index = replica.tables.index();
    assert_eq!(replica.define(std::slice::from_ref(&new)), Outcome::Applied { index, case: 0, expired: 0 });
    assert_eq!(replica.find(1, &[(0, b"n77")]), ["k077"]);
    assert_eq!(replica.find(1, &[(1, b"t1"), (2, b"red")]).len(), 200);
    assert_eq!(Replica::restore(&replica.snapshot()).unwrap().dump(), replica.dump());
    assert_eq!(replica.refusal(0, &[put(1, "new", &["n77".into()])]).code, code::DUPLICATE);
    replica.must(0, &[put(1, "new", &[])]);
    assert_eq!((replica.tables.count(1), replica.keys(1)[0].as_str()), (500, "k101"), "keep takes effect");
    replica.must(0, &[patch(1, "k101", &[(0, "n".into())])]);
    assert_eq!(replica.find(1, &[(2, b"red")]).len(), 500);
    assert!(matches!(replica.define(&[old]), Outcome::Refused(_)));
    assert!(matches!(replica.define(&[new, Tab::new(2, "more")]), Outcome::Applied { .. }));
    assert_eq!((replica.tables.count(1), replica.tables.count(2)), (500, 0));
}

#[test]
fn a_refused_define_leaves_no_trace() {
    let mut replica = Replica::new(&[Tab::new(1, "t").column("a", "text").column("b", "text")]);
    for key in ["x", "y", "z"] {
        replica.must(0, &[put(1, key, &[key.into(), "same".into()])]);
    }
    let before = replica.dump();
    let new = Tab::new(1, "t").indexed("a", "text", "single").indexed("b", "text", "unique").keep(2);
    let refused = replica.define(&[new]);
    assert!(matches!(&refused, Outcome::Refused(refusal) if refusal.code == code::DUPLICATE), "{refused:?}");
    assert_eq!(replica.dump()[1..], before[1..]);
    replica.must(0, &[put(1, "w", &["x".into(), "same".into()])]);
}

#[test]
fn an_index_value_over_its_limit_refuses_the_entry() {
    let mut replica =
        Replica::new(&[Tab::new(1, "t").indexed("a", "text", "single").indexed("b", "list", "each")]);
    let long = "x".repeat(769);
    let before = replica.dump();
    let op = put(1, "k", &["fits".into(), V::List(vec!["fits".into(), long.clone()])]);
    assert_eq!(replica.refusal(0, &[op]).code, code::TOO_LARGE);
    assert_eq!(replica.dump()[1..], before[1..]);
    replica.must(0, &[put(1, "k", &[long[1..].into()])]);
    assert_eq!(replica.find(1, &[(0, &long.as_bytes()[1..])]), ["k"]);
}

#[test]
fn what_is_committed_must_be_understood() {
    let mut replica = Replica::new(&[kv()]);
    let unknown_op = always(&[array(&[one(5), one(1), one("k")])]);
    let unknown_place = always(&[put(KV, "k", &[V::Parent(0, false)])]);
    let newer_schema = schema(&[kv().column("x", "decimal")]);
    for (kind, body, fatal) in [
        (1, newer_schema, true),
        (3, vec![], true),
        (0, unknown_op, true),
        (0, vec![0x91], true),
        (2, vec![0xa0], true),
        (0, unknown_place, false),
        (1, vec![0xc0], false),
    ] {
        let entry = [&[0; 8][..], &[kind], &body].concat();
        let mut w = replica.store.write().unwrap();
        let done = replica.tables.apply(&mut w, &entry, &mut replica.changes);
        assert_eq!(matches!(done, Err(ApplyError::Corrupt(_))), fatal, "{kind}: {done:?}");
    }
}
