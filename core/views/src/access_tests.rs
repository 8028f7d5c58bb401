//! Decisions against the plainest possible reading of the rules, and the cases people rely on.

use std::collections::BTreeSet;

use konsul_state::read::Next;
use proptest::prelude::*;

use crate::access::*;
use crate::access_glob::Glob;

/// One character after the other, every way a gap could be filled.
fn plainly(pattern: &[u8], text: &[u8], paths: bool) -> bool {
    let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
    if stars == 0 {
        return match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((a, pattern)), Some((b, text))) => a == b && plainly(pattern, text, paths),
            _ => false,
        };
    }
    let stops = |byte: &u8| paths && stars == 1 && *byte == b'/';
    let most = text.iter().position(stops).unwrap_or(text.len());
    (0..=most).any(|taken| plainly(&pattern[stars..], &text[taken..], paths))
}

fn rule(resource: &str, pattern: &str, capabilities: &[&str]) -> RuleText {
    (resource.into(), pattern.into(), capabilities.iter().map(|name| (*name).into()).collect())
}

fn policies(given: &[(&str, &[RuleText])], default_allow: bool) -> Policies {
    let given = given.iter().map(|(name, rules)| ((*name).into(), rules.to_vec())).collect();
    Policies::compile(given, default_allow, &Policies::default()).unwrap()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).into()).collect()
}

fn granted(given: &[(&str, &[RuleText])]) -> Granted {
    let all: Vec<_> = given.iter().map(|(name, _)| *name).collect();
    policies(given, false).granted(&names(&all), usize::MAX)
}

fn need(text: &str) -> Need {
    Need::parse(text).unwrap()
}

fn allows(granted: &Granted, needs: &str, text: &str) -> bool {
    granted.allows(need(needs), text.as_bytes())
}

fn refused(rules: Vec<RuleText>) -> String {
    Policies::compile(vec![("p".into(), rules)], false, &Policies::default()).unwrap_err()
}

#[test]
fn the_table_of_the_specification() {
    let keys = ["a", "a/b", "a/b/c", "a/b/x/c", "ab"];
    for (pattern, matching) in [
        ("a/*", &[1][..]),
        ("a/**", &[1, 2, 3]),
        ("*", &[0, 4]),
        ("**", &[0, 1, 2, 3, 4]),
        ("a*", &[0, 4]),
        ("a/*/c", &[2]),
        ("a/**/c", &[2, 3]),
    ] {
        let granted = granted(&[("p", &[rule("kv", pattern, &["read"])])]);
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(allows(&granted, "kv:read", key), matching.contains(&at), "{pattern} on {key}");
        }
    }
}

#[test]
fn what_is_no_star_stands_for_itself() {
    for pattern in ["zz|q", "a.b", "a?", "[ab]", "^a$", "a\\q", "(a)", "a+", "{a,b}", "%2e", "\u{e9}"] {
        let granted = granted(&[("p", &[rule("kv", pattern, &["read"])])]);
        assert!(allows(&granted, "kv:read", pattern));
        for other in ["zz", "q", "axb", "ab", "a", "aq", "zzz", ".", "e\u{301}", "\u{c9}", "", "A"] {
            assert!(!allows(&granted, "kv:read", other), "{pattern} on {other}");
        }
    }
}

#[test]
fn a_gap_may_be_empty_and_case_matters() {
    let granted = granted(&[("p", &[rule("kv", "app/*", &["read"]), rule("kv", "a**z", &["read"])])]);
    assert!(allows(&granted, "kv:read", "app/") && allows(&granted, "kv:read", "az"));
    assert!(allows(&granted, "kv:read", "a/b/z"));
    assert!(!allows(&granted, "kv:read", "app") && !allows(&granted, "kv:read", "App/x"));
}

#[test]
fn stars_in_names_cross_slashes_and_of_a_key_only_the_name_counts() {
    let granted = granted(&[("p", &[rule("service", "web-*", &["read"])])]);
    assert!(allows(&granted, "service:read", "web-a/b"));
    let list = need("service:list");
    assert_eq!(list.named(b"web-1 id-7"), b"web-1");
    assert_eq!(need("kv:list").named(b"a b"), b"a b");
}

