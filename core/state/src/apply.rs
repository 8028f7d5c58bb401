//! Applying entries: the only way the tables change.

use std::sync::Arc;

use crate::define;
use crate::entry::{self, Kind};
use crate::frame::{Context, Frames, Run, Stop};
use crate::journal::Journal;
use crate::keys;
use crate::msgpack::{Cursor, Malformed};
use crate::rows::first_with;
use crate::schema::Schema;
use crate::store::{Read, StoreError, Write};
use crate::vocabulary;
use crate::window::Window;

pub use crate::change::{Cause, Change, ChangeKind};
pub use crate::refusal::Refusal;

/// A place in the Raft log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The Raft log's index.
    pub index: u64,
    /// The term of that record.
    pub term: u64,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied. For a `Define`, and a pulse that found nothing, `index` is the one that was and stays.
    Applied {
        /// The entry's index.
        index: u64,
        /// Which case was applied.
        case: u16,
        /// How many rows a pulse removed.
        expired: u32,
    },
    /// No case's guards held. Tells of the first guard that failed in the last case.
    Conflict {
        /// The modify_index of that guard's row; 0 if it is absent.
        current: u64,
        /// The key of that guard's row.
        key: Vec<u8>,
    },
    /// Nothing was changed.
    Refused(Refusal),
}

/// The node cannot go on with this transaction.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The store refused. Drop the transaction and these tables, and go back to the clones from before the
    /// batch.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A committed entry or a stored row cannot be understood: continuing would let replicas diverge.
    #[error("the applied state cannot go on: {0}")]
    Corrupt(String),
}

impl From<Malformed> for ApplyError {
    fn from(cause: Malformed) -> Self {
        Self::Corrupt(cause.to_string())
    }
}

/// The part of the tables' state that is in memory. What it says is true of one write transaction.
///
/// Clone it before a batch: if the transaction is dropped, the clone is what is still true.
#[derive(Debug, Default)]
pub struct Tables {
    pub(crate) schema: Arc<Schema>,
    pub(crate) index: u64,
    pub(crate) clock_ms: u64,
    pub(crate) applied: Position,
    pub(crate) counts: Vec<u64>,
    pub(crate) window: Window,
    journal: Journal,
    frames: Frames,
    header: Vec<u8>,
}

impl Clone for Tables {
    /// Copies the state; the buffers stay with the original.
    fn clone(&self) -> Self {
        Self {
            schema: Arc::clone(&self.schema),
            index: self.index,
            clock_ms: self.clock_ms,
            applied: self.applied,
            counts: self.counts.clone(),
            window: self.window,
            ..Self::default()
        }
    }
}

const HEADER_VERSION: u8 = 1;

impl Tables {
    /// Reads what [`Tables::finish`] wrote; an empty store gives empty tables without a schema.
    ///
    /// # Errors
    /// [`ApplyError::Corrupt`] if the header or the schema is damaged.
    pub fn open(r: &impl Read) -> Result<Self, ApplyError> {
        let mut tables = Self::default();
        if let Some(bytes) = r.get(keys::SCHEMA)? {
            let schema = Schema::decode(bytes).map_err(|refusal| {
                ApplyError::Corrupt(format!("the stored schema is not valid: {}", refusal.message))
            })?;
            tables.counts = vec![0; schema.tables.len()];
            tables.schema = Arc::new(schema);
        }
        if let Some(bytes) = r.get(keys::HEADER)? {
            tables
                .read_header(bytes)
                .ok_or_else(|| ApplyError::Corrupt("the stored header is damaged".into()))?;
        }
        tables.window = Window::open(r)?;
        Ok(tables)
    }

    fn read_header(&mut self, bytes: &[u8]) -> Option<()> {
        let (version, mut rest) = bytes.split_first()?;
        let mut next = || -> Option<u64> {
            let (number, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_be_bytes(*number))
        };
        self.index = next()?;
        self.clock_ms = next()?;
        self.applied = Position { index: next()?, term: next()? };
        for count in &mut self.counts {
            *count = next()?;
        }
        (*version == HEADER_VERSION && rest.is_empty()).then_some(())
    }

