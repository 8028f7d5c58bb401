//! The log against a model of it, under power cuts at any sync, on a disk that loses, reorders and tears what
//! was not synced: what was acknowledged is there, what was not is there whole or not at all, recovery always
//! succeeds.

use std::sync::Arc;

use bytes::Bytes;
use konsul_disk::files::MemoryFiles;
use konsul_disk::wal::{Entry, HardState, Record, SnapshotMark, Wal, WalError, WalOptions};
use proptest::prelude::*;

/// One thing to do. Numbers are reduced to what makes sense at that point.
#[derive(Debug, Clone)]
enum Act {
    /// Append entries of these sizes, after going back by `back`, perhaps in a new term, perhaps with a hard
    /// state.
    Append {
        back: u64,
        new_term: bool,
        sizes: Vec<usize>,
        state: bool,
    },
    Snapshot {
        back: u64,
    },
    Install {
        ahead: u64,
    },
    Purge {
        back: u64,
    },
    /// The disk has this much room for the next act only.
    Full {
        room_bytes: u64,
    },
    /// After so many more syncs a power cut, or only the process is killed.
    Cut {
        after_syncs: u64,
        seed: u64,
        kill: bool,
    },
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let size = prop_oneof![6 => 0..200_usize, 2 => 200..3000_usize, 1 => 3000..20_000_usize];
    let sizes = prop::collection::vec(size, 1..6);
    prop_oneof![
        12 => (prop_oneof![4 => Just(0_u64), 1 => 0..6_u64], prop::bool::weighted(0.2), sizes, any::<bool>())
            .prop_map(|(back, new_term, sizes, state)| Act::Append { back, new_term, sizes, state }),
        3 => (0..8_u64).prop_map(|back| Act::Snapshot { back }),
        1 => (0..8_u64).prop_map(|ahead| Act::Install { ahead }),
        3 => (0..8_u64).prop_map(|back| Act::Purge { back }),
        1 => (0..40_000_u64).prop_map(|room_bytes| Act::Full { room_bytes }),
        3 => (0..8_u64, any::<u64>(), any::<bool>())
            .prop_map(|(after_syncs, seed, kill)| Act::Cut { after_syncs, seed, kill }),
        1 => Just(Act::Reopen),
    ]
}

/// What the log must hold.
#[derive(Clone, PartialEq, Eq, Default)]
struct Model {
    /// The position before `entries`; they are kept since the last install.
    before: (u64, u64),
    entries: Vec<Entry>,
    purged: u64,
    state: HardState,
    mark: SnapshotMark,
}

impl Model {
    fn last(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    /// After recovery the first entry that was not purged may serve as the position before the others, if the
    /// snapshot covers it.
    fn first_at_most(&self) -> u64 {
        let first = self.purged.max(self.before.0) + 1;
        if first <= self.mark.index { first + 1 } else { first }
    }

    fn describe(&self) -> String {
        let terms: Vec<u64> = (self.before.0..=self.last()).map(|index| self.term(index)).collect();
        format!(
            "{:?}, {:?}, purged {}, from {} terms {terms:?}",
            self.state, self.mark, self.purged, self.before.0
        )
    }

    fn term(&self, index: u64) -> u64 {
        if index == self.before.0 { self.before.1 } else { self.entry(index).term }
    }

    fn entry(&self, index: u64) -> &Entry {
        &self.entries[(index - self.before.0 - 1) as usize]
    }

    fn take(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Entry(entry) => {
                    self.entries.truncate((entry.index - self.before.0 - 1) as usize);
                    self.entries.push(entry.clone());
                }
                Record::HardState(state) => self.state = *state,
                Record::Snapshot(mark) => self.mark = mark.clone(),
                Record::Install(mark) => {
                    self.mark = mark.clone();
                    self.before = (mark.index, mark.term);
                    self.entries.clear();
                }
            }
        }
    }

    /// True if the open log holds exactly this.
    fn matches(&self, wal: &Wal) -> bool {
        let view = wal.view();
        let (first, last) = (view.first_index(), view.last_index());
        let same_frame = last == self.last()
            && first <= self.first_at_most()
            && first > self.before.0
            && view.hard_state() == self.state
            && view.snapshot() == self.mark
            && (first - 1..=last).all(|index| view.term(index) == Ok(self.term(index)));
        same_frame
            && view.entries(first, last + 1, u64::MAX).expect("readable")
                == self.entries[(first - self.before.0 - 1) as usize..]
    }
}

struct Run {
    files: MemoryFiles,
    wal: Option<Wal>,
    model: Model,
    /// What an append that was not acknowledged would lead to.
    attempted: Option<Model>,
    cut: Option<(u64, bool)>,
    counter: u64,
}

impl Run {
    fn new() -> Run {
        let mut run = Run {
            files: MemoryFiles::with_crashes(),
            wal: None,
            model: Model::default(),
            attempted: None,
            cut: None,
            counter: 0,
        };
        run.open();
        run
    }