#[test]
fn a_denial_wins_wherever_it_stands() {
    let allow = rule("kv", "a/**", &["read", "write"]);
    let deny = rule("kv", "a/s/*", &["deny"]);
    for given in [
        [("p", &[allow.clone(), deny.clone()][..]), ("q", &[])],
        [("p", &[deny.clone(), allow.clone()]), ("q", &[])],
        [("p", std::slice::from_ref(&allow)), ("q", std::slice::from_ref(&deny))],
        [("p", std::slice::from_ref(&deny)), ("q", std::slice::from_ref(&allow))],
    ] {
        let granted = granted(&given);
        assert!(!allows(&granted, "kv:read", "a/s/x") && allows(&granted, "kv:read", "a/t"));
    }
    let both = granted(&[("p", &[rule("kv", "**", &["read", "deny"])])]);
    assert!(!allows(&both, "kv:read", "a"), "deny beside a capability denies");
    let by_default = policies(&[("p", &[deny])], true).granted(&names(&["p"]), 0);
    assert!(allows(&by_default, "kv:write", "a/x") && !allows(&by_default, "kv:write", "a/s/x"));
}

#[test]
fn outcomes_say_why() {
    let rules =
        [rule("service", "x", &["read"]), rule("kv", "a/*", &["write"]), rule("kv", "a/**", &["read"])];
    let granted = granted(&[("dev", &rules)]);
    let decide = |needs, text: &str| granted.decide(need(needs), text.as_bytes());
    assert_eq!(decide("kv:read", "a/b"), (Outcome::Allowed, "policy dev rule 1 (kv a/**)"));
    assert_eq!(decide("kv:delete", "a/b"), (Outcome::Denied, "no rule allows it"));
    let nobody = policies(&[], false).granted(&names(&["gone"]), 0);
    assert_eq!(nobody.decide(need("kv:read"), b"a").0, Outcome::NoPolicy);
    let open = policies(&[], true).granted(&names(&[]), 0);
    assert_eq!(open.decide(need("kv:read"), b"a"), (Outcome::Allowed, "default policy"));
    assert_eq!(open.decide(need("admin:read"), b"").0, Outcome::NoPolicy, "never by default");
}

#[test]
fn some_capabilities_imply_others() {
    let granted = granted(&[(
        "p",
        &[rule("admin", "", &["admin"]), rule("kv", "r", &["read"]), rule("backup", "", &["list"])],
    )]);
    assert!(allows(&granted, "admin:read", "") && allows(&granted, "admin:write", "anything"));
    assert!(allows(&granted, "kv:list", "r") && !allows(&granted, "kv:write", "r"));
    assert!(allows(&granted, "backup:list", "") && !allows(&granted, "backup:create", ""));
    assert!(!allows(&granted, "health:read", ""));
    let reader = policies(&[("p", &[rule("admin", "", &["read"])])], false).granted(&names(&["p"]), 0);
    assert!(!allows(&reader, "admin:admin", "") && !allows(&reader, "admin:write", ""));
    for needs in ["kv:deny", "kv:register", "kv", "kv:", ":read", "zz:read", "kv:read:x", "health:list"] {
        assert_eq!(Need::parse(needs), None, "{needs}");
    }
}

#[test]
fn what_could_be_listed_is_told_from_rules_alone() {
    let granted = granted(&[(
        "p",
        &[
            rule("kv", "app/*/config", &["list"]),
            rule("kv", "hidden/x", &["read"]),
            rule("kv", "hidden/**", &["deny"]),
            rule("kv", "w/**", &["write"]),
        ],
    )]);
    let could = |needs, prefix: &str| granted.could(need(needs), prefix.as_bytes());
    assert!(could("kv:list", "") && could("kv:list", "ap") && could("kv:list", "app/x/con"));
    assert!(!could("kv:list", "app/x/y") && !could("kv:list", "b"));
    assert!(!could("kv:read", "app/"), "listing is not reading");
    assert!(!could("kv:list", "hidden/") && !could("kv:list", "hid"), "all of it is denied");
    assert!(!could("kv:list", "w/") && could("kv:write", "w/x"));
    let open = policies(&[("p", &[rule("kv", "s/**", &["deny"])])], true).granted(&names(&["p"]), 0);
    assert!(open.could(need("kv:list"), b"") && !open.could(need("kv:list"), b"s/x"));
}

