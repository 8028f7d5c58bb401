//! The change ring: the newest changes, so that a reader who was away can go on where it stopped.

use std::collections::VecDeque;

/// The asked position is older than what the ring still holds: the reader must read the tables again.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone {
    /// The lowest index a reader may resume after.
    pub resumable_after: u64,
}

struct Slot<T> {
    index: u64,
    bytes: usize,
    change: T,
}

/// The newest changes in index order, bounded by count and by bytes.
///
/// Changes that share an index (one entry wrote several rows) are dropped together, so a reader never sees
/// half an entry.
pub struct Ring<T> {
    slots: VecDeque<Slot<T>>,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
    /// Every change with an index above this one is still here.
    floor: u64,
}

impl<T> Ring<T> {
    /// An empty ring; `floor` is the index of the tables it starts from.
    pub fn new(count_max: usize, bytes_max: usize, floor: u64) -> Self {
        Self { slots: VecDeque::new(), bytes: 0, count_max, bytes_max, floor }
    }

    /// Adds a change of `bytes` bytes. Indexes must not fall; equal ones belong to one entry.
    pub fn push(&mut self, index: u64, bytes: usize, change: T) {
        debug_assert!(self.newest() <= index, "changes arrive in index order");
        self.slots.push_back(Slot { index, bytes, change });
        self.bytes += bytes;
        while self.slots.len() > self.count_max || self.bytes > self.bytes_max {
            self.drop_oldest_entry();
        }
    }

    /// The changes above `after`, oldest first: whole entries until `limit` changes are passed.
    pub fn since(&self, after: u64, limit: usize) -> Result<impl Iterator<Item = (u64, &T)>, Gone> {
        if after < self.floor {
            return Err(Gone { resumable_after: self.floor });
        }
        let start = self.slots.partition_point(|slot| slot.index <= after);
        let mut end = self.slots.len().min(start.saturating_add(limit));
        while end > start && end < self.slots.len() && self.slots[end].index == self.slots[end - 1].index {
            end += 1;
        }
        Ok(self.slots.range(start..end).map(|slot| (slot.index, &slot.change)))
    }

    /// The index of the newest change, or the floor.
    pub fn newest(&self) -> u64 {
        self.slots.back().map_or(self.floor, |slot| slot.index)
    }

    /// How many changes are held.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True when no change is held.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn drop_oldest_entry(&mut self) {
        let Some(first) = self.slots.front() else { return };
        self.floor = first.index;
        while let Some(slot) = self.slots.front()
            && slot.index == self.floor
        {
            self.bytes -= slot.bytes;
            self.slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ring: &Ring<&'static str>, after: u64, limit: usize) -> Result<Vec<(u64, &'static str)>, Gone> {
        Ok(ring.since(after, limit)?.map(|(index, change)| (index, *change)).collect())
    }

    #[test]
    fn a_reader_resumes_after_the_index_it_saw() {
        let mut ring = Ring::new(10, 1_000, 4);
        ring.push(5, 1, "a");
        ring.push(6, 1, "b");
        assert_eq!(seen(&ring, 4, 9), Ok(vec![(5, "a"), (6, "b")]));
        assert_eq!(seen(&ring, 5, 9), Ok(vec![(6, "b")]));
        assert_eq!(seen(&ring, 6, 9), Ok(vec![]));
    }

    #[test]
    fn the_oldest_entries_leave_whole_when_the_count_is_passed() {
        let mut ring = Ring::new(3, 1_000, 0);
        ring.push(1, 1, "a1");
        ring.push(1, 1, "a2");
        ring.push(2, 1, "b");
        ring.push(3, 1, "c");
        assert_eq!(ring.len(), 2);
        assert_eq!(seen(&ring, 0, 9), Err(Gone { resumable_after: 1 }));
        assert_eq!(seen(&ring, 1, 9), Ok(vec![(2, "b"), (3, "c")]));
    }

    #[test]
    fn bytes_bound_it_too_even_for_one_huge_change() {
        let mut ring = Ring::new(10, 100, 0);
        ring.push(1, 60, "a");
        ring.push(2, 60, "b");
        assert_eq!(ring.len(), 1);
        ring.push(3, 101, "too big to keep");
        assert!(ring.is_empty());
        assert_eq!((ring.newest(), seen(&ring, 3, 9)), (3, Ok(vec![])));
        assert_eq!(seen(&ring, 2, 9), Err(Gone { resumable_after: 3 }));
    }

    #[test]
    fn a_limit_never_splits_an_entry() {
        let mut ring = Ring::new(10, 1_000, 0);
        for (index, name) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b")] {
            ring.push(index, 1, name);
        }
        assert_eq!(seen(&ring, 0, 1), Ok(vec![(1, "a1"), (1, "a2"), (1, "a3")]));
        assert_eq!(seen(&ring, 0, 0), Ok(vec![]));
    }
}
