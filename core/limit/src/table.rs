//! A bounded table of buckets. Clients past the bound take the place of one whose bucket is full, which
//! remembers nothing, and else share one bucket, so that many addresses buy no rate.
//!
//! The places are looked through by a hand that goes round, a few per newcomer (the CLOCK of page
//! replacement): a flood of addresses costs the same per request as calm, and no request ever walks the
//! table. The index is a hash table under a secret of its owner: who does not know it cannot choose addresses
//! that collide. (A B-tree needs none, and took twice as long for addresses, three times for names.)

use std::borrow::Borrow;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::bucket::{Bucket, Rate};

/// Places looked at for each newcomer.
const LOOKED_AT: usize = 8;

/// What names a client.
pub trait Key: Ord {
    /// A hash that is equal for equal keys; others collide by chance only.
    fn hash(&self, secret: u64) -> u64;
}

impl Key for u128 {
    fn hash(&self, secret: u64) -> u64 {
        xxh3_64_with_seed(&self.to_ne_bytes(), secret)
    }
}

impl Key for str {
    fn hash(&self, secret: u64) -> u64 {
        xxh3_64_with_seed(self.as_bytes(), secret)
    }
}

impl Key for Box<str> {
    fn hash(&self, secret: u64) -> u64 {
        (**self).hash(secret)
    }
}

/// A client's place.
#[derive(Debug)]
pub struct Place<K> {
    /// Who it is.
    pub key: K,
    /// What it may still take.
    pub bucket: Bucket,
    /// Requests let through.
    pub allowed: u64,
    /// Requests refused.
    pub denied: u64,
    /// Unix time of the first request, in ms.
    pub first_seen_ms: u64,
    /// Unix time of the last request, in ms.
    pub last_seen_ms: u64,
    /// The caller's clock at the last request, in ms.
    used_at_ms: u64,
    /// Unix time in ms until which the bucket has a rate of its own; 0: it has none.
    pub custom_until_ms: u64,
}

/// Buckets by client.
#[derive(Debug)]
pub struct Table<K> {
    rate: Rate,
    places_max: usize,
    places: Vec<Place<K>>,
    /// Of each place its number, found by the key of the place.
    index: HashTable<u32>,
    secret: u64,
    rest: Bucket,
    hand: usize,
}

impl<K: Key> Table<K> {
    /// An empty table of at most `places_max` clients, each with `rate`. `secret`: drawn by the owner.
    pub fn new(rate: Rate, places_max: usize, secret: u64) -> Self {
        let places_max = places_max.clamp(1, u32::MAX as usize);
        let rest = Bucket::new(rate, 0);
        Self { rate, places_max, places: Vec::new(), index: HashTable::new(), secret, rest, hand: 0 }
    }

