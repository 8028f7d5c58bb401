//! A gapless run of items under ascending indexes, with the term of the position before it. Both the entries
//! in memory and the places on disk are such runs and follow the same rules.

use std::collections::VecDeque;

pub(crate) trait Termed {
    fn term(&self) -> u64;
}

pub(crate) struct Sequence<T> {
    before: u64,
    before_term: u64,
    items: VecDeque<T>,
}

impl<T: Termed> Sequence<T> {
    pub fn new(before: u64, before_term: u64) -> Sequence<T> {
        Sequence { before, before_term, items: VecDeque::new() }
    }

    pub fn first(&self) -> u64 {
        self.before + 1
    }

    pub fn last(&self) -> u64 {
        self.before + self.items.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn get(&self, index: u64) -> Option<&T> {
        self.items.get(usize::try_from(index.checked_sub(self.first())?).ok()?)
    }

    pub fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// The term at `index`, also at the position just before the first item.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index == self.before { Some(self.before_term) } else { self.get(index).map(T::term) }
    }

    pub fn push(&mut self, item: T) {
        self.items.push_back(item);
    }

    /// Removes and returns the items at `from` and after, last first.
    pub fn pop_back_from(&mut self, from: u64) -> Option<T> {
        if self.last() >= from { self.items.pop_back() } else { None }
    }

    pub fn pop_front(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.before += 1;
        self.before_term = item.term();
        Some(item)
    }

    pub fn reset(&mut self, before: u64, before_term: u64) {
        self.items = VecDeque::new();
        (self.before, self.before_term) = (before, before_term);
    }

    pub fn set_before_term(&mut self, term: u64) {
        self.before_term = term;
    }

    /// Gives memory back after a large purge.
    pub fn shrink(&mut self) {
        if self.items.capacity() > 4096 && self.items.len() < self.items.capacity() / 4 {
            self.items.shrink_to(self.items.len() * 2);
        }
    }
}
