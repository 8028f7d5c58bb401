//! One watch: a bounded queue, and what it is told when it does not keep up.

use std::sync::Arc;

use bytes::Bytes;
use konsul_state::schema::Schema;

use crate::automaton::Automaton;
use crate::facts::Facts;
use crate::flow::Flow;
use crate::form::Form;
use crate::matcher::Wheres;
use crate::note::{LIVE_ONLY, Note, What};
use crate::queue::{Queue, Queued};
use crate::spec::{Item, ItemKind};

/// A turn of one watch ends with this many bytes, so that its reader can say that it is full.
const TURN_BYTES: usize = 256 << 10;
/// Steps that one turn looks into the ring: about so many short keys, or a few long ones with long patterns.
const TURN_SCAN: usize = 2_048;

/// What of the past a watch has still to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lag {
    /// Nothing but its queue.
    None,
    /// From this change of the ring on, which has this index.
    Missed { number: u64, index: u64 },
    /// Something is lost; up to `position` it was told everything.
    Lost { position: u64 },
}

/// What a turn did.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    pub(crate) scanned: usize,
}

pub(crate) struct Watcher {
    pub(crate) watch: u64,
    pub(crate) table: u16,
    pub(crate) separator: char,
    pub(crate) pattern: Box<str>,
    pub(crate) wheres: Box<Wheres>,
    pub(crate) renewals: bool,
    pub(crate) form: Option<Arc<Form>>,
    pub(crate) buffer: usize,
    pub(crate) queue: Queue,
    pub(crate) lag: Lag,
    /// Changes up to this index are none of its business.
    pub(crate) after: u64,
    /// The last note it was offered: a walk may find it twice.
    pub(crate) seen: u64,
    pub(crate) is_paused: bool,
    /// It waits for its turn.
    pub(crate) is_ready: bool,
    is_behind_due: bool,
    is_behind_told: bool,
}

/// What a new watch is made of.
pub(crate) struct Opened {
    pub(crate) watch: u64,
    pub(crate) spec: crate::spec::Spec,
    pub(crate) form: Option<Arc<Form>>,
    pub(crate) lag: Lag,
    pub(crate) after: u64,
}

impl Watcher {
    pub(crate) fn new(opened: Opened) -> Self {
        let Opened { watch, spec, form, lag, after } = opened;
        Self {
            watch,
            table: spec.table,
            separator: char::from(spec.separator),
            pattern: spec.pattern.into(),
            wheres: spec.wheres.into(),
            renewals: spec.renewals,
            form,
            buffer: spec.buffer,
            queue: Queue::new(spec.coalesce),
            lag,
            after,
            seen: 0,
            is_paused: false,
            is_ready: false,
            is_behind_due: false,
            is_behind_told: false,
        }
    }

    /// True if a turn would tell it something.
    pub(crate) fn has_work(&self) -> bool {
        self.is_behind_due || !self.is_paused && (self.queue.len() > 0 || self.lag != Lag::None)
    }

    /// Every matching change up to this index was handed out.
    pub(crate) fn position(&self, flow: &Flow) -> u64 {
        let done = match (self.queue.front(), self.lag) {
            (Some(event), _) if event.note.number == LIVE_ONLY => event.note.index,
            (Some(event), _) => event.note.index - 1,
            (None, Lag::Missed { index, .. }) => index - 1,
            (None, Lag::Lost { position }) => position,
            (None, Lag::None) => flow.index,
        };
        done.max(self.after)
    }

    /// True if a note that has its table, key and first condition is for it.
    fn wants(&self, note: &Note, facts: &Facts, schema: &Schema) -> bool {
        let is_due = match &note.what {
            What::Changed(change) => change.index > self.after,
            What::Renewed { .. } => self.renewals,
            What::Ready { .. } => true,
        };
        is_due && facts.meet(&self.wheres) && note.is_told(self.form.as_deref(), schema, note.before())
    }

    /// Queues a note that has its table, key and first condition, if it is for it and there is room.
    pub(crate) fn offer(&mut self, note: &Arc<Note>, facts: &Facts, flow: &mut Flow) {
        if !self.wants(note, facts, &flow.schema) {
            return;
        }
        if self.lag == Lag::None {
            if self.queue.push(note, self.buffer, &mut |replaced| flow.release(replaced)) {
                return;
            }
            self.lag = match &note.what {
                What::Changed(change) => Lag::Missed { number: note.number, index: change.index },
                What::Renewed { .. } => Lag::None,
                What::Ready { .. } => Lag::Lost { position: self.position(flow) },
            };
        }
        flow.counted.renewals_dropped += u64::from(note.is_renewal());
        if self.is_paused && matches!(self.lag, Lag::Missed { .. }) && !self.is_behind_told {
            self.is_behind_due = true;
            self.is_behind_told = true;
        }
    }

