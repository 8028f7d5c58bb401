//! One token bucket in integers, so that equal calls give equal answers on every machine.

/// A token, in the unit the bucket counts in. A rate in millionths of a token per second times a millisecond
/// is a whole number of these, so no rate and no step of the clock is ever rounded.
const TOKEN_NANOS: u64 = 1_000_000_000;

/// How fast a bucket fills and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens added per second, in millionths: half a token per second is 500,000.
    pub micros_per_second: u64,
    /// Tokens the bucket holds when full; 0 refuses everything.
    pub burst: u32,
}

impl Rate {
    /// Whole tokens per second.
    pub const fn per_second(tokens: u32, burst: u32) -> Self {
        Self { micros_per_second: tokens as u64 * 1_000_000, burst }
    }

    /// Milliseconds in which `nanos` of tokens come, rounded up. `None`: they never come.
    fn ms_for(self, nanos: u64) -> Option<u64> {
        if nanos == 0 {
            return Some(0);
        }
        (self.micros_per_second > 0).then(|| nanos.div_ceil(self.micros_per_second))
    }

    /// Milliseconds an empty bucket needs to be full, rounded up. `None`: it never is.
    pub fn fill_ms(self) -> Option<u64> {
        self.ms_for(full_nanos(self.burst))
    }
}

const fn full_nanos(burst: u32) -> u64 {
    // u32::MAX tokens are 4.3e18 of these: they fit.
    burst as u64 * TOKEN_NANOS
}

/// Takes tokens at most as fast as its [`Rate`] allows. Starts full.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    level_nanos: u64,
    filled_at_ms: u64,
}

impl Bucket {
    /// A full bucket whose clock starts at `now_ms` (any monotonic clock).
    pub fn new(rate: Rate, now_ms: u64) -> Self {
        Self { rate, level_nanos: full_nanos(rate.burst), filled_at_ms: now_ms }
    }

    /// The rate in force.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes `cost` tokens together, or none and says in how many milliseconds they will be there. `None` as
    /// the wait means never: the cost is over the burst, or nothing flows.
    pub fn take(&mut self, cost: u32, now_ms: u64) -> Result<(), Option<u64>> {
        self.fill(now_ms);
        let cost_nanos = full_nanos(cost);
        if self.level_nanos >= cost_nanos {
            self.level_nanos -= cost_nanos;
            return Ok(());
        }
        Err(self.wait_ms(cost, now_ms))
    }

    /// Puts `count` tokens back, as far as there is room.
    pub fn give(&mut self, count: u32, now_ms: u64) {
        self.fill(now_ms);
        let full = full_nanos(self.rate.burst);
        self.level_nanos = self.level_nanos.saturating_add(full_nanos(count)).min(full);
    }

    /// Milliseconds from `now_ms` until `count` tokens are there, 0 if they are. `None`: never.
    pub fn wait_ms(&mut self, count: u32, now_ms: u64) -> Option<u64> {
        self.fill(now_ms);
        if count > self.rate.burst {
            return None;
        }
        self.rate.ms_for(full_nanos(count).saturating_sub(self.level_nanos))
    }

    /// Milliseconds from `now_ms` until it is full, 0 if it is. `None`: never.
    pub fn full_in_ms(&mut self, now_ms: u64) -> Option<u64> {
        self.fill(now_ms);
        self.rate.ms_for(full_nanos(self.rate.burst) - self.level_nanos)
    }

    /// Whole tokens there at `now_ms`.
    pub fn level(&mut self, now_ms: u64) -> u32 {
        // The level never passes burst (u32) tokens, so the division fits.
        (self.level_nanos(now_ms) / TOKEN_NANOS) as u32
    }

    /// What is there at `now_ms`, in billionths of a token.
    pub fn level_nanos(&mut self, now_ms: u64) -> u64 {
        self.fill(now_ms);
        self.level_nanos
    }

    /// True if nothing is missing at `now_ms`: such a bucket remembers nothing.
    pub fn is_full(&mut self, now_ms: u64) -> bool {
        self.level_nanos(now_ms) == full_nanos(self.rate.burst)
    }

    /// Changes the rate from `now_ms` on; tokens above the new burst are lost.
    pub fn set_rate(&mut self, rate: Rate, now_ms: u64) {
        self.fill(now_ms);
        self.rate = rate;
        self.level_nanos = self.level_nanos.min(full_nanos(rate.burst));
    }

