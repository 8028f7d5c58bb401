//! The hub: one change in, into the queues of those who watch for it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use konsul_state::apply::Change;
use konsul_state::change::Rows;
use konsul_state::schema::Schema;

use crate::flow::{Counted, Flow};
use crate::form::Form;
use crate::matcher::{Matcher, Place};
use crate::note::{LIVE_ONLY, Note, What};
use crate::ring::Ring;
use crate::segments::Path;
use crate::spec::{CLUSTER, Item, Spec, Stats, WatchError};
use crate::watcher::{Lag, Opened, Watcher};

/// Most events that may wait for one reader.
pub const BUFFER_MAX: usize = 65_536;
/// Most conditions of a watch.
pub const WHERES_MAX: usize = 64;
/// Most bytes of a condition's value.
pub const WHERE_BYTES_MAX: usize = 1_024;
/// Slow readers may keep alive this many times the ring's bytes before they lose their queues.
const HELD_RINGS: usize = 4;
/// One call hands out about so many bytes, and looks at so many changes of the ring, so that it ends soon.
const TAKE_BYTES: usize = 4 << 20;
const TAKE_SCAN: usize = 16_384;
/// Events of one watch before the next has its turn.
const TURN_ITEMS: usize = 64;

/// The hub's bounds, and where it starts.
#[derive(Debug, Clone, Copy)]
pub struct HubOptions {
    /// Most changes in the ring.
    pub ring_entries: usize,
    /// Most bytes in the ring. What slow readers keep alive beyond it is bounded by four times as many.
    pub ring_bytes: usize,
    /// Most watches at a time.
    pub watchers_max: usize,
    /// The index of the tables it starts from.
    pub floor: u64,
}

/// All watches of a node.
pub struct Hub {
    flow: Flow,
    matcher: Matcher,
    slots: Vec<Option<Watcher>>,
    free: Vec<u32>,
    /// How many were ever opened: the upper half of a watch's number, so that a slot's next watch has
    /// another.
    opened: u32,
    /// Who has something to be told, in the order of their turns. Some may be closed or paused since.
    ready: VecDeque<u64>,
    renewals: Vec<(u16, usize)>,
    hits: Vec<u32>,
    /// How many notes there were.
    notes: u64,
    watchers_max: usize,
    held_max: usize,
}

impl Hub {
    /// A hub without watches.
    pub fn new(options: HubOptions) -> Self {
        let HubOptions { ring_entries, ring_bytes, watchers_max, floor } = options;
        let flow = Flow {
            ring: Ring::new(ring_entries, ring_bytes, floor),
            schema: Arc::default(),
            index: floor,
            held_bytes: 0,
            counted: Counted::default(),
        };
        Self {
            flow,
            matcher: Matcher::default(),
            slots: Vec::new(),
            free: Vec::new(),
            opened: 0,
            ready: VecDeque::new(),
            renewals: Vec::new(),
            hits: Vec::new(),
            notes: 0,
            watchers_max,
            held_max: ring_bytes.saturating_mul(HELD_RINGS),
        }
    }

    /// Tells what a batch changed. `index`: the tables' index after it; `schema`: the one in force. Batches
    /// come in index order, each after readers can see it.
    pub fn note(&mut self, index: u64, schema: &Arc<Schema>, changes: &[Change]) {
        if !Arc::ptr_eq(&self.flow.schema, schema) {
            self.flow.schema = Arc::clone(schema);
        }
        for change in changes {
            let number = self.flow.ring.next();
            let note = Arc::new(Note::new(change.index, number, What::Changed(change.clone())));
            self.flow.index = change.index;
            self.distribute(change.table, &note);
            self.flow.keep(note);
            self.bound_held();
        }
        self.flow.index = index.max(self.flow.index);
    }

    /// How many watches want to hear of renewals in a table; without any nothing need be noted.
    pub fn renewal_watchers(&self, table: u16) -> usize {
        self.renewals.iter().find(|(id, _)| *id == table).map_or(0, |(_, count)| *count)
    }

    /// Tells that the lease of a row was renewed, at `at_ms` since 1970.
    pub fn note_renewed(&mut self, table: u16, key: &[u8], row: &[u8], at_ms: u64) {
        let rows = Rows::pack(&mut Vec::new(), key, b"", row);
        self.note_live(table, What::Renewed { rows, at_ms });
    }

    /// Tells something that is ready as JSON, live only: of [`CLUSTER`].
    pub fn note_ready(&mut self, table: u16, key: &[u8], payload: Bytes) {
        self.note_live(table, What::Ready { key: key.into(), payload });
    }

