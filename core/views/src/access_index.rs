//! The rules of one resource, found by a key without asking each.
//!
//! By what their patterns literally begin with; there, patterns without a gap are the key or not, patterns
//! with one are found by what they end with, and those with more are asked all at once.

use std::collections::BTreeMap;

use crate::access_beginnings::Beginnings;
use crate::access_glob::{Gap, Glob};
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
    swarm: Option<Box<(Swarm, Box<[Claims]>)>>,
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
            if let Some(swarm) = &node.swarm {
                swarm.0.matching(rest, |pattern| found.note(&swarm.1[pattern]));
            }
        }
    }
}

impl Node {
    fn new(patterns: Vec<(&Glob, Claims)>) -> Self {
        let mut exact = Claims::default();
        let mut tails = Vec::new();
        let (mut globs, mut swarm) = (Vec::new(), Vec::new());
        for (glob, claims) in patterns {
            match glob.gaps.as_slice() {
                [] => exact = claims,
                [gap] => tails.push(Tail { gap: *gap, ending: glob.pieces[1].as_slice().into(), claims }),
                _ => {
                    globs.push(glob);
                    swarm.push(claims);
                }
            }
        }
        tails.sort_by(|a, b| a.ending.iter().rev().cmp(b.ending.iter().rev()));
        Self {
            exact,
            many: (tails.len() > FEW).then(|| Box::new(Tails::new(&tails))),
            tails: tails.into(),
            swarm: (!globs.is_empty()).then(|| Box::new((Swarm::new(&globs), swarm.into()))),
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