    /// The index of the last applied entry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The replicated clock, in ms since 1970.
    pub fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// The schema in force.
    pub fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema)
    }

    /// The position given to the last [`Tables::finish`].
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// How many rows a table has; 0 if there is no such table.
    pub fn count(&self, table: u16) -> u64 {
        self.schema.table(table).map_or(0, |table| self.counts[table.position])
    }

    /// How many requests were ever remembered.
    pub fn requests(&self) -> u64 {
        self.window.next
    }

    /// How many entries were passed over because their request was known, since this process began.
    pub fn repeats(&self) -> u64 {
        self.window.repeats
    }

    /// Applies one committed entry and appends what it changed to `changes`.
    ///
    /// # Errors
    /// [`ApplyError`]: the transaction must be dropped. Refusals and conflicts are outcomes, not errors.
    pub fn apply(
        &mut self,
        w: &mut impl Write,
        entry: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<Outcome, ApplyError> {
        let mark = changes.len();
        let done = self.dispatch(w, entry, changes);
        match done {
            Ok(outcome) => Ok(outcome),
            Err(Stop::Refused(refusal)) => {
                changes.truncate(mark);
                self.journal.undo(w, &mut self.counts)?;
                Ok(Outcome::Refused(refusal))
            }
            Err(Stop::Store(error)) => Err(error.into()),
            Err(Stop::Corrupt(what)) => Err(ApplyError::Corrupt(what)),
        }
    }

    fn dispatch(
        &mut self,
        w: &mut impl Write,
        entry: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<Outcome, Stop> {
        let (now_ms, kind, body) = entry::split(entry)?;
        self.clock_ms = self.clock_ms.max(now_ms);
        self.journal.start(false);
        match kind {
            Kind::Define => {
                define::apply(self, w, body)?;
                Ok(Outcome::Applied { index: self.index, case: 0, expired: 0 })
            }
            Kind::Cases => self.cases(w, body, Cause::Write, changes),
            Kind::Once => self.once(w, body, changes),
            Kind::Lapse => self.cases(w, body, Cause::Lapse, changes),
            Kind::Pulse => self.pulse(w, Cursor::new(body).unsigned()?, changes),
        }
    }

    pub(crate) fn run<'r, W>(
        &'r mut self,
        schema: &'r Schema,
        w: &'r mut W,
        cause: Cause,
        changes: &'r mut Vec<Change>,
    ) -> Run<'r, W> {
        Run {
            schema,
            w,
            changes,
            counts: &mut self.counts,
            journal: &mut self.journal,
            frames: &mut self.frames,
            index: self.index + 1,
            clock_ms: self.clock_ms,
            cause,
        }
    }

    fn cases(
        &mut self,
        w: &mut impl Write,
        body: &[u8],
        cause: Cause,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome, Stop> {
        let schema = Arc::clone(&self.schema);
        let mut run = self.run(&schema, w, cause, changes);
        let mut cursor = Cursor::new(body);
        let mut conflict = (0, Vec::new());
        for case in 0..cursor.array()? {
            if cursor.array()? != 2 {
                return Err(Malformed("a case has guards and ops").into());
            }
            if let Some(failed) = first_failure(&mut run, &mut cursor)? {
                conflict = failed;
                cursor.skip()?;
                continue;
            }
            apply_ops(&mut run, cursor)?;
            self.index += 1;
            let case = u16::try_from(case).map_err(|_| Malformed("an entry has too many cases"))?;
            return Ok(Outcome::Applied { index: self.index, case, expired: 0 });
        }
        let (current, key) = conflict;
        Ok(Outcome::Conflict { current, key })
    }

    /// Applies cases unless the window knows their request; only what was applied is remembered.
    fn once(&mut self, w: &mut impl Write, body: &[u8], changes: &mut Vec<Change>) -> Result<Outcome, Stop> {
        const SHORT: Malformed = Malformed("an entry is shorter than its request's id");
        let (id, cases) = body.split_first_chunk().ok_or(SHORT)?;
        if let Some((index, case)) = self.window.find(w, id)? {
            return Ok(Outcome::Applied { index, case, expired: 0 });
        }
        let outcome = self.cases(w, cases, Cause::Write, changes)?;
        if let Outcome::Applied { index, case, .. } = outcome {
            self.window.remember(w, id, index, case)?;
        }
        Ok(outcome)
    }

    /// Writes the header once for everything applied in this transaction; call it before the commit.
    ///
    /// # Errors
    /// What the store reports.
    pub fn finish(&mut self, w: &mut impl Write, applied: Position) -> Result<(), StoreError> {
        self.applied = applied;
        self.header.clear();
        self.header.push(HEADER_VERSION);
        for number in [self.index, self.clock_ms, applied.index, applied.term] {
            self.header.extend_from_slice(&number.to_be_bytes());
        }
        for count in &self.counts {
            self.header.extend_from_slice(&count.to_be_bytes());
        }
        w.put(keys::HEADER, &self.header)?;
        self.window.finish(w)
    }

    /// The earliest deadline of any row, in ms since 1970.
    ///
    /// # Errors
    /// What the store reports.
    pub fn next_expiry_ms(&self, r: &impl Read) -> Result<Option<u64>, StoreError> {
        let mut earliest: Option<u64> = None;
        let mut prefix = Vec::new();
        for table in self.schema.tables.iter().filter(|table| table.expires.is_some()) {
            keys::expiry_table(&mut prefix, table.id);
            let deadline_ms = first_with(r, &prefix)?.as_deref().and_then(keys::moment);
            earliest = earliest.into_iter().chain(deadline_ms).min();
        }
        Ok(earliest)
    }
}

/// Asks a case's guards; the answer of [`Run::fails`] for the first that fails. Leaves the cursor at the ops.
fn first_failure<W: Write>(
    run: &mut Run<'_, W>,
    cursor: &mut Cursor<'_>,
) -> Result<Option<(u64, Vec<u8>)>, Stop> {
    let mut failed = None;
    for _ in 0..cursor.array()? {
        if failed.is_some() {
            cursor.skip()?;
        } else {
            failed = run.fails(&vocabulary::guard(cursor)?)?;
        }
    }
    Ok(failed)
}

fn apply_ops<W: Write>(run: &mut Run<'_, W>, mut cursor: Cursor<'_>) -> Result<(), Stop> {
    let count = cursor.array()?;
    for at in 0..count {
        let op = vocabulary::op(&mut cursor)?;
        if at == 0 {
            // A lone op on a plain table is refused before its first write or not at all: there is nothing to
            // undo.
            let alone = count == 1 && run.schema.table(op.table)?.is_plain();
            run.journal.start(!alone);
        }
        run.op(&op, Context::TOP)?;
    }
    Ok(())
}

/// Reads only the row counts, for readers that have no [`Tables`].
pub(crate) fn stored_count(r: &impl Read, schema: &Schema, table: u16) -> Result<u64, StoreError> {
    let Ok(table) = schema.table(table) else { return Ok(0) };
    let at = 33 + 8 * table.position;
    let number = r.get(keys::HEADER)?.and_then(|header| header.get(at..)?.first_chunk());
    Ok(number.map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}
