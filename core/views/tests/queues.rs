//! The promise, on random histories: a watch is told every matching change once and in order, or that it must
//! list, however it pauses, resumes, comes late or falls behind.

#[path = "../../state/tests/sketch/mod.rs"]
mod sketch;

#[path = "stage/mod.rs"]
mod stage;

use std::collections::BTreeMap;

use konsul_state::entry::Kind;
use konsul_views::{ItemKind, Pattern, Spec};
use proptest::prelude::*;
use sketch::{V, delete, put};
use stage::*;

const KEYS: [&str; 5] = ["a", "b", "a/b", "a/c", "a/b/c"];
const PATTERNS: [&str; 6] = ["**", "a", "a/*", "*", "a/**", "**/c"];

#[derive(Debug, Clone)]
enum Step {
    /// One entry: keys, and a value for each that is put.
    Entry(Vec<(usize, Option<u8>)>),
    Open {
        pattern: usize,
        buffer: usize,
        coalesce: bool,
        /// So far back from the newest index.
        since: Option<i64>,
    },
    Close(usize),
    Pause(usize),
    Resume(usize),
    Take(usize),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (0..KEYS.len(), prop::option::weighted(0.8, any::<u8>()));
    let open = (0..PATTERNS.len(), 1..5_usize, any::<bool>(), prop::option::of(-2..12_i64));
    let open =
        open.prop_map(|(pattern, buffer, coalesce, since)| Step::Open { pattern, buffer, coalesce, since });
    let step = prop_oneof![
        12 => prop::collection::vec(write, 1..4).prop_map(Step::Entry),
        3 => open,
        1 => any::<usize>().prop_map(Step::Close),
        3 => any::<usize>().prop_map(Step::Pause),
        3 => any::<usize>().prop_map(Step::Resume),
        5 => (0..9_usize).prop_map(Step::Take),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 1..120)
}

/// A change as it happened.
#[derive(Debug, Clone)]
struct Past {
    index: u64,
    key: String,
    before: Option<String>,
    after: Option<String>,
}

/// What a reader has been told.
#[derive(Debug)]
struct Reader {
    pattern: Pattern,
    buffer: usize,
    coalesces: bool,
    is_paused: bool,
    /// It came with `since`, and has heard nothing yet.
    has_since: bool,
    /// Changes up to this index are no affair of it any more.
    cut: u64,
    /// Places in history that are above the cut, match, and were neither told nor outdone by a later one.
    owed: Vec<usize>,
    /// Something that was owed cannot be told any more, for all it knows.
    may_be_lost: bool,
    was_behind: bool,
    /// It paused before anything was owed to it, and has heard nothing since.
    is_prompt: bool,
    position: u64,
}

struct World {
    stage: Stage,
    history: Vec<Past>,
    readers: BTreeMap<u64, Reader>,
    is_tight: bool,
}

fn value(row: Option<&[u8]>) -> Option<String> {
    // A packed row of one bytes cell: 16 bytes of header, the marker, the length.
    row.map(|row| String::from_utf8(row[18..].to_vec()).unwrap())
}

impl World {
    fn new(ring_entries: usize, ring_bytes: usize) -> Self {
        let stage = Stage::new(ring_entries, ring_bytes);
        Self { stage, history: Vec::new(), readers: BTreeMap::new(), is_tight: ring_bytes < 100_000 }
    }

    fn pick(&self, at: usize) -> Option<u64> {
        self.readers.keys().nth(at % self.readers.len().max(1)).copied()
    }

    fn enter(&mut self, writes: &[(usize, Option<u8>)]) {
        let op = |(key, value): &(usize, Option<u8>)| match value {
            Some(value) => put(KV, KEYS[*key], &[V::Bytes(format!("v{value}").into_bytes())]),
            None => delete(KV, KEYS[*key]),
        };
        // Each key once: two equal events of one entry could not be told apart.
        let writes: BTreeMap<_, _> = writes.iter().map(|write| (write.0, *write)).collect();
        let ops: Vec<_> = writes.values().map(op).collect();
        self.stage.entry(Kind::Cases, &ops);
        for change in &self.stage.replica.changes {
            let past = Past {
                index: change.index,
                key: String::from_utf8(change.key().to_vec()).unwrap(),
                before: value(change.before()),
                after: value(change.after()),
            };
            for reader in self.readers.values_mut() {
                if past.index > reader.cut && reader.pattern.matches(&past.key) {
                    reader.owed.push(self.history.len());
                }
            }
            self.history.push(past);
        }
    }

