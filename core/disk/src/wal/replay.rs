//! Follows the records in the order they were written, to the state they lead to.

use super::error::OpenError;
use super::index::{Place, place_entry};
use super::record::{HardState, Record, SnapshotMark};
use super::sequence::Sequence;

pub(super) struct Replay {
    placed: Sequence<Place>,
    /// False until something says where the log begins: what comes first may follow purged entries.
    started: bool,
    /// Whether the term before the first entry is known.
    rooted: bool,
    hard_state: HardState,
    mark: SnapshotMark,
}

impl Replay {
    pub fn new() -> Replay {
        Replay {
            placed: Sequence::new(0, 0),
            started: false,
            rooted: true,
            hard_state: HardState::default(),
            mark: SnapshotMark::default(),
        }
    }

    /// Takes the next record. `Err` says what does not fit.
    pub fn take(&mut self, record: &Record, place: impl FnOnce(u64) -> Place) -> Result<(), String> {
        match record {
            Record::HardState(state) => self.hard_state = *state,
            Record::Snapshot(mark) => {
                // The log held what the snapshot covers, if not here then in purged segments.
                if !self.started && mark.index > self.placed.last() {
                    self.placed.reset(mark.index, mark.term);
                }
                self.mark = mark.clone();
            }
            Record::Install(mark) => {
                self.placed.reset(mark.index, mark.term);
                (self.started, self.rooted) = (true, true);
                self.mark = mark.clone();
            }
            Record::Entry(entry) => {
                let index = entry.index;
                if index > self.placed.last() + 1 {
                    if self.started {
                        return Err(format!("entry {index} follows entry {}", self.placed.last()));
                    }
                    self.placed.reset(index - 1, 0);
                    self.rooted = false;
                }
                if index < self.placed.first() {
                    // It takes the place of purged entries' successors: the log begins here.
                    self.placed.reset(index - 1, 0);
                    self.rooted = index == 1;
                }
                self.started = true;
                place_entry(&mut self.placed, index, place(entry.term));
            }
        }
        Ok(())
    }

    /// The state after the last record, checked as a whole.
    pub fn finish(mut self) -> Result<(Sequence<Place>, HardState, SnapshotMark), OpenError> {
        let (first, mark) = (self.placed.first(), &self.mark);
        if first > mark.index + 1 {
            let wanted = mark.index + 1;
            return Err(OpenError::Missing(format!("entries {wanted}..={} are not there", first - 1)));
        }
        if self.hard_state.commit > self.placed.last() {
            let (last, commit) = (self.placed.last(), self.hard_state.commit);
            return Err(OpenError::Missing(format!(
                "it ends at entry {last}, but entry {commit} was committed"
            )));
        }
        if !self.rooted {
            if first == mark.index + 1 {
                self.placed.set_before_term(mark.term);
            } else {
                // The snapshot covers the first entry: it serves as the position before the others.
                self.placed.pop_front();
            }
        }
        Ok((self.placed, self.hard_state, self.mark))
    }
}
