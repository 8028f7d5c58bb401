//! The trie against one pattern at a time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::automaton::Automaton;
use crate::facts::Facts;
use crate::pattern::Pattern;
use crate::segments::Path;
use crate::trie::{Trie, Walk};

/// Who a key finds, each once, ascending.
fn found(trie: &Trie, key: &str, walk: &mut Walk) -> Vec<u32> {
    let mut hits = Vec::new();
    trie.find(key, &Facts::default(), walk, &mut hits);
    hits.sort_unstable();
    hits.dedup();
    hits
}

fn asked_one_by_one(patterns: &BTreeMap<u32, String>, separator: char, key: &str) -> Vec<u32> {
    let matches = |text: &str| Pattern::divided(text, separator).unwrap().matches(key);
    patterns.iter().filter(|(_, text)| matches(text)).map(|(slot, _)| *slot).collect()
}

/// Few words, so that patterns share nodes and keys meet many of them.
const ODD: [&str; 12] =
    ["[a-b]", "[!a]*", "a[b", "[]]", "***", "a**", "**b", "?*?", "[a/b]", "[*]", "[a]b**", "é**a"];

fn patterns() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        3 => prop::sample::select(vec!["a", "b", "ab", "é", ""]).prop_map(String::from),
        2 => Just("*".to_string()),
        2 => Just("**".to_string()),
        2 => "[ab*?é]{1,4}",
        1 => prop::sample::select(ODD.to_vec()).prop_map(String::from),
    ];
    prop::collection::vec(segment, 1..6).prop_map(|segments| segments.join("/"))
}

/// So long that an automaton of them has more than one word.
fn long_patterns() -> impl Strategy<Value = String> {
    (patterns(), 1..30_usize).prop_map(|(text, times)| vec![text; times].join("/"))
}

fn long_keys() -> impl Strategy<Value = String> {
    (keys(), 1..30_usize).prop_map(|(text, times)| vec![text; times].join("/"))
}

fn keys() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "ba", "é", "", "aab", "]", "a[b"]);
    prop::collection::vec(segment, 1..7).prop_map(|segments| segments.join("/"))
}

#[derive(Debug, Clone)]
enum Step {
    Add(String),
    /// The n-th, counted around.
    Remove(usize),
    Ask(String),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => patterns().prop_map(Step::Add),
        2 => any::<usize>().prop_map(Step::Remove),
        4 => keys().prop_map(Step::Ask),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever was added and removed before, a key finds exactly the patterns that match it; and when all
    /// are gone, so is their memory.
    #[test]
    fn a_key_finds_what_matches_it(steps in steps(), is_path in any::<bool>()) {
        let separator = if is_path { '/' } else { ' ' };
        let divided = |text: String| if is_path { text } else { text.replace('/', " ") };
        let mut trie = Trie::new(separator);
        let mut walk = Walk::default();
        let mut patterns: BTreeMap<u32, String> = BTreeMap::new();
        for (slot, step) in (0..).zip(steps) {
            match step {
                Step::Add(text) => {
                    let text = divided(text);
                    let Ok(path) = Path::new(&text, separator) else { continue };
                    trie.add(&path, None, slot);
                    patterns.insert(slot, text);
                }
                Step::Remove(at) => {
                    let at = at % patterns.len().max(1);
                    let Some(slot) = patterns.keys().nth(at).copied() else { continue };
                    let text = patterns.remove(&slot).unwrap();
                    trie.remove(&Path::new(&text, separator).unwrap(), None, slot);
                }
                Step::Ask(key) => {
                    let key = divided(key);
                    let want = asked_one_by_one(&patterns, separator, &key);
                    prop_assert_eq!(found(&trie, &key, &mut walk), want, "{:?} {:?}", key, patterns);
                }
            }
        }
        for (slot, text) in std::mem::take(&mut patterns) {
            trie.remove(&Path::new(&text, separator).unwrap(), None, slot);
        }
        prop_assert_eq!((trie.nodes(), trie.watches(), trie.exact_keys()), (1, 0, 0));
    }

    /// An automaton means what the plain pattern means, however long they are.
    #[test]
    fn automata_are_patterns(text in long_patterns(), keys in prop::collection::vec(long_keys(), 1..9)) {
        let Some(pattern) = Pattern::new(&text) else { return Ok(()) };
        let automaton = Automaton::new(&text, '/');
        for key in keys.iter().chain([&text]) {
            prop_assert_eq!(automaton.matches(key), pattern.matches(key), "{:?} {:?}", text, key);
        }
    }

