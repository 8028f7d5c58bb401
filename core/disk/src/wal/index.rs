//! What the log holds, in memory: the recent entries themselves, and for all entries where on disk they lie.
//!
//! Two states live here. *Staged* is what the caller has handed in (entries are readable at once, which
//! raft-rs with asynchronous persistence requires); *placed* is what lies on disk, in the order the writer
//! wrote it. An entry leaves `recent` only when it is on disk, so whatever precedes `recent` is in `placed`
//! in its current version.

use std::collections::VecDeque;

use super::error::{ReadError, WalError};
use super::record::{Entry, HardState, Record, SnapshotMark};
use super::segment::Segment;
use super::sequence::{Sequence, Termed};

/// Where an entry lies. `segment` is its sequence number, `offset` that of its frame.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub term: u64,
    pub segment: u32,
    pub offset: u32,
    pub payload_bytes: u32,
}

/// An entry in memory; `ticket` is the append it came with.
struct Recent {
    entry: Entry,
    ticket: u64,
}

/// A segment holding records, and the highest entry index ever written into it.
pub(crate) struct Live {
    pub segment: Segment,
    pub last_index: u64,
}

/// How a range of entries is to be read: places on disk first, then entries from memory.
#[derive(Default)]
pub(crate) struct Plan {
    pub runs: Vec<(Segment, Vec<Place>)>,
    pub recent: Vec<Entry>,
}

pub(crate) struct Index {
    /// The position before the first readable entry.
    start: (u64, u64),
    recent: Sequence<Recent>,
    recent_bytes: usize,
    recent_max_bytes: usize,
    placed: Sequence<Place>,
    live: VecDeque<Live>,
    staged_ticket: u64,
    written_ticket: u64,
    hard_state: HardState,
    mark: SnapshotMark,
    synced_mark: u64,
    purged: u64,
    misused: Option<WalError>,
}

impl Termed for Place {
    fn term(&self) -> u64 {
        self.term
    }
}

impl Termed for Recent {
    fn term(&self) -> u64 {
        self.entry.term
    }
}

impl Index {
    pub fn new(
        placed: Sequence<Place>,
        live: VecDeque<Live>,
        hard_state: HardState,
        mark: SnapshotMark,
        recent_max_bytes: usize,
    ) -> Index {
        let before = placed.first() - 1;
        let term_at = |index| placed.term(index).expect("both ends of a run have a term");
        Index {
            start: (before, term_at(before)),
            recent: Sequence::new(placed.last(), term_at(placed.last())),
            recent_bytes: 0,
            recent_max_bytes,
            live,
            staged_ticket: 0,
            written_ticket: 0,
            hard_state,
            synced_mark: mark.index,
            mark,
            purged: before,
            misused: None,
            placed,
        }
    }

    pub fn first(&self) -> u64 {
        self.start.0 + 1
    }

    pub fn last(&self) -> u64 {
        self.recent.last()
    }

    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    pub fn mark(&self) -> &SnapshotMark {
        &self.mark
    }

    pub fn live(&self) -> &VecDeque<Live> {
        &self.live
    }

    pub fn recent_bytes(&self) -> usize {
        self.recent_bytes
    }

    pub fn term(&self, index: u64) -> Result<u64, ReadError> {
        if index < self.start.0 {
            return Err(ReadError::Compacted { first: self.first() });
        }
        if index > self.last() {
            return Err(ReadError::Unavailable { last: self.last() });
        }
        if index == self.start.0 {
            return Ok(self.start.1);
        }
        let known = self.recent.term(index).or_else(|| self.placed.term(index));
        Ok(known.expect("what precedes the recent entries is placed"))
    }

    /// Takes records in; returns the ticket the writer hands back to [`Index::written`].
    pub fn stage(&mut self, records: &[Record]) -> Result<u64, WalError> {
        if let Some(misused) = &self.misused {
            return Err(misused.clone());
        }
        self.staged_ticket += 1;
        let staged = records.iter().try_for_each(|record| self.stage_one(record));
        staged.inspect_err(|error| self.misused = Some(error.clone()))?;
        self.evict();
        Ok(self.staged_ticket)
    }

    fn stage_one(&mut self, record: &Record) -> Result<(), WalError> {
        match record {
            Record::Entry(entry) => self.stage_entry(entry)?,
            Record::HardState(state) => self.hard_state = *state,
            Record::Snapshot(mark) => {
                if mark.index < self.mark.index || self.term(mark.index) != Ok(mark.term) {
                    return Err(self.misused("a snapshot of what is not in the log", mark.index));
                }
                self.mark = mark.clone();
            }
            Record::Install(mark) => {
                if mark.index < self.mark.index.max(1) {
                    return Err(self.misused("a snapshot of nothing or older than the last", mark.index));
                }
                self.mark = mark.clone();
                self.start = (mark.index, mark.term);
                self.recent.reset(mark.index, mark.term);
                self.recent_bytes = 0;
            }
        }
        Ok(())
    }

    fn misused(&self, what: &str, index: u64) -> WalError {
        let (first, last, mark) = (self.first(), self.last(), self.mark.index);
        WalError::Misused(format!("{what}: {index}; the log has {first}..={last}, its snapshot is at {mark}"))
    }

