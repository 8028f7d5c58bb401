//! Everything that decides on one request: who it is counted for, the lists, the buckets, what is told.

use std::collections::{BTreeMap, VecDeque};

use crate::address::Address;
use crate::bucket::{Bucket, Rate};
use crate::lists::List;
use crate::table::{Key, Now, Place, Table};
use crate::verdict::{Client, Cost, Counts, Custom, Kind, Left, Refusal, Scope, Verdict};

/// The buckets of one rate.
#[derive(Debug)]
pub struct Pool {
    /// By address.
    pub addresses: Table<u128>,
    /// By API key.
    pub keys: Table<Box<str>>,
    /// By user.
    pub users: Table<Box<str>>,
}

impl Pool {
    fn new(rate: Rate, places_max: usize, secret: u64) -> Self {
        Self {
            addresses: Table::new(rate, places_max, secret),
            keys: Table::new(rate, places_max, secret),
            users: Table::new(rate, places_max, secret),
        }
    }

    /// Changes the rate of all that have none of their own.
    pub fn set_rate(&mut self, rate: Rate, now_ms: u64) {
        self.addresses.set_rate(rate, now_ms);
        self.keys.set_rate(rate, now_ms);
        self.users.set_rate(rate, now_ms);
    }
}

#[derive(Debug, Default)]
struct Customs {
    addresses: BTreeMap<u128, Custom>,
    keys: BTreeMap<Box<str>, Custom>,
    users: BTreeMap<Box<str>, Custom>,
}

/// The limits of one node.
#[derive(Debug)]
pub struct Limits {
    /// The pool of everybody, then those of route classes with a rate of their own.
    pools: Vec<Pool>,
    /// By route class: its pool.
    pool_of: Vec<usize>,
    customs: Customs,
    white: List,
    black: List,
    counts: [Counts; 3],
    history: VecDeque<Refusal>,
    history_max: usize,
    refusals: u64,
}

impl Limits {
    /// `own` has, for each route class, the rate it has apart from the others, if any. `secret`: drawn by the
    /// owner, what the places of clients are found by.
    pub fn new(rate: Rate, own: &[Option<Rate>], places_max: usize, history_max: usize, secret: u64) -> Self {
        let mut pools = vec![Pool::new(rate, places_max, secret)];
        let mut pool_of = Vec::with_capacity(own.len());
        for rate in own {
            pool_of.push(rate.map_or(0, |_| pools.len()));
            pools.extend(rate.map(|rate| Pool::new(rate, places_max, secret)));
        }
        Self {
            pools,
            pool_of,
            customs: Customs::default(),
            white: List::default(),
            black: List::default(),
            counts: [Counts::default(); 3],
            history: VecDeque::new(),
            history_max,
            refusals: 0,
        }
    }

    /// Decides on one request and spends its cost.
    pub fn take(&mut self, scope: Scope<'_>, address: Address, class: u8, cost: Cost, now: Now) -> Verdict {
        let kind = match scope {
            Scope::Address | Scope::Nobody => Kind::Address,
            Scope::Key(_) => Kind::Key,
            Scope::User(_) => Kind::User,
        };
        if let Some(found) = listed(&self.black, scope, address, now.unix_ms) {
            self.counts[found as usize].blacklisted += 1;
            return Verdict::Blacklisted(found);
        }
        if let Some(found) = listed(&self.white, scope, address, now.unix_ms) {
            self.counts[found as usize].whitelisted += 1;
            return Verdict::Whitelisted;
        }
        let pool = self.pool_of.get(usize::from(class)).copied().unwrap_or(0);
        let client = address.client();
        let spent = match scope {
            Scope::Nobody => return Verdict::Unlimited,
            Scope::Address => {
                let custom = || self.customs.addresses.get(&client).copied().filter(|_| pool == 0);
                spend(&mut self.pools[pool].addresses, &client, || client, custom, cost, now)
            }
            Scope::Key(id) => {
                let custom = || self.customs.keys.get(id).copied().filter(|_| pool == 0);
                spend(&mut self.pools[pool].keys, id, || id.into(), custom, cost, now)
            }
            Scope::User(id) => {
                let custom = || self.customs.users.get(id).copied().filter(|_| pool == 0);
                spend(&mut self.pools[pool].users, id, || id.into(), custom, cost, now)
            }
        };
        match spent {
            Ok(left) => {
                self.counts[kind as usize].allowed += u64::from(cost.spent == 0);
                Verdict::Allowed(left)
            }
            Err((left, level_nanos)) => {
                self.counts[kind as usize].exceeded += 1;
                self.note(
                    scope,
                    client,
                    class,
                    cost.more.saturating_add(cost.spent),
                    level_nanos,
                    now.unix_ms,
                );
                Verdict::Refused(left)
            }
        }
    }

    /// The pool of everybody, for looking and resetting.
    pub fn shared(&mut self) -> &mut Pool {
        &mut self.pools[0]
    }

    /// Every pool.
    pub fn pools_mut(&mut self) -> &mut [Pool] {
        &mut self.pools
    }

    /// Changes the rate of the pool of everybody; those with a rate of their own keep it until it ends.
    pub fn set_rate(&mut self, rate: Rate, now_ms: u64) {
        self.pools[0].set_rate(rate, now_ms);
    }

