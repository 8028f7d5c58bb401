//! One token bucket in integers, so that equal calls give equal answers on every machine.

/// A token, in the unit the bucket counts in: one millionth keeps slow rates exact at millisecond steps.
const TOKEN_MICROS: u64 = 1_000_000;

/// How fast a bucket fills and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens added per second.
    pub per_second: u32,
    /// Tokens the bucket holds when full; 0 refuses everything.
    pub burst: u32,
}

/// Takes tokens at most as fast as its [`Rate`] allows. Starts full.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    level_micros: u64,
    filled_at_ms: u64,
}

impl Bucket {
    /// A full bucket whose clock starts at `now_ms` (any monotonic clock).
    pub fn new(rate: Rate, now_ms: u64) -> Self {
        Self { rate, level_micros: u64::from(rate.burst) * TOKEN_MICROS, filled_at_ms: now_ms }
    }

    /// Takes one token, or says in how many milliseconds one will be there. `None` as the wait means never.
    pub fn take(&mut self, now_ms: u64) -> Result<(), Option<u64>> {
        self.fill(now_ms);
        if self.level_micros >= TOKEN_MICROS {
            self.level_micros -= TOKEN_MICROS;
            return Ok(());
        }
        if self.rate.per_second == 0 || self.rate.burst == 0 {
            return Err(None);
        }
        let missing_micros = TOKEN_MICROS - self.level_micros;
        Err(Some(missing_micros.div_ceil(u64::from(self.rate.per_second) * 1_000)))
    }

    /// Whole tokens there at `now_ms`.
    pub fn level(&mut self, now_ms: u64) -> u32 {
        self.fill(now_ms);
        // The level never passes burst (u32) tokens, so the division fits.
        (self.level_micros / TOKEN_MICROS) as u32
    }

    /// Changes the rate; tokens above the new burst are lost.
    pub fn set_rate(&mut self, rate: Rate, now_ms: u64) {
        self.fill(now_ms);
        self.rate = rate;
        self.level_micros = self.level_micros.min(u64::from(rate.burst) * TOKEN_MICROS);
    }

    fn fill(&mut self, now_ms: u64) {
        // A clock that steps back adds nothing and is not remembered, or the same time would be paid twice.
        let Some(passed_ms) = now_ms.checked_sub(self.filled_at_ms) else { return };
        self.filled_at_ms = now_ms;
        let added_micros = passed_ms.saturating_mul(u64::from(self.rate.per_second) * 1_000);
        let full_micros = u64::from(self.rate.burst) * TOKEN_MICROS;
        self.level_micros = self.level_micros.saturating_add(added_micros).min(full_micros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[test]
    fn a_full_bucket_gives_its_burst_then_says_how_long_to_wait() {
        let mut bucket = Bucket::new(RATE, 5_000);
        assert_eq!((0..3).map(|_| bucket.take(5_000)).filter(Result::is_ok).count(), 3);
        assert_eq!(bucket.take(5_000), Err(Some(100)));
        assert_eq!(bucket.take(5_099), Err(Some(1)));
        assert_eq!(bucket.take(5_100), Ok(()));
    }

    #[test]
    fn it_never_holds_more_than_its_burst() {
        let mut bucket = Bucket::new(RATE, 0);
        assert_eq!(bucket.level(u64::MAX), 3);
    }

    #[test]
    fn slow_rates_lose_nothing_to_rounding() {
        let mut bucket = Bucket::new(Rate { per_second: 1, burst: 1 }, 0);
        assert_eq!(bucket.take(0), Ok(()));
        let taken: Vec<u64> = (1..=3_000).filter(|now_ms| bucket.take(*now_ms).is_ok()).collect();
        assert_eq!(taken, [1_000, 2_000, 3_000]);
    }

    #[test]
    fn a_clock_that_steps_back_pays_no_time_twice() {
        let mut bucket = Bucket::new(Rate { per_second: 1, burst: 1 }, 1_000);
        assert_eq!(bucket.take(1_000), Ok(()));
        assert_eq!(bucket.take(500), Err(Some(1_000)));
        assert_eq!(bucket.take(1_500), Err(Some(500)));
    }

    #[test]
    fn nothing_comes_from_an_empty_rate() {
        assert_eq!(Bucket::new(Rate { per_second: 5, burst: 0 }, 0).take(10), Err(None));
        let mut stopped = Bucket::new(Rate { per_second: 0, burst: 1 }, 0);
        assert_eq!((stopped.take(0), stopped.take(9_999)), (Ok(()), Err(None)));
    }

    #[test]
    fn a_new_rate_keeps_what_was_earned_up_to_its_burst() {
        let mut bucket = Bucket::new(RATE, 0);
        bucket.set_rate(Rate { per_second: 10, burst: 2 }, 0);
        assert_eq!(bucket.level(0), 2);
    }
}
