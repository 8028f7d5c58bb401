//! What one decision costs: with a thousand rules as teams write them, with a thousand that are meant to
//! hurt; and what compiling them costs.

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use konsul_views::access::{Granted, Need, Policies, PolicyText, RuleText};

fn rule(resource: &str, pattern: String, capabilities: &[&str]) -> RuleText {
    (resource.into(), pattern, capabilities.iter().map(|name| (*name).into()).collect())
}

/// Teams with their own configuration, secrets that nobody reads, shared parts, services by name.
fn of_teams() -> Vec<RuleText> {
    let mut rules = Vec::new();
    for team in 0..125 {
        rules.push(rule("kv", format!("teams/team-{team}/config/**"), &["read", "list"]));
        rules.push(rule("kv", format!("teams/team-{team}/config/*/db"), &["write"]));
        rules.push(rule("kv", format!("teams/team-{team}/secrets/**"), &["deny"]));
        rules.push(rule("kv", format!("teams/team-{team}/*/flags/*"), &["read"]));
        rules.push(rule("kv", format!("teams/team-{team}/state"), &["read", "write"]));
        rules.push(rule("kv", format!("shared/**/team-{team}/*.json"), &["read"]));
        rules.push(rule("kv", format!("*/team-{team}.lock"), &["read", "write", "delete"]));
        rules.push(rule("service", format!("team-{team}-*"), &["read", "register"]));
    }
    rules
}

/// Every rule a candidate for every key, with many gaps and nothing rare that would tell them apart.
fn hostile() -> Vec<RuleText> {
    let digits = |at: usize| format!("{}*{}*{}", at / 100, at / 10 % 10, at % 10);
    (0..1_000).map(|at| rule("kv", "*a**/".repeat(7) + &digits(at), &["read"])).collect()
}

fn many_endings() -> Vec<RuleText> {
    (0..1_000).map(|at| rule("kv", format!("**-{at}/x"), &["read"])).collect()
}

fn granted(rules: Vec<RuleText>, policies: usize) -> Granted {
    let size = rules.len() / policies;
    let given: Vec<PolicyText> =
        rules.chunks(size).enumerate().map(|(at, rules)| (format!("p{at:03}"), rules.to_vec())).collect();
    let names: BTreeSet<String> = given.iter().map(|(name, _)| name.clone()).collect();
    let compiled = Policies::compile(given, false, &Policies::default()).expect("they are policies");
    compiled.granted(&names, usize::MAX)
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("access");
    let read = Need::parse("kv:read").expect("there is such a permission");
    let teams = granted(of_teams(), 1);
    let ask = |granted: &Granted, key: &str| black_box(granted.decide(read, black_box(key.as_bytes())).0);
    for (name, key) in [
        ("allowed", "teams/team-57/config/app/main/timeout_ms"),
        ("denied", "teams/team-99/secrets/database/password"),
        ("no rule", "other/team-3/config/app/main/timeout_ms"),
        ("two gaps", "shared/eu/west/1/team-77/limits.json"),
        ("by its ending", "locks/team-101.lock"),
    ] {
        group.bench_function(format!("1,000 rules of teams, {name}"), |b| b.iter(|| ask(&teams, key)));
    }
    for policies in [2, 10, 50] {
        let split = granted(of_teams(), policies);
        let key = "teams/team-57/config/app/main/timeout_ms";
        group.bench_function(format!("the same in {policies} policies"), |b| b.iter(|| ask(&split, key)));
    }
    let endings = granted(many_endings(), 1);
    let key = "apps/region-7/cluster-12/name-431/x";
    group.bench_function("1,000 endings", |b| b.iter(|| ask(&endings, key)));
    let hostile = granted(hostile(), 1);
    let (short, long) = ("apps/region-7/cluster-12/name", "aa/".repeat(341));
    group.bench_function("1,000 hostile rules, 29 bytes", |b| b.iter(|| ask(&hostile, short)));
    group.bench_function("1,000 hostile rules, 1,023 bytes", |b| b.iter(|| ask(&hostile, &long)));
    let list = Need::parse("kv:list").expect("there is such a permission");
    group.bench_function("could list, 1,000 rules of teams, no", |b| {
        b.iter(|| black_box(teams.could(list, black_box(b"elsewhere/"))));
    });
    group.bench_function("compile 1,000 rules of teams", |b| {
        let compile = |rules| Policies::compile(vec![("p".into(), rules)], false, &Policies::default());
        b.iter_batched(of_teams, compile, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(1))
        .warm_up_time(std::time::Duration::from_millis(300));
    targets = decisions
}
criterion_main!(benches);
