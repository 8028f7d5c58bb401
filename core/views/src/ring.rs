//! The change ring: the newest changes, so that a reader who was away can go on where it stopped.

use std::collections::VecDeque;

/// What a ring holds.
pub(crate) trait Held {
    /// The entry's index.
    fn index(&self) -> u64;
    /// What it takes of the ring's bytes. It may grow while it is held, if [`Ring::grow`] is told.
    fn bytes(&self) -> usize;
}

/// The newest changes in index order, bounded by count and by bytes, each with a number that grows by one.
///
/// Changes that share an index (one entry wrote several rows) are dropped together, so a reader never sees
/// half an entry.
pub(crate) struct Ring<T> {
    slots: VecDeque<T>,
    /// The number of the oldest.
    first: u64,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
    /// Every change with an index above this one is still here.
    floor: u64,
}

impl<T: Held> Ring<T> {
    /// An empty ring; `floor` is the index of the tables it starts from.
    pub(crate) fn new(entries_max: usize, bytes_max: usize, floor: u64) -> Self {
        Self { slots: VecDeque::new(), first: 0, bytes: 0, entries_max, bytes_max, floor }
    }

    /// Adds a change; its number is [`Ring::next`] before. Indexes must not fall; equal ones belong to one
    /// entry. `gone` is given what has no place any more.
    pub(crate) fn push(&mut self, change: T, gone: &mut impl FnMut(T)) {
        debug_assert!(self.slots.back().map_or(self.floor, Held::index) <= change.index(), "in index order");
        self.bytes += change.bytes();
        self.slots.push_back(change);
        self.trim(gone);
    }

    /// A change that is held now takes so many bytes more.
    pub(crate) fn grow(&mut self, bytes: usize, gone: &mut impl FnMut(T)) {
        self.bytes += bytes;
        self.trim(gone);
    }

    /// Forgets all changes, as the tables are now at `floor` by another way.
    pub(crate) fn reset(&mut self, floor: u64, gone: &mut impl FnMut(T)) {
        self.first = self.next();
        self.slots.drain(..).for_each(gone);
        self.bytes = 0;
        self.floor = floor;
    }

    fn trim(&mut self, gone: &mut impl FnMut(T)) {
        while (self.slots.len() > self.entries_max || self.bytes > self.bytes_max)
            && let Some(oldest) = self.slots.front()
        {
            self.floor = oldest.index();
            while let Some(change) = self.slots.pop_front_if(|change| change.index() == self.floor) {
                self.first += 1;
                self.bytes -= change.bytes();
                gone(change);
            }
        }
    }

    /// The number of the first change above an index; none if one above it may have been dropped.
    pub(crate) fn after(&self, index: u64) -> Option<u64> {
        let at = self.slots.partition_point(|change| change.index() <= index);
        (index >= self.floor).then_some(self.first + at as u64)
    }

    /// The change with that number; none if it was dropped, or is still to come.
    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        self.slots.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The number of the change that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Every change above this index is held.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// How many changes are held.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Thing(u64, usize, &'static str);

    impl Held for Thing {
        fn index(&self) -> u64 {
            self.0
        }

        fn bytes(&self) -> usize {
            self.1
        }
    }

    fn pushed(ring: &mut Ring<Thing>, things: &[(u64, usize, &'static str)]) -> Vec<&'static str> {
        let mut gone = Vec::new();
        for (index, bytes, name) in things {
            ring.push(Thing(*index, *bytes, name), &mut |thing| gone.push(thing.2));
        }
        gone
    }

    fn seen(ring: &Ring<Thing>, after: u64) -> Option<Vec<&'static str>> {
        let from = ring.after(after)?;
        Some((from..ring.next()).map(|number| ring.get(number).unwrap().2).collect())
    }

    #[test]
    fn a_reader_resumes_after_the_index_it_saw() {
        let mut ring = Ring::new(10, 1_000, 4);
        pushed(&mut ring, &[(5, 1, "a"), (6, 1, "b")]);
        assert_eq!(seen(&ring, 3), None);
        assert_eq!(seen(&ring, 4), Some(vec!["a", "b"]));
        assert_eq!(seen(&ring, 5), Some(vec!["b"]));
        assert_eq!(seen(&ring, 6), Some(vec![]));
        assert_eq!(ring.get(2), None);
    }

    #[test]
    fn the_oldest_entries_leave_whole_when_the_count_is_passed() {
        let mut ring = Ring::new(3, 1_000, 0);
        let gone = pushed(&mut ring, &[(1, 1, "a1"), (1, 1, "a2"), (2, 1, "b"), (3, 1, "c")]);
        assert_eq!((gone, ring.len(), ring.bytes()), (vec!["a1", "a2"], 2, 2));
        assert_eq!(seen(&ring, 0), None);
        assert_eq!(seen(&ring, 1), Some(vec!["b", "c"]));
        assert_eq!((ring.get(1), ring.next()), (None, 4));
    }

    #[test]
    fn bytes_bound_it_too_even_for_one_huge_change() {
        let mut ring = Ring::new(10, 100, 0);
        assert_eq!(pushed(&mut ring, &[(1, 60, "a"), (2, 60, "b")]), ["a"]);
        assert_eq!(pushed(&mut ring, &[(3, 101, "too big to keep")]), ["b", "too big to keep"]);
        assert_eq!((ring.floor(), seen(&ring, 3)), (3, Some(vec![])));
        assert_eq!(seen(&ring, 2), None);
    }

    #[test]
    fn what_grows_while_it_is_held_counts() {
        let mut ring = Ring::new(10, 100, 0);
        pushed(&mut ring, &[(1, 40, "a"), (2, 40, "b")]);
        let mut gone = Vec::new();
        ring.slots[0].1 += 30;
        ring.grow(30, &mut |thing| gone.push(thing));
        assert_eq!((gone, ring.bytes()), (vec![Thing(1, 70, "a")], 40));
    }

    #[test]
    fn other_tables_leave_nothing_to_resume_from() {
        let mut ring = Ring::new(10, 100, 0);
        pushed(&mut ring, &[(1, 1, "a"), (2, 1, "b")]);
        ring.reset(9, &mut |_| {});
        assert_eq!((ring.len(), ring.bytes(), ring.next()), (0, 0, 2));
        assert_eq!((seen(&ring, 8), seen(&ring, 9)), (None, Some(vec![])));
    }
}
