//! What a node tells about itself: two JSON objects, cheap to make.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::node::Node;
use crate::options::Backend;
use crate::shared::Role;

impl Node {
    /// A JSON object: role, term, indices, disk state, sizes.
    pub fn status(&self) -> String {
        let gauges = &self.shared.gauges;
        let get = |gauge: &AtomicU64| gauge.load(Relaxed);
        let tables = self.shared.tables();
        // 0: the log does not reach back to that index.
        let term = |index: u64| self.log.term(index).unwrap_or(0);
        let mut out = String::with_capacity(1_024);
        let _ = write!(
            out,
            "{{\"role\":\"{}\",\"node_id\":{},\"cluster_id\":{},\"backend\":\"{}\"",
            self.shared.role().name(),
            self.shared.raft_id(),
            match (self.shared.cluster_id(), self.shared.options.backend) {
                (0, _) | (_, Backend::Memory) => "null".into(),
                // As text: JSON readers lose the low bits of numbers this large.
                (cluster_id, Backend::Durable) => format!("\"{cluster_id:016x}\""),
            },
            if self.shared.options.backend == Backend::Durable { "durable" } else { "memory" },
        );
        let _ = write!(
            out,
            ",\"term\":{},\"leader_id\":{},\"index\":{},\"clock_ms\":{},\"uptime_ms\":{}",
            get(&gauges.term),
            get(&gauges.leader_id),
            tables.index(),
            tables.clock_ms(),
            self.shared.clock.now_ms(),
        );
        let _ = write!(
            out,
            ",\"raft\":{{\"first_index\":{},\"last_term\":{},\"snapshot_term\":{},\"last_index\":{}\
             ,\"commit_index\":{},\"applied_index\":{}}}",
            self.log.first_index(),
            term(get(&gauges.last_index)),
            term(get(&gauges.snapshot_index)),
            get(&gauges.last_index),
            get(&gauges.commit_index),
            get(&gauges.applied_index),
        );
        out.push_str(",\"tables\":{");
        for (at, table) in tables.schema().tables().iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(out, "{comma}{}:{}", quoted(&table.name), tables.count(table.id));
        }
        out.push('}');
        self.write_disk(&mut out);
        self.write_cluster(&mut out);
        let _ = write!(
            out,
            ",\"waiting_entries\":{},\"leases\":{},\"stopping\":{},\"notes\":[{}]}}",
            get(&gauges.waiting_entries),
            self.shared.leases.lock().len(),
            gauges.is_stopping.load(Relaxed),
            self.notes.iter().map(|note| quoted(note)).collect::<Vec<_>>().join(","),
        );
        out
    }

    fn write_disk(&self, out: &mut String) {
        let gauges = &self.shared.gauges;
        let log = self.log.status();
        let free_bytes = match gauges.disk_free_bytes.load(Relaxed) {
            u64::MAX => "null".to_owned(),
            bytes => bytes.to_string(),
        };
        let _ = write!(
            out,
            ",\"disk\":{{\"free_bytes\":{free_bytes},\"full\":{},\"stalled\":{},\"log_bytes\":{}\
             ,\"log_room_bytes\":{},\
             \"snapshot_index\":{}}}",
            gauges.is_full.load(Relaxed),
            gauges.is_stalled.load(Relaxed),
            log.disk_bytes,
            log.capacity_bytes,
            gauges.snapshot_index.load(Relaxed),
        );
    }

    /// A JSON object of counters, gauges, histograms, and what the watches count.
    pub fn metrics(&self) -> String {
        let gauges = &self.shared.gauges;
        let log = self.log.status();
        let role = self.shared.role();
        let get = |gauge: &AtomicU64| gauge.load(Relaxed) as f64;
        let flag = |is_set: bool| f64::from(u8::from(is_set));
        let (known_leader, last_contact_ms, _) = self.contact();
        let members = self.shared.members();
        let peers = members.list().len() as f64;
        let mut others = self.network.as_ref().map(|network| network.counters()).unwrap_or_default();
        others.push(("raft_requests_repeated_total".into(), self.shared.tables().repeats()));
        let mut out = self.shared.metrics.json(
            &[
                ("raft_state", f64::from(role as u8)),
                ("raft_is_leader", flag(role == Role::Leader)),
                ("raft_term", get(&gauges.term)),
                ("raft_peers", peers),
                ("raft_peers_total", peers),
                ("raft_voters", members.conf.voters.len() as f64),
                ("raft_known_leader", flag(known_leader)),
                ("raft_lease", flag(self.is_current())),
                ("raft_last_index", get(&gauges.last_index)),
                ("raft_commit_index", get(&gauges.commit_index)),
                ("raft_applied_index", get(&gauges.applied_index)),
                ("raft_replication_lag", get(&gauges.last_index) - get(&gauges.applied_index)),
                ("raft_fsm_pending", get(&gauges.waiting_entries)),
                ("raft_last_contact_seconds", last_contact_ms as f64 / 1e3),
                ("raft_log_size_bytes", log.disk_bytes as f64),
                ("raft_log_sync_seconds", log.sync_us as f64 / 1e6),
                ("disk_full", flag(gauges.is_full.load(Relaxed))),
                ("leases", self.shared.leases.lock().len() as f64),
            ],
            &others,
        );
        out.pop();
        out.push_str(",\"watch\":");
        self.shared.watches.write_json(&mut out);
        out.push('}');
        out
    }
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_is_quoted_for_json() {
        assert_eq!(super::quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }
}
