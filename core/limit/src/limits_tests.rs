//! The whole against a naive model, and its edges by name.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::address::{Network, read_client};
use crate::lists::FOR_EVER;

const RATE: Rate = Rate::per_second(2, 4);

fn limits() -> Limits {
    Limits::new(RATE, &[None, Some(Rate::per_second(1, 1))], 100, 3, 0)
}

fn ask(limits: &mut Limits, address: &str, class: u8, cost: u32, now_ms: u64) -> Verdict {
    limits.take(Scope::Address, Address::read(address), class, Cost::of(cost), Now::at(now_ms))
}

fn passes(limits: &mut Limits, address: &str, now_ms: u64) -> bool {
    matches!(ask(limits, address, 0, 1, now_ms), Verdict::Allowed(_))
}

fn client(text: &str) -> Client {
    Client::Address(read_client(text).unwrap_or_default())
}

#[test]
fn an_answer_tells_what_is_left_and_how_long_to_wait() {
    let mut limits = limits();
    let left = Left { rate: RATE, tokens: 1, wait_ms: Some(0), full_ms: Some(1_500) };
    assert_eq!(ask(&mut limits, "10.0.0.1", 0, 3, 0), Verdict::Allowed(left));
    let left = Left { rate: RATE, tokens: 1, wait_ms: Some(500), full_ms: Some(1_500) };
    assert_eq!(ask(&mut limits, "10.0.0.1", 0, 2, 0), Verdict::Refused(left));
}

#[test]
fn a_cost_over_the_burst_takes_all_and_is_not_refused_for_ever() {
    let mut limits = limits();
    assert!(matches!(ask(&mut limits, "10.0.0.1", 0, 1_000, 0), Verdict::Allowed(_)));
    assert!(!passes(&mut limits, "10.0.0.1", 499));
    assert!(passes(&mut limits, "10.0.0.1", 500));
}

#[test]
fn what_a_request_spends_in_two_steps_comes_back_when_it_is_refused() {
    let mut limits = limits();
    let more = |limits: &mut Limits, more| {
        let cost = Cost { more, spent: 1 };
        limits.take(Scope::Address, Address::read("10.0.0.1"), 0, cost, Now::at(0))
    };
    assert!(passes(&mut limits, "10.0.0.1", 0) && passes(&mut limits, "10.0.0.1", 0));
    let left = Left { rate: RATE, tokens: 3, wait_ms: Some(500), full_ms: Some(500) };
    assert_eq!(more(&mut limits, 9), Verdict::Refused(left));
    // Of a whole bucket, a cost of any size in two steps is let through.
    limits.shared().addresses.clear(0);
    assert!(passes(&mut limits, "10.0.0.1", 0));
    assert!(matches!(more(&mut limits, u32::MAX), Verdict::Allowed(left) if left.tokens == 0));
    assert_eq!(limits.counts()[0].allowed, 3);
}

#[test]
fn a_class_with_a_rate_of_its_own_spends_nothing_of_the_others() {
    let mut limits = limits();
    assert!(matches!(ask(&mut limits, "10.0.0.1", 1, 1, 0), Verdict::Allowed(_)));
    assert!(matches!(ask(&mut limits, "10.0.0.1", 1, 1, 0), Verdict::Refused(_)));
    assert!((0..4).all(|_| passes(&mut limits, "10.0.0.1", 0)));
}

#[test]
fn scopes_do_not_spend_each_others() {
    let mut limits = limits();
    let address = Address::read("10.0.0.1");
    for scope in [Scope::Address, Scope::Key("a"), Scope::User("a"), Scope::Key("b")] {
        for _ in 0..4 {
            assert!(matches!(limits.take(scope, address, 0, Cost::of(1), Now::at(0)), Verdict::Allowed(_)));
        }
        assert!(matches!(limits.take(scope, address, 0, Cost::of(1), Now::at(0)), Verdict::Refused(_)));
    }
    assert_eq!(limits.take(Scope::Nobody, address, 0, Cost::of(1), Now::at(0)), Verdict::Unlimited);
    assert_eq!(limits.counts().map(|counts| (counts.allowed, counts.exceeded)), [(4, 1), (8, 2), (4, 1)]);
}

#[test]
fn the_black_list_is_asked_first() {
    let mut limits = limits();
    let network = Network::read("10.0.0.0/8").map(|network| (network, FOR_EVER));
    let black = List::new(&network.into_iter().collect::<Vec<_>>(), &[], &[("mallory", 10)]);
    let white = List::new(&network.into_iter().collect::<Vec<_>>(), &[("k", FOR_EVER)], &[]);
    limits.set_lists(white, black);
    assert_eq!(ask(&mut limits, "10.0.0.1", 0, 1, 0), Verdict::Blacklisted(Kind::Address));
    let other = Address::read("192.0.2.1");
    let mallory = Scope::User("mallory");
    assert_eq!(limits.take(mallory, other, 0, Cost::of(1), Now::at(9)), Verdict::Blacklisted(Kind::User));
    assert!(matches!(limits.take(mallory, other, 0, Cost::of(1), Now::at(10)), Verdict::Allowed(_)));
    assert_eq!(limits.take(Scope::Key("k"), other, 0, Cost::of(1), Now::at(0)), Verdict::Whitelisted);
}

#[test]
fn a_new_rate_holds_for_buckets_that_are_there() {
    let mut limits = limits();
    assert!((0..4).all(|_| passes(&mut limits, "10.0.0.1", 0)));
    limits.set_rate(Rate::per_second(1_000, 50), 0);
    assert!(!passes(&mut limits, "10.0.0.1", 0));
    assert!((0..50).all(|_| passes(&mut limits, "10.0.0.1", 50)));
}

