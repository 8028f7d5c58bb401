//! Which of many patterns a key could match, by four bytes in a row that it would have to have.
//!
//! Of each pattern the rarest four are taken, so a key that belongs to one team wakes the patterns of that
//! team. Patterns without any, or whose four are common, get no hint.

use std::collections::BTreeMap;

use crate::access_glob::Glob;

/// Four bytes in a row.
type Gram = u32;

const GRAM_BYTES: usize = 4;
/// So many patterns may have the same hint: more, and asking all patterns at once is cheaper.
const SHARED_MAX: usize = 4;
const FILTER_BITS: u32 = 12;

#[derive(Debug)]
pub(crate) struct Hints {
    /// Ascending, with the pattern's place.
    grams: Box<[(Gram, u32)]>,
    /// One bit for each hash: most places of a key are passed by it.
    filter: Box<[u64; 1 << (FILTER_BITS - 6)]>,
    patterns: usize,
}

fn hash(gram: Gram) -> usize {
    (gram.wrapping_mul(0x9E37_79B1) >> (u32::BITS - FILTER_BITS)) as usize
}

fn grams(bytes: &[u8]) -> impl Iterator<Item = Gram> {
    bytes.windows(GRAM_BYTES).map(|four| Gram::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

/// For each pattern, after its first piece, the four bytes that fewest others have; None: it gets no hint.
pub(crate) fn rarest(globs: &[&Glob]) -> Vec<Option<Gram>> {
    let own = |glob: &Glob| {
        let mut own: Vec<Gram> = glob.pieces[1..].iter().flat_map(|piece| grams(piece)).collect();
        own.sort_unstable();
        own.dedup();
        own
    };
    let mut counts: BTreeMap<Gram, usize> = BTreeMap::new();
    for gram in globs.iter().flat_map(|glob| own(glob)) {
        *counts.entry(gram).or_default() += 1;
    }
    let best = |glob: &&Glob| own(glob).into_iter().min_by_key(|gram| counts[gram]);
    globs.iter().map(|glob| best(glob).filter(|gram| counts[gram] <= SHARED_MAX)).collect()
}

impl Hints {
    /// Of patterns in the order of their places.
    pub(crate) fn new(hints: &[Gram]) -> Self {
        let mut grams: Vec<(Gram, u32)> = hints.iter().copied().zip(0..).collect();
        grams.sort_unstable();
        let mut filter = Box::new([0; 1 << (FILTER_BITS - 6)]);
        for (gram, _) in &grams {
            filter[hash(*gram) / 64] |= 1 << (hash(*gram) % 64);
        }
        Self { grams: grams.into(), filter, patterns: hints.len() }
    }

    /// Calls `found` with the place of each pattern whose four bytes are in `rest`, each once.
    pub(crate) fn wake(&self, rest: &[u8], mut found: impl FnMut(usize)) {
        let mut woken: Vec<u64> = Vec::new();
        for gram in grams(rest) {
            if self.filter[hash(gram) / 64] >> (hash(gram) % 64) & 1 == 0 {
                continue;
            }
            let first = self.grams.partition_point(|(known, _)| *known < gram);
            for (_, place) in self.grams[first..].iter().take_while(|(known, _)| *known == gram) {
                let place = *place as usize;
                woken.resize(self.patterns.div_ceil(64), 0);
                if woken[place / 64] >> (place % 64) & 1 == 0 {
                    woken[place / 64] |= 1 << (place % 64);
                    found(place);
                }
            }
        }
    }
}
