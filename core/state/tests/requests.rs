//! Requests that come twice, and how long they are remembered.

mod sketch;

use konsul_state::apply::{Outcome, Tables};
use konsul_state::entry::RequestId;
use konsul_state::snapshot;
use konsul_state::store::Store;
use konsul_state::window::REQUESTS_MAX;
use sketch::*;

fn id(n: u64) -> RequestId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&n.to_le_bytes());
    id
}

fn counting() -> Vec<u8> {
    always(&[add(1, "n", 0, 1, Some(2))])
}

fn index(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Applied { index, .. } => *index,
        other => panic!("{other:?}"),
    }
}

fn counter() -> Replica {
    Replica::new(&[Tab::new(1, "counts").column("n", "u64")])
}

#[test]
fn a_known_request_is_answered_as_before_and_changes_nothing() {
    let mut replica = counter();
    let first = replica.once(5, &id(1), &counting());
    replica.once(6, &id(2), &counting());
    let before = replica.changes.len();
    assert_eq!(replica.once(99, &id(1), &counting()), first);
    assert_eq!((replica.tables.index(), replica.changes.len()), (2, before));
    assert_eq!((replica.tables.clock_ms(), replica.tables.repeats()), (99, 1));
}

#[test]
fn what_was_not_applied_is_not_remembered() {
    let mut replica = counter();
    replica.must(0, &[put(1, "n", &[V::Int(2)])]);
    assert!(matches!(replica.once(0, &id(1), &counting()), Outcome::Refused(_)));
    let taken = cases(&[(vec![absent(1, "n")], vec![])]);
    assert!(matches!(replica.once(0, &id(1), &taken), Outcome::Conflict { .. }));
    replica.must(0, &[delete(1, "n")]);
    assert_eq!(index(&replica.once(0, &id(1), &counting())), 3);
}

#[test]
fn the_window_forgets_in_order_and_a_snapshot_carries_it() {
    let mut replica = counter();
    let nothing = cases(&[(vec![], vec![])]);
    for n in 0..REQUESTS_MAX + 3 {
        assert_eq!(index(&replica.once(0, &id(n), &nothing)), n + 1);
    }
    let restored = Replica::restore(&replica.snapshot()).unwrap();
    assert_eq!(restored.dump(), replica.dump());
    let opened = Tables::open(&replica.store.read().unwrap()).unwrap();
    for mut replica in [restored, Replica { tables: opened, ..replica }] {
        assert_eq!(index(&replica.once(0, &id(3), &nothing)), 4, "the oldest of the window is known");
        assert_eq!(index(&replica.once(0, &id(2), &nothing)), REQUESTS_MAX + 4, "the one before it is not");
        assert_eq!(index(&replica.once(0, &id(3), &nothing)), REQUESTS_MAX + 5, "and took its place");
    }
}

#[test]
fn a_snapshot_without_requests_is_one_that_older_versions_read() {
    let mut replica = counter();
    replica.must(0, &[put(1, "n", &[V::Int(1)])]);
    let plain = replica.snapshot();
    let format = |bytes: &[u8]| {
        let at = bytes.windows(7).position(|word| word == b"\xa6format").unwrap();
        bytes[at + 7]
    };
    assert_eq!((format(&plain), snapshot::peek(&plain[..]).unwrap().requests), (1, (0, 0)));
    replica.once(0, &id(1), &counting());
    let bytes = replica.snapshot();
    assert_eq!((format(&bytes), snapshot::peek(&bytes[..]).unwrap().requests), (2, (1, 1)));
}