    fn note_live(&mut self, table: u16, what: What) {
        let note = Arc::new(Note::new(self.flow.index, LIVE_ONLY, what));
        self.distribute(table, &note);
        self.flow.pass(&note);
        drop(note);
        self.bound_held();
    }

    fn distribute(&mut self, table: u16, note: &Arc<Note>) {
        self.notes += 1;
        self.hits.clear();
        self.matcher.find(table, note, &self.flow.schema, &mut self.hits);
        for slot in &self.hits {
            let Some(watcher) = &mut self.slots[*slot as usize] else { continue };
            if std::mem::replace(&mut watcher.seen, self.notes) == self.notes {
                continue;
            }
            watcher.offer(note, self.matcher.facts(), &mut self.flow);
            queue_turn(&mut self.ready, watcher);
        }
    }

    /// Bounds what waits for slow readers and is not in the ring: when it is too much, those who paused lose
    /// their queues, and if that does not help, all do. Each is told.
    fn bound_held(&mut self) {
        for only_paused in [true, false] {
            if self.flow.held_bytes <= self.held_max {
                return;
            }
            for watcher in self.slots.iter_mut().flatten() {
                if watcher.queue.len() > 0 && (watcher.is_paused || !only_paused) {
                    watcher.lose(&mut self.flow);
                    queue_turn(&mut self.ready, watcher);
                }
            }
        }
    }

    /// The tables were replaced and are now at `index`: what changed in between nobody knows, and every
    /// watch of a table is told to list again.
    pub fn reset(&mut self, index: u64) {
        for watcher in self.slots.iter_mut().flatten() {
            if watcher.table != CLUSTER {
                watcher.lose_the_rest(&self.flow);
                queue_turn(&mut self.ready, watcher);
            }
        }
        self.flow.reset(index);
        self.bound_held();
    }

