//! Everything that happened, as a digest, and the last of it in words. Two runs of one seed have one digest.

use std::collections::VecDeque;

use xxhash_rust::xxh3::Xxh3Default;

/// How many events a failure shows.
const LAST_MAX: usize = 80;

/// One event; rendered only when somebody reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    at_us: u64,
    node: u64,
    what: &'static str,
    numbers: [u64; 3],
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c] = self.numbers;
        write!(f, "{:>10} us  node {:<3} {:<22} {a} {b} {c}", self.at_us, self.node, self.what)
    }
}

/// The record of one run.
pub struct Trace {
    hash: Xxh3Default,
    last: VecDeque<Note>,
    is_printed: bool,
    /// Events so far.
    pub events: u64,
}

impl Trace {
    /// An empty record; `is_printed` writes every event to standard output as it happens.
    pub fn new(is_printed: bool) -> Self {
        Self { hash: Xxh3Default::new(), last: VecDeque::with_capacity(LAST_MAX), is_printed, events: 0 }
    }

    /// Records one event.
    pub fn note(&mut self, at_us: u64, node: u64, what: &'static str, numbers: [u64; 3]) {
        let note = Note { at_us, node, what, numbers };
        self.hash.update(what.as_bytes());
        for number in [at_us, node, numbers[0], numbers[1], numbers[2]] {
            self.hash.update(&number.to_le_bytes());
        }
        self.events += 1;
        if self.is_printed {
            println!("{note}");
        }
        if self.last.len() == LAST_MAX {
            self.last.pop_front();
        }
        self.last.push_back(note);
    }

    /// Words for whoever reads along; they are not part of the digest.
    pub fn say(&self, words: impl FnOnce() -> String) {
        if self.is_printed {
            println!("              {}", words());
        }
    }

    /// Records bytes that are not worth a line, such as a frame's content.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// The digest of everything so far.
    pub fn digest(&self) -> u64 {
        self.hash.digest()
    }

    /// The newest events, oldest first.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().map(ToString::to_string).collect()
    }
}
