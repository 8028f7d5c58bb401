//! The clients: each does one thing after the other on any node, waits so long, tries again elsewhere under
//! the same request id, or gives up without knowing.

use crate::counts::Counts;
use crate::history::{Kind, Operation, Outcome};
use crate::prng::Prng;
use crate::profile::Profile;
use crate::workload::Wish;

/// How a get is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// By the leader's lease.
    Default,
    /// After a round of the quorum.
    Linearizable,
}

/// What a client asks of a node.
#[derive(Clone, Debug)]
pub enum Ask {
    /// A write, with the id under which it is sent again.
    Write { wish: Wish, request_id: [u8; 16] },
    /// A read of a key.
    Get { key: String, read: Read },
}

/// A node's answer to one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Applied at this index.
    Applied(u64),
    /// The guard did not hold; with the modify_index that was found.
    Conflict(u64),
    /// Read, with the row's modify_index.
    Found(Option<(String, u64)>),
    /// Certainly without effect.
    Refused,
    /// Nobody can tell.
    Unknown,
}

/// Names one attempt of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    /// Which client.
    pub client: usize,
    /// Which of its operations.
    pub number: u64,
    /// Which attempt of that.
    pub nth: u32,
}

/// What a client wants to happen next.
#[derive(Debug)]
pub enum Next {
    /// Nothing: the answer was not awaited any more.
    Nothing,
    /// Ask again, elsewhere.
    Again,
    /// The operation is over.
    Done(Box<Operation>),
}

struct Current {
    operation: Operation,
    ask: Ask,
    nth: u32,
    attempts_max: u32,
    /// An earlier attempt may still take effect.
    is_loose: bool,
}

/// One client.
pub struct Client {
    id: usize,
    prng: Prng,
    number: u64,
    current: Option<Current>,
    /// What it last saw of a key: cas needs an index.
    seen: Vec<u64>,
    /// A node it stays with for a while.
    slot: usize,
}

impl Client {
    /// A client that knows nothing yet.
    pub fn new(id: usize, profile: &Profile, mut prng: Prng) -> Self {
        let slot = prng.below(profile.voters as u64) as usize;
        Self { id, prng, number: 0, current: None, seen: vec![0; profile.keys as usize], slot }
    }

    /// Begins an operation.
    pub fn begin(&mut self, now_us: u64) {
        self.number += 1;
        let key_number = self.prng.below(self.seen.len() as u64) as usize;
        let (key, request) = (format!("k{key_number}"), format!("c{}-{}", self.id, self.number));
        let kind = [Kind::Put, Kind::Cas, Kind::Get, Kind::Delete][self.prng.weighted(&[30, 25, 40, 5])];
        let expect_index = if kind == Kind::Cas { self.expect(key_number) } else { 0 };
        let ask = if kind == Kind::Get {
            let read = if self.prng.chance(500) { Read::Default } else { Read::Linearizable };
            Ask::Get { key: key.clone(), read }
        } else {
            let is_timed = self.prng.chance(50);
            let (key, value) = (key.clone(), request.clone());
            let wish = Wish { kind, key, value, expect_index, request: request.clone(), is_timed };
            Ask::Write { wish, request_id: self.request_id() }
        };
        let arg = if matches!(kind, Kind::Put | Kind::Cas) { request } else { String::new() };
        let operation = Operation {
            client: format!("c{}", self.id),
            kind,
            key,
            arg,
            expect_index,
            start_us: now_us,
            end_us: None,
            outcome: Outcome::Unknown,
            value: None,
            index: None,
        };
        let attempts_max = [1, 3, 6][self.prng.below(3) as usize];
        self.current = Some(Current { operation, ask, nth: 0, attempts_max, is_loose: false });
    }

    /// Mostly what was last seen; sometimes nothing at all, sometimes an index that never was.
    fn expect(&mut self, key_number: usize) -> u64 {
        match self.prng.below(10) {
            0 => 0,
            1 => self.seen[key_number] + self.prng.below(3),
            _ => self.seen[key_number],
        }
    }

    fn request_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.id as u64 + 1).to_be_bytes());
        id[8..].copy_from_slice(&self.number.to_be_bytes());
        id
    }

    /// The next attempt: what to ask of which of `slots` machines.
    pub fn attempt(&mut self, slots: usize) -> Option<(Attempt, usize, Ask)> {
        let current = self.current.as_mut()?;
        current.nth += 1;
        if current.nth > 1 || self.prng.chance(150) || self.slot >= slots {
            self.slot = self.prng.below(slots as u64) as usize;
        }
        let attempt = Attempt { client: self.id, number: self.number, nth: current.nth };
        Some((attempt, self.slot, current.ask.clone()))
    }

    /// True while this attempt is the one that is waited for.
    pub fn awaits(&self, attempt: Attempt) -> bool {
        let nth = self.current.as_ref().map(|current| current.nth);
        attempt.number == self.number && nth == Some(attempt.nth)
    }

    /// Takes the answer of an attempt, or the end of its patience ([`Answer::Unknown`]).
    pub fn take(&mut self, attempt: Attempt, answer: &Answer, now_us: u64, counts: &mut Counts) -> Next {
        if !self.awaits(attempt) {
            return Next::Nothing;
        }
        let Some(mut current) = self.current.take() else { return Next::Nothing };
        let is_last = current.nth >= current.attempts_max;
        let operation = &mut current.operation;
        match answer {
            Answer::Unknown | Answer::Refused if !is_last => {
                current.is_loose |= *answer == Answer::Unknown;
                counts.add("client: request sent again");
                self.current = Some(current);
                return Next::Again;
            }
            Answer::Applied(index) => {
                operation.outcome = Outcome::Ok;
                operation.index = Some(*index);
            }
            Answer::Found(found) => {
                operation.outcome = Outcome::Ok;
                operation.value = found.as_ref().map(|(value, _)| value.clone());
                operation.index = found.as_ref().map(|(_, index)| *index);
            }
            // With an attempt on its way that may still meet another row, a conflict settles nothing.
            Answer::Conflict(at) if !current.is_loose => {
                operation.outcome = Outcome::Fail;
                operation.index = Some(*at).filter(|_| operation.kind == Kind::Cas);
            }
            Answer::Refused if !current.is_loose => operation.outcome = Outcome::Fail,
            Answer::Conflict(_) | Answer::Refused | Answer::Unknown => {}
        }
        operation.end_us = (operation.outcome != Outcome::Unknown).then_some(now_us);
        self.learn(&current.operation, answer);
        Next::Done(Box::new(current.operation))
    }

    /// What it still waits for: nobody will ever know.
    pub fn abandon(&mut self) -> Option<Operation> {
        self.current.take().map(|current| current.operation)
    }

    fn learn(&mut self, operation: &Operation, answer: &Answer) {
        let key = operation.key[1..].parse().unwrap_or(0);
        let index = match answer {
            Answer::Applied(_) if operation.kind == Kind::Delete => 0,
            Answer::Applied(index) | Answer::Conflict(index) => *index,
            Answer::Found(found) => found.as_ref().map_or(0, |(_, index)| *index),
            Answer::Refused | Answer::Unknown => return,
        };
        if let Some(seen) = self.seen.get_mut(key) {
            *seen = index;
        }
    }
}