    fn options() -> WalOptions {
        WalOptions {
            segment_bytes: 12 << 10,
            cache_max_bytes: 2000,
            background: false,
            salt: 99,
            ..WalOptions::new("")
        }
    }

    /// Opens the log; answers what recovery has to say.
    fn open(&mut self) -> Option<String> {
        self.wal = None;
        let (wal, recovered) = Wal::open_in(Arc::new(self.files.clone()), Run::options()).expect("recovers");
        let whole = self.attempted.take().filter(|attempted| attempted.matches(&wal));
        if let Some(whole) = whole {
            self.model = whole;
        }
        assert!(self.model.matches(&wal), "{recovered:?}\nmodel {}", self.model.describe());
        self.model.purged = self.model.purged.max(recovered.first_index - 1);
        self.wal = Some(wal);
        recovered.note
    }

    fn power_cut(&mut self, seed: u64) {
        self.cut = None;
        let mut random = seed | 1;
        self.files = self.files.crash(|| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random >> 32
        });
        self.open();
        assert_eq!(self.open(), None, "what was cut once stays cut");
    }

    fn append(&mut self, records: Vec<Record>) {
        let mut next = self.model.clone();
        next.take(&records);
        let wal = self.wal.as_mut().expect("open");
        let mut outcome = wal.append(&records);
        if let Err(WalError::Full(_)) = outcome {
            assert!(self.model.matches(wal), "a full disk changes nothing");
            self.files.faults(|faults| faults.room_bytes = None);
            outcome = wal.append(&records);
        }
        match outcome {
            Ok(()) => self.model = next,
            Err(WalError::Failed(_)) => {
                self.attempted = Some(next);
                match self.cut.take().expect("only the cut fails syncs") {
                    (seed, false) => self.power_cut(seed),
                    (_, true) => {
                        self.files.faults(|faults| faults.syncs_left = None);
                        self.open();
                    }
                }
            }
            Err(error) => panic!("{error}"),
        }
        self.files.faults(|faults| faults.room_bytes = None);
    }

    fn entries(&mut self, back: u64, new_term: bool, sizes: &[usize]) -> Vec<Record> {
        let model = &self.model;
        let keep = model.last().saturating_sub(back).max(model.state.commit).max(model.mark.index);
        let term = model.term(keep).max(1) + u64::from(new_term || keep < model.last());
        let mut records = Vec::new();
        for (size, index) in sizes.iter().zip(keep + 1..) {
            self.counter += 1;
            let data: Vec<u8> = (0..*size as u64).map(|i| (self.counter * 37 + i) as u8).collect();
            let data = Bytes::from(data);
            records.push(Record::Entry(Entry { term, index, kind: self.counter as u8, data }));
        }
        records
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Append { back, new_term, sizes, state } => {
                let mut records = self.entries(*back, *new_term, sizes);
                if *state {
                    let commit = self.model.state.commit.max(self.model.mark.index);
                    let Record::Entry(first) = &records[0] else { unreachable!() };
                    let commit = commit.max(first.index);
                    records.push(Record::HardState(HardState { term: first.term, vote: 1, commit }));
                }
                self.append(records);
            }
            Act::Snapshot { back } => {
                let index = self.model.state.commit.saturating_sub(*back);
                if index > self.model.mark.index {
                    let conf_state = Bytes::from(format!("conf {index}"));
                    let mark = SnapshotMark { index, term: self.model.term(index), conf_state };
                    self.append(vec![Record::Snapshot(mark)]);
                }
            }
            Act::Install { ahead } => {
                let (index, term) =
                    ((self.model.last() + ahead).max(1), self.model.term(self.model.last()) + 1);
                let mark = SnapshotMark { index, term, conf_state: Bytes::from_static(b"theirs") };
                let state = HardState { term, vote: 0, commit: index };
                self.append(vec![Record::Install(mark), Record::HardState(state)]);
            }
            Act::Purge { back } => {
                let through = self.model.mark.index.saturating_sub(*back);
                self.model.purged = self.model.purged.max(through);
                self.wal.as_ref().expect("open").view().purge(through);
            }
            Act::Full { room_bytes } => self.files.faults(|faults| faults.room_bytes = Some(*room_bytes)),
            Act::Cut { after_syncs, seed, kill } => {
                self.cut = Some((*seed, *kill));
                self.files.faults(|faults| faults.syncs_left = Some(*after_syncs));
            }
            Act::Reopen if self.cut.is_none() => assert_eq!(self.open(), None, "nothing was torn"),
            Act::Reopen => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_survive_any_power_cut(acts in prop::collection::vec(act(), 1..80), seed: u64) {
        let mut run = Run::new();
        for act in &acts {
            run.act(act);
            let wal = run.wal.as_ref().expect("open");
            prop_assert!(run.model.matches(wal), "after {act:?}: {}", run.model.describe());
        }
        run.power_cut(seed);
    }
}