    /// No pattern and no key panics, and one that is taken means what it means alone.
    #[test]
    fn any_text_is_a_pattern_or_refused(
        text in "\\PC{0,60}|[ab/*?\\[\\]!^-]{0,80}",
        key in "\\PC{0,60}|[ab/]{0,80}",
        separator in prop::sample::select(vec!['/', ' ', '*', '[', 'a', '\0']),
    ) {
        let Ok(path) = Path::new(&text, separator) else { return Ok(()) };
        let mut trie = Trie::new(separator);
        trie.add(&path, None, 7);
        let want = Pattern::divided(&text, separator).unwrap().matches(&key);
        prop_assert_eq!(Automaton::new(&text, separator).matches(&key), want);
        prop_assert_eq!(found(&trie, &key, &mut Walk::default()), if want { vec![7] } else { vec![] });
        trie.remove(&path, None, 7);
        prop_assert_eq!((trie.nodes(), trie.exact_keys()), (1, 0));
    }
}

#[test]
fn hostile_patterns_and_keys_are_walked_in_bounded_steps() {
    let hostile = [
        "**/a/".repeat(8) + &"*/".repeat(40) + "b",
        "**/".to_string() + &"a/".repeat(60) + "b",
        "*a".repeat(60),
        "a**".to_string() + &"*a".repeat(60) + "b",
        "[!b]*".repeat(20),
    ];
    let mut trie = Trie::new('/');
    let mut walk = Walk::default();
    for (slot, text) in (0..).zip(&hostile) {
        trie.add(&Path::new(text, '/').unwrap(), None, slot);
    }
    for key in ["a/".repeat(512), "a".repeat(1_024), "a/".repeat(511) + "ab"] {
        let texts = (0..).zip(hostile.iter().cloned()).collect();
        assert_eq!(found(&trie, &key, &mut walk), asked_one_by_one(&texts, '/', &key));
        let nodes = trie.nodes();
        assert!(
            walk.entered() <= (nodes * key.split('/').count() + nodes) as u64,
            "each node once per segment"
        );
    }
}

/// A key or a prefix that a client was given can always be watched: what is no wildcard is bounded by its
/// length only.
#[test]
fn whatever_is_literal_is_watched_however_long() {
    let keys = ["*".repeat(300), format!("[x]?{}", "y".repeat(900)), "a/".repeat(500), "k".repeat(1_000)];
    for key in &keys {
        let escaped = key.replace('[', "[[]").replace('?', "[?]").replace('*', "[*]");
        let mut trie = Trie::new('/');
        trie.add(&Path::new(&escaped, '/').unwrap(), None, 1);
        trie.add(&Path::new(&format!("{escaped}**"), '/').unwrap(), None, 2);
        assert_eq!((trie.exact_keys(), trie.nodes() < 3), (1, true), "one of a name, one of a prefix");
        assert_eq!(found(&trie, key, &mut Walk::default()), [1, 2]);
        assert_eq!(found(&trie, &format!("{key}/z"), &mut Walk::default()), [2]);
        assert_eq!(found(&trie, &key[1..], &mut Walk::default()), [0; 0]);
    }
}

#[test]
fn prefixes_within_a_segment_are_told_apart_and_leave_nothing() {
    let mut trie = Trie::new('/');
    let texts: Vec<String> =
        (0..500).map(|n| format!("é{n}**")).chain(["**".into(), "é**x".into()]).collect();
    let paths: Vec<Path> = texts.iter().map(|text| Path::new(text, '/').unwrap()).collect();
    for (slot, path) in (0..).zip(&paths) {
        trie.add(path, None, slot);
    }
    assert_eq!(found(&trie, "é123/x", &mut Walk::default()), [1, 12, 123, 500, 501]);
    assert_eq!(found(&trie, "z", &mut Walk::default()), [500]);
    for (slot, path) in (0..).zip(&paths).filter(|(slot, _)| slot % 2 == 1) {
        trie.remove(path, None, slot);
    }
    assert_eq!(found(&trie, "é123/x", &mut Walk::default()), [12, 500]);
    for (slot, path) in (0..).zip(&paths).filter(|(slot, _)| slot % 2 == 0) {
        trie.remove(path, None, slot);
    }
    assert_eq!((trie.nodes(), trie.watches()), (1, 0));
}