#[test]
fn everything_is_seen_only_without_exceptions() {
    let all = rule("kv", "**", &["read"]);
    let with = |rules: &[RuleText]| granted(&[("p", rules)]).allows_all(need("kv:list"));
    assert!(with(std::slice::from_ref(&all)));
    assert!(with(&[all.clone(), rule("service", "x", &["deny"])]));
    assert!(!with(&[all, rule("kv", "s", &["deny"])]));
    assert!(!with(&[rule("kv", "*", &["read"])]));
}

#[test]
fn an_explanation_names_every_rule_that_matches_and_the_one_that_decides() {
    let dev = [
        rule("service", "x", &["read"]),
        rule("kv", "a/**", &["write"]),
        rule("kv", "b", &["read"]),
        rule("kv", "a/*", &["read"]),
    ];
    let granted = granted(&[("dev", &dev), ("zz", &[rule("kv", "a/b", &["read"])])]);
    let told: Vec<_> = granted
        .explain(need("kv:read"), b"a/b")
        .into_iter()
        .map(|one| (one.policy, one.rule, one.effect, one.decides))
        .collect();
    let one = |policy: &str, rule, effect, decides| (policy.to_string(), rule, effect, decides);
    let want = [one("dev", 0, "none", false), one("dev", 2, "allow", true), one("zz", 0, "allow", false)];
    assert_eq!(told, want);
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let wrong = |resource, pattern: &str, capability| refused(vec![rule(resource, pattern, &[capability])]);
    assert!(wrong("kv", "a", "register").contains("unknown capability \"register\""));
    assert!(wrong("kw", "a", "read").contains("unknown resource \"kw\""));
    assert!(wrong("kv", "", "read").contains("the pattern is empty"));
    assert!(wrong("admin", "a", "read").contains("have no pattern"));
    assert!(wrong("kv", &"x".repeat(GLOB_BYTES_MAX + 1), "read").contains("max 1024"));
    assert!(wrong("kv", &"*a".repeat(GLOB_STARS_MAX + 1), "read").contains("17 wildcards (max 16)"));
    assert!(refused(vec![rule("kv", "a", &[])]).contains("capabilities are missing"));
    assert!(refused(vec![rule("kv", "a", &["read"]); RULES_MAX + 1]).contains("too many rules"));
    let named = |name: &str| Policies::compile(vec![(name.into(), vec![])], false, &Policies::default());
    for name in ["", "../x", "a b", "a/b", "\u{e9}", &"x".repeat(65)] {
        assert!(named(name).is_err(), "{name}");
    }
    assert!(named(&"x".repeat(64)).is_ok());
    let many = (0..=POLICIES_MAX).map(|at| (format!("p{at}"), vec![])).collect();
    assert!(Policies::compile(many, false, &Policies::default()).unwrap_err().contains("too many policies"));
    let twice = vec![("p".into(), vec![]), ("p".into(), vec![])];
    assert!(Policies::compile(twice, false, &Policies::default()).unwrap_err().contains("twice"));
}

