//! The rules of one resource, found by a key without asking each.
//!
//! By what their patterns literally begin with; there, patterns without a gap are the key or not, patterns
//! with one are found by what they end with, and those with more are asked all at once.

use std::collections::BTreeMap;

use crate::access_beginnings::Beginnings;
use crate::access_glob::{Gap, Glob};
use crate::access_hints::{Hints, rarest};
use crate::access_rules::{Capabilities, DENY, Rule};
use crate::access_swarm::Swarm;

/// So many endings are compared one by one before searching pays.
const FEW: usize = 6;

const SLASH: u8 = b'/';

/// What a pattern's rules say together: for each capability the first rule that has it, in their order.
type Claims = Box<[(Capabilities, u32)]>;

/// The first rules that matter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    any_of: Capabilities,
    /// `u32::MAX`: none.
    pub deny: u32,
    pub allow: u32,
}

impl Found {
    pub(crate) fn new(any_of: Capabilities) -> Self {
        Self { any_of, deny: u32::MAX, allow: u32::MAX }
    }

    fn note(&mut self, claims: &[(Capabilities, u32)]) {
        for (capabilities, rule) in claims {
            if capabilities & DENY != 0 {
                self.deny = self.deny.min(*rule);
            } else if capabilities & self.any_of != 0 {
                self.allow = self.allow.min(*rule);
            }
        }
    }
}

/// A pattern with one gap, after its beginning.
#[derive(Debug)]
struct Tail {
    gap: Gap,
    ending: Box<[u8]>,
    claims: Claims,
}

/// Many of them, by their endings read backwards.
#[derive(Debug)]
struct Tails {
    endings: Beginnings,
    /// Where the tails of each ending begin.
    starts: Box<[u32]>,
}

/// All patterns with one beginning.
#[derive(Debug)]
struct Node {
    exact: Claims,
    tails: Box<[Tail]>,
    many: Option<Box<Tails>>,
    crowd: Option<Box<Crowd>>,
}

/// Patterns with several gaps: those that a key has to wake first, and those that are asked all at once.
#[derive(Debug)]
struct Crowd {
    hints: Hints,
    /// With words of their own.
    hinted: (Swarm, Box<[Claims]>),
    others: (Swarm, Box<[Claims]>),
}

#[derive(Debug)]
pub(crate) struct Index {
    beginnings: Beginnings,
    nodes: Box<[Node]>,
}

impl Index {
    /// Of rules with their places, in their order.
    pub(crate) fn new<'r>(rules: impl Iterator<Item = (u32, &'r Rule)>) -> Self {
        let mut by_glob: BTreeMap<&Glob, Vec<(Capabilities, u32)>> = BTreeMap::new();
        for (place, rule) in rules {
            let claims = by_glob.entry(&rule.glob).or_default();
            let says = if rule.is_denying() { DENY } else { rule.capabilities };
            let said = claims.iter().fold(0, |said, (capabilities, _)| said | capabilities);
            if says & !said != 0 {
                claims.push((says, place));
            }
        }
        let mut by_beginning: BTreeMap<&[u8], Vec<(&Glob, Claims)>> = BTreeMap::new();
        for (glob, claims) in by_glob {
            by_beginning.entry(glob.prefix()).or_default().push((glob, claims.into()));
        }
        let beginnings = Beginnings::new(by_beginning.keys().copied());
        Self { beginnings, nodes: by_beginning.into_values().map(Node::new).collect() }
    }

    /// Adds what the rules that match `key` say.
    pub(crate) fn find(&self, key: &[u8], found: &mut Found) {
        let mut reversed = Vec::new();
        // The first slash behind the beginning, looked for from the longest beginning on.
        let (mut looked, mut slash) = (key.len(), key.len());
        for (place, length) in self.beginnings.of(key) {
            let node = &self.nodes[place];
            let rest = &key[length..];
            if rest.is_empty() {
                found.note(&node.exact);
            }
            if !node.tails.is_empty() {
                slash = key[length..looked]
                    .iter()
                    .position(|byte| *byte == SLASH)
                    .map_or(slash, |at| length + at);
                looked = length;
                node.find_tails(rest, slash - length, key, &mut reversed, found);
            }
            if let Some(crowd) = &node.crowd {
                crowd.find(rest, found);
            }
        }
    }
}

