//! Leases: which rows must be heard of, and until when. Leader memory; a heartbeat never enters the log.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

/// More dead places in the queue than this, and than living ones, and it is built anew.
const STALE_MAX: usize = 1_024;

struct Lease {
    ttl_ms: u64,
    deadline_ms: u64,
    /// Where it stands in the queue; places with another time are dead.
    queued_ms: u64,
    /// The row's modify_index when the lease was granted: the expiry is guarded by it.
    index: u64,
    /// Its expiry is in the log or on the way there; a heartbeat now comes too late.
    is_ending: bool,
}

/// When to look at which row: time, table, key.
type Place = (u64, u16, Arc<[u8]>);

/// A lease whose time is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub table: u16,
    pub key: Arc<[u8]>,
    pub index: u64,
}

/// Every lease of the node. All times are on the node's monotonic clock.
#[derive(Default)]
pub(crate) struct Leases {
    by_table: BTreeMap<u16, HashMap<Arc<[u8]>, Lease>>,
    /// Lazily: a renewed lease keeps its old place and is put back when that comes up, so a
    /// heartbeat costs one map look-up and no heap work.
    queue: BinaryHeap<Reverse<Place>>,
}

impl Leases {
    /// Grants (or grants anew) the row's lease for `ttl_ms`.
    pub fn grant(&mut self, table: u16, key: &[u8], index: u64, ttl_ms: u64, now_ms: u64) {
        let deadline_ms = now_ms.saturating_add(ttl_ms);
        let mut lease = Lease { ttl_ms, deadline_ms, queued_ms: deadline_ms, index, is_ending: false };
        let rows = self.by_table.entry(table).or_default();
        if let Some(old) = rows.get_mut(key) {
            // Its place still comes up in time, unless it was taken out or is after the new deadline.
            if !old.is_ending && old.queued_ms <= deadline_ms {
                lease.queued_ms = old.queued_ms;
                *old = lease;
                return;
            }
        }
        let key: Arc<[u8]> = Arc::from(key);
        rows.insert(key.clone(), lease);
        self.queue.push(Reverse((deadline_ms, table, key)));
        self.drop_dead_places();
    }

    /// The row was written and its lease goes on: what ends it is guarded by the new index. One that was
    /// about to end is over, and comes up again.
    pub fn touch(&mut self, table: u16, key: &[u8], index: u64, ttl_ms: u64, now_ms: u64) {
        let Some((key, lease)) = self.by_table.get_mut(&table).and_then(|rows| {
            let (key, _) = rows.get_key_value(key)?;
            let key = Arc::clone(key);
            let lease = rows.get_mut(&key)?;
            Some((key, lease))
        }) else {
            return self.grant(table, key, index, ttl_ms, now_ms);
        };
        lease.index = index;
        if std::mem::take(&mut lease.is_ending) {
            lease.queued_ms = now_ms;
            self.queue.push(Reverse((now_ms, table, key)));
        }
    }

    /// Forgets the row's lease.
    pub fn drop_row(&mut self, table: u16, key: &[u8]) {
        if let Some(rows) = self.by_table.get_mut(&table) {
            rows.remove(key);
        }
    }

    /// Gives the lease its full length again; false if there is none, or its end is on the way.
    pub fn renew(&mut self, table: u16, key: &[u8], now_ms: u64) -> bool {
        match self.get_mut(table, key) {
            Some(lease) if !lease.is_ending => {
                lease.deadline_ms = now_ms.saturating_add(lease.ttl_ms);
                true
            }
            _ => false,
        }
    }

    /// Milliseconds left, 0 once it is over but its row not yet gone.
    pub fn left_ms(&self, table: u16, key: &[u8], now_ms: u64) -> Option<u64> {
        let lease = self.by_table.get(&table)?.get(key)?;
        Some(lease.deadline_ms.saturating_sub(now_ms))
    }

