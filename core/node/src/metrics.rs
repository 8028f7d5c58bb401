//! Native counters and histograms: atomics the driver bumps, read as one JSON object by `Core.metrics`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds in seconds, shared by the commit and apply histograms.
const LATENCY_BOUNDS_S: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
const SNAPSHOT_BOUNDS_S: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A histogram with fixed upper bounds; counts are per bucket, made cumulative when written.
pub(crate) struct Histogram {
    bounds_s: &'static [f64],
    counts: Vec<AtomicU64>,
    sum_ns: AtomicU64,
}

impl Histogram {
    fn new(bounds_s: &'static [f64]) -> Self {
        let counts = (0..=bounds_s.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds_s, counts, sum_ns: AtomicU64::new(0) }
    }

    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds_s.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(took.as_nanos() as u64, Relaxed);
    }

    fn write_json(&self, out: &mut String) {
        let mut total = 0;
        out.push_str("{\"buckets\":[");
        for (bound, count) in self.bounds_s.iter().zip(&self.counts) {
            total += count.load(Relaxed);
            let _ = write!(out, "[{bound},{total}],");
        }
        total += self.counts[self.bounds_s.len()].load(Relaxed);
        out.truncate(out.trim_end_matches(',').len());
        let sum_s = Duration::from_nanos(self.sum_ns.load(Relaxed)).as_secs_f64();
        let _ = write!(out, "],\"sum\":{sum_s},\"count\":{total}}}");
    }
}

/// What the driver counts.
pub(crate) struct Metrics {
    pub proposals: AtomicU64,
    pub refusals: AtomicU64,
    pub entries_applied: AtomicU64,
    pub batches_applied: AtomicU64,
    pub log_entries: AtomicU64,
    pub log_bytes: AtomicU64,
    pub log_appends: AtomicU64,
    pub snapshots: AtomicU64,
    pub snapshot_errors: AtomicU64,
    pub snapshots_sent: AtomicU64,
    pub snapshots_installed: AtomicU64,
    pub leader_changes: AtomicU64,
    pub rows_expired: AtomicU64,
    pub forwards: AtomicU64,
    pub forward_retries: AtomicU64,
    pub forwards_served: AtomicU64,
    pub read_rounds: AtomicU64,
    pub read_asks: AtomicU64,
    pub leases_ended: AtomicU64,
    pub commit_time: Histogram,
    pub apply_time: Histogram,
    pub snapshot_time: Histogram,
}

impl Metrics {
    pub fn new() -> Self {
        Self {
            proposals: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            entries_applied: AtomicU64::new(0),
            batches_applied: AtomicU64::new(0),
            log_entries: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            log_appends: AtomicU64::new(0),
            snapshots: AtomicU64::new(0),
            snapshot_errors: AtomicU64::new(0),
            snapshots_sent: AtomicU64::new(0),
            snapshots_installed: AtomicU64::new(0),
            leader_changes: AtomicU64::new(0),
            rows_expired: AtomicU64::new(0),
            forwards: AtomicU64::new(0),
            forward_retries: AtomicU64::new(0),
            forwards_served: AtomicU64::new(0),
            read_rounds: AtomicU64::new(0),
            read_asks: AtomicU64::new(0),
            leases_ended: AtomicU64::new(0),
            commit_time: Histogram::new(LATENCY_BOUNDS_S),
            apply_time: Histogram::new(LATENCY_BOUNDS_S),
            snapshot_time: Histogram::new(SNAPSHOT_BOUNDS_S),
        }
    }

    /// `{"counters": {...}, "gauges": {...}, "histograms": {...}}`; names without the `konsul_` prefix.
    /// `others`: counters that somebody else keeps.
    pub fn json(&self, gauges: &[(&str, f64)], others: &[(String, u64)]) -> String {
        let counters = [
            ("raft_proposals_total", &self.proposals),
            ("raft_refusals_total", &self.refusals),
            ("raft_apply_total", &self.entries_applied),
            ("raft_apply_batches_total", &self.batches_applied),
            ("raft_log_entries_total", &self.log_entries),
            ("raft_log_bytes_total", &self.log_bytes),
            ("raft_log_appends_total", &self.log_appends),
            ("raft_snapshot_total", &self.snapshots),
            ("raft_snapshot_errors_total", &self.snapshot_errors),
            ("raft_snapshots_sent_total", &self.snapshots_sent),
            ("raft_snapshots_installed_total", &self.snapshots_installed),
            ("raft_leader_changes_total", &self.leader_changes),
            ("raft_forwards_total", &self.forwards),
            ("raft_forward_retries_total", &self.forward_retries),
            ("raft_forwards_served_total", &self.forwards_served),
            ("raft_read_rounds_total", &self.read_rounds),
            ("raft_read_asks_total", &self.read_asks),
            ("expired_rows_total", &self.rows_expired),
            ("expired_leases_total", &self.leases_ended),
        ];
        let histograms = [
            ("raft_commit_time_seconds", &self.commit_time),
            ("raft_apply_time_seconds", &self.apply_time),
            ("raft_snapshot_duration_seconds", &self.snapshot_time),
        ];
        let mut out = String::from("{\"counters\":{");
        for (at, (name, value)) in counters.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\"{name}\":{}", value.load(Relaxed));
        }
        for (name, value) in others {
            let _ = write!(out, ",\"{name}\":{value}");
        }
        out.push_str("},\"gauges\":{");
        for (at, (name, value)) in gauges.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\"{name}\":{value}");
        }
        out.push_str("},\"histograms\":{");
        for (at, (name, histogram)) in histograms.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\"{name}\":");
            histogram.write_json(&mut out);
        }
        out.push_str("}}");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_inclusive() {
        let histogram = Histogram::new(&[0.001, 0.01]);
        for ms in [1, 2, 10, 500] {
            histogram.observe(Duration::from_millis(ms));
        }
        let mut out = String::new();
        histogram.write_json(&mut out);
        assert_eq!(out, r#"{"buckets":[[0.001,1],[0.01,3]],"sum":0.513,"count":4}"#);
    }
}
