//! A node's applied state without the node.

use std::ops::ControlFlow;

use konsul_state::apply::{Change, Outcome, Position, Tables};
use konsul_state::digest::digest;
use konsul_state::entry::{self, Kind, RequestId};
use konsul_state::memory::Memory;
use konsul_state::row::Row;
use konsul_state::store::{Read, Store, Write};
use konsul_state::{Refusal, read, snapshot};

use super::{Tab, V, always, one, schema};

/// A node's applied state over memory: one transaction per entry.
#[derive(Default)]
pub struct Replica {
    pub store: Memory,
    pub tables: Tables,
    pub changes: Vec<Change>,
}

impl Replica {
    pub fn new(tables: &[Tab]) -> Self {
        let mut replica = Self::default();
        let outcome = replica.define(tables);
        assert!(matches!(outcome, Outcome::Applied { index: 0, .. }), "{outcome:?}");
        replica
    }

    pub fn entry(&mut self, now_ms: u64, kind: Kind, body: &[u8]) -> Outcome {
        let mut entry = Vec::new();
        entry::encode(now_ms, kind, body, &mut entry);
        let mut w = self.store.write().unwrap();
        let outcome = self.tables.apply(&mut w, &entry, &mut self.changes).unwrap();
        let next = Position { index: self.tables.applied().index + 1, term: 1 };
        self.tables.finish(&mut w, next).unwrap();
        w.commit().unwrap();
        outcome
    }

    pub fn define(&mut self, tables: &[Tab]) -> Outcome {
        self.entry(0, Kind::Define, &schema(tables))
    }

    /// Validates and applies, as a node does.
    pub fn apply(&mut self, now_ms: u64, cases: &[u8]) -> Outcome {
        match entry::validate(&self.tables.schema(), cases) {
            Ok(()) => self.entry(now_ms, Kind::Cases, cases),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// As [`Replica::apply`], under a request's id.
    pub fn once(&mut self, now_ms: u64, id: &RequestId, cases: &[u8]) -> Outcome {
        match entry::validate(&self.tables.schema(), cases) {
            Ok(()) => self.entry(now_ms, Kind::Once, &entry::once_body(id, cases)),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// Applies ops that must succeed; the entry's index.
    pub fn must(&mut self, now_ms: u64, ops: &[Vec<u8>]) -> u64 {
        match self.apply(now_ms, &always(ops)) {
            Outcome::Applied { index, .. } => index,
            other => panic!("{other:?}"),
        }
    }

    /// The case that was applied; None for a conflict.
    pub fn case(&mut self, now_ms: u64, cases: &[u8]) -> Option<u16> {
        match self.apply(now_ms, cases) {
            Outcome::Applied { case, .. } => Some(case),
            Outcome::Conflict { .. } => None,
            Outcome::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    pub fn refusal(&mut self, now_ms: u64, ops: &[Vec<u8>]) -> Refusal {
        match self.apply(now_ms, &always(ops)) {
            Outcome::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    pub fn pulse(&mut self, now_ms: u64, limit: u64) -> u32 {
        match self.entry(now_ms, Kind::Pulse, &entry::pulse_body(limit)) {
            Outcome::Applied { expired, .. } => expired,
            other => panic!("{other:?}"),
        }
    }

    pub fn digest(&self) -> [u8; 16] {
        digest(&self.store.read().unwrap()).unwrap()
    }

    pub fn has(&self, table: u16, key: &str) -> bool {
        self.row(table, key).is_some()
    }

    pub fn row(&self, table: u16, key: &str) -> Option<Vec<u8>> {
        read::get(&self.store.read().unwrap(), table, key.as_bytes()).unwrap().map(<[u8]>::to_vec)
    }

    /// A cell's msgpack; nil if the row is absent.
    pub fn cell(&self, table: u16, key: &str, column: u8) -> Vec<u8> {
        let schema = self.tables.schema();
        match self.row(table, key) {
            Some(row) => Row::new(&row).unwrap().cell(schema.table(table).unwrap(), column).unwrap().to_vec(),
            None => one(V::Nil),
        }
    }

    pub fn indices(&self, table: u16, key: &str) -> (u64, u64) {
        let row = self.row(table, key).unwrap();
        let row = Row::new(&row).unwrap();
        (row.create_index(), row.modify_index())
    }

    pub fn keys(&self, table: u16) -> Vec<String> {
        self.find(table, &[])
    }

    /// Keys of the rows that match index values.
    pub fn find(&self, table: u16, filters: &[(u8, &[u8])]) -> Vec<String> {
        let query = read::Query { table, prefix: b"", filters, after: None, limit: read::SCAN_ROWS_MAX };
        let mut found = Vec::new();
        let r = self.store.read().unwrap();
        read::scan(&r, &self.tables.schema(), &query, &mut |key, _| {
            found.push(String::from_utf8_lossy(key).into_owned());
            Ok(())
        })
        .unwrap();
        found
    }

    /// Every pair in the store, whatever it is for.
    pub fn dump(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut pairs = Vec::new();
        let r = self.store.read().unwrap();
        r.scan(b"", None, &mut |key, value| {
            pairs.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
        pairs
    }

    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        snapshot::write(&self.store.read().unwrap(), &self.tables, b"meta", &mut out).unwrap();
        out
    }

    pub fn restore(bytes: &[u8]) -> Result<Self, snapshot::SnapshotError> {
        let store = Memory::new();
        let mut w = store.write().unwrap();
        let (tables, meta) = snapshot::read(bytes, &mut w)?;
        w.commit().unwrap();
        assert_eq!(meta, b"meta");
        Ok(Self { store, tables, changes: Vec::new() })
    }
}
