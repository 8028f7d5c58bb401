//! What watches are told, one situation at a time.

#[path = "../../state/tests/sketch/mod.rs"]
mod sketch;

#[path = "stage/mod.rs"]
mod stage;

use std::sync::Arc;

use konsul_views::{CLUSTER, ItemKind, WatchError};
use stage::*;

/// An event's text, given its beginning.
fn event(head: &str, index: u64) -> String {
    format!(r#"{head},"timestamp":1767323045,"modify_index":{index}}}"#)
}

#[test]
fn kv_events_have_the_documented_bytes() {
    let mut stage = Stage::new(8, 1 << 20);
    let watch = stage.watch("**");
    stage.put("cfg", b"v0");
    stage.put("cfg", b"v1");
    stage.put("bin", b"\xff\x00");
    stage.put("bin", b"\xfe");
    stage.delete("cfg");
    stage.put("cfg", b"");
    let told = stage.told(watch);
    assert_eq!(
        texts(&told),
        [
            event(r#"{"type":"set","key":"cfg","value":"v0""#, 1),
            event(r#"{"type":"set","key":"cfg","value":"v1","old_value":"v0""#, 2),
            event(r#"{"type":"set","key":"bin","value":"/wA=","encoding":"base64""#, 3),
            event(
                concat!(
                    r#"{"type":"set","key":"bin","value":"/g==","encoding":"base64","old_value":"/wA=","#,
                    r#""old_value_encoding":"base64""#
                ),
                4
            ),
            event(r#"{"type":"delete","key":"cfg","old_value":"v1""#, 5),
            event(r#"{"type":"set","key":"cfg""#, 6),
        ]
    );
    assert_eq!(told.iter().map(|told| told.index).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(told[3].key, b"bin");
}

#[test]
fn service_events_are_wrapped_and_say_why() {
    let mut stage = Stage::new(8, 1 << 20);
    let watch = stage.watch_services("web *", &[], true);
    stage.register("web w1", &["a"]);
    stage.renew("web w1");
    stage.deregister("web w1");
    stage.register("web w1", &[]);
    stage.lapse("web w1");
    assert_eq!(
        texts(&stage.told(watch)),
        [
            event(r#"{"type":"register","service":{"name":"web","tags":["a"]}"#, 1),
            event(r#"{"type":"heartbeat","service":{"name":"web","tags":["a"]}"#, 1),
            event(r#"{"type":"deregister","service":{"name":"web","tags":["a"]}"#, 2),
            event(r#"{"type":"register","service":{"name":"web"}"#, 3),
            event(r#"{"type":"expired","service":{"name":"web"}"#, 4),
        ]
    );
}

#[test]
fn a_row_that_stops_being_what_is_asked_for_is_told_as_going() {
    let mut stage = Stage::new(20, 1 << 20);
    let form = Arc::new(services_form().only(1, vec![Box::from(&b"a"[..])]));
    let plain = stage.watch_spec(Arc::clone(&form), |_| {});
    let coalesced = stage.watch_spec(form, |spec| spec.coalesce = true);
    stage.register("web w1", &["a"]);
    stage.register("web w1", &["a", "b"]);
    stage.register("web w1", &["b"]);
    stage.renew("web w1");
    stage.register("web w1", &["c"]);
    stage.deregister("web w1");
    stage.register("web w2", &["b"]);
    stage.register("web w2", &["a"]);
    stage.renew("web w2");
    stage.lapse("web w2");
    assert_eq!(
        texts(&stage.told(plain)),
        [
            event(r#"{"type":"register","service":{"name":"web","tags":["a"]}"#, 1),
            event(r#"{"type":"register","service":{"name":"web","tags":["a","b"]}"#, 2),
            event(r#"{"type":"deregister","service":{"name":"web","tags":["b"]}"#, 3),
            event(r#"{"type":"register","service":{"name":"web","tags":["a"]}"#, 7),
            event(r#"{"type":"heartbeat","service":{"name":"web","tags":["a"]}"#, 7),
            event(r#"{"type":"expired","service":{"name":"web","tags":["a"]}"#, 8),
        ]
    );
    assert_eq!(
        texts(&stage.told(coalesced)),
        [event(r#"{"type":"heartbeat","service":{"name":"web","tags":["a"]}"#, 7)],
        "who knew of none is told of none that has gone again"
    );
}

#[test]
fn conditions_are_met_by_the_row_before_or_after() {
    let mut stage = Stage::new(20, 1 << 20);
    let a = stage.watch_services("**", &[(1, "a")], false);
    let both = stage.watch_services("**", &[(1, "a"), (1, "b")], false);
    let name = stage.watch_services("**", &[(0, "web")], false);
    stage.register("web w1", &["a"]);
    stage.register("web w1", &["b"]);
    stage.register("web w1", &["a", "b", "c"]);
    stage.register("db d1", &["b"]);
    stage.deregister("web w1");
    assert_eq!(stage.indexes(a), [1, 2, 3, 5]);
    assert_eq!(stage.indexes(both), [3, 5]);
    assert_eq!(stage.indexes(name), [1, 2, 3, 5]);
}

#[test]
fn one_text_is_made_for_all() {
    let mut stage = Stage::new(8, 1 << 20);
    let watches: Vec<_> = ["**", "cfg", "*"].iter().map(|pattern| stage.watch(pattern)).collect();
    stage.put("cfg", b"v");
    let mut places = std::collections::BTreeSet::new();
    let mut told = 0;
    while stage.hub.take(2, &mut |item| {
        places.insert(item.payload.as_ptr());
        told += 1;
    }) {}
    assert_eq!((told, places.len()), (watches.len(), 1));
    let late = stage.watch_since("**", 0);
    stage.hub.take(2, &mut |item| assert!(item.watch == late && places.contains(&item.payload.as_ptr())));
}

#[test]
fn who_resumes_in_time_misses_nothing() {
    let mut stage = Stage::new(100, 1 << 20);
    let watch = stage.watch_buffer("**", 3);
    stage.hub.pause(watch);
    stage.put_many(1..=3);
    assert_eq!(stage.told(watch), [], "its buffer holds them");
    assert_eq!(stage.hub.position(watch), Some(0));
    stage.put_many(4..=5);
    let told = stage.told(watch);
    assert_eq!((told.len(), told[0].kind, told[0].index), (1, ItemKind::Behind, 0));
    stage.put_many(6..=9);
    assert_eq!(stage.told(watch), [], "it is told once");
    stage.hub.resume(watch);
    assert_eq!(stage.indexes(watch), (1..=9).collect::<Vec<_>>());
    assert_eq!(stage.hub.position(watch), Some(9));
    stage.hub.pause(watch);
    stage.put_many(10..=14);
    assert_eq!(stage.told(watch)[0].kind, ItemKind::Behind, "and again when it falls behind again");
    assert_eq!(stage.hub.stats().behind, 2);
}

#[test]
fn who_resumes_too_late_must_list() {
    let mut stage = Stage::new(4, 1 << 20);
    let watch = stage.watch_buffer("**", 2);
    let other = stage.watch("x/*");
    stage.hub.pause(watch);
    stage.put_many(1..=9);
    stage.hub.resume(watch);
    let told = stage.told(watch);
    let kinds: Vec<_> = told.iter().map(|told| (told.kind, told.index)).collect();
    assert_eq!(
        kinds,
        [(ItemKind::Behind, 0), (ItemKind::Event, 1), (ItemKind::Event, 2), (ItemKind::Compacted, 9)]
    );
    stage.put_many(10..=10);
    assert_eq!(stage.indexes(watch), [10]);
    assert_eq!(stage.told(other), []);
}

#[test]
fn a_burst_beyond_the_buffer_is_not_lost_on_a_reader_who_keeps_up() {
    let mut stage = Stage::new(100, 1 << 20);
    let watch = stage.watch_buffer("**", 2);
    stage.put_many(1..=50);
    let told = stage.told(watch);
    assert!(told.iter().all(|told| told.kind == ItemKind::Event));
    assert_eq!(told.iter().map(|told| told.index).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
}

#[test]
fn since_goes_on_where_it_stopped() {
    let mut stage = Stage::new(4, 1 << 20);
    stage.put_many(1..=6);
    let late = stage.watch_since("**", 3);
    assert_eq!(stage.indexes(late), [4, 5, 6]);
    let lost = stage.watch_since("**", 1);
    let told = stage.told(lost);
    assert_eq!((told.len(), told[0].kind, told[0].index), (1, ItemKind::Compacted, 6));
    let ahead = stage.watch_since("**", 8);
    assert_eq!(stage.hub.position(ahead), Some(8));
    stage.put_many(7..=9);
    assert_eq!(stage.indexes(ahead), [9]);
}

#[test]
fn a_coalescing_watch_is_told_the_newest_with_the_first_before() {
    let mut stage = Stage::new(100, 1 << 20);
    stage.put("a", b"0");
    let watch = stage.watch_coalescing("**", 2);
    stage.hub.pause(watch);
    for value in [b"1", b"2", b"3"] {
        stage.put("a", value);
        stage.put("b", value);
    }
    stage.hub.resume(watch);
    assert_eq!(
        texts(&stage.told(watch)),
        [
            event(r#"{"type":"set","key":"a","value":"3","old_value":"0""#, 6),
            event(r#"{"type":"set","key":"b","value":"3""#, 7),
        ]
    );
    assert_eq!(stage.hub.stats().behind, 0);
}

#[test]
fn replaced_tables_must_be_listed_again() {
    let mut stage = Stage::new(100, 1 << 20);
    let (live, paused) = (stage.watch("**"), stage.watch("**"));
    let cluster = stage.hub.watch(spec(CLUSTER, "*", 9), None, None).unwrap();
    stage.put_many(1..=2);
    stage.hub.pause(paused);
    stage.hub.reset(40);
    let last = |told: Vec<Told>| told.iter().map(|told| (told.kind, told.index)).next_back();
    assert_eq!(last(stage.told(live)), Some((ItemKind::Compacted, 40)));
    assert_eq!(last(stage.told(paused)), None);
    stage.hub.resume(paused);
    let told = stage.told(paused);
    assert_eq!(told.iter().map(|told| told.index).collect::<Vec<_>>(), [1, 2, 40]);
    assert_eq!(stage.told(cluster), []);
    assert_eq!(stage.hub.stats().ring_floor, 40);
}

#[test]
fn what_the_cluster_says_is_told_live_and_never_dropped_in_silence() {
    let mut stage = Stage::new(100, 1 << 20);
    let cluster = stage.hub.watch(spec(CLUSTER, "leader", 1), None, None).unwrap();
    stage.say("leader", "{1}");
    stage.say("members", "{2}");
    assert_eq!(texts(&stage.told(cluster)), ["{1}"]);
    stage.hub.pause(cluster);
    stage.say("leader", "{3}");
    stage.say("leader", "{4}");
    stage.hub.resume(cluster);
    let told = stage.told(cluster);
    assert_eq!(told.iter().map(|told| told.kind).collect::<Vec<_>>(), [ItemKind::Event, ItemKind::Compacted]);
    let late = stage.hub.watch(spec(CLUSTER, "*", 1), None, Some(0)).unwrap();
    assert_eq!(stage.told(late)[0].kind, ItemKind::Compacted);
}

#[test]
fn renewals_reach_only_those_who_ask_and_wait_for_nobody() {
    let mut stage = Stage::new(100, 1 << 20);
    let quiet = stage.watch_services("**", &[], false);
    assert_eq!(stage.hub.renewal_watchers(SERVICES), 0);
    let watch = stage.watch_services("**", &[(1, "a")], true);
    assert_eq!(stage.hub.renewal_watchers(SERVICES), 1);
    stage.register("web w1", &["a"]);
    stage.register("web w2", &["b"]);
    for id in ["web w1", "web w2"] {
        stage.renew(id);
    }
    assert_eq!(stage.told(quiet).len(), 2);
    assert_eq!(stage.told(watch).len(), 2, "w1 registered and renewed");
    stage.hub.pause(watch);
    for _ in 0..200 {
        stage.renew("web w1");
    }
    assert_eq!(stage.told(watch), [], "a lost renewal is no lost change");
    assert_eq!(stage.hub.stats().renewals_dropped, 100);
    stage.hub.unwatch(watch);
    assert_eq!(stage.hub.renewal_watchers(SERVICES), 0);
}

#[test]
fn what_stuck_readers_keep_alive_is_bounded_and_they_are_told() {
    let mut stage = Stage::new(1_000, 10_000);
    let stuck = stage.watch("big/*");
    let other = stage.watch("**");
    stage.hub.pause(stuck);
    let value = vec![b'v'; 2_000];
    for n in 0..60 {
        stage.put(&format!("big/{n}"), &value);
        assert!(stage.told(other).iter().all(|told| told.kind == ItemKind::Event));
        let stats = stage.hub.stats();
        assert!(stats.held_bytes <= 4 * 10_000, "{stats:?}");
        assert!(stats.ring_bytes <= 10_000, "{stats:?}");
    }
    stage.hub.resume(stuck);
    let told = stage.told(stuck);
    assert_eq!((told[0].kind, told[0].index), (ItemKind::Compacted, 60));
    assert_eq!(stage.hub.stats().held_bytes, 0);
    assert_eq!(stage.hub.stats().compacted, 1);
}

#[test]
fn closed_watches_leave_nothing_behind() {
    let mut stage = Stage::new(1, 1 << 20);
    for pattern in ["**", "a", "a/*/c", "a/x?/[b]", "**/x", "a**b", "*/**"] {
        let (one, two) = (stage.watch(pattern), stage.watch_services(pattern, &[(1, "t")], true));
        stage.put("a", b"1");
        stage.register("web w1", &["t"]);
        stage.hub.unwatch(one);
        stage.hub.unwatch(one);
        stage.hub.unwatch(two);
        assert_eq!(stage.hub.position(one), None);
    }
    stage.hub.take(100, &mut |item| panic!("{item:?}"));
    let stats = stage.hub.stats();
    assert_eq!((stats.watchers, stats.by_table, stats.held_bytes), (0, vec![], 0));
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let mut stage = Stage::new(10, 1 << 20);
    let deep = "**/a/".repeat(9) + "b";
    let many = "*/".repeat(65);
    let long = format!("*{}", "x".repeat(200));
    for pattern in ["", &"x".repeat(1_025), &deep, &many, &long, &format!("a**{}", "x".repeat(200))] {
        assert!(matches!(stage.open(spec(KV, pattern, 9), None), Err(WatchError::Bad(_))), "{pattern}");
    }
    assert!(stage.open(spec(KV, "a", 0), None).is_err());
    assert!(stage.open(spec(SERVICES, "a", 9), None).is_err(), "the form is another table's");
    assert!(stage.hub.watch(spec(KV, "a", 9), None, None).is_err());
    for n in 0..stage::WATCHERS_MAX {
        stage.watch(&format!("k/{n}"));
    }
    let full = stage.open(spec(KV, "a", 9), None);
    assert_eq!(full, Err(WatchError::Full(stage::WATCHERS_MAX)));
}
