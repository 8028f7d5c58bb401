//! What is queued: one change, shared by the ring and by everybody who is told of it, with its texts.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use konsul_state::apply::Change;
use konsul_state::change::Rows;
use konsul_state::schema::Schema;

use crate::form::Form;
use crate::ring::Held;

/// What a note of an ordinary size takes beside its rows: itself, its place in the ring, the allocator's
/// share.
const OVERHEAD_BYTES: usize = 192;

/// The number of a note that is never in the ring.
pub(crate) const LIVE_ONLY: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) enum What {
    Changed(Change),
    /// The row with that key and its lease's renewal.
    Renewed {
        rows: Rows,
        at_ms: u64,
    },
    /// JSON that is ready, under a key.
    Ready {
        key: Box<[u8]>,
        payload: Bytes,
    },
}

/// One change, or something that is told live only.
#[derive(Debug)]
pub(crate) struct Note {
    /// The entry's index; of something live the tables' when it happened.
    pub(crate) index: u64,
    /// In the ring, or [`LIVE_ONLY`].
    pub(crate) number: u64,
    pub(crate) what: What,
    texts: Texts,
}

/// A list that only grows, of one text per form: there are few forms of a table.
#[derive(Debug, Default)]
struct Texts(OnceLock<Box<Text>>);

#[derive(Debug)]
struct Text {
    form: Arc<Form>,
    json: Bytes,
    next: Texts,
}

impl Note {
    pub(crate) fn new(index: u64, number: u64, what: What) -> Self {
        Self { index, number, what, texts: Texts::default() }
    }

    pub(crate) fn key(&self) -> &[u8] {
        match &self.what {
            What::Changed(change) => change.key(),
            What::Renewed { rows, .. } => rows.key(),
            What::Ready { key, .. } => key,
        }
    }

    /// The table of a change.
    pub(crate) fn table(&self) -> Option<u16> {
        match &self.what {
            What::Changed(change) => Some(change.table),
            What::Renewed { .. } | What::Ready { .. } => None,
        }
    }

    pub(crate) fn is_renewal(&self) -> bool {
        matches!(self.what, What::Renewed { .. })
    }

    /// The row before, for a change.
    pub(crate) fn before(&self) -> Option<&[u8]> {
        match &self.what {
            What::Changed(change) => change.before(),
            What::Renewed { .. } | What::Ready { .. } => None,
        }
    }

    /// The row after, or as it is.
    pub(crate) fn after(&self) -> Option<&[u8]> {
        match &self.what {
            What::Changed(change) => change.after(),
            What::Renewed { rows, .. } => rows.after(),
            What::Ready { .. } => None,
        }
    }

    /// True if a form has a word for it, to a reader who knew the row as `before`.
    pub(crate) fn is_told(&self, form: Option<&Form>, schema: &Schema, before: Option<&[u8]>) -> bool {
        let Some(form) = form else { return true };
        let table = schema.table(form.table()).ok();
        match &self.what {
            What::Changed(change) => form.tells(form.happened(table, change, before)),
            What::Renewed { rows, .. } => form.tells(form.renewed(table, rows.after().unwrap_or_default())),
            What::Ready { .. } => true,
        }
    }

    /// Its JSON and how many bytes were made for it just now; none if the row cannot be read.
    pub(crate) fn text(&self, form: Option<&Arc<Form>>, schema: &Schema) -> Option<(Bytes, usize)> {
        if let What::Ready { payload, .. } = &self.what {
            return Some((payload.clone(), 0));
        }
        let form = form?;
        let mut texts = &self.texts;
        while let Some(text) = texts.0.get() {
            if Arc::ptr_eq(&text.form, form) {
                return Some((text.json.clone(), 0));
            }
            texts = &text.next;
        }
        let json = self.written(form, schema, self.before())?;
        let made = json.len() + size_of::<Text>();
        let text = Text { form: Arc::clone(form), json: json.clone(), next: Texts::default() };
        // Nobody else writes texts: a note belongs to one hub, and that is behind its owner's lock.
        let _ = texts.0.set(Box::new(text));
        Some((json, made))
    }

    /// Its JSON for a reader who knew the row as `before`; none if a row cannot be read.
    pub(crate) fn written(&self, form: &Form, schema: &Schema, before: Option<&[u8]>) -> Option<Bytes> {
        let table = schema.table(form.table()).ok()?;
        let json = match &self.what {
            What::Changed(change) => form.write(table, change, before).ok()?,
            What::Renewed { rows, at_ms } => {
                form.write_renewal(table, rows.key(), rows.after()?, *at_ms).ok()?
            }
            What::Ready { payload, .. } => return Some(payload.clone()),
        };
        Some(Bytes::from(json))
    }
}

impl Held for Arc<Note> {
    fn index(&self) -> u64 {
        self.index
    }

    fn bytes(&self) -> usize {
        let rows = match &self.what {
            What::Changed(change) => change.rows.bytes(),
            What::Renewed { rows, .. } => rows.bytes(),
            What::Ready { key, payload } => key.len() + payload.len(),
        };
        let mut bytes = OVERHEAD_BYTES + rows;
        let mut texts = &self.texts;
        while let Some(text) = texts.0.get() {
            bytes += text.json.len() + size_of::<Text>();
            texts = &text.next;
        }
        bytes
    }
}