    /// Opens a watch. Without `since` it hears of what comes; with it also of everything above that index, or
    /// first that it must list. `form` is needed for every table but [`CLUSTER`].
    ///
    /// # Errors
    /// [`WatchError`]
    pub fn watch(
        &mut self,
        spec: Spec,
        form: Option<Arc<Form>>,
        since: Option<u64>,
    ) -> Result<u64, WatchError> {
        if self.slots.len() - self.free.len() >= self.watchers_max {
            return Err(WatchError::Full(self.watchers_max));
        }
        check(&spec, form.as_deref())?;
        let path = Path::new(&spec.pattern, char::from(spec.separator)).map_err(WatchError::Bad)?;
        let lag = since.map_or(Lag::None, |since| self.lag_since(spec.table, since));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("watches are limited far below 2^32")
        });
        self.matcher.add(&Place {
            table: spec.table,
            separator: char::from(spec.separator),
            path: &path,
            wheres: &spec.wheres,
            slot,
        });
        if spec.renewals {
            self.count_renewals(spec.table, true);
        }
        self.opened = self.opened.wrapping_add(1);
        let watch = u64::from(self.opened) << 32 | u64::from(slot);
        let opened = Opened { watch, spec, form, lag, after: since.unwrap_or(0) };
        let watcher = self.slots[slot as usize].insert(Watcher::new(opened));
        queue_turn(&mut self.ready, watcher);
        Ok(watch)
    }

    /// What a watch that knows everything up to `since` has missed.
    fn lag_since(&self, table: u16, since: u64) -> Lag {
        if table == CLUSTER {
            // It is not in the ring, and it happens between two indexes.
            return Lag::Lost { position: since };
        }
        if since >= self.flow.index {
            return Lag::None;
        }
        let ring = &self.flow.ring;
        match ring.after(since) {
            None => Lag::Lost { position: since },
            Some(number) => {
                ring.get(number).map_or(Lag::None, |note| Lag::Missed { number, index: note.index })
            }
        }
    }

    fn count_renewals(&mut self, table: u16, is_more: bool) {
        match self.renewals.iter_mut().find(|(id, _)| *id == table) {
            Some((_, count)) if is_more => *count += 1,
            Some((_, count)) => *count -= 1,
            None => self.renewals.push((table, 1)),
        }
        self.renewals.retain(|(_, count)| *count > 0);
    }

    fn find(&mut self, watch: u64) -> Option<&mut Watcher> {
        self.slots.get_mut(slot_of(watch))?.as_mut().filter(|watcher| watcher.watch == watch)
    }

    /// Closes a watch; nothing if it is not open.
    pub fn unwatch(&mut self, watch: u64) {
        if self.find(watch).is_none() {
            return;
        }
        let Some(mut watcher) = self.slots[slot_of(watch)].take() else { return };
        watcher.clear(&mut self.flow);
        // It was compiled when it was opened.
        if let Ok(path) = Path::new(&watcher.pattern, watcher.separator) {
            let (table, separator, wheres) = (watcher.table, watcher.separator, &*watcher.wheres);
            let slot = watch as u32;
            self.matcher.remove(&Place { table, separator, path: &path, wheres, slot });
        }
        if watcher.renewals {
            self.count_renewals(watcher.table, false);
        }
        self.free.push(watch as u32);
        if self.free.len() == self.slots.len() {
            (self.slots, self.free, self.ready) = Default::default();
        }
    }

    /// Hands out no more events of a watch until it is resumed; only a notice that it fell behind.
    pub fn pause(&mut self, watch: u64) {
        if let Some(watcher) = self.find(watch) {
            watcher.is_paused = true;
        }
    }

    /// Goes on with a paused watch.
    pub fn resume(&mut self, watch: u64) {
        let open = self.slots.get_mut(slot_of(watch)).and_then(Option::as_mut);
        if let Some(watcher) = open.filter(|watcher| watcher.watch == watch) {
            watcher.is_paused = false;
            queue_turn(&mut self.ready, watcher);
        }
    }

    /// Every matching change up to this index was handed out; none if there is no such watch.
    pub fn position(&self, watch: u64) -> Option<u64> {
        let open = self.slots.get(slot_of(watch))?.as_ref();
        let watcher = open.filter(|watcher| watcher.watch == watch)?;
        Some(watcher.position(&self.flow))
    }

    /// Hands out at most `limit` items; true if more are ready. Each watch has at most one turn.
    pub fn take(&mut self, limit: usize, visit: &mut impl FnMut(Item<'_>)) -> bool {
        let (mut items, mut bytes, mut scanned) = (0, 0, 0);
        for _ in 0..self.ready.len() {
            if items >= limit || bytes >= TAKE_BYTES || scanned >= TAKE_SCAN {
                break;
            }
            let Some(watch) = self.ready.pop_front() else { break };
            let open = self.slots.get_mut(slot_of(watch)).and_then(Option::as_mut);
            let Some(watcher) = open.filter(|watcher| watcher.watch == watch) else { continue };
            watcher.is_ready = false;
            let told = watcher.serve(TURN_ITEMS.min(limit - items), &mut self.flow, visit);
            queue_turn(&mut self.ready, watcher);
            items += told.items;
            bytes += told.bytes;
            scanned += told.scanned;
        }
        self.bound_held();
        !self.ready.is_empty()
    }

    /// True if there may be something to take.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        let Flow { ring, held_bytes, counted, .. } = &self.flow;
        Stats {
            watchers: self.slots.len() - self.free.len(),
            by_table: self.matcher.by_table(),
            ring_entries: ring.len(),
            ring_bytes: ring.bytes(),
            ring_floor: ring.floor(),
            held_bytes: *held_bytes,
            events: counted.events,
            behind: counted.behind,
            compacted: counted.compacted,
            renewals_dropped: counted.renewals_dropped,
        }
    }
}

/// The slot is a watch's lower half.
fn slot_of(watch: u64) -> usize {
    watch as u32 as usize
}

fn queue_turn(ready: &mut VecDeque<u64>, watcher: &mut Watcher) {
    if !watcher.is_ready && watcher.has_work() {
        watcher.is_ready = true;
        ready.push_back(watcher.watch);
    }
}

fn check(spec: &Spec, form: Option<&Form>) -> Result<(), WatchError> {
    let is_told = match form {
        Some(form) => form.table() == spec.table,
        None => spec.table == CLUSTER,
    };
    let has_long = spec.wheres.iter().any(|(_, value)| value.len() > WHERE_BYTES_MAX);
    let why = match () {
        () if !is_told => "a watch needs the form of its table",
        () if !spec.separator.is_ascii() => "a separator is an ASCII character",
        () if !(1..=BUFFER_MAX).contains(&spec.buffer) => "a watch has a buffer of 1 to 65536 events",
        () if spec.wheres.len() > WHERES_MAX => "a watch is limited to 64 conditions",
        () if has_long => "a condition is limited to 1024 bytes",
        () => return Ok(()),
    };
    Err(WatchError::Bad(why))
}
