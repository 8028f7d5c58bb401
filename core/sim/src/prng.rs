//! The one source of chance. xoshiro256++ seeded by splitmix64: small, fast, and the same on every machine.

/// A stream of numbers that depends on its seed alone.
#[derive(Clone, Debug)]
pub struct Prng {
    state: [u64; 4],
}

/// One step of splitmix64: spreads seeds that lie side by side over all 64 bits.
pub fn splitmix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Prng {
    /// The stream of `seed`.
    pub fn new(mut seed: u64) -> Self {
        Self { state: std::array::from_fn(|_| splitmix(&mut seed)) }
    }

    /// A stream of its own for a part of the run, so that what one part draws does not shift another.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number in 0..`bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `per_mille` times of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of the given; `None` of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len() as u64) as usize)
    }

    /// An index of `weights`, as often as its weight says.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (at, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return at,
            }
        }
        0
    }

    /// A length with a long tail: mostly near `typical`, now and then up to twenty times that.
    pub fn tailed(&mut self, typical: u64) -> u64 {
        match self.below(20) {
            0 => self.between(typical, typical * 20),
            1..=4 => self.between(typical, typical * 4),
            _ => self.between(typical / 2, typical),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_stream_and_forks_are_apart() {
        let draw = |seed| {
            let mut prng = Prng::new(seed);
            let mut fork = prng.fork();
            (prng.next(), fork.next(), prng.next())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        // Never to change: recorded seeds must go on meaning what they meant.
        assert_eq!(Prng::new(1).next(), 0xcfc5_d07f_6f03_c29b);
    }

    #[test]
    fn draws_stay_in_their_bounds() {
        let mut prng = Prng::new(3);
        let mut seen = [0_u32; 3];
        for _ in 0..3_000 {
            assert!((5..=9).contains(&prng.between(5, 9)));
            seen[prng.weighted(&[1, 0, 3])] += 1;
        }
        assert!(seen[0] > 500 && seen[1] == 0 && seen[2] > 2_000, "{seen:?}");
        assert_eq!(prng.below(0), 0);
    }
}
