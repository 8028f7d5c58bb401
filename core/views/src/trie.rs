//! All patterns of one table at once: a trie over segments.
//!
//! A key walks it with a set of nodes, segment by segment, as an automaton would (Thompson, "Regular
//! expression search algorithm", CACM 1968), so a change costs its depth and what matches, however many
//! patterns there are.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::automaton::Automaton;
use crate::facts::Facts;
use crate::lane::{First, Lane};
use crate::segments::{End, Glob, Path, Step};

/// No node.
const NONE: u32 = u32::MAX;
const TOP: u32 = 0;

#[derive(Debug, Default)]
struct Node {
    literals: BTreeMap<Box<str>, u32>,
    /// Patterns that end here.
    here: Lane,
    /// What only patterns with wildcards need.
    wild: Option<Box<Wild>>,
    /// It stays in the set whatever the next segment is: it follows a `**`.
    is_deep: bool,
}

#[derive(Debug)]
struct Wild {
    star: u32,
    deep: u32,
    /// Sorted by literal prefix, so that a segment meets only globs that begin like it. No map: most nodes
    /// have one at most, for which a map's first block is too large.
    globs: Vec<(Glob, u32)>,
    /// Patterns that end with `**` after this node.
    rest: Lane,
    /// Sorted by the literal prefix's length and then by the prefix, see [`Wild::odd_like`].
    #[expect(clippy::vec_box, reason = "one put in between moves all behind it, and an automaton is large")]
    odd: Vec<Box<(Automaton, Lane)>>,
}

impl Default for Wild {
    fn default() -> Self {
        Self { star: NONE, deep: NONE, globs: Vec::new(), rest: Lane::default(), odd: Vec::new() }
    }
}

impl Wild {
    /// The globs whose literal prefix is `prefix`.
    fn begin_with<'w>(&'w self, prefix: &'w str) -> impl Iterator<Item = &'w (Glob, u32)> {
        let start = self.globs.partition_point(|(each, _)| each.prefix() < prefix);
        self.globs[start..].iter().take_while(move |(each, _)| each.prefix() == prefix)
    }

    /// Where the odd patterns with this literal prefix are.
    fn odd_with(&self, prefix: &str) -> Range<usize> {
        let order =
            |odd: &(Automaton, Lane)| (odd.0.prefix().len(), odd.0.prefix()).cmp(&(prefix.len(), prefix));
        let start = self.odd.partition_point(|odd| order(odd).is_lt());
        start..start + self.odd[start..].partition_point(|odd| order(odd).is_eq())
    }

