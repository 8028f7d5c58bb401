//! The linearizability check against histories whose verdict is known.

use konsul_sim::history::{Kind, Operation, Outcome};
use konsul_sim::linearizable::{STEPS_MAX, Verdict, check};
use konsul_sim::prng::Prng;

fn op(kind: Kind, arg: &str, from: u64, to: u64) -> Operation {
    Operation {
        client: "c".into(),
        kind,
        key: "k".into(),
        arg: arg.into(),
        expect_index: 0,
        start_us: from,
        end_us: Some(to),
        outcome: Outcome::Ok,
        value: None,
        index: None,
    }
}

fn put(value: &str, from: u64, to: u64) -> Operation {
    op(Kind::Put, value, from, to)
}

fn get(value: &str, from: u64, to: u64) -> Operation {
    let value = (!value.is_empty()).then(|| value.to_owned());
    Operation { value, ..op(Kind::Get, "", from, to) }
}

fn cas(expect_index: u64, value: &str, from: u64, to: u64) -> Operation {
    Operation { expect_index, ..op(Kind::Cas, value, from, to) }
}

fn at(index: u64, operation: Operation) -> Operation {
    Operation { index: Some(index), ..operation }
}

fn refused(operation: Operation) -> Operation {
    Operation { outcome: Outcome::Fail, ..operation }
}

fn unknown(operation: Operation) -> Operation {
    Operation { outcome: Outcome::Unknown, end_us: None, ..operation }
}

fn on(key: &str, operation: Operation) -> Operation {
    Operation { key: key.into(), ..operation }
}

fn is_fine(history: &[Operation]) {
    assert_eq!(check(history, STEPS_MAX), Verdict::Linearizable);
}

fn is_broken(history: &[Operation]) {
    let verdict = check(history, STEPS_MAX);
    assert!(matches!(verdict, Verdict::Broken(_)), "{verdict:?}");
}

#[test]
fn one_after_the_other() {
    is_fine(&[get("", 0, 1), put("a", 2, 3), get("a", 4, 5), op(Kind::Delete, "", 6, 7), get("", 8, 9)]);
    is_broken(&[put("a", 0, 1), get("", 2, 3)]);
    is_broken(&[put("a", 0, 1), put("b", 2, 3), get("a", 4, 5)]);
    is_broken(&[put("a", 0, 1), get("x", 2, 3)]);
}

#[test]
fn what_overlaps_may_have_either_order() {
    is_fine(&[put("a", 0, 10), put("b", 0, 10), get("a", 11, 12), get("a", 13, 14)]);
    is_fine(&[put("a", 0, 1), put("b", 2, 10), get("a", 3, 4), get("b", 5, 6)]);
    is_broken(&[put("a", 0, 1), put("b", 2, 10), get("b", 3, 4), get("a", 5, 6)]);
    is_broken(&[put("a", 0, 10), put("b", 0, 10), get("a", 11, 12), get("b", 13, 14)]);
}

#[test]
fn an_unanswered_write_may_come_late_once_or_never() {
    is_fine(&[unknown(put("a", 0, 0)), get("", 5, 6), get("", 7, 8)]);
    is_fine(&[unknown(put("a", 0, 0)), get("", 5, 6), get("a", 7, 8), get("a", 9, 10)]);
    is_broken(&[unknown(put("a", 0, 0)), get("a", 5, 6), get("", 7, 8)]);
    is_broken(&[unknown(put("a", 20, 0)), get("a", 5, 6)]);
    let late = [unknown(put("a", 0, 0)), put("b", 1, 2), get("a", 3, 4), put("c", 5, 6), get("a", 7, 8)];
    is_broken(&late);
    is_fine(&[unknown(op(Kind::Delete, "", 3, 0)), put("a", 0, 1), get("a", 4, 5), get("", 6, 7)]);
}