    fn open(&mut self, pattern: usize, buffer: usize, coalesces: bool, since: Option<i64>) {
        let now = self.stage.replica.tables.index();
        let since = since.map(|back| now.saturating_add_signed(-back));
        let spec = Spec { coalesce: coalesces, ..spec(KV, PATTERNS[pattern], buffer) };
        let Ok(watch) = self.stage.open(spec, since) else { return };
        let pattern = Pattern::new(PATTERNS[pattern]).unwrap();
        let cut = since.unwrap_or(now);
        let is_owed = |past: &Past| past.index > cut && pattern.matches(&past.key);
        let owed = (0..self.history.len()).filter(|at| is_owed(&self.history[*at])).collect();
        let may_be_lost = cut < self.stage.hub.stats().ring_floor;
        let reader = Reader {
            pattern,
            buffer,
            coalesces,
            is_paused: false,
            has_since: since.is_some(),
            cut,
            owed,
            may_be_lost,
            was_behind: false,
            is_prompt: since.is_none(),
            position: 0,
        };
        self.readers.insert(watch, reader);
    }

    fn take(&mut self, limit: usize) -> Result<bool, TestCaseError> {
        let mut told = Vec::new();
        let more = self.stage.hub.take(limit, &mut |item| {
            let text = String::from_utf8(item.payload.to_vec()).unwrap();
            told.push((
                item.watch,
                Told { kind: item.kind, index: item.index, key: item.key.to_vec(), text },
            ));
        });
        prop_assert!(told.len() <= limit.max(1));
        let floor = self.stage.hub.stats().ring_floor;
        for (watch, told) in told {
            let Some(reader) = self.readers.get_mut(&watch) else {
                return Err(TestCaseError::fail(format!("told to nobody: {told:?}")));
            };
            match told.kind {
                ItemKind::Event => reader.hear(&self.history, &told)?,
                ItemKind::Behind => reader.hear_behind(&self.history, &told)?,
                ItemKind::Compacted => {
                    prop_assert!(!reader.is_paused);
                    let is_gone = reader.owed.iter().any(|at| self.history[*at].index <= floor);
                    // Who came with `since` and had no turn yet has not looked what of the ring is its own.
                    let is_unseen = reader.has_since && reader.cut < floor;
                    let may_be = reader.may_be_lost || is_unseen || self.is_tight;
                    prop_assert!(is_gone || may_be, "nothing was lost: {reader:?}");
                    reader.cut = told.index;
                    reader.owed.retain(|at| self.history[*at].index > told.index);
                    reader.may_be_lost = false;
                    reader.was_behind = false;
                    (reader.is_prompt, reader.has_since) = (false, false);
                }
            }
        }
        self.check_positions()?;
        Ok(more)
    }

    fn check_positions(&mut self) -> Result<(), TestCaseError> {
        for (watch, reader) in &mut self.readers {
            let position = self.stage.hub.position(*watch).unwrap();
            prop_assert!(position >= reader.position, "a position falls");
            reader.position = position;
            let first_owed = reader.due(&self.history).next();
            prop_assert!(first_owed.is_none_or(|index| position < index), "{position} {reader:?}");
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Entry(writes) => self.enter(writes),
            Step::Open { pattern, buffer, coalesce, since } => {
                self.open(*pattern, *buffer, *coalesce, *since)
            }
            Step::Close(at) => {
                if let Some(watch) = self.pick(*at) {
                    self.stage.hub.unwatch(watch);
                    self.readers.remove(&watch);
                }
            }
            Step::Pause(at) | Step::Resume(at) => {
                let Some(watch) = self.pick(*at) else { return Ok(()) };
                let is_paused = matches!(step, Step::Pause(_));
                let reader = self.readers.get_mut(&watch).unwrap();
                reader.is_prompt &= is_paused && reader.owed.is_empty();
                reader.is_paused = is_paused;
                if is_paused { self.stage.hub.pause(watch) } else { self.stage.hub.resume(watch) }
            }
            Step::Take(limit) => {
                self.take(*limit)?;
            }
            Step::Reset => {
                self.stage.hub.reset(self.stage.replica.tables.index());
                for reader in self.readers.values_mut() {
                    (reader.may_be_lost, reader.is_prompt) = (true, false);
                }
            }
        }
        Ok(())
    }

    /// Who is paused with more than its buffer holds has been told.
    fn check_behind(&self) -> Result<(), TestCaseError> {
        for reader in self.readers.values().filter(|reader| reader.is_prompt && reader.is_paused) {
            let is_behind = reader.due(&self.history).count() > reader.buffer;
            prop_assert!(
                !is_behind || reader.was_behind || reader.may_be_lost || self.is_tight,
                "{reader:?}"
            );
        }
        Ok(())
    }