#[test]
fn a_rate_of_ones_own_cuts_the_tokens_and_ends() {
    let mut limits = limits();
    assert!(passes(&mut limits, "10.0.0.1", 0));
    let custom = (Rate::per_second(1, 1), 1_000);
    limits.set_customs([(client("10.0.0.1"), custom), (client("10.0.0.2"), custom)], Now::at(0));
    for address in ["10.0.0.1", "10.0.0.2"] {
        assert!(passes(&mut limits, address, 0) && !passes(&mut limits, address, 999));
    }
    // At the end the one token of the second is there; from then on two come in a second, up to four.
    assert_eq!((0..9).filter(|_| passes(&mut limits, "10.0.0.1", 1_500)).count(), 2);
    assert_eq!((0..9).filter(|_| passes(&mut limits, "10.0.0.2", 10_000)).count(), 4);
}

#[test]
fn a_rate_of_ones_own_that_is_taken_back_is_gone_at_once() {
    let mut limits = limits();
    limits.set_customs([(client("10.0.0.1"), (Rate::per_second(1, 9), FOR_EVER))], Now::at(0));
    assert!(passes(&mut limits, "10.0.0.1", 0));
    limits.set_customs([], Now::at(0));
    assert_eq!((0..9).filter(|_| passes(&mut limits, "10.0.0.1", 0)).count(), 4);
}

#[test]
fn a_reset_keeps_a_rate_of_ones_own() {
    let mut limits = limits();
    limits.set_customs([(client("10.0.0.1"), (Rate::per_second(1, 1), FOR_EVER))], Now::at(0));
    assert!(passes(&mut limits, "10.0.0.1", 0) && !passes(&mut limits, "10.0.0.1", 0));
    let bits = read_client("10.0.0.1").unwrap_or_default();
    assert!(limits.shared().addresses.forget(&bits));
    assert!(passes(&mut limits, "10.0.0.1", 0) && !passes(&mut limits, "10.0.0.1", 0));
}

#[test]
fn of_refusals_the_newest_are_kept() {
    let mut limits = limits();
    for _ in 0..9 {
        ask(&mut limits, "10.0.0.1", 0, 1, 7);
    }
    let numbers: Vec<u64> = limits.history().map(|refusal| refusal.number).collect();
    assert_eq!(numbers, [3, 4, 5]);
}

#[test]
fn a_flood_of_addresses_stays_within_its_places_and_buys_no_rate() {
    let mut limits = Limits::new(Rate::per_second(1, 5), &[], 1_000, 10, 0);
    let mut allowed = 0;
    for host in 0..100_000u32 {
        let verdict = limits.take(Scope::Address, Address::V4(host), 0, Cost::of(5), Now::at(0));
        allowed += u32::from(matches!(verdict, Verdict::Allowed(_)));
    }
    // Every place gave its burst once, and so did the bucket of the rest.
    assert_eq!((allowed, limits.shared().addresses.len()), (1_001, 1_000));
}

/// A bucket as the specification puts it, in exact fractions: thousandths of a millionth.
struct Naive {
    rate: Rate,
    level: u128,
    at_ms: u64,
}

impl Naive {
    const TOKEN: u128 = 1_000_000_000;

    fn full(rate: Rate) -> u128 {
        u128::from(rate.burst) * Self::TOKEN
    }

    fn take(&mut self, cost: u32, now_ms: u64) -> bool {
        if now_ms > self.at_ms {
            let earned = u128::from(now_ms - self.at_ms) * u128::from(self.rate.micros_per_second);
            self.level = (self.level + earned).min(Self::full(self.rate));
            self.at_ms = now_ms;
        }
        let cost = u128::from(cost.min(self.rate.burst)) * Self::TOKEN;
        let passes = self.level >= cost;
        self.level -= if passes { cost } else { 0 };
        passes
    }
}

proptest! {
    #[test]
    fn buckets_answer_as_the_naive_model(
        micros_per_second in 1u64..5_000_000,
        burst in 1u32..8,
        asked in prop::collection::vec((0u32..4, 1u32..10, 0u64..3_000, any::<Option<bool>>()), 1..200),
    ) {
        let mut rate = Rate { micros_per_second, burst };
        let mut limits = Limits::new(rate, &[], 100, 0, 0);
        let mut naive: BTreeMap<u32, Naive> = BTreeMap::new();
        let mut now_ms = 0;
        for (host, cost, passed_ms, change) in asked {
            now_ms += passed_ms;
            if change == Some(true) {
                rate = Rate { micros_per_second: rate.micros_per_second / 2 + 1, burst: rate.burst % 7 + 1 };
                limits.set_rate(rate, now_ms);
                for bucket in naive.values_mut() {
                    bucket.take(0, now_ms);
                    bucket.rate = rate;
                    bucket.level = bucket.level.min(Naive::full(rate));
                }
            }
            let bucket =
                naive.entry(host).or_insert(Naive { rate, level: Naive::full(rate), at_ms: now_ms });
            let passes = bucket.take(cost, now_ms);
            let verdict = limits.take(Scope::Address, Address::V4(host), 0, Cost::of(cost), Now::at(now_ms));
            match verdict {
                Verdict::Allowed(left) => {
                    prop_assert!(passes);
                    prop_assert_eq!(u128::from(left.tokens), bucket.level / Naive::TOKEN);
                }
                Verdict::Refused(left) => {
                    prop_assert!(!passes);
                    // Whoever waits that long is let through, and nobody who waits a millisecond less.
                    let wait_ms = left.wait_ms.unwrap_or(0);
                    for (waited_ms, passes) in [(wait_ms - 1, false), (wait_ms, true)] {
                        let mut later = Naive { rate, level: bucket.level, at_ms: now_ms };
                        prop_assert_eq!(later.take(cost, now_ms + waited_ms), passes);
                    }
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
