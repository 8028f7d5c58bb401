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
use konsul_state::apply::Change;
use konsul_state::schema::Schema;
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
    pub fn note(&self, index: u64, schema: &Arc<Schema>, changes: &[Change]) {
        self.with(|open| open.hub.note(index, schema, changes));
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

    /// Takes everything that can be taken, in as many pieces as that needs.
    pub fn take_all(&self) -> Seen {
        let mut all = Seen::default();
        loop {
            let mut piece = self.take(usize::MAX);
            let before = all.changes.len();
            all.changes.append(&mut piece.changes);
            all.items.extend(
                piece
                    .items
                    .into_iter()
                    .map(|(watch, kind, index, place)| (watch, kind, index, before + place)),
            );
            if !self.open.lock().hub.has_ready() {
                return all;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completions::WATCH_WAITS;
    use crate::members::tests::member;
    use crate::options::tests::memory;

    fn watches() -> (Watches, Arc<Completions>) {
        let completions = Arc::new(Completions::new().unwrap());
        (Watches::new(&memory(), 7, completions.clone()), completions)
    }

    fn spec(table: u16, pattern: &str) -> Spec {
        Spec {
            table,
            separator: b'/',
            pattern: pattern.into(),
            wheres: Vec::new(),
            renewals: table != CLUSTER,
            coalesce: false,
            buffer: 10,
        }
    }

    fn form(table: u16) -> Option<Arc<Form>> {
        Some(Arc::new(Form::new(table, ["put", "put", "gone", "gone", "beat"], &[], &[], "").unwrap()))
    }

    #[test]
    fn what_many_saw_is_taken_once_and_the_rest_rings_again() {
        let (watches, completions) = watches();
        let ids: Vec<u64> = (0..3).map(|_| watches.watch(spec(CLUSTER, "*"), None, None).unwrap()).collect();
        let members = Members::founded(9, member(1), 1);
        watches.note_leader(&members, 1, 4);
        watches.note_leader(&members, 5, 5);
        watches.note_leader(&members, 0, 6);
        assert_eq!(completions.take(9), [crate::Completion::refused(0, WATCH_WAITS, "")]);
        let first = watches.take(4);
        assert_eq!(completions.take(9).len(), 1, "there is more");
        let rest = watches.take(9);
        assert_eq!(completions.take(9), []);
        assert_eq!(first.items.len() + rest.items.len(), 9);
        assert!(first.changes.len() <= 3 && rest.changes.len() <= 3);
        let told = |watch: u64| -> Vec<String> {
            let of = |seen: &Seen| -> Vec<String> {
                let mine = seen.items.iter().filter(|item| item.0 == watch);
                mine.map(|item| String::from_utf8(seen.changes[item.3].1.to_vec()).unwrap()).collect()
            };
            [of(&first), of(&rest)].concat()
        };
        for id in ids {
            let leaders = [
                r#"{"type":"leader","leader":"n1","raft_id":1,"term":4}"#,
                r#"{"type":"leader","leader":"5","raft_id":5,"term":5}"#,
                r#"{"type":"leader","leader":null,"raft_id":0,"term":6}"#,
            ];
            assert_eq!(told(id), leaders);
        }
    }

    #[test]
    fn rows_of_renewed_leases_are_read_only_while_somebody_asks() {
        let (watches, _) = watches();
        let reads = std::cell::Cell::new(0);
        let renew = |table| {
            watches.renewed(table, b"k", 1, || {
                reads.set(reads.get() + 1);
                None
            });
            reads.get()
        };
        assert_eq!(renew(2), 0);
        let both: Vec<u64> = (0..2).map(|_| watches.watch(spec(2, "**"), form(2), None).unwrap()).collect();
        assert_eq!((renew(2), renew(3)), (1, 1));
        watches.unwatch(both[0]);
        assert_eq!(renew(2), 2);
        watches.unwatch(both[1]);
        assert_eq!(renew(2), 2);
    }

    #[test]
    fn a_refusal_says_whether_there_are_too_many_or_it_makes_no_sense() {
        let (watches, _) = watches();
        assert_eq!(watches.watch(spec(2, "**"), None, None).unwrap_err().code, code::INVALID);
        for _ in 0..memory().watchers_max {
            watches.watch(spec(2, "**"), form(2), None).unwrap();
        }
        assert_eq!(watches.watch(spec(2, "**"), form(2), None).unwrap_err().code, code::TOO_MANY);
    }
}