    fn fill(&mut self, now_ms: u64) {
        // A clock that steps back adds nothing and is not remembered, or the same time would be paid twice.
        let Some(passed_ms) = now_ms.checked_sub(self.filled_at_ms) else { return };
        self.filled_at_ms = now_ms;
        let added_nanos = passed_ms.saturating_mul(self.rate.micros_per_second);
        self.level_nanos = self.level_nanos.saturating_add(added_nanos).min(full_nanos(self.rate.burst));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::per_second(10, 3);

    #[test]
    fn a_full_bucket_gives_its_burst_then_says_how_long_to_wait() {
        let mut bucket = Bucket::new(RATE, 5_000);
        assert_eq!((0..3).map(|_| bucket.take(1, 5_000)).filter(Result::is_ok).count(), 3);
        assert_eq!(bucket.take(1, 5_000), Err(Some(100)));
        assert_eq!(bucket.take(1, 5_099), Err(Some(1)));
        assert_eq!(bucket.take(1, 5_100), Ok(()));
    }

    #[test]
    fn it_never_holds_more_than_its_burst() {
        let mut bucket = Bucket::new(RATE, 0);
        assert_eq!(bucket.level(u64::MAX), 3);
        bucket.give(9, u64::MAX);
        assert_eq!(bucket.level(u64::MAX), 3);
    }

    #[test]
    fn rates_of_a_fraction_lose_nothing_to_rounding() {
        let mut bucket = Bucket::new(Rate { micros_per_second: 333_333, burst: 2 }, 0);
        assert_eq!(bucket.take(2, 0), Ok(()));
        let taken: Vec<u64> = (1..=9_001).filter(|now_ms| bucket.take(1, *now_ms).is_ok()).collect();
        assert_eq!(taken, [3_001, 6_001, 9_001]);
    }

    #[test]
    fn several_tokens_are_taken_together_or_not_at_all() {
        let mut bucket = Bucket::new(RATE, 0);
        assert_eq!(bucket.take(2, 0), Ok(()));
        assert_eq!(bucket.take(3, 0), Err(Some(200)));
        assert_eq!(bucket.take(4, 0), Err(None));
        assert_eq!(bucket.level(0), 1);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut bucket = Bucket::new(RATE, 0);
        assert_eq!(bucket.take(3, 0), Ok(()));
        bucket.give(2, 0);
        assert_eq!((bucket.level(0), bucket.is_full(0)), (2, false));
        bucket.give(1, 0);
        assert!(bucket.is_full(0));
    }

    #[test]
    fn a_clock_that_steps_back_pays_no_time_twice() {
        let mut bucket = Bucket::new(Rate::per_second(1, 1), 1_000);
        assert_eq!(bucket.take(1, 1_000), Ok(()));
        assert_eq!(bucket.take(1, 500), Err(Some(1_000)));
        assert_eq!(bucket.take(1, 1_500), Err(Some(500)));
    }

    #[test]
    fn nothing_comes_from_an_empty_rate() {
        assert_eq!(Bucket::new(Rate::per_second(5, 0), 0).take(1, 10), Err(None));
        let mut stopped = Bucket::new(Rate::per_second(0, 1), 0);
        assert_eq!((stopped.take(1, 0), stopped.take(1, 9_999)), (Ok(()), Err(None)));
        assert_eq!((stopped.wait_ms(1, 0), stopped.full_in_ms(0)), (None, None));
    }

    #[test]
    fn a_new_rate_keeps_what_was_earned_up_to_its_burst() {
        let mut bucket = Bucket::new(RATE, 0);
        bucket.set_rate(Rate::per_second(10, 2), 0);
        assert_eq!(bucket.level(0), 2);
    }

    #[test]
    fn it_says_when_one_token_and_when_all_are_there() {
        let mut bucket = Bucket::new(RATE, 0);
        assert_eq!((bucket.wait_ms(1, 0), bucket.full_in_ms(0)), (Some(0), Some(0)));
        assert_eq!(bucket.take(3, 0), Ok(()));
        assert_eq!((bucket.wait_ms(1, 0), bucket.full_in_ms(0)), (Some(100), Some(300)));
    }
}