    /// The odd patterns that begin like `rest`: for each length of a prefix that there is, two searches. The
    /// lengths are few; there may be a pattern for every client.
    fn odd_like<'w>(&'w self, rest: &'w str) -> impl Iterator<Item = &'w (Automaton, Lane)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let length = self.odd.get(at)?.0.prefix().len();
            let like = rest.get(..length).map_or(0..0, |prefix| self.odd_with(prefix));
            at += self.odd[at..].partition_point(|odd| odd.0.prefix().len() == length);
            (length <= rest.len()).then(|| self.odd[like].iter().map(|odd| &**odd))
        })
        .flatten()
    }

    fn is_empty(&self) -> bool {
        self.star == NONE
            && self.deep == NONE
            && self.globs.is_empty()
            && self.rest.is_empty()
            && self.odd.is_empty()
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.here.is_empty() && self.wild.is_none()
    }

    fn child(&self, step: &Step) -> Option<u32> {
        let wild = self.wild.as_deref();
        match step {
            Step::Literal(text) => self.literals.get(text).copied(),
            Step::Star => wild.map(|wild| wild.star).filter(|node| *node != NONE),
            Step::Deep => wild.map(|wild| wild.deep).filter(|node| *node != NONE),
            Step::Glob(glob) => {
                wild?.begin_with(glob.prefix()).find(|(each, _)| each == glob).map(|(_, node)| *node)
            }
        }
    }

    fn attach(&mut self, step: &Step, node: u32) {
        match step {
            Step::Literal(text) => {
                self.literals.insert(text.clone(), node);
            }
            Step::Star => self.wild.get_or_insert_default().star = node,
            Step::Deep => self.wild.get_or_insert_default().deep = node,
            Step::Glob(glob) => {
                let globs = &mut self.wild.get_or_insert_default().globs;
                let at = globs.partition_point(|(each, _)| each.prefix() < glob.prefix());
                if globs.is_empty() {
                    globs.reserve_exact(1);
                }
                globs.insert(at, (glob.clone(), node));
            }
        }
    }

    fn detach(&mut self, step: &Step) {
        if let Step::Literal(text) = step {
            self.literals.remove(text);
            return;
        }
        let Some(wild) = &mut self.wild else { return };
        match step {
            Step::Star => wild.star = NONE,
            Step::Deep => wild.deep = NONE,
            Step::Glob(glob) => {
                wild.globs.retain(|(each, _)| each != glob);
                if wild.globs.len() < wild.globs.capacity() / 4 {
                    wild.globs.shrink_to(wild.globs.len() * 2);
                }
            }
            Step::Literal(_) => {}
        }
        self.drop_wild();
    }

    fn drop_wild(&mut self) {
        if self.wild.as_ref().is_some_and(|wild| wild.is_empty()) {
            self.wild = None;
        }
    }

    fn lane(&mut self, end: &End) -> &mut Lane {
        match end {
            End::Here => &mut self.here,
            End::Rest => &mut self.wild.get_or_insert_default().rest,
            End::Odd(pattern) => {
                let wild = self.wild.get_or_insert_default();
                let like = wild.odd_with(pattern.prefix());
                let found = wild.odd[like.clone()].iter().position(|odd| odd.0 == *pattern);
                let at = like.start + found.unwrap_or(0);
                if found.is_none() {
                    wild.odd.insert(at, Box::new((pattern.clone(), Lane::default())));
                }
                &mut wild.odd[at].1
            }
        }
    }

    fn leave_lane(&mut self, end: &End, first: First<'_>, slot: u32) {
        self.lane(end).remove(first, slot);
        if let Some(wild) = &mut self.wild {
            if let End::Odd(pattern) = end {
                let like = wild.odd_with(pattern.prefix());
                let empty = wild.odd[like.clone()].iter().position(|odd| odd.1.is_empty());
                if let Some(at) = empty {
                    wild.odd.remove(like.start + at);
                }
            }
            if wild.odd.len() < wild.odd.capacity() / 4 {
                wild.odd.shrink_to(wild.odd.len() * 2);
            }
        }
        self.drop_wild();
    }
}

/// Buffers of one walk.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    now: Vec<u32>,
    next: Vec<u32>,
    /// The step in which a node last entered the set.
    marks: Vec<u64>,
    step: u64,
    #[cfg(test)]
    entered: u64,
}

impl Walk {
    fn enter(&mut self, nodes: &[Node], node: u32) {
        let mut node = node;
        while node != NONE && self.marks[node as usize] != self.step {
            self.marks[node as usize] = self.step;
            self.next.push(node);
            #[cfg(test)]
            {
                self.entered += 1;
            }
            // A `**` may stand for nothing.
            node = nodes[node as usize].wild.as_ref().map_or(NONE, |wild| wild.deep);
        }
    }

    /// How many nodes entered the set since this was last asked.
    #[cfg(test)]
    pub(crate) fn entered(&mut self) -> u64 {
        std::mem::take(&mut self.entered)
    }

    fn turn(&mut self) {
        std::mem::swap(&mut self.now, &mut self.next);
        self.next.clear();
        self.step += 1;
    }
}

/// The patterns of one table and separator.
#[derive(Debug)]
pub(crate) struct Trie {
    separator: char,
    exact: BTreeMap<Box<str>, Lane>,
    nodes: Vec<Node>,
    free: Vec<u32>,
    watches: usize,
}

impl Trie {
    pub(crate) fn new(separator: char) -> Self {
        let nodes = vec![Node::default()];
        Self { separator, exact: BTreeMap::new(), nodes, free: Vec::new(), watches: 0 }
    }

    /// How many watches are in it.
    pub(crate) fn watches(&self) -> usize {
        self.watches
    }

    /// Nodes in use: 1 when nobody watches with a wildcard.
    #[cfg(test)]
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Keys that somebody watches by name.
    #[cfg(test)]
    pub(crate) fn exact_keys(&self) -> usize {
        self.exact.len()
    }