#[test]
fn of_many_patterns_with_several_gaps_each_finds_its_own() {
    let pattern = |team| format!("shared/**/team-{team}/*.json");
    let mut rules: Vec<_> = (0..300).map(|team| rule("kv", &pattern(team), &["read"])).collect();
    rules.push(rule("kv", "shared/*/*", &["write"]));
    rules.push(rule("kv", &format!("shared/**{}**x", "long".repeat(40)), &["delete"]));
    let granted = granted(&[("p", &rules)]);
    for team in 0..300 {
        let key = format!("shared/eu/team-{team}/limits.json");
        let reason = format!("policy p rule {team} (kv {})", pattern(team));
        assert_eq!(granted.decide(need("kv:read"), key.as_bytes()), (Outcome::Allowed, reason.as_str()));
        assert!(!allows(&granted, "kv:read", &format!("shared/eu/team-{team}/limits.yaml")));
        assert!(!allows(&granted, "kv:read", &format!("shared/eu/team-{team}/a/b.json")));
    }
    assert!(allows(&granted, "kv:read", "shared//team-1/team-2/.json"));
    assert!(allows(&granted, "kv:write", "shared/a/b") && !allows(&granted, "kv:write", "shared/a/b/c"));
    assert!(allows(&granted, "kv:delete", &format!("shared/-{}/x", "long".repeat(41))));
    assert!(!allows(&granted, "kv:delete", &format!("shared/-{}/x", "long".repeat(39))));
}

#[test]
fn the_worst_patterns_cost_no_more_than_their_length() {
    // A matcher that tries every way would need longer than the universe has.
    let rules: Vec<_> = (0..200)
        .map(|at| rule("kv", &format!("{}{}b{at}", "*a**a".repeat(8), "a".repeat(900)), &["read"]))
        .collect();
    let granted = granted(&[("p", &rules)]);
    assert!(!allows(&granted, "kv:read", &"a".repeat(1_024)));
    assert!(allows(&granted, "kv:read", &format!("{}b7", "a".repeat(1_000))));
    assert!(!granted.could(need("kv:write"), "a".repeat(1_024).as_bytes()));
}

#[test]
fn a_scan_is_told_where_the_next_may_be() {
    let of = |rules: &[RuleText], needs| granted(&[("p", rules)]).openings(need(needs));
    let read = |pattern| rule("kv", pattern, &["read"]);
    let keys = of(&[read("b/x"), read("d/*/e"), rule("kv", "d/s/**", &["deny"]), read("z**")], "kv:read");
    let at = |text: &str| Next::At(text.into());
    for (key, next) in [
        ("a", at("b/x")),
        ("b/x", at("d/")),
        ("b/xx", at("d/")),
        ("d/a", Next::Here),
        ("d/s/x/y", at("d/s0")),
        ("e", at("z")),
        ("zz", Next::Here),
        ("{", Next::Nowhere),
    ] {
        assert_eq!(keys.next(key.as_bytes()), next, "{key}");
    }
    let names = [rule("service", "web", &["read"]), rule("service", "x*", &["list"])];
    let names = of(&names, "service:list");
    assert_eq!(names.next(b"we id"), at("web "));
    assert_eq!(names.next(b"web-1 id"), at("x"));
    assert_eq!(names.next(b"x1 id"), Next::Here);
    let denied = [rule("service", "a b*", &["deny"]), rule("service", "*", &["read"])];
    assert_eq!(of(&denied, "service:list").next(b"a b1"), Next::Here, "no name has a space");
    let open =
        policies(&[("p", &[rule("kv", "s**", &["deny"])])], true).granted(&BTreeSet::from(["p".into()]), 0);
    assert_eq!(open.openings(need("kv:read")).next(b"s/1"), at("t"));
}

fn pattern() -> impl Strategy<Value = String> {
    let piece =
        prop::sample::select(vec!["a", "b", "/", "ab", "a/", "*", "**", "***", "\u{e9}", "abab/", "-77/"]);
    prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
}

fn key() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["a", "b", "/", "ab", "a/", "*", "\u{e9}", "abab/", "-77/"]);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

/// Patterns that share beginnings, and many that share a beginning and have one gap.
fn crowd() -> impl Strategy<Value = Vec<(String, usize)>> {
    let capability = 0..4_usize;
    let tail = ("[ab]{0,2}[*]{1,2}", "[ab/]{0,3}").prop_map(|(beginning, ending)| beginning + &ending);
    prop::collection::vec((prop_oneof![pattern(), tail], capability), 1..60)
}