#[test]
fn a_cas_sees_the_row_it_replaces() {
    is_fine(&[at(5, cas(0, "a", 0, 1)), at(9, cas(5, "b", 2, 3)), at(9, get("b", 4, 5))]);
    is_broken(&[at(5, cas(0, "a", 0, 1)), at(9, cas(5, "b", 2, 3)), at(12, cas(5, "c", 4, 5))]);
    is_broken(&[at(5, cas(0, "a", 0, 3)), at(6, cas(0, "b", 0, 3))]);
    is_fine(&[at(5, put("a", 0, 1)), at(5, refused(cas(4, "b", 2, 3))), get("a", 4, 5)]);
    is_broken(&[at(5, put("a", 0, 1)), refused(cas(5, "b", 2, 3))]);
    is_broken(&[at(5, put("a", 0, 1)), at(3, refused(cas(4, "b", 2, 3)))]);
    is_fine(&[at(5, put("a", 0, 1)), unknown(cas(5, "b", 2, 0)), get("a", 3, 4), at(8, get("b", 5, 6))]);
    is_broken(&[at(5, put("a", 0, 1)), unknown(cas(4, "b", 2, 0)), at(8, get("b", 5, 6))]);
    is_fine(&[unknown(put("a", 0, 0)), at(7, get("a", 1, 2)), at(9, cas(7, "b", 3, 4))]);
    is_broken(&[unknown(put("a", 0, 0)), at(7, get("a", 1, 2)), at(9, cas(6, "b", 3, 4))]);
    is_broken(&[put("a", 0, 1), refused(op(Kind::Delete, "", 2, 3))]);
}

#[test]
fn indexes_bind_the_order() {
    is_broken(&[at(5, put("a", 0, 10)), at(6, put("b", 0, 10)), get("a", 11, 12)]);
    is_broken(&[at(6, put("a", 0, 1)), at(5, put("b", 2, 3))]);
    is_broken(&[at(6, put("a", 0, 1)), at(5, on("other", put("b", 2, 3)))]);
    is_broken(&[at(6, put("a", 0, 3)), at(6, on("other", put("b", 0, 3)))]);
    is_fine(&[at(6, put("a", 0, 3)), at(5, on("other", put("b", 2, 3)))]);
    is_broken(&[at(5, put("a", 0, 1)), at(4, get("a", 2, 3))]);
}

#[test]
fn keys_are_apart() {
    is_fine(&[put("a", 0, 1), on("other", get("", 2, 3)), get("a", 2, 3)]);
    is_broken(&[put("a", 0, 1), on("other", get("a", 2, 3))]);
}

/// A real register with overlapping clients: every recorded history is linearizable; with one answer changed
/// to a value that was overwritten long before, none is.
#[test]
fn random_histories_of_a_register_pass_and_a_stale_read_fails() {
    for seed in 0..80 {
        let (mut prng, mut history, mut value, mut now) = (Prng::new(seed), Vec::new(), String::new(), 0);
        let mut answered = String::new();
        for number in 0..300 {
            now += prng.between(1, 5);
            let (before, after) = (prng.below(12), prng.below(12));
            let (from, to) = (1_000 + now - before, 1_000 + now + after);
            let written = format!("v{number}");
            match prng.below(6) {
                0 | 1 => {
                    history.push(put(&written, from, to));
                    answered.clone_from(&written);
                    value = written;
                }
                2 if prng.chance(500) => {
                    history.push(unknown(put(&written, from, 0)));
                    value = written;
                }
                2 => history.push(unknown(put(&written, from, 0))),
                3 if prng.chance(300) => {
                    history.push(op(Kind::Delete, "", from, to));
                    value.clear();
                }
                _ => history.push(get(&value, from, to)),
            }
        }
        is_fine(&history);
        let mut stale = history.clone();
        stale.push(put("last", 9_000, 9_001));
        stale.push(get(&answered, 9_002, 9_003));
        is_broken(&stale);
    }
}

#[test]
fn the_search_is_bounded() {
    let mut history: Vec<Operation> = (0..40).map(|n| put(&format!("v{n}"), 0, 100)).collect();
    history.push(get("v1", 101, 102));
    history.push(get("v2", 103, 104));
    assert!(matches!(check(&history, 1_000), Verdict::Undecided(_)));
}