    pub(crate) fn add(&mut self, path: &Path, first: First<'_>, slot: u32) {
        self.watches += 1;
        let (steps, end) = match path {
            Path::Exact(key) => return self.exact.entry(key.clone()).or_default().add(first, slot),
            Path::Steps(steps, end) => (steps, end),
        };
        let mut at = TOP;
        for step in steps {
            at = match self.nodes[at as usize].child(step) {
                Some(child) => child,
                None => {
                    let child = self.new_node(*step == Step::Deep);
                    self.nodes[at as usize].attach(step, child);
                    child
                }
            };
        }
        self.nodes[at as usize].lane(end).add(first, slot);
    }

    fn new_node(&mut self, is_deep: bool) -> u32 {
        let node = Node { is_deep, ..Node::default() };
        if let Some(free) = self.free.pop() {
            self.nodes[free as usize] = node;
            return free;
        }
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).expect("watches are limited far below 2^32 segments")
    }

    /// Takes a watch out, and every node that only led to it.
    pub(crate) fn remove(&mut self, path: &Path, first: First<'_>, slot: u32) {
        self.watches -= 1;
        let (steps, end) = match path {
            Path::Exact(key) => {
                if let Some(lane) = self.exact.get_mut(key) {
                    lane.remove(first, slot);
                    if lane.is_empty() {
                        self.exact.remove(key);
                    }
                }
                return;
            }
            Path::Steps(steps, end) => (steps, end),
        };
        let mut way = vec![TOP];
        for step in steps {
            let Some(child) = way.last().and_then(|at| self.nodes[*at as usize].child(step)) else { return };
            way.push(child);
        }
        self.nodes[way[steps.len()] as usize].leave_lane(end, first, slot);
        for (depth, step) in steps.iter().enumerate().rev() {
            let child = way[depth + 1];
            if !self.nodes[child as usize].is_empty() {
                break;
            }
            self.nodes[way[depth] as usize].detach(step);
            self.free.push(child);
        }
        if self.free.len() + 1 == self.nodes.len() {
            self.nodes.truncate(1);
            self.nodes.shrink_to_fit();
            self.free = Vec::new();
        }
    }

    /// Appends the watches whose pattern matches `key` and whose first condition is among `facts`; some
    /// perhaps more than once.
    pub(crate) fn find(&self, key: &str, facts: &Facts, walk: &mut Walk, hits: &mut Vec<u32>) {
        if let Some(lane) = self.exact.get(key) {
            lane.find(facts, hits);
        }
        if self.nodes[TOP as usize].is_empty() {
            return;
        }
        walk.now.clear();
        walk.next.clear();
        if walk.marks.len() < self.nodes.len() {
            walk.marks.resize(self.nodes.len(), 0);
        }
        walk.step += 1;
        walk.enter(&self.nodes, TOP);
        walk.turn();
        let mut rest = key;
        loop {
            let (segment, after) = match rest.split_once(self.separator) {
                Some((segment, after)) => (segment, Some(after)),
                None => (rest, None),
            };
            for at in 0..walk.now.len() {
                self.pass(walk.now[at], segment, rest, facts, walk, hits);
            }
            walk.turn();
            match after {
                Some(after) if !walk.now.is_empty() => rest = after,
                _ => break,
            }
        }
        for node in &walk.now {
            self.nodes[*node as usize].here.find(facts, hits);
        }
    }

    /// Leads a node over one segment. `rest`: the key from that segment on.
    fn pass(&self, at: u32, segment: &str, rest: &str, facts: &Facts, walk: &mut Walk, hits: &mut Vec<u32>) {
        let node = &self.nodes[at as usize];
        if node.is_deep {
            walk.enter(&self.nodes, at);
        }
        if let Some(child) = node.literals.get(segment) {
            walk.enter(&self.nodes, *child);
        }
        let Some(wild) = &node.wild else { return };
        walk.enter(&self.nodes, wild.star);
        wild.rest.find(facts, hits);
        for (pattern, lane) in wild.odd_like(rest) {
            if pattern.matches(rest) {
                lane.find(facts, hits);
            }
        }
        if wild.globs.is_empty() {
            return;
        }
        for (end, _) in segment.char_indices().chain([(segment.len(), ' ')]) {
            for (glob, child) in wild.begin_with(&segment[..end]) {
                if glob.matches(segment) {
                    walk.enter(&self.nodes, *child);
                }
            }
        }
    }
}
