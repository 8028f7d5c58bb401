//! Watches of this node: the hub behind a lock, fed by the driver, read by the loop thread.
//!
//! Neither holds the lock while it waits for anything: the driver only queues, the loop thread only takes out
//! what is queued, and makes objects of it later.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use konsul_state::Refusal;
use konsul_state::apply::{Change, Tables};
use konsul_views::{CLUSTER, Form, Hub, HubOptions, Item, ItemKind, Spec, WatchError};
use parking_lot::Mutex;

use crate::code;
use crate::completions::Completions;
use crate::members::Members;
use crate::options::Options;
use crate::status::quoted;

/// What watches saw, in the order they are to be told.
#[derive(Debug, Default)]
pub struct Seen {
    /// Each once, however many watches saw it: key and payload.
    pub changes: Vec<(Bytes, Bytes)>,
    /// Whose, what, at which index, and the place of its change above.
    pub items: Vec<(u64, ItemKind, u64, usize)>,
}

struct Open {
    hub: Hub,
    /// Tables of which somebody watches renewals.
    renewed: BTreeSet<u16>,
}

/// All watches of a node.
pub(crate) struct Watches {
    open: Mutex<Open>,
    completions: Arc<Completions>,
    /// `renewed` as a filter: a bit for each table's number modulo 64. A heartbeat looks at nothing else.
    renewals: AtomicU64,
}

impl Watches {
    /// Nobody watches yet. What the tables hold at `index` is the past.
    pub fn new(options: &Options, index: u64, completions: Arc<Completions>) -> Self {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let hub = Hub::new(HubOptions {
            ring_entries: size(options.watch_ring_entries),
            ring_bytes: size(options.watch_ring_bytes),
            watchers_max: size(options.watchers_max),
            floor: index,
        });
        let open = Mutex::new(Open { hub, renewed: BTreeSet::new() });
        Self { open, completions, renewals: AtomicU64::new(0) }
    }

    /// Runs `work` on the hub, and has the loop thread woken if it brought anything.
    fn with<T>(&self, work: impl FnOnce(&mut Open) -> T) -> T {
        let (done, is_ready) = {
            let mut open = self.open.lock();
            let done = work(&mut open);
            (done, open.hub.has_ready())
        };
        if is_ready {
            self.completions.ring_watches();
        }
        done
    }

    /// A batch is applied, and readers see it.
    pub fn note(&self, tables: &Tables, changes: &[Change]) {
        self.with(|open| open.hub.note(tables.index(), &tables.schema(), changes));
    }

    /// Other tables took the place of those that were.
    pub fn reset(&self, index: u64) {
        self.with(|open| open.hub.reset(index));
    }

    /// A lease was renewed; `row` reads its row, and is asked only if somebody wants to hear of it.
    pub fn renewed(&self, table: u16, key: &[u8], at_ms: u64, row: impl FnOnce() -> Option<Vec<u8>>) {
        if self.renewals.load(Relaxed) & filter_bit(table) == 0 {
            return;
        }
        if let Some(row) = row() {
            self.with(|open| open.hub.note_renewed(table, key, &row, at_ms));
        }
    }

    /// Another node leads, or none, or in another term.
    pub fn note_leader(&self, members: &Members, leader_id: u64, term: u64) {
        let named = members.list().into_iter().find(|member| member.raft_id == leader_id);
        let name = match named {
            Some(member) => quoted(&member.node_id),
            None if leader_id == 0 => "null".into(),
            None => quoted(&leader_id.to_string()),
        };
        let json =
            format!("{{\"type\":\"leader\",\"leader\":{name},\"raft_id\":{leader_id},\"term\":{term}}}");
        self.with(|open| open.hub.note_ready(CLUSTER, b"leader", json.into()));
    }

    /// Others belong to the group, or the same with other data.
    pub fn note_members(&self, members: &Members) {
        let mut json = String::from("{\"type\":\"members\",\"members\":[");
        for (at, member) in members.list().iter().enumerate() {
            json.push_str(if at == 0 { "{" } else { ",{" });
            members.write_member(&mut json, member);
            json.push('}');
        }
        json.push_str("]}");
        self.with(|open| open.hub.note_ready(CLUSTER, b"members", json.into()));
    }

    pub fn watch(&self, spec: Spec, form: Option<Arc<Form>>, since: Option<u64>) -> Result<u64, Refusal> {
        let renewed = spec.renewals.then_some(spec.table);
        let opened = self.with(|open| {
            let watch = open.hub.watch(spec, form, since)?;
            open.renewed.extend(renewed);
            self.renewals.store(filter(&open.renewed), Relaxed);
            Ok(watch)
        });
        opened.map_err(|error| {
            let code = if matches!(error, WatchError::Full(_)) { code::TOO_MANY } else { code::INVALID };
            Refusal::new(code, error.to_string())
        })
    }

    pub fn unwatch(&self, watch: u64) {
        self.with(|Open { hub, renewed }| {
            hub.unwatch(watch);
            renewed.retain(|table| hub.renewal_watchers(*table) > 0);
            self.renewals.store(filter(renewed), Relaxed);
        });
    }

    pub fn pause(&self, watch: u64) {
        self.with(|open| open.hub.pause(watch));
    }

    pub fn resume(&self, watch: u64) {
        self.with(|open| open.hub.resume(watch));
    }

    pub fn position(&self, watch: u64) -> Option<u64> {
        self.open.lock().hub.position(watch)
    }

    /// Takes at most `limit` of what watches saw; if more is left, the loop thread is woken for it again.
    pub fn take(&self, limit: usize) -> Seen {
        let mut seen = Seen::default();
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        let mut last = (usize::MAX, 0);
        self.with(|open| {
            open.hub.take(limit, &mut |item: Item<'_>| {
                // One change is one allocation, whoever is told of it; as long as it is held here no other
                // can have its address. Notices have none and share the empty one.
                let address = if item.payload.is_empty() { 0 } else { item.payload.as_ptr() as usize };
                if address != last.0 {
                    let place = *places.entry(address).or_insert(seen.changes.len());
                    last = (address, place);
                    if place == seen.changes.len() {
                        seen.changes.push((Bytes::copy_from_slice(item.key), item.payload));
                    }
                }
                seen.items.push((item.watch, item.kind, item.index, last.1));
            })
        });
        seen
    }

    /// A JSON object of figures.
    pub fn write_json(&self, out: &mut String) {
        let stats = self.open.lock().hub.stats();
        let _ = write!(out, "{{\"watchers\":{},\"by_table\":{{", stats.watchers);
        for (at, (table, count)) in stats.by_table.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\"{table}\":{count}");
        }
        let _ = write!(
            out,
            "}},\"ring_entries\":{},\"ring_bytes\":{},\"ring_floor\":{},\"held_bytes\":{},\"events\":{}\
             ,\"behind\":{},\"compacted\":{},\"renewals_dropped\":{}}}",
            stats.ring_entries,
            stats.ring_bytes,
            stats.ring_floor,
            stats.held_bytes,
            stats.events,
            stats.behind,
            stats.compacted,
            stats.renewals_dropped,
        );
    }
}

fn filter_bit(table: u16) -> u64 {
    1 << (table % 64)
}

fn filter(tables: &BTreeSet<u16>) -> u64 {
    tables.iter().fold(0, |bits, table| bits | filter_bit(*table))
}
