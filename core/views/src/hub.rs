//! The hub: one change in, into the queues of those who watch for it.

use std::sync::Arc;

use bytes::Bytes;
use konsul_state::apply::Change;
use konsul_state::schema::Schema;

use crate::form::Form;
use crate::spec::{Item, Spec, Stats, WatchError};

/// The hub's bounds, and where it starts.
#[derive(Debug, Clone, Copy)]
pub struct HubOptions {
    /// Most changes in the ring.
    pub ring_entries: usize,
    /// Most bytes in the ring.
    pub ring_bytes: usize,
    /// Most watches at a time.
    pub watchers_max: usize,
    /// The index of the tables it starts from.
    pub floor: u64,
}

/// All watches of a node.
pub struct Hub {
    index: u64,
}

impl Hub {
    /// A hub without watches.
    pub fn new(options: HubOptions) -> Self {
        Self { index: options.floor }
    }

    /// Tells what a batch changed. `index`: the tables' index after it; `schema`: the one in force. Batches come
    /// in index order, each after readers can see it.
    pub fn note(&mut self, index: u64, _schema: &Arc<Schema>, _changes: &[Change]) {
        self.index = index;
    }

    /// How many watches want to hear of renewals in a table; without any nothing need be noted.
    pub fn renewal_watchers(&self, _table: u16) -> usize {
        0
    }

    /// Tells that the lease of a row was renewed.
    pub fn note_renewed(&mut self, _table: u16, _key: &[u8], _row: &[u8], _at_ms: u64) {}

    /// Tells something that is ready as JSON, live only: of [`crate::CLUSTER`].
    pub fn note_ready(&mut self, _table: u16, _key: &[u8], _payload: Bytes) {}

    /// The tables were replaced and are now at `index`: what was changed in between nobody knows.
    pub fn reset(&mut self, index: u64) {
        self.index = index;
    }

    /// Opens a watch. Without `since` it hears of what comes; with it also of everything above that index, or
    /// first that it must list. `form` is needed for every table but [`crate::CLUSTER`].
    ///
    /// # Errors
    /// [`WatchError`]
    pub fn watch(
        &mut self,
        _spec: Spec,
        _form: Option<Arc<Form>>,
        _since: Option<u64>,
    ) -> Result<u64, WatchError> {
        Ok(1)
    }

    /// Closes a watch; nothing if it is not open.
    pub fn unwatch(&mut self, _watch: u64) {}

    /// Hands out no more events of a watch until it is resumed; only a notice that it fell behind.
    pub fn pause(&mut self, _watch: u64) {}

    /// Goes on with a paused watch.
    pub fn resume(&mut self, _watch: u64) {}

    /// Every matching change up to this index was handed out; none if there is no such watch.
    pub fn position(&self, _watch: u64) -> Option<u64> {
        Some(self.index)
    }

    /// Hands out at most `limit` items; true if more are ready.
    pub fn take(&mut self, _limit: usize, _visit: &mut impl FnMut(Item<'_>)) -> bool {
        false
    }

    /// True if there may be something to take.
    pub fn has_ready(&self) -> bool {
        false
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