    /// The rate of whoever has none of its own.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// How many clients have a place.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True if nobody has a place.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The client's place, if it has one.
    pub fn get<Q: Key + ?Sized>(&mut self, key: &Q) -> Option<&mut Place<K>>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key)?;
        self.places.get_mut(at)
    }

    /// Every place, by key.
    pub fn places_mut(&mut self) -> &mut [Place<K>] {
        &mut self.places
    }

    /// Up to `count` places, ascending by key.
    pub fn sorted(&mut self, count: usize) -> impl Iterator<Item = &mut Place<K>> {
        let mut found: Vec<&mut Place<K>> = self.places.iter_mut().collect();
        found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        found.into_iter().take(count)
    }

    /// The client's place, made if need be; its rate is then `first_rate` or the table's. `None`: there is no
    /// room for another, it takes from [`Table::rest`].
    pub fn place<Q: Key + ?Sized>(
        &mut self,
        key: &Q,
        make: impl FnOnce() -> K,
        custom: impl FnOnce() -> Option<(Rate, u64)>,
        now: Now,
    ) -> Option<&mut Place<K>>
    where
        K: Borrow<Q>,
    {
        let at = match self.find(key) {
            Some(at) => at,
            None => self.settle(make(), custom(), now)?,
        };
        let place = self.places.get_mut(at)?;
        place.last_seen_ms = now.unix_ms;
        place.used_at_ms = now.clock_ms;
        Some(place)
    }

    /// What those share who have no place.
    pub fn rest(&mut self) -> &mut Bucket {
        &mut self.rest
    }

    /// Forgets a client; it starts full when it comes again. False: it had no place.
    pub fn forget<Q: Key + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let Some(at) = self.find(key) else { return false };
        self.remove(at);
        true
    }

    /// Forgets everybody.
    pub fn clear(&mut self, now_ms: u64) {
        self.places = Vec::new();
        self.index = HashTable::new();
        self.rest = Bucket::new(self.rate, now_ms);
        self.hand = 0;
    }

    /// Changes the rate of all who have none of their own, from `now_ms` on.
    pub fn set_rate(&mut self, rate: Rate, now_ms: u64) {
        self.rate = rate;
        self.rest.set_rate(rate, now_ms);
        for place in &mut self.places {
            if place.custom_until_ms == 0 {
                place.bucket.set_rate(rate, now_ms);
            }
        }
    }

    /// Changes the bound; who is over it keeps its place until it is forgotten.
    pub fn set_places_max(&mut self, places_max: usize) {
        self.places_max = places_max.clamp(1, u32::MAX as usize);
    }

    /// Looks at `count` places and forgets those unused for `idle_ms` whose bucket is full: dropping another
    /// would give its client back what it has spent.
    pub fn sweep(&mut self, idle_ms: u64, count: usize, now_ms: u64) -> usize {
        let mut forgotten = 0;
        for _ in 0..count.min(self.places.len()) {
            let at = self.turn();
            let place = &mut self.places[at];
            if now_ms.saturating_sub(place.used_at_ms) >= idle_ms && place.bucket.is_full(now_ms) {
                self.remove(at);
                forgotten += 1;
            } else {
                self.hand = at + 1;
            }
        }
        forgotten
    }

    fn settle(&mut self, key: K, custom: Option<(Rate, u64)>, now: Now) -> Option<usize> {
        if self.places.len() >= self.places_max {
            self.make_room(now.clock_ms)?;
        }
        let (rate, custom_until_ms) = custom.unwrap_or((self.rate, 0));
        let at = self.places.len();
        let (places, secret) = (&self.places, self.secret);
        let hash_at = |at: &u32| places[*at as usize].key.hash(secret);
        self.index.insert_unique(key.hash(secret), at as u32, hash_at);
        self.places.push(Place {
            key,
            bucket: Bucket::new(rate, now.clock_ms),
            allowed: 0,
            denied: 0,
            first_seen_ms: now.unix_ms,
            last_seen_ms: now.unix_ms,
            used_at_ms: now.clock_ms,
            custom_until_ms,
        });
        Some(at)
    }

    /// Forgets the next client under the hand whose bucket is full: that gives it nothing.
    fn make_room(&mut self, now_ms: u64) -> Option<()> {
        for _ in 0..LOOKED_AT.min(self.places.len()) {
            let at = self.turn();
            if self.places[at].bucket.is_full(now_ms) {
                self.remove(at);
                return (self.places.len() < self.places_max).then_some(());
            }
            self.hand = at + 1;
        }
        None
    }

    fn find<Q: Key + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        let is_it = |at: &u32| self.places[*at as usize].key.borrow().cmp(key).is_eq();
        self.index.find(key.hash(self.secret), is_it).map(|at| *at as usize)
    }

    fn turn(&self) -> usize {
        if self.hand < self.places.len() { self.hand } else { 0 }
    }

    fn remove(&mut self, at: usize) {
        let gone = self.places.swap_remove(at);
        let last = self.places.len();
        if let Ok(entry) = self.index.find_entry(gone.key.hash(self.secret), |found| *found as usize == at) {
            entry.remove();
        }
        if let Some(moved) = self.places.get(at)
            && let Some(number) =
                self.index.find_mut(moved.key.hash(self.secret), |found| *found as usize == last)
        {
            *number = at as u32;
        }
    }
}