    /// When to look again: no lease ends before this.
    pub fn next_ms(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((queued_ms, ..))| *queued_ms)
    }

    /// Takes at most `limit` leases whose time is over and marks them as ending.
    pub fn take_ended(&mut self, now_ms: u64, limit: usize) -> Vec<Ended> {
        let mut ended = Vec::new();
        while ended.len() < limit
            && self.next_ms().is_some_and(|next_ms| next_ms <= now_ms)
            && let Some(Reverse((queued_ms, table, key))) = self.queue.pop()
        {
            let Some(lease) = self.get_mut(table, &key) else { continue };
            if lease.is_ending || lease.queued_ms != queued_ms {
                continue;
            }
            if lease.deadline_ms > now_ms {
                lease.queued_ms = lease.deadline_ms;
                let place = (lease.deadline_ms, table, key);
                self.queue.push(Reverse(place));
                continue;
            }
            lease.is_ending = true;
            ended.push(Ended { table, index: lease.index, key });
        }
        ended
    }

    /// The expiry could not be proposed: the lease is alive again and comes up at `retry_ms`.
    pub fn put_back(&mut self, ended: &Ended, retry_ms: u64) {
        if let Some(lease) = self.get_mut(ended.table, &ended.key)
            && lease.is_ending
        {
            lease.is_ending = false;
            lease.queued_ms = retry_ms;
            self.queue.push(Reverse((retry_ms, ended.table, ended.key.clone())));
        }
    }

    /// How many leases there are.
    pub fn len(&self) -> usize {
        self.by_table.values().map(HashMap::len).sum()
    }

    fn get_mut(&mut self, table: u16, key: &[u8]) -> Option<&mut Lease> {
        self.by_table.get_mut(&table)?.get_mut(key)
    }

    /// Rows that come and go leave dead places until their time; this bounds how many.
    fn drop_dead_places(&mut self) {
        if self.queue.len() <= STALE_MAX + 2 * self.len() {
            return;
        }
        let by_table = &self.by_table;
        self.queue.retain(|Reverse((queued_ms, table, key))| {
            let lease = by_table.get(table).and_then(|rows| rows.get(key));
            lease.is_some_and(|lease| !lease.is_ending && lease.queued_ms == *queued_ms)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended_keys(leases: &mut Leases, now_ms: u64) -> Vec<Vec<u8>> {
        leases.take_ended(now_ms, 100).into_iter().map(|ended| ended.key.to_vec()).collect()
    }

    #[test]
    fn a_renewed_lease_outlives_its_first_deadline() {
        let mut leases = Leases::default();
        leases.grant(2, b"web", 7, 1_000, 0);
        assert!(leases.renew(2, b"web", 900));
        assert_eq!(leases.left_ms(2, b"web", 1_000), Some(900));
        assert!(ended_keys(&mut leases, 1_000).is_empty());
        assert_eq!(leases.next_ms(), Some(1_900));
        assert_eq!(leases.take_ended(1_900, 10), [Ended { table: 2, key: Arc::from(&b"web"[..]), index: 7 }]);
    }

    #[test]
    fn a_row_that_is_written_does_not_live_longer_by_that() {
        let mut leases = Leases::default();
        leases.touch(2, b"web", 7, 1_000, 0);
        leases.touch(2, b"web", 8, 1_000, 900);
        assert_eq!(leases.left_ms(2, b"web", 900), Some(100));
        let ended = leases.take_ended(1_000, 10);
        assert_eq!(ended, [Ended { table: 2, key: Arc::from(&b"web"[..]), index: 8 }]);
        leases.touch(2, b"web", 9, 1_000, 1_001);
        assert_eq!(leases.take_ended(1_001, 10)[0].index, 9, "the end that was on its way is refused");
        assert!(!leases.renew(2, b"web", 1_002), "a heartbeat comes too late");
    }

    #[test]
    fn a_heartbeat_after_the_end_was_proposed_is_too_late() {
        let mut leases = Leases::default();
        leases.grant(2, b"web", 7, 10, 0);
        let ended = leases.take_ended(10, 10);
        assert!(!leases.renew(2, b"web", 11));
        assert!(ended_keys(&mut leases, 99).is_empty());
        leases.put_back(&ended[0], 500);
        assert!(leases.renew(2, b"web", 600));
        assert_eq!(leases.next_ms(), Some(500));
        assert_eq!(ended_keys(&mut leases, 610), [b"web"]);
    }

    #[test]
    fn a_new_grant_replaces_the_old_one_in_both_directions() {
        let mut leases = Leases::default();
        leases.grant(2, b"web", 1, 5_000, 0);
        leases.grant(2, b"web", 2, 1_000, 0);
        assert_eq!(leases.next_ms(), Some(1_000));
        assert_eq!(leases.take_ended(1_000, 10)[0].index, 2);
        leases.grant(2, b"web", 3, 1_000, 1_000);
        assert!(leases.renew(2, b"web", 1_500));
        assert_eq!(ended_keys(&mut leases, 2_500), [b"web"]);
    }

    #[test]
    fn a_dropped_row_never_ends() {
        let mut leases = Leases::default();
        leases.grant(2, b"web", 1, 10, 0);
        leases.drop_row(2, b"web");
        assert!(ended_keys(&mut leases, 99).is_empty());
        assert_eq!((leases.len(), leases.next_ms()), (0, None));
    }

    #[test]
    fn a_wave_of_ends_is_taken_in_bounded_steps() {
        let mut leases = Leases::default();
        for n in 0..250_u32 {
            leases.grant(2, &n.to_be_bytes(), 1, 10, 0);
        }
        assert_eq!(leases.take_ended(10, 100).len(), 100);
        assert_eq!(leases.take_ended(10, 1_000).len(), 150);
    }

    #[test]
    fn rows_that_come_and_go_leave_a_bounded_queue() {
        let mut leases = Leases::default();
        for n in 0..10_000 {
            leases.grant(2, b"web", n, 3_600_000 - n, 0);
            leases.drop_row(2, b"web");
        }
        leases.grant(2, b"web", 1, 3_600_000, 0);
        assert!(leases.queue.len() <= STALE_MAX + 3, "{}", leases.queue.len());
        assert_eq!(ended_keys(&mut leases, 3_600_000), [b"web"]);
    }
}
