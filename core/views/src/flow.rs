//! What all watches share: the ring, the schema, and the account of what slow readers keep alive.

use std::sync::Arc;

use bytes::Bytes;
use konsul_state::schema::Schema;

use crate::form::Form;
use crate::note::Note;
use crate::ring::{Held, Ring};

/// Counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) events: u64,
    pub(crate) behind: u64,
    pub(crate) compacted: u64,
    pub(crate) renewals_dropped: u64,
}

pub(crate) struct Flow {
    pub(crate) ring: Ring<Arc<Note>>,
    pub(crate) schema: Arc<Schema>,
    /// The tables' index.
    pub(crate) index: u64,
    /// Bytes of notes that are in some queue and not in the ring.
    pub(crate) held_bytes: usize,
    pub(crate) counted: Counted,
}

/// Counts a note that just left the ring, or was never in it, if somebody still waits to be told.
fn account(held_bytes: &mut usize, note: &Arc<Note>) {
    if Arc::strong_count(note) > 1 {
        *held_bytes += note.bytes();
    }
}

impl Flow {
    /// Takes a change into the ring after it was queued everywhere.
    pub(crate) fn keep(&mut self, note: Arc<Note>) {
        let held_bytes = &mut self.held_bytes;
        self.ring.push(note, &mut |gone| account(held_bytes, &gone));
    }

    /// Counts something live that was queued everywhere.
    pub(crate) fn pass(&mut self, note: &Arc<Note>) {
        account(&mut self.held_bytes, note);
    }

    pub(crate) fn reset(&mut self, index: u64) {
        self.index = index;
        let held_bytes = &mut self.held_bytes;
        self.ring.reset(index, &mut |gone| account(held_bytes, &gone));
    }

    /// Drops a queue's share of a note. The last share of one that is not in the ring ends its account.
    pub(crate) fn release(&mut self, note: Arc<Note>) {
        if Arc::strong_count(&note) == 1 {
            self.held_bytes -= note.bytes();
        }
    }

    /// A note's JSON, made for the first who asks; none if it cannot be made.
    pub(crate) fn text(&mut self, note: &Arc<Note>, form: Option<&Arc<Form>>) -> Option<Bytes> {
        let (json, made) = note.text(form, &self.schema)?;
        if made > 0 {
            let held_bytes = &mut self.held_bytes;
            if self.ring.get(note.number).is_some() {
                self.ring.grow(made, &mut |gone| account(held_bytes, &gone));
            } else {
                *held_bytes += made;
            }
        }
        Some(json)
    }
}