    /// Forgets its queue: what it should have heard is lost to it.
    pub(crate) fn lose(&mut self, flow: &mut Flow) {
        self.lag = Lag::Lost { position: self.position(flow) };
        self.clear(flow);
    }

    /// What it waits for will never be told: other tables are in force.
    pub(crate) fn lose_the_rest(&mut self, flow: &Flow) {
        if !matches!(self.lag, Lag::Lost { .. }) {
            let position = match self.lag {
                Lag::Missed { index, .. } => index - 1,
                _ => flow.index,
            };
            self.lag = Lag::Lost { position: position.max(self.after) };
        }
    }

    /// Drops what is queued.
    pub(crate) fn clear(&mut self, flow: &mut Flow) {
        while let Some(event) = self.queue.pop() {
            release(event, flow);
        }
    }

    /// Its turn: hands out at most `limit` items.
    pub(crate) fn serve(&mut self, limit: usize, flow: &mut Flow, visit: &mut impl FnMut(Item<'_>)) -> Told {
        let mut told = Told::default();
        if std::mem::take(&mut self.is_behind_due) {
            flow.counted.behind += 1;
            self.notice(ItemKind::Behind, self.position(flow), &mut told, visit);
        }
        while !self.is_paused && told.items < limit && told.bytes < TURN_BYTES {
            match self.queue.pop() {
                Some(event) => self.tell(event, flow, &mut told, visit),
                None => match self.lag {
                    Lag::None => break,
                    Lag::Lost { .. } => {
                        self.caught_up();
                        flow.counted.compacted += 1;
                        self.notice(ItemKind::Compacted, flow.index.max(self.after), &mut told, visit);
                    }
                    Lag::Missed { number, .. } if told.scanned < TURN_SCAN => {
                        self.catch_up(number, flow, &mut told);
                    }
                    Lag::Missed { .. } => break,
                },
            }
        }
        told
    }

    fn caught_up(&mut self) {
        self.lag = Lag::None;
        self.is_behind_told = false;
        self.is_behind_due = false;
    }

    fn notice(&self, kind: ItemKind, index: u64, told: &mut Told, visit: &mut impl FnMut(Item<'_>)) {
        told.items += 1;
        visit(Item { watch: self.watch, kind, index, key: b"", payload: Bytes::new() });
    }

    fn tell(&mut self, event: Queued, flow: &mut Flow, told: &mut Told, visit: &mut impl FnMut(Item<'_>)) {
        let payload = match (&event.first, &self.form) {
            (Some(_), Some(form)) if !event.note.is_told(Some(form), &flow.schema, event.before()) => {
                return release(event, flow);
            }
            (Some(_), Some(form)) => event.note.written(form, &flow.schema, event.before()),
            (_, form) => flow.text(&event.note, form.as_ref()),
        };
        let index = event.note.index;
        match payload {
            Some(payload) => {
                told.items += 1;
                told.bytes += payload.len();
                flow.counted.events += 1;
                visit(Item {
                    watch: self.watch,
                    kind: ItemKind::Event,
                    index,
                    key: event.note.key(),
                    payload,
                });
            }
            // A row that this schema cannot read: better to have it listed than to keep silent.
            None => self.lag = Lag::Lost { position: index.saturating_sub(1) },
        }
        release(event, flow);
    }

    /// Queues what it missed, as far as there is room and for at most a turn's looks into the ring.
    fn catch_up(&mut self, from: u64, flow: &mut Flow, told: &mut Told) {
        let mut number = from;
        if flow.ring.get(number).is_none() && number != flow.ring.next() {
            let position = self.position(flow);
            self.lag = Lag::Lost { position };
            return;
        }
        let pattern = Automaton::new(&self.pattern, self.separator);
        let schema = Arc::clone(&flow.schema);
        let table = schema.table(self.table).ok();
        let columns = self.wheres.iter().map(|(column, _)| *column);
        let mut facts = Facts::default();
        while let Some(note) = flow.ring.get(number) {
            self.lag = Lag::Missed { number, index: note.index };
            if told.scanned >= TURN_SCAN {
                return;
            }
            told.scanned += pattern.cost(note.key().len());
            let note = Arc::clone(note);
            if note.table() == Some(self.table) && pattern.matches(&String::from_utf8_lossy(note.key())) {
                facts.collect(table, columns.clone(), note.before(), note.after());
                if self.wants(&note, &facts, &schema)
                    && !self.queue.push(&note, self.buffer, &mut |replaced| flow.release(replaced))
                {
                    return;
                }
            }
            number += 1;
        }
        self.caught_up();
    }
}

fn release(event: Queued, flow: &mut Flow) {
    flow.release(event.note);
    if let Some(first) = event.first {
        flow.release(first);
    }
}
