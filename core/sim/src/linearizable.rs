//! Is a history linearizable? The algorithm of Wing and Gong with Lowe's memory of visited configurations
//! ("Testing for linearizability", 2017), key by key: linearizability is local (Herlihy and Wing 1990,
//! theorem 1), so each key is a history of its own (P-compositionality).
//!
//! Beyond a plain register, the index that each write was told binds the order: a write's index is greater
//! than that of every write before it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Kind, Operation, Outcome};
use crate::register::{Action, Register, Step, actions};

/// What the check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains every answer.
    Linearizable,
    /// There is none; says why, with the operations that cannot be placed.
    Broken(String),
    /// The search was given up.
    Undecided(String),
}

/// How many steps the search takes for one key before it gives up.
pub const STEPS_MAX: u64 = 5_000_000;

/// Checks every key of `history`, and the order of the indexes over all keys.
pub fn check(history: &[Operation], steps_max: u64) -> Verdict {
    if let Some(problem) = index_problem(history) {
        return Verdict::Broken(problem);
    }
    let mut by_key: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    let mut verdict = Verdict::Linearizable;
    for (key, operations) in by_key {
        match check_key(&operations, steps_max) {
            Verdict::Linearizable => {}
            Verdict::Broken(why) => return Verdict::Broken(format!("key {key}: {why}")),
            Verdict::Undecided(why) => verdict = Verdict::Undecided(format!("key {key}: {why}")),
        }
    }
    verdict
}

/// Indexes of done writes are all different, and one that began after another's answer has a greater one.
fn index_problem(history: &[Operation]) -> Option<String> {
    let is_indexed =
        |op: &&Operation| op.kind != Kind::Get && op.outcome == Outcome::Ok && op.index > Some(0);
    let mut writes: Vec<&Operation> = history.iter().filter(is_indexed).collect();
    writes.sort_by_key(|op| op.index);
    for pair in writes.windows(2) {
        if pair[0].index == pair[1].index {
            return Some(format!("two writes were given one index: {} and {}", tell(pair[0]), tell(pair[1])));
        }
    }
    // Walked from the greatest index down, no write may have begun after the earliest answer seen so far.
    let mut earliest: Option<&Operation> = None;
    for op in writes.iter().rev() {
        if let Some(other) = earliest
            && other.end_us.is_some_and(|end_us| end_us < op.start_us)
        {
            return Some(format!("the indexes run against time: {}, and later {}", tell(other), tell(op)));
        }
        if earliest.is_none_or(|other| op.end_us < other.end_us) {
            earliest = Some(op);
        }
    }
    None
}

fn tell(op: &Operation) -> String {
    op.to_line()
}

/// One key's search.
struct Search<'a> {
    steps: &'a [Step<'a>],
    /// The undone ones in the order of their starts, as a ring through the place past the last.
    next: Vec<usize>,
    before: Vec<usize>,
    marks: Vec<u128>,
    done_mark: u128,
    /// Undone operations that were answered.
    left: usize,
}

struct Frame {
    register: Register,
    choices: Vec<usize>,
    chosen: Option<usize>,
}

fn check_key(operations: &[&Operation], steps_max: u64) -> Verdict {
    let mut steps = actions(operations);
    steps.sort_by_key(|step| step.start_us);
    let mut search = Search::new(&steps);
    let first = Frame { register: Register::default(), choices: Vec::new(), chosen: None };
    let mut stack = vec![first];
    stack[0].choices = search.choices(&stack[0].register);
    let mut visited = BTreeSet::new();
    let mut taken = 0;
    let mut furthest = (usize::MAX, String::new());
    while search.left > 0 {
        if search.left < furthest.0 {
            furthest.0 = search.left;
            furthest.1 = stack.last().map_or_else(String::new, |frame| search.tell(frame));
        }
        let Some(frame) = stack.last_mut() else { return Verdict::Broken(furthest.1) };
        if let Some(undone) = frame.chosen.take() {
            search.put_back(undone);
        }
        let Some(choice) = frame.choices.pop() else {
            stack.pop();
            continue;
        };
        taken += 1;
        if taken > steps_max {
            return Verdict::Undecided(format!("no answer in {steps_max} steps"));
        }
        let Some(register) = frame.register.after(&steps[choice].action) else { continue };
        frame.chosen = Some(choice);
        search.take(choice);
        if visited.insert(search.done_mark ^ register.mark()) {
            let choices = search.choices(&register);
            stack.push(Frame { register, choices, chosen: None });
        }
    }
    Verdict::Linearizable
}