impl Node {
    fn new(patterns: Vec<(&Glob, Claims)>) -> Self {
        let mut exact = Claims::default();
        let mut tails = Vec::new();
        let mut several = Vec::new();
        for (glob, claims) in patterns {
            match glob.gaps.as_slice() {
                [] => exact = claims,
                [gap] => tails.push(Tail { gap: *gap, ending: glob.pieces[1].as_slice().into(), claims }),
                _ => several.push((glob, claims)),
            }
        }
        tails.sort_by(|a, b| a.ending.iter().rev().cmp(b.ending.iter().rev()));
        Self {
            exact,
            many: (tails.len() > FEW).then(|| Box::new(Tails::new(&tails))),
            tails: tails.into(),
            crowd: (!several.is_empty()).then(|| Box::new(Crowd::new(several))),
        }
    }

    /// `slash`: where the first is in `rest`, or its length.
    fn find_tails(&self, rest: &[u8], slash: usize, key: &[u8], reversed: &mut Vec<u8>, found: &mut Found) {
        let mut note = |tail: &Tail| {
            let gap = rest.len() - tail.ending.len();
            if tail.gap == Gap::Any || gap <= slash {
                found.note(&tail.claims);
            }
        };
        let Some(many) = &self.many else {
            self.tails.iter().filter(|tail| rest.ends_with(&tail.ending)).for_each(note);
            return;
        };
        if reversed.is_empty() {
            reversed.extend(key.iter().rev());
        }
        for (place, _) in many.endings.of(&reversed[..rest.len()]) {
            let (start, end) = (many.starts[place], many.starts[place + 1]);
            self.tails[start as usize..end as usize].iter().for_each(&mut note);
        }
    }
}

impl Crowd {
    fn new(patterns: Vec<(&Glob, Claims)>) -> Self {
        let globs: Vec<&Glob> = patterns.iter().map(|(glob, _)| *glob).collect();
        let hints = rarest(&globs);
        let (mut hinted, mut others) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for ((glob, claims), hint) in patterns.into_iter().zip(&hints) {
            let (globs, all) = if hint.is_some() { &mut hinted } else { &mut others };
            globs.push(glob);
            all.push(claims);
        }
        let hints: Vec<_> = hints.into_iter().flatten().collect();
        Self {
            hints: Hints::new(&hints),
            hinted: (Swarm::new(&hinted.0, true), hinted.1.into()),
            others: (Swarm::new(&others.0, false), others.1.into()),
        }
    }

    fn find(&self, rest: &[u8], found: &mut Found) {
        let (swarm, claims) = &self.hinted;
        self.hints.wake(rest, |pattern| {
            if swarm.matches(pattern, rest) {
                found.note(&claims[pattern]);
            }
        });
        let (swarm, claims) = &self.others;
        swarm.matching(rest, |pattern| found.note(&claims[pattern]));
    }
}

impl Tails {
    /// Of tails in the order of their endings read backwards.
    fn new(tails: &[Tail]) -> Self {
        let mut endings: Vec<Vec<u8>> = Vec::new();
        let mut starts = Vec::new();
        for (at, tail) in (0..).zip(tails) {
            let ending: Vec<u8> = tail.ending.iter().rev().copied().collect();
            if endings.last() != Some(&ending) {
                endings.push(ending);
                starts.push(at);
            }
        }
        starts.push(tails.len() as u32);
        Self { endings: Beginnings::new(endings.iter().map(Vec::as_slice)), starts: starts.into() }
    }
}
