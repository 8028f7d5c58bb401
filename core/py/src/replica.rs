//! `Replica`: the pure state machine over memory, without a log. What the model tests compare with.

use konsul_node::code;
use konsul_state::apply::{ApplyError, Cause, Change, Outcome, Position, Tables};
use konsul_state::entry::{self, Kind, RequestId};
use konsul_state::memory::Memory;
use konsul_state::read::{self, Query, SCAN_ROWS_MAX};
use konsul_state::schema::Schema;
use konsul_state::store::{Store as _, Write as _};
use konsul_state::{digest, snapshot};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::door::{error, known, read_failed, refused, store_failed};

/// Tables in memory that entries are applied to one by one.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Replica {
    store: Memory,
    tables: Mutex<Tables>,
    /// What the last entry changed.
    changes: Mutex<Vec<Change>>,
}

type Answer<'py> = (u16, u64, u64, Bound<'py, PyBytes>);

fn stopped(failure: &ApplyError) -> PyErr {
    error(code::INTERNAL, failure.to_string())
}

impl Replica {
    fn enter(&self, now_ms: u64, kind: Kind, body: &[u8]) -> PyResult<Outcome> {
        let mut entry = Vec::new();
        entry::encode(now_ms, kind, body, &mut entry);
        let mut tables = self.tables.lock();
        let mut changed = tables.clone();
        let mut writer = self.store.write().map_err(|failure| store_failed(&failure))?;
        let mut changes = self.changes.lock();
        changes.clear();
        let outcome =
            changed.apply(&mut writer, &entry, &mut changes).map_err(|failure| stopped(&failure))?;
        let position = Position { index: tables.applied().index + 1, term: 1 };
        changed.finish(&mut writer, position).map_err(|failure| store_failed(&failure))?;
        writer.commit().map_err(|failure| store_failed(&failure))?;
        *tables = changed;
        Ok(outcome)
    }

    /// Validates and applies, as a node does.
    fn submit<'py>(
        &self,
        py: Python<'py>,
        now_ms: u64,
        kind: Kind,
        request_id: Option<RequestId>,
        cases: &[u8],
    ) -> PyResult<Answer<'py>> {
        let schema = self.tables.lock().schema();
        if let Err(refusal) = entry::validate(&schema, cases) {
            return Ok((refusal.code, 0, 0, PyBytes::new(py, refusal.message.as_bytes())));
        }
        let outcome = match request_id {
            None => self.enter(now_ms, kind, cases)?,
            Some(id) => self.enter(now_ms, Kind::Once, &entry::once_body(&id, cases))?,
        };
        Ok(match outcome {
            Outcome::Applied { index, case, .. } => (0, index, u64::from(case), PyBytes::new(py, b"")),
            Outcome::Conflict { current, key } => (code::CONFLICT, 0, current, PyBytes::new(py, &key)),
            Outcome::Refused(refusal) => (refusal.code, 0, 0, PyBytes::new(py, refusal.message.as_bytes())),
        })
    }
}

#[pymethods]
impl Replica {
    #[new]
    fn new(schema: &[u8]) -> PyResult<Self> {
        let replica = Self { store: Memory::new(), tables: Mutex::default(), changes: Mutex::default() };
        replica.define(schema)?;
        Ok(replica)
    }

    fn apply<'py>(&self, py: Python<'py>, now_ms: u64, cases: &[u8]) -> PyResult<Answer<'py>> {
        self.submit(py, now_ms, Kind::Cases, None, cases)
    }

    fn lapse<'py>(&self, py: Python<'py>, now_ms: u64, cases: &[u8]) -> PyResult<Answer<'py>> {
        self.submit(py, now_ms, Kind::Lapse, None, cases)
    }

    fn apply_once<'py>(
        &self,
        py: Python<'py>,
        now_ms: u64,
        request_id: &[u8],
        cases: &[u8],
    ) -> PyResult<Answer<'py>> {
        self.submit(py, now_ms, Kind::Once, known(Some(request_id))?, cases)
    }

    fn pulse(&self, now_ms: u64, limit: u64) -> PyResult<u32> {
        match self.enter(now_ms, Kind::Pulse, &entry::pulse_body(limit))? {
            Outcome::Applied { expired, .. } => Ok(expired),
            Outcome::Refused(refusal) => Err(refused(refusal)),
            Outcome::Conflict { .. } => Err(error(code::INTERNAL, "a pulse has no guards")),
        }
    }

    fn define(&self, schema: &[u8]) -> PyResult<()> {
        Schema::decode(schema).map_err(refused)?;
        match self.enter(0, Kind::Define, schema)? {
            Outcome::Refused(refusal) => Err(refused(refusal)),
            _ => Ok(()),
        }
    }

    fn rows<'py>(&self, py: Python<'py>, table: u16) -> PyResult<Bound<'py, PyList>> {
        let schema = self.tables.lock().schema();
        let reader = self.store.read().map_err(|failure| store_failed(&failure))?;
        let rows = PyList::empty(py);
        let mut failed = Ok(());
        let mut after: Option<Vec<u8>> = None;
        loop {
            let query =
                Query { table, prefix: b"", filters: &[], after: after.as_deref(), limit: SCAN_ROWS_MAX };
            after = read::scan(&reader, &schema, &query, &mut |key, row| {
                if failed.is_ok() {
                    failed = rows.append((PyBytes::new(py, key), PyBytes::new(py, row)));
                }
                Ok(())
            })
            .map_err(read_failed)?;
            if after.is_none() {
                return failed.map(|()| rows);
            }
        }
    }

    fn changes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let told = PyList::empty(py);
        let packed = |row: Option<&[u8]>| row.map(|row| PyBytes::new(py, row));
        for change in self.changes.lock().iter() {
            let key = PyBytes::new(py, change.key());
            let is_lapsed = change.cause == Cause::Lapse;
            let (before, after) = (packed(change.before()), packed(change.after()));
            told.append((change.index, change.at_ms, change.table, key, is_lapsed, before, after))?;
        }
        Ok(told)
    }

    fn index(&self) -> u64 {
        self.tables.lock().index()
    }

    fn digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let reader = self.store.read().map_err(|failure| store_failed(&failure))?;
        let digest = digest::digest(&reader).map_err(|failure| store_failed(&failure))?;
        Ok(PyBytes::new(py, &digest))
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let reader = self.store.read().map_err(|failure| store_failed(&failure))?;
        let mut out = Vec::new();
        snapshot::write(&reader, &self.tables.lock(), b"", &mut out)
            .map_err(|failure| error(code::INTERNAL, failure.to_string()))?;
        Ok(PyBytes::new(py, &out))
    }

    #[staticmethod]
    fn restore(snapshot: &[u8]) -> PyResult<Self> {
        let store = Memory::new();
        let mut writer = store.write().map_err(|failure| store_failed(&failure))?;
        let (tables, _) = snapshot::read(snapshot, &mut writer)
            .map_err(|failure| error(code::INVALID, failure.to_string()))?;
        writer.commit().map_err(|failure| store_failed(&failure))?;
        Ok(Self { store, tables: Mutex::new(tables), changes: Mutex::default() })
    }
}