impl<'a> Search<'a> {
    fn new(steps: &'a [Step<'a>]) -> Self {
        let count = steps.len();
        let next = (1..=count).chain([0]).collect();
        let before = (0..=count).map(|at| if at == 0 { count } else { at - 1 }).collect();
        let mut seed = 0x6b6f_6e73_756c;
        let mut random = || u128::from(crate::prng::splitmix(&mut seed));
        let marks = (0..count).map(|_| random() << 64 | random()).collect();
        let left = steps.iter().filter(|step| step.end_us.is_some()).count();
        Self { steps, next, before, marks, done_mark: 0, left }
    }

    fn take(&mut self, at: usize) {
        let (before, next) = (self.before[at], self.next[at]);
        self.next[before] = next;
        self.before[next] = before;
        self.done_mark ^= self.marks[at];
        self.left -= usize::from(self.steps[at].end_us.is_some());
    }

    fn put_back(&mut self, at: usize) {
        let (before, next) = (self.before[at], self.next[at]);
        self.next[before] = at;
        self.before[next] = at;
        self.done_mark ^= self.marks[at];
        self.left += usize::from(self.steps[at].end_us.is_some());
    }

    /// What may come next: every undone operation that began before the first undone answer.
    fn minimal(&self) -> Vec<usize> {
        let end = self.steps.len();
        let (mut found, mut first_end_us) = (Vec::new(), u64::MAX);
        let mut at = self.next[end];
        while at != end && self.steps[at].start_us <= first_end_us {
            first_end_us = first_end_us.min(self.steps[at].end_us.unwrap_or(u64::MAX));
            found.push(at);
            at = self.next[at];
        }
        found.retain(|at| self.steps[*at].start_us <= first_end_us);
        found
    }

    /// The same, without what cannot help; the most promising is last.
    fn choices(&self, register: &Register) -> Vec<usize> {
        let mut found = self.minimal();
        // What changes nothing and fits now can be placed now: any order that has it later allows that too.
        let fits_now = |at: &&usize| {
            let action = &self.steps[**at].action;
            !action.is_write() && self.steps[**at].end_us.is_some() && register.after(action).is_some()
        };
        if let Some(at) = found.iter().find(fits_now) {
            return vec![*at];
        }
        let answered = found.iter().filter(|at| self.steps[**at].end_us.is_some());
        let least = answered.filter_map(|at| self.steps[*at].action.index()).min().unwrap_or(u64::MAX);
        found.retain(|at| self.steps[*at].action.index().is_none_or(|index| index <= least));
        // Unanswered ones may never have happened. One that nothing looks at before the next write might as
        // well have been left out, so it is tried only right before what it explains, and last.
        let all = found.clone();
        found.retain(|at| self.steps[*at].end_us.is_some() || self.explains(*at, register, &all));
        found.sort_by_key(|at| {
            let step = &self.steps[*at];
            (step.end_us.is_some(), std::cmp::Reverse(step.end_us))
        });
        found
    }

    fn explains(&self, unanswered: usize, register: &Register, all: &[usize]) -> bool {
        let Some(after) = register.after(&self.steps[unanswered].action) else { return false };
        let mut others = all.iter().filter(|at| **at != unanswered).map(|at| &self.steps[*at].action);
        others.any(|action| action.looks() && after.after(action).is_some())
    }

    fn tell(&self, frame: &Frame) -> String {
        let mut text = format!("after {} nothing explains all of:", frame.register);
        for at in self.minimal().into_iter().take(12) {
            text.push_str("\n    ");
            text.push_str(&tell(self.steps[at].operation));
        }
        text
    }
}

impl Action {
    /// True if it depends on what is there.
    fn looks(&self) -> bool {
        !matches!(self, Self::Put { .. } | Self::Delete { .. })
    }

    fn is_write(&self) -> bool {
        !matches!(self, Self::Get { .. } | Self::Refused { .. } | Self::Missing)
    }
}