/// The two clocks of a request.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Any monotonic clock, in ms: what buckets fill by.
    pub clock_ms: u64,
    /// Unix time in ms: what ends at a time of day goes by.
    pub unix_ms: u64,
}

impl Now {
    /// Both clocks at the same value, where only one matters.
    pub const fn at(ms: u64) -> Self {
        Self { clock_ms: ms, unix_ms: ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::per_second(1, 2);

    fn take(table: &mut Table<u128>, key: u128, cost: u32, now_ms: u64) -> bool {
        match table.place(&key, || key, || None, Now::at(now_ms)) {
            Some(place) => place.bucket.take(cost, now_ms).is_ok(),
            None => table.rest().take(cost, now_ms).is_ok(),
        }
    }

    fn keys(table: &mut Table<u128>) -> Vec<u128> {
        table.sorted(9).map(|place| place.key).collect()
    }

    #[test]
    fn clients_past_the_bound_share_one_bucket() {
        let mut table = Table::new(RATE, 2, 0);
        let taken: Vec<bool> = (0..6).map(|key| take(&mut table, key, 1, 0)).collect();
        assert_eq!(taken, [true, true, true, true, false, false]);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn only_who_has_a_full_bucket_makes_room() {
        let mut table = Table::new(RATE, 2, 0);
        assert!(take(&mut table, 1, 2, 0) && take(&mut table, 2, 2, 0));
        assert!(take(&mut table, 2, 1, 2_000));
        assert!(take(&mut table, 3, 2, 2_000));
        assert_eq!(keys(&mut table), [2, 3]);
        assert!(take(&mut table, 2, 1, 2_000) && !take(&mut table, 2, 1, 2_000));
    }

    #[test]
    fn who_is_forgotten_in_the_middle_takes_nobody_with_it() {
        let mut table = Table::new(RATE, 9, 0);
        for key in 0..5 {
            take(&mut table, key, 1, 0);
        }
        assert!(table.forget(&1) && !table.forget(&1));
        for key in [0, 2, 3, 4] {
            assert_eq!(table.get(&key).map(|place| place.key), Some(key));
        }
    }

    #[test]
    fn many_come_and_go_and_each_is_found() {
        let mut table = Table::new(RATE, 500, 7);
        for key in 0..2_000 {
            take(&mut table, key, 1, key as u64 * 100);
            if key % 3 == 0 {
                table.forget(&(key / 2));
            }
        }
        let there: Vec<u128> = table.places_mut().iter().map(|place| place.key).collect();
        assert!(there.len() > 100);
        for key in 0..2_000 {
            assert_eq!(table.get(&key).is_some(), there.contains(&key), "{key}");
        }
    }

    #[test]
    fn a_sweep_forgets_the_idle_and_goes_round() {
        let mut table = Table::new(RATE, 9, 0);
        for key in 0..4 {
            take(&mut table, key, 1, key as u64 * 1_000);
        }
        // Unused for nine seconds are 0 and 1; 1 has spent more than came back.
        let place =
            table.get(&1).map(|place| place.bucket.set_rate(Rate { micros_per_second: 1, burst: 2 }, 0));
        assert!(place.is_some());
        let swept: usize = (0..4).map(|_| table.sweep(9_000, 1, 10_000)).sum();
        assert_eq!((swept, keys(&mut table)), (1, vec![1, 2, 3]));
        let swept: usize = (0..9).map(|_| table.sweep(7_000, 1, 10_000)).sum();
        assert_eq!(swept, 2);
        assert_eq!(keys(&mut table), [1]);
    }

    #[test]
    fn a_new_rate_holds_at_once_for_all_but_those_with_their_own() {
        let mut table = Table::new(RATE, 9, 0);
        take(&mut table, 1, 1, 0);
        let own = Rate::per_second(9, 9);
        assert!(table.place(&2, || 2, || Some((own, 50)), Now::at(0)).is_some());
        table.set_rate(Rate::per_second(5, 1), 0);
        assert_eq!(table.get(&1).map(|place| place.bucket.rate().burst), Some(1));
        assert_eq!(table.get(&2).map(|place| place.bucket.rate()), Some(own));
    }
}