const SAYS: [&str; 4] = ["read", "write", "list", "deny"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_pattern_matches_what_it_plainly_says(pattern in pattern(), key in key(), paths: bool) {
        let glob = Glob::parse(&pattern, paths).unwrap();
        prop_assert_eq!(glob.matches(key.as_bytes()), plainly(pattern.as_bytes(), key.as_bytes(), paths));
    }

    #[test]
    fn decisions_are_those_of_asking_every_rule(
        crowd in crowd(), keys in prop::collection::vec(key(), 12), cut in 0..60_usize, more in 0..60_usize,
    ) {
        let rules: Vec<_> = crowd.iter().map(|(text, says)| rule("kv", text, &[SAYS[*says]])).collect();
        let cut = cut.min(rules.len());
        let more = more.clamp(cut, rules.len());
        let given = [("p", &rules[..cut]), ("q", &rules[cut..more]), ("r", &rules[more..])];
        let policies = policies(&given, false);
        for together in [0, usize::MAX] {
            let granted = policies.granted(&names(&["p", "q", "r"]), together);
            for key in &keys {
                let first = |wanted: &[usize]| {
                    let matches = |text: &str| plainly(text.as_bytes(), key.as_bytes(), true);
                    crowd.iter().position(|(text, says)| wanted.contains(says) && matches(text))
                };
                let want = first(&[3]).or(first(&[0, 2]));
                let (outcome, reason) = granted.decide(need("kv:list"), key.as_bytes());
                prop_assert_eq!(outcome == Outcome::Allowed, want.is_some_and(|at| crowd[at].1 != 3));
                let said = want.map_or("no rule allows it".into(), |at| {
                    let (policy, place) = match at {
                        at if at < cut => ("p", at),
                        at if at < more => ("q", at - cut),
                        at => ("r", at - more),
                    };
                    format!("policy {policy} rule {place} (kv {})", crowd[at].0)
                });
                prop_assert_eq!(reason, said.as_str());
                let told = granted.explain(need("kv:list"), key.as_bytes());
                let decides: Vec<_> = told.iter().filter(|one| one.decides).collect();
                prop_assert_eq!(decides.len(), usize::from(want.is_some()));
            }
        }
    }

    #[test]
    fn no_key_that_is_seen_is_jumped_over(
        crowd in crowd(), mut keys in prop::collection::vec(key(), 2..30), by_default: bool,
    ) {
        let rules: Vec<_> = crowd.iter().map(|(text, says)| rule("kv", text, &[SAYS[*says]])).collect();
        let granted = policies(&[("p", &rules)], by_default).granted(&names(&["p"]), 0);
        let openings = granted.openings(need("kv:list"));
        keys.sort_unstable();
        for (place, key) in keys.iter().enumerate() {
            let mut later = keys[place + 1..].iter().filter(|later| *later > key);
            if !allows(&granted, "kv:list", key) {
                let next = openings.next(key.as_bytes());
                let is_jumped = |later: &String| match &next {
                    Next::Here => false,
                    Next::At(next) => later.as_bytes() < next.as_slice(),
                    Next::Nowhere => true,
                };
                prop_assert!(!later.any(|later| is_jumped(later) && allows(&granted, "kv:list", later)));
            }
        }
    }

    #[test]
    fn nothing_can_be_seen_where_nothing_could(crowd in crowd(), key in key(), cut in 0..9_usize) {
        let rules: Vec<_> = crowd.iter().map(|(text, says)| rule("kv", text, &[SAYS[*says]])).collect();
        let granted = granted(&[("p", &rules)]);
        let cut = (0..=cut.min(key.len())).rev().find(|at| key.is_char_boundary(*at)).unwrap();
        if allows(&granted, "kv:list", &key) {
            prop_assert!(granted.could(need("kv:list"), &key.as_bytes()[..cut]));
        } else {
            prop_assert!(!granted.allows_all(need("kv:list")));
        }
    }
}