    /// Replaces all rates of clients' own; they hold at once, tokens above a new burst are lost.
    pub fn set_customs(&mut self, customs: impl IntoIterator<Item = (Client, Custom)>, now: Now) {
        let mut next = Customs::default();
        for (client, custom) in customs.into_iter().filter(|(_, (_, until_ms))| now.unix_ms < *until_ms) {
            match client {
                Client::Address(bits) => drop(next.addresses.insert(bits, custom)),
                Client::Key(id) => drop(next.keys.insert(id, custom)),
                Client::User(id) => drop(next.users.insert(id, custom)),
            }
        }
        let pool = &mut self.pools[0];
        apply(&mut pool.addresses, &self.customs.addresses, &next.addresses, now.clock_ms);
        apply(&mut pool.keys, &self.customs.keys, &next.keys, now.clock_ms);
        apply(&mut pool.users, &self.customs.users, &next.users, now.clock_ms);
        self.customs = next;
    }

    /// Replaces both lists.
    pub fn set_lists(&mut self, white: List, black: List) {
        (self.white, self.black) = (white, black);
    }

    /// How often each answer was given, by [`Kind`].
    pub fn counts(&self) -> &[Counts; 3] {
        &self.counts
    }

    /// The newest refusals, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Refusal> {
        self.history.iter()
    }

    fn note(&mut self, scope: Scope<'_>, bits: u128, class: u8, cost: u32, level_nanos: u64, at_ms: u64) {
        self.refusals += 1;
        if self.history_max == 0 {
            return;
        }
        while self.history.len() >= self.history_max {
            self.history.pop_front();
        }
        let client = match scope {
            Scope::Key(id) => Client::Key(id.into()),
            Scope::User(id) => Client::User(id.into()),
            Scope::Address | Scope::Nobody => Client::Address(bits),
        };
        self.history.push_back(Refusal { number: self.refusals, at_ms, client, class, cost, level_nanos });
    }
}

fn listed(list: &List, scope: Scope<'_>, address: Address, unix_ms: u64) -> Option<Kind> {
    if list.has_address(address, unix_ms) {
        return Some(Kind::Address);
    }
    match scope {
        Scope::Key(id) => list.has_key(id, unix_ms).then_some(Kind::Key),
        Scope::User(id) => list.has_user(id, unix_ms).then_some(Kind::User),
        Scope::Address | Scope::Nobody => None,
    }
}

fn spend<K: Key + std::borrow::Borrow<Q>, Q: Key + ?Sized>(
    table: &mut Table<K>,
    key: &Q,
    make: impl FnOnce() -> K,
    custom: impl FnOnce() -> Option<Custom>,
    cost: Cost,
    now: Now,
) -> Result<Left, (Left, u64)> {
    let rate = table.rate();
    let custom = || custom().filter(|(_, until_ms)| now.unix_ms < *until_ms);
    if let Some(place) = table.place(key, make, custom, now) {
        if place.custom_until_ms != 0 && now.unix_ms >= place.custom_until_ms {
            // From its end on the bucket has been filling at everybody's rate.
            let over_ms = now.unix_ms - place.custom_until_ms;
            place.bucket.set_rate(rate, now.clock_ms.saturating_sub(over_ms));
            place.custom_until_ms = 0;
        }
        let spent = from(&mut place.bucket, cost, now.clock_ms);
        count(place, spent.is_ok(), cost.spent == 0);
        return spent;
    }
    from(table.rest(), cost, now.clock_ms)
}

fn count<K>(place: &mut Place<K>, is_allowed: bool, is_first: bool) {
    if is_allowed {
        place.allowed += u64::from(is_first);
    } else {
        place.denied += 1;
    }
}

fn from(bucket: &mut Bucket, cost: Cost, now_ms: u64) -> Result<Left, (Left, u64)> {
    let rate = bucket.rate();
    let whole = cost.spent.saturating_add(cost.more).min(rate.burst.max(1));
    let taken = bucket.take(whole.saturating_sub(cost.spent), now_ms);
    if taken.is_err() {
        bucket.give(cost.spent, now_ms);
    }
    let wait_ms = bucket.wait_ms(if taken.is_ok() { 1 } else { whole }, now_ms);
    let left = Left { rate, tokens: bucket.level(now_ms), wait_ms, full_ms: bucket.full_in_ms(now_ms) };
    taken.map(|()| left).map_err(|_| (left, bucket.level_nanos(now_ms)))
}

fn apply<K: Key>(
    table: &mut Table<K>,
    before: &BTreeMap<K, Custom>,
    after: &BTreeMap<K, Custom>,
    now_ms: u64,
) {
    let rate = table.rate();
    for key in before.keys().filter(|key| !after.contains_key(key)) {
        if let Some(place) = table.get(key) {
            place.custom_until_ms = 0;
            place.bucket.set_rate(rate, now_ms);
        }
    }
    for (key, &(custom, until_ms)) in after {
        if let Some(place) = table.get(key) {
            place.custom_until_ms = until_ms;
            place.bucket.set_rate(custom, now_ms);
        }
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