    /// In the end everybody reads on, and nothing is owed to anybody.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        while self.take(5)? {}
        self.check_behind()?;
        for (watch, reader) in &mut self.readers {
            self.stage.hub.resume(*watch);
            reader.is_paused = false;
        }
        while self.take(5)? {}
        for (watch, reader) in &self.readers {
            prop_assert!(reader.owed.is_empty(), "{watch} is still owed: {reader:?}");
            let newest = self.stage.replica.tables.index().max(reader.cut);
            prop_assert_eq!(self.stage.hub.position(*watch), Some(newest));
        }
        prop_assert_eq!(self.stage.hub.stats().held_bytes, 0);
        for watch in std::mem::take(&mut self.readers).into_keys() {
            self.stage.hub.unwatch(watch);
        }
        let stats = self.stage.hub.stats();
        prop_assert_eq!((stats.watchers, stats.by_table), (0, vec![]));
        Ok(())
    }
}

impl Reader {
    /// The indexes of what it must still be told: with coalescing, not what a later one of the key outdoes.
    fn due<'r>(&'r self, history: &'r [Past]) -> impl Iterator<Item = u64> + 'r {
        let is_outdone = |at: usize| {
            self.coalesces
                && self.owed.iter().any(|later| *later > at && history[*later].key == history[at].key)
        };
        self.owed.iter().copied().filter(move |at| !is_outdone(*at)).map(|at| history[at].index)
    }

    /// The first that is owed comes first; with coalescing, the first that no later one of its key outdoes.
    fn hear(&mut self, history: &[Past], told: &Told) -> Result<(), TestCaseError> {
        prop_assert!(!self.is_paused, "an event for a paused reader");
        let key = String::from_utf8(told.key.clone()).unwrap();
        let of_key = |at: &usize| history[*at].key == key && history[*at].index <= told.index;
        let candidates: Vec<usize> = self.owed.iter().copied().filter(of_key).collect();
        let Some(first) = candidates.first().copied() else {
            return Err(TestCaseError::fail(format!("not owed: {told:?} {self:?}")));
        };
        let is_it = |at: &usize| history[*at].index == told.index;
        let Some(this) = candidates.into_iter().find(is_it) else {
            return Err(TestCaseError::fail(format!("it did not happen: {told:?} {self:?}")));
        };
        prop_assert_eq!(&told.text, &text(history, first, this));
        if !self.coalesces {
            prop_assert_eq!((this, self.owed.first()), (first, Some(&this)), "out of order");
        }
        self.owed.retain(|at| *at > this || history[*at].key != key);
        self.was_behind = false;
        (self.is_prompt, self.has_since) = (false, false);
        Ok(())
    }

    fn hear_behind(&mut self, history: &[Past], told: &Told) -> Result<(), TestCaseError> {
        let would_fit = self.is_prompt && self.due(history).count() <= self.buffer;
        prop_assert!(!would_fit, "its buffer would hold it: {self:?}");
        prop_assert!(!self.was_behind, "told twice");
        let first = self.due(history).next();
        prop_assert!(first.is_some_and(|first| told.index < first), "{told:?} would lose {first:?}");
        self.was_behind = true;
        Ok(())
    }
}

/// The event of a change, to a reader who knows the key as it was before `first`.
fn text(history: &[Past], first: usize, this: usize) -> String {
    let Past { index, key, after, .. } = &history[this];
    let kind = if after.is_some() { "set" } else { "delete" };
    let member = |name: &str, value: &Option<String>| match value {
        Some(value) => format!(r#","{name}":"{value}""#),
        None => String::new(),
    };
    let (value, old) = (member("value", after), member("old_value", &history[first].before));
    let head = format!(r#"{{"type":"{kind}","key":"{key}"{value}{old}"#);
    format!(r#"{head},"timestamp":1767323045,"modify_index":{index}}}"#)
}

fn play(steps: &[Step], ring_entries: usize, ring_bytes: usize) -> Result<(), TestCaseError> {
    let mut world = World::new(ring_entries, ring_bytes);
    for step in steps {
        world.step(step)?;
        let stats = world.stage.hub.stats();
        prop_assert!(stats.ring_entries <= ring_entries && stats.ring_bytes <= ring_bytes, "{stats:?}");
        prop_assert!(stats.held_bytes <= 4 * ring_bytes, "{stats:?}");
        prop_assert_eq!(stats.watchers, world.readers.len());
    }
    world.settle()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 3_000, ..Default::default() })]

    #[test]
    fn every_change_is_told_once_or_its_loss_is(steps in steps(), ring_entries in 1..40_usize) {
        play(&steps, ring_entries, 1 << 20)?;
    }

    #[test]
    fn with_little_memory_too(steps in steps(), ring_bytes in 300..3_000_usize) {
        play(&steps, 1_000, ring_bytes)?;
    }
}
