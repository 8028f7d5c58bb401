//! What waits for one reader.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::note::{Note, What};

/// An event that waits.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) note: Arc<Note>,
    /// The first of the notes it took the place of: what it knows as the row before is what the reader knows.
    pub(crate) first: Option<Arc<Note>>,
}

impl Queued {
    /// The row before, as its reader knows it.
    pub(crate) fn before(&self) -> Option<&[u8]> {
        self.first.as_ref().unwrap_or(&self.note).before()
    }
}

/// Events in index order, with or without room for two of the same key.
#[derive(Debug)]
pub(crate) enum Queue {
    Plain(VecDeque<Queued>),
    Coalesced(Box<Coalesced>),
}

/// Events by the order in which they came, and where the one of each key is. Renewals are apart from changes:
/// one must not take the place of the other.
#[derive(Debug, Default)]
pub(crate) struct Coalesced {
    events: BTreeMap<u64, Queued>,
    places: BTreeMap<(bool, Box<[u8]>), u64>,
    next: u64,
}

/// A queue keeps no more room than this when it has run empty.
const EMPTY_ROOM_MAX: usize = 8;

impl Queue {
    pub(crate) fn new(is_coalescing: bool) -> Self {
        if is_coalescing { Self::Coalesced(Box::default()) } else { Self::Plain(VecDeque::new()) }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain(events) => events.len(),
            Self::Coalesced(coalesced) => coalesced.events.len(),
        }
    }

    /// Queues a note if there is room for one of `limit`, or it can take the place of another; false if not.
    /// `replaced` is given what nobody will be told of any more.
    pub(crate) fn push(
        &mut self,
        note: &Arc<Note>,
        limit: usize,
        replaced: &mut impl FnMut(Arc<Note>),
    ) -> bool {
        let coalesced = match self {
            Self::Plain(events) if events.len() < limit => {
                events.push_back(Queued { note: Arc::clone(note), first: None });
                return true;
            }
            Self::Plain(_) => return false,
            Self::Coalesced(coalesced) => coalesced,
        };
        let key = (note.is_renewal(), Box::from(note.key()));
        let earlier = coalesced.places.get(&key).and_then(|place| coalesced.events.remove(place));
        if coalesced.events.len() >= limit {
            return false;
        }
        let first = earlier.and_then(|earlier| match (&note.what, earlier.first) {
            (What::Changed(_), None) => Some(earlier.note),
            (_, first) => {
                replaced(earlier.note);
                first
            }
        });
        coalesced.places.insert(key, coalesced.next);
        coalesced.events.insert(coalesced.next, Queued { note: Arc::clone(note), first });
        coalesced.next += 1;
        true
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        match self {
            Self::Plain(events) => events.front(),
            Self::Coalesced(coalesced) => coalesced.events.values().next(),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        match self {
            Self::Plain(events) => {
                let first = events.pop_front();
                if events.is_empty() && events.capacity() > EMPTY_ROOM_MAX {
                    *events = VecDeque::new();
                }
                first
            }
            Self::Coalesced(coalesced) => {
                let (_, first) = coalesced.events.pop_first()?;
                coalesced.places.remove(&(first.note.is_renewal(), Box::from(first.note.key())));
                Some(first)
            }
        }
    }
}
