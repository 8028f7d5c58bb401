//! The two clocks of a machine. The monotonic one runs at its own rate within the drift bound and goes on
//! while a process is paused; the wall clock also jumps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Parts per million by which a monotonic clock may run fast or slow: ten times what hardware does.
pub const DRIFT_PPM_MAX: u64 = 2_000;
/// The wall clock when a run begins: 2027, in ms.
const WALL_START_MS: u64 = 1_800_000_000_000;

/// One machine's clocks; clones show the same time.
#[derive(Clone, Debug)]
pub struct Clocks {
    hands: Arc<Hands>,
}

#[derive(Debug)]
struct Hands {
    now_us: AtomicU64,
    wall_ms: AtomicU64,
    /// The rate in parts per million.
    rate: AtomicU64,
    /// Monotonic us when the rate was last set, and the true us of that moment.
    base_us: AtomicU64,
    since_us: AtomicU64,
    /// The wall clock's error in ms, as a two's complement.
    off_ms: AtomicU64,
}

impl Clocks {
    /// A machine that was switched on `on_for_us` before the run.
    pub fn new(on_for_us: u64) -> Self {
        let hands = Hands {
            now_us: AtomicU64::new(on_for_us),
            wall_ms: AtomicU64::new(WALL_START_MS),
            rate: AtomicU64::new(1_000_000),
            base_us: AtomicU64::new(on_for_us),
            since_us: AtomicU64::new(0),
            off_ms: AtomicU64::new(0),
        };
        Self { hands: Arc::new(hands) }
    }

    /// The true time is `true_us`.
    pub fn set(&self, true_us: u64) {
        let hands = &self.hands;
        let passed_us = true_us - hands.since_us.load(Relaxed);
        let own_us = u128::from(passed_us) * u128::from(hands.rate.load(Relaxed)) / 1_000_000;
        hands.now_us.store(hands.base_us.load(Relaxed) + own_us as u64, Relaxed);
        let off_ms = hands.off_ms.load(Relaxed);
        hands.wall_ms.store((WALL_START_MS + true_us / 1_000).wrapping_add(off_ms), Relaxed);
    }

    /// From now on the monotonic clock runs at `rate` parts per million of the true time.
    pub fn set_rate(&self, true_us: u64, rate: u64) {
        self.set(true_us);
        self.hands.base_us.store(self.hands.now_us.load(Relaxed), Relaxed);
        self.hands.since_us.store(true_us, Relaxed);
        self.hands.rate.store(rate, Relaxed);
    }

    /// The wall clock is off by this from now on.
    pub fn set_wall_off(&self, off_ms: i64) {
        self.hands.off_ms.store(off_ms as u64, Relaxed);
    }

    /// Monotonic ms.
    pub fn now_ms(&self) -> u64 {
        self.hands.now_us.load(Relaxed) / 1_000
    }

    /// Ms since 1970, as far as this machine knows.
    pub fn wall_ms(&self) -> u64 {
        self.hands.wall_ms.load(Relaxed)
    }

    /// How much true time passes, in us, until the monotonic clock shows `at_ms`; at least 1.
    pub fn true_us_until(&self, at_ms: u64) -> u64 {
        let left_us = at_ms.saturating_mul(1_000).saturating_sub(self.hands.now_us.load(Relaxed));
        let rate = u128::from(self.hands.rate.load(Relaxed).max(1));
        let true_us = (u128::from(left_us) * 1_000_000).div_ceil(rate);
        u64::try_from(true_us).unwrap_or(u64::MAX / 2).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_is_ahead_and_arrives_when_it_says() {
        let clocks = Clocks::new(5_000_000);
        clocks.set_rate(1_000_000, 1_100_000);
        clocks.set(2_000_000);
        assert_eq!(clocks.now_ms(), 7_100);
        let in_us = clocks.true_us_until(7_210);
        clocks.set(2_000_000 + in_us);
        assert_eq!(clocks.now_ms(), 7_210);
        clocks.set_rate(2_100_000, 900_000);
        assert_eq!(clocks.now_ms(), 7_210, "a new rate changes nothing of the past");
    }

    #[test]
    fn the_wall_clock_jumps_alone() {
        let clocks = Clocks::new(0);
        clocks.set(3_000_000);
        let before = clocks.wall_ms();
        clocks.set_wall_off(-60_000);
        clocks.set(3_000_000);
        assert_eq!((clocks.wall_ms(), clocks.now_ms()), (before - 60_000, 3_000));
    }
}