    fn stage_entry(&mut self, entry: &Entry) -> Result<(), WalError> {
        let index = entry.index;
        if index <= self.mark.index || index > self.last() + 1 {
            return Err(self.misused("an entry out of place", index));
        }
        if index < self.recent.first() {
            let term = self.term(index - 1).map_err(|e| WalError::Misused(e.to_string()))?;
            self.recent.reset(index - 1, term);
            self.recent_bytes = 0;
        }
        while let Some(dropped) = self.recent.pop_back_from(index) {
            self.recent_bytes -= dropped.entry.data.len();
        }
        self.recent_bytes += entry.data.len();
        self.recent.push(Recent { entry: entry.clone(), ticket: self.staged_ticket });
        Ok(())
    }

    fn evict(&mut self) {
        while self.recent_bytes > self.recent_max_bytes
            && self.recent.front().is_some_and(|front| front.ticket <= self.written_ticket)
        {
            self.drop_front();
        }
        self.recent.shrink();
    }

    fn drop_front(&mut self) {
        if let Some(dropped) = self.recent.pop_front() {
            self.recent_bytes -= dropped.entry.data.len();
        }
    }

    /// Notes that the records of `ticket` lie in `segment`, each at its offset, and are synced.
    pub fn written<'r>(
        &mut self,
        ticket: u64,
        segment: &Segment,
        records: impl Iterator<Item = (&'r Record, u64)>,
    ) {
        if self.live.back().is_none_or(|live| live.segment.sequence != segment.sequence) {
            self.live.push_back(Live { segment: segment.clone(), last_index: 0 });
        }
        for (record, offset) in records {
            match record {
                Record::Entry(entry) => {
                    place_entry(
                        &mut self.placed,
                        entry.index,
                        Place::of(record.payload_bytes(), entry.term, segment, offset),
                    );
                    let live = self.live.back_mut().expect("pushed above");
                    live.last_index = live.last_index.max(entry.index);
                }
                Record::HardState(_) => {}
                Record::Snapshot(mark) => self.synced_mark = mark.index,
                Record::Install(mark) => {
                    self.synced_mark = mark.index;
                    self.placed.reset(mark.index, mark.term);
                    self.purged = self.purged.max(mark.index);
                }
            }
        }
        self.written_ticket = ticket;
        self.trim_placed();
        self.evict();
    }

    /// Forgets entries up to `through`, at most up to the last snapshot.
    pub fn purge(&mut self, through: u64) {
        let through = through.min(self.mark.index).min(self.last());
        if let Ok(term) = self.term(through) {
            self.start = (through, term);
            while !self.recent.is_empty() && self.recent.first() <= through {
                self.drop_front();
            }
            self.purged = self.purged.max(through);
            self.trim_placed();
        }
    }

    fn trim_placed(&mut self) {
        while !self.placed.is_empty() && self.placed.first() <= self.start.0 {
            self.placed.pop_front();
        }
        self.placed.shrink();
    }

    /// Takes out the segments that nobody needs: all their entries are purged and the snapshot that covers
    /// them is synced. The newest stays: it restates the hard state and the snapshot mark.
    pub fn retire(&mut self) -> Vec<Segment> {
        let through = self.purged.min(self.synced_mark);
        let mut retired = Vec::new();
        while self.live.len() > 1 && self.live[0].last_index <= through {
            retired.extend(self.live.pop_front().map(|live| live.segment));
        }
        retired
    }

    /// Plans the reading of `low..high`, at least one entry, then until their data exceeds `max_bytes`.
    pub fn plan(&self, low: u64, high: u64, max_bytes: u64) -> Result<Plan, ReadError> {
        if low < self.first() {
            return Err(ReadError::Compacted { first: self.first() });
        }
        if high > self.last() + 1 {
            return Err(ReadError::Unavailable { last: self.last() });
        }
        let mut plan = Plan::default();
        let mut bytes = 0;
        for index in low..high {
            let recent = self.recent.get(index);
            let place = recent.is_none().then(|| self.placed.get(index).expect("an old entry is placed"));
            bytes += match (recent, place) {
                (Some(recent), _) => recent.entry.data.len() as u64,
                (_, place) => place.map_or(0, |place| u64::from(place.payload_bytes) - 16),
            };
            if index > low && bytes > max_bytes {
                break;
            }
            match (recent, place) {
                (Some(recent), _) => plan.recent.push(recent.entry.clone()),
                (_, Some(place)) => self.plan_place(&mut plan, *place),
                _ => {}
            }
        }
        Ok(plan)
    }

    fn plan_place(&self, plan: &mut Plan, place: Place) {
        match plan.runs.last_mut() {
            Some((segment, run)) if segment.sequence as u32 == place.segment => run.push(place),
            _ => {
                let oldest = self.live[0].segment.sequence as u32;
                let segment = &self.live[(place.segment - oldest) as usize].segment;
                plan.runs.push((segment.clone(), vec![place]));
            }
        }
    }
}

impl Place {
    pub fn of(payload_bytes: usize, term: u64, segment: &Segment, offset: u64) -> Place {
        let payload_bytes = payload_bytes as u32;
        Place { term, segment: segment.sequence as u32, offset: offset as u32, payload_bytes }
    }
}

/// The overwrite rule on disk: an entry drops everything at its index and after.
pub(crate) fn place_entry(placed: &mut Sequence<Place>, index: u64, place: Place) {
    while placed.pop_back_from(index).is_some() {}
    if index == placed.last() + 1 {
        placed.push(place);
    } else {
        // Purged while it was being written: only where the run goes on matters.
        placed.reset(index, place.term);
    }
}
