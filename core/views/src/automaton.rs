//! A pattern as an automaton whose states are bits: one step per character of a key, whatever the pattern is.
//!
//! Baeza-Yates and Gonnet, "A new approach to text searching" (CACM 1992), with wildcards as states that
//! stay.

use crate::pattern::{Token, compile, in_set, literal_prefix};

type Bits = Box<[u64]>;

/// A compiled pattern. State n, a bit: the first n tokens match what was read so far.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Automaton {
    separator: char,
    prefix: Box<str>,
    /// How many tokens follow the prefix.
    tokens: usize,
    /// Which tokens take a character, by character.
    literals: Box<[(char, Bits)]>,
    sets: Box<[Set]>,
    /// Tokens that take any one character but the separator.
    one: Bits,
    /// Tokens that stay for any character but the separator.
    star: Bits,
    /// Tokens that stay for any character.
    stay: Bits,
    /// Tokens that take the separator, besides staying.
    inside: Bits,
    /// Tokens that may match nothing, and those of them that may leave out the next too.
    pass: Bits,
    fork: Bits,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Set {
    token: usize,
    ranges: Box<[(char, char)]>,
    negated: bool,
}

fn put(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

/// Adds `from`'s bits that are in `mask` to `to`, each `by` (1 or 2) places up; true if that was news.
fn lift(from: &[u64], mask: &[u64], by: u32, to: &mut [u64]) -> bool {
    let (mut carry, mut news) = (0, 0);
    for ((bits, mask), to) in from.iter().zip(mask).zip(to) {
        let chosen = bits & mask;
        let lifted = chosen << by | carry;
        carry = chosen >> (64 - by);
        news |= lifted & !*to;
        *to |= lifted;
    }
    news != 0
}

impl Automaton {
    pub(crate) fn new(text: &str, separator: char) -> Self {
        Self::from_tokens(&compile(text, separator), separator)
    }

    pub(crate) fn from_tokens(tokens: &[Token], separator: char) -> Self {
        let prefix = literal_prefix(tokens);
        let tokens = &tokens[prefix.chars().count()..];
        let none: Bits = vec![0; tokens.len() / 64 + 1].into();
        let mut literals: Vec<(char, Bits)> = Vec::new();
        let mut sets = Vec::new();
        let [mut one, mut star, mut stay, mut inside, mut pass, mut fork] = [(); 6].map(|()| none.clone());
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Literal(c) => {
                    let place = literals.binary_search_by_key(c, |(c, _)| *c).unwrap_or_else(|place| {
                        literals.insert(place, (*c, none.clone()));
                        place
                    });
                    put(&mut literals[place].1, at);
                }
                Token::One => put(&mut one, at),
                Token::Set { ranges, negated } => {
                    sets.push(Set { token: at, ranges: ranges.as_slice().into(), negated: *negated });
                }
                Token::Star => [&mut star, &mut pass].into_iter().for_each(|bits| put(bits, at)),
                Token::DoubleStar => [&mut stay, &mut pass].into_iter().for_each(|bits| put(bits, at)),
                Token::Fork => [&mut pass, &mut fork].into_iter().for_each(|bits| put(bits, at)),
                Token::Inside => [&mut stay, &mut inside].into_iter().for_each(|bits| put(bits, at)),
            }
        }
        let (literals, sets) = (literals.into(), sets.into());
        let (prefix, tokens) = (prefix.into(), tokens.len());
        Self { separator, prefix, tokens, literals, sets, one, star, stay, inside, pass, fork }
    }

    /// How much a key of so many bytes costs, about, in steps of some tens of nanoseconds.
    pub(crate) fn cost(&self, bytes: usize) -> usize {
        1 + bytes * self.one.len() / 8
    }

    /// What every matching key begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The tokens after the literal prefix.
    pub(crate) fn length(&self) -> usize {
        self.tokens
    }

    /// True if `key` matches.
    pub(crate) fn matches(&self, key: &str) -> bool {
        let Some(rest) = key.strip_prefix(&*self.prefix) else { return false };
        let mut live = vec![0; self.one.len()];
        let mut next = live.clone();
        let mut takes = live.clone();
        live[0] = 1;
        self.pass_empty(&mut live, &mut takes);
        for c in rest.chars() {
            self.takers(c, &mut takes);
            let is_separator = c == self.separator;
            for (at, next) in next.iter_mut().enumerate() {
                *next = live[at] & (self.stay[at] | if is_separator { 0 } else { self.star[at] });
            }
            lift(&live, &takes, 1, &mut next);
            self.pass_empty(&mut next, &mut takes);
            std::mem::swap(&mut live, &mut next);
            if live.iter().all(|bits| *bits == 0) {
                return false;
            }
        }
        live[self.tokens / 64] >> (self.tokens % 64) & 1 == 1
    }

    /// Sets `takes` to the tokens that take `c` and are done with it.
    fn takers(&self, c: char, takes: &mut [u64]) {
        let any = if c == self.separator { &self.inside } else { &self.one };
        takes.copy_from_slice(any);
        if let Ok(place) = self.literals.binary_search_by_key(&c, |(c, _)| *c) {
            takes.iter_mut().zip(&self.literals[place].1).for_each(|(takes, bits)| *takes |= bits);
        }
        for set in self.sets.iter().filter(|_| c != self.separator) {
            if in_set(&set.ranges, set.negated, c) {
                put(takes, set.token);
            }
        }
    }

    /// Goes on, without reading, past what may match nothing: a few rounds, as no two such tokens repeat.
    fn pass_empty(&self, live: &mut [u64], now: &mut [u64]) {
        loop {
            now.copy_from_slice(live);
            let by_one = lift(now, &self.pass, 1, live);
            let by_two = lift(now, &self.fork, 2, live);
            if !by_one && !by_two {
                return;
            }
        }
    }
}
