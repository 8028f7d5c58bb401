//! Many patterns at once, one bit per state: a step costs a word operation for each 64 states.
//!
//! Baeza-Yates and Gonnet, "A new approach to text searching" (CACM 1992), with gaps as states that stay. All
//! patterns lie one behind the other in one row of bits, so whatever they are and however they overlap, a
//! key costs its length times the length of the row, and never more.

use crate::access_glob::{Gap, Glob};

/// Rows up to so many words need no memory of their own.
const WORDS_ON_STACK: usize = 32;

/// Patterns that have lost what they all begin with.
#[derive(Debug)]
pub(crate) struct Swarm {
    words: usize,
    /// Which row of `takes` a byte has; the first is that of bytes in no pattern.
    classes: Box<[u8; 256]>,
    /// By class: the states that are reached by reading such a byte.
    takes: Box<[u64]>,
    /// The states that stay for every byte, and for every byte but a slash.
    stay: Box<[u64]>,
    stay_inside: Box<[u64]>,
    start: Box<[u64]>,
    end: Box<[u64]>,
    /// By word: how many patterns end before it.
    ends_before: Box<[u32]>,
    /// By pattern, if each has words of its own: its first one, and that behind the last.
    firsts: Box<[u32]>,
}

fn put(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

impl Swarm {
    /// Of patterns without their first piece: each begins with a gap. `apart`: each has words of its own.
    pub(crate) fn new(globs: &[&Glob], apart: bool) -> Self {
        let states = |glob: &Glob| 1 + glob.pieces[1..].iter().map(Vec::len).sum::<usize>();
        let unit = if apart { 64 } else { 1 };
        let sizes = globs.iter().map(|glob| states(glob).next_multiple_of(unit));
        let words = sizes.sum::<usize>().div_ceil(64);
        let mut firsts = Vec::new();
        let (classes, count) = classes(globs);
        let mut takes = vec![0; words * count];
        let row = vec![0; words];
        let [mut stay, mut stay_inside, mut start, mut end] = [(); 4].map(|()| row.clone());
        let mut at = 0_usize;
        for glob in globs {
            at = at.next_multiple_of(unit);
            firsts.push(at as u32 / 64);
            put(&mut start, at);
            for (gap, piece) in glob.gaps.iter().zip(&glob.pieces[1..]) {
                put(&mut stay_inside, at);
                if *gap == Gap::Any {
                    put(&mut stay, at);
                }
                for byte in piece {
                    at += 1;
                    put(&mut takes[usize::from(classes[usize::from(*byte)]) * words..][..words], at);
                }
            }
            put(&mut end, at);
            at += 1;
        }
        firsts.push(words as u32);
        let mut before = 0;
        let ends_before = end.iter().map(|word| {
            before += word.count_ones();
            before - word.count_ones()
        });
        Self {
            words,
            classes,
            takes: takes.into(),
            ends_before: ends_before.collect(),
            firsts: if apart { firsts.into() } else { Box::default() },
            stay: stay.into(),
            stay_inside: stay_inside.into(),
            start: start.into(),
            end: end.into(),
        }
    }

    /// Calls `found` with the place of each pattern that `rest` matches.
    pub(crate) fn matching(&self, rest: &[u8], found: impl FnMut(usize)) {
        self.run(0, self.words, rest, found);
    }

    /// True if `rest` matches this one of patterns that have words of their own.
    pub(crate) fn matches(&self, pattern: usize, rest: &[u8]) -> bool {
        let (from, to) = (self.firsts[pattern] as usize, self.firsts[pattern + 1] as usize);
        let mut is_matching = false;
        self.run(from, to - from, rest, |_| is_matching = true);
        is_matching
    }

    fn run(&self, from: usize, words: usize, rest: &[u8], mut found: impl FnMut(usize)) {
        // One word more: what is below the first is zero.
        let mut stack = [0; 2 * (WORDS_ON_STACK + 1)];
        let mut heap = Vec::new();
        let room = if words <= WORDS_ON_STACK {
            &mut stack[..2 * (words + 1)]
        } else {
            heap.resize(2 * (words + 1), 0);
            &mut heap[..]
        };
        let (mut live, mut next) = room.split_at_mut(words + 1);
        live[1..].copy_from_slice(&self.start[from..from + words]);
        for byte in rest {
            if self.step(*byte, from, live, next) == 0 {
                return;
            }
            std::mem::swap(&mut live, &mut next);
        }
        for (word, live) in (from..).zip(&live[1..]) {
            let end = self.end[word];
            let mut left = live & end;
            while left != 0 {
                let below = end & (left & left.wrapping_neg()).wrapping_sub(1);
                found((self.ends_before[word] + below.count_ones()) as usize);
                left &= left - 1;
            }
        }
    }

    /// Reads one byte, in the words from `from` on; 0 if no state is left.
    fn step(&self, byte: u8, from: usize, live: &[u64], next: &mut [u64]) -> u64 {
        let words = live.len() - 1;
        let class = usize::from(self.classes[usize::from(byte)]);
        let takes = &self.takes[class * self.words + from..][..words];
        let stay = if byte == b'/' { &self.stay } else { &self.stay_inside };
        let stay = &stay[from..from + words];
        let (below, live) = (&live[..words], &live[1..=words]);
        let next = &mut next[1..=words];
        let mut any = 0;
        for at in 0..words {
            let moved = (live[at] << 1 | below[at] >> 63) & takes[at];
            next[at] = moved | live[at] & stay[at];
            any |= next[at];
        }
        any
    }
}

/// The class of every byte, and how many classes there are.
fn classes(globs: &[&Glob]) -> (Box<[u8; 256]>, usize) {
    let mut classes = Box::new([0; 256]);
    let mut count = 1;
    for byte in globs.iter().flat_map(|glob| glob.pieces[1..].iter().flatten()) {
        let class = &mut classes[usize::from(*byte)];
        // Text has no more than 243 different bytes, so there is always one left.
        if *class == 0 && count <= usize::from(u8::MAX) {
            *class = count as u8;
            count += 1;
        }
    }
    (classes, count)
}
