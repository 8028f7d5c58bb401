//! What comes next: a queue in virtual time. What is due at one moment comes in the order it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

struct Planned<T> {
    at_us: u64,
    number: u64,
    what: T,
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at_us, self.number) == (other.at_us, other.number)
    }
}

impl<T> Eq for Planned<T> {}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Planned<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

/// The queue and the time.
pub struct Schedule<T> {
    queue: BinaryHeap<Reverse<Planned<T>>>,
    planned: u64,
    now_us: u64,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { queue: BinaryHeap::new(), planned: 0, now_us: 0 }
    }
}

impl<T> Schedule<T> {
    /// Microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Plans `what` in `in_us` microseconds.
    pub fn after(&mut self, in_us: u64, what: T) {
        self.at(self.now_us + in_us, what);
    }

    /// Plans `what` for a moment; one that has passed is now.
    pub fn at(&mut self, at_us: u64, what: T) {
        self.planned += 1;
        self.queue.push(Reverse(Planned { at_us: at_us.max(self.now_us), number: self.planned, what }));
    }

    /// Goes on to the next event.
    pub fn advance(&mut self) -> Option<T> {
        let Reverse(planned) = self.queue.pop()?;
        self.now_us = planned.at_us;
        Some(planned.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_time_and_then_in_order() {
        let mut schedule = Schedule::default();
        for (in_us, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            schedule.after(in_us, what);
        }
        assert_eq!(schedule.advance(), Some('a'));
        schedule.at(0, 'x');
        let rest: String = std::iter::from_fn(|| schedule.advance()).collect();
        assert_eq!((rest.as_str(), schedule.now_us()), ("bxcd", 5));
    }
}
