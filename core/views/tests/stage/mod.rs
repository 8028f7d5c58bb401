//! A hub with tables behind it, in few words.
#![allow(dead_code)]

use std::sync::Arc;

use bytes::Bytes;
use konsul_state::entry::Kind;
use konsul_views::{Form, Hub, HubOptions, ItemKind, Spec, WatchError};

use crate::sketch::{Replica, Tab, V, always, delete, put};

pub const KV: u16 = 1;
pub const SERVICES: u16 = 2;
pub const WATCHERS_MAX: usize = 30;
pub const AT_MS: u64 = 1_767_323_045_678;

/// An item, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub kind: ItemKind,
    pub index: u64,
    pub key: Vec<u8>,
    pub text: String,
}

pub fn texts(told: &[Told]) -> Vec<&str> {
    told.iter().map(|told| told.text.as_str()).collect()
}

pub fn spec(table: u16, pattern: &str, buffer: usize) -> Spec {
    Spec {
        table,
        separator: if table == SERVICES { b' ' } else { b'/' },
        pattern: pattern.into(),
        wheres: Vec::new(),
        renewals: false,
        coalesce: false,
        buffer,
    }
}

pub fn kv_form() -> Form {
    let kinds = ["set", "set", "delete", "delete", ""];
    Form::new(KV, kinds, &[("key", -1, 0), ("value", 0, 1 | 2)], &[("old_value", 0, 2)], "").unwrap()
}

pub fn services_form() -> Form {
    let kinds = ["register", "register", "deregister", "expired", "heartbeat"];
    Form::new(SERVICES, kinds, &[("name", 0, 0), ("tags", 1, 1)], &[], "service").unwrap()
}

pub fn tables() -> [Tab; 2] {
    [
        Tab::new(KV, "kv").column("value", "bytes"),
        Tab::new(SERVICES, "services").indexed("name", "text", "single").indexed("tags", "list", "each"),
    ]
}

pub struct Stage {
    pub replica: Replica,
    pub hub: Hub,
    kv: Arc<Form>,
    services: Arc<Form>,
    told: Vec<(u64, Told)>,
}

impl Stage {
    pub fn new(ring_entries: usize, ring_bytes: usize) -> Self {
        let options = HubOptions { ring_entries, ring_bytes, watchers_max: WATCHERS_MAX, floor: 0 };
        Self {
            replica: Replica::new(&tables()),
            hub: Hub::new(options),
            kv: Arc::new(kv_form()),
            services: Arc::new(services_form()),
            told: Vec::new(),
        }
    }

    pub fn open(&mut self, spec: Spec, since: Option<u64>) -> Result<u64, WatchError> {
        self.hub.watch(spec, Some(Arc::clone(&self.kv)), since)
    }

    pub fn watch(&mut self, pattern: &str) -> u64 {
        self.watch_buffer(pattern, 100)
    }

    pub fn watch_buffer(&mut self, pattern: &str, buffer: usize) -> u64 {
        self.open(spec(KV, pattern, buffer), None).unwrap()
    }

    pub fn watch_since(&mut self, pattern: &str, since: u64) -> u64 {
        self.open(spec(KV, pattern, 100), Some(since)).unwrap()
    }

    pub fn watch_coalescing(&mut self, pattern: &str, buffer: usize) -> u64 {
        self.open(Spec { coalesce: true, ..spec(KV, pattern, buffer) }, None).unwrap()
    }

    pub fn watch_services(&mut self, pattern: &str, wheres: &[(u8, &str)], renewals: bool) -> u64 {
        let wheres = wheres.iter().map(|(column, value)| (*column, value.as_bytes().into())).collect();
        let spec = Spec { wheres, renewals, ..spec(SERVICES, pattern, 100) };
        self.hub.watch(spec, Some(Arc::clone(&self.services)), None).unwrap()
    }

    /// All services, as a form tells them.
    pub fn watch_spec(&mut self, form: Arc<Form>, change: impl FnOnce(&mut Spec)) -> u64 {
        let mut spec = Spec { renewals: true, ..spec(SERVICES, "**", 100) };
        change(&mut spec);
        self.hub.watch(spec, Some(form), None).unwrap()
    }

    /// Applies one entry and tells the hub what it changed.
    pub fn entry(&mut self, kind: Kind, ops: &[Vec<u8>]) {
        self.replica.changes.clear();
        self.replica.entry(AT_MS, kind, &always(ops));
        let tables = &self.replica.tables;
        self.hub.note(tables.index(), &tables.schema(), &self.replica.changes);
    }

    pub fn put(&mut self, key: &str, value: &[u8]) {
        self.entry(Kind::Cases, &[put(KV, key, &[V::Bytes(value.to_vec())])]);
    }

    pub fn put_many(&mut self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.put(&format!("k{number}"), b"v");
        }
    }

    pub fn delete(&mut self, key: &str) {
        self.entry(Kind::Cases, &[delete(KV, key)]);
    }

    pub fn register(&mut self, key: &str, tags: &[&str]) {
        let name = key.split(' ').next().unwrap();
        self.entry(Kind::Cases, &[put(SERVICES, key, &[name.into(), tags.into()])]);
    }

    pub fn deregister(&mut self, key: &str) {
        self.entry(Kind::Cases, &[delete(SERVICES, key)]);
    }

    pub fn lapse(&mut self, key: &str) {
        self.entry(Kind::Lapse, &[delete(SERVICES, key)]);
    }

    pub fn renew(&mut self, key: &str) {
        let row = self.replica.row(SERVICES, key).unwrap();
        self.hub.note_renewed(SERVICES, key.as_bytes(), &row, AT_MS);
    }

    pub fn say(&mut self, key: &str, payload: &str) {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        self.hub.note_ready(konsul_views::CLUSTER, key.as_bytes(), payload);
    }

    /// Takes everything there is, and gives what one watch was told since it was last asked for.
    pub fn told(&mut self, watch: u64) -> Vec<Told> {
        let told = &mut self.told;
        while self.hub.take(7, &mut |item| {
            let text = String::from_utf8(item.payload.to_vec()).unwrap();
            told.push((
                item.watch,
                Told { kind: item.kind, index: item.index, key: item.key.to_vec(), text },
            ));
        }) {}
        let (its, others) = std::mem::take(told).into_iter().partition(|(of, _)| *of == watch);
        self.told = others;
        Vec::from_iter((its as Vec<(u64, Told)>).into_iter().map(|(_, told)| told))
    }

    /// The indexes of the events that a watch was told.
    pub fn indexes(&mut self, watch: u64) -> Vec<u64> {
        let told = self.told(watch);
        told.iter().filter(|told| told.kind == ItemKind::Event).map(|told| told.index).collect()
    }
}
