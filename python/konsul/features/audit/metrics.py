"""The audit log's own figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from konsul.features.audit.trail import Trail, trail_of
from konsul.features.audit.writer import BOUNDS_S
from konsul.kernel.metrics import Metric, Source


class _Audit:
    """Read from the trail's integers at each scrape; nothing while auditing is off."""

    def families(self, source: Source) -> Iterable[Family]:
        """Events by sink, those lost, the time of the writes, the size of the store."""
        trail = trail_of(source.engine)
        if trail is None:
            return
        log, writer, sink = trail.buffer, trail.writer, trail.settings.sink
        written = CounterMetricFamily(
            "konsul_audit_events", "Audit events by what became of them.", labels=("sink", "status")
        )
        took = HistogramMetricFamily(
            "konsul_audit_writer_flush_duration_seconds", "Writing one batch of events.", labels=("sink",)
        )
        for name, seen in writer.of.items():
            written.add_metric((name, "written"), seen.written)
            written.add_metric((name, "error"), seen.errors)
            total, buckets = 0, []
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), seen.buckets, strict=True):
                total += count
                buckets.append((bound, total))
            took.add_metric((name,), buckets, seen.sum_s)
        yield written
        dropped = CounterMetricFamily(
            "konsul_audit_events_dropped", "Audit events that were lost.", labels=("sink", "reason")
        )
        dropped.add_metric((sink, "buffer_full"), log.dropped)
        dropped.add_metric((sink, "manager_closed"), writer.lost_at_stop)
        yield dropped
        yield took
        yield CounterMetricFamily(
            "konsul_audit_requests_refused",
            "Requests answered 503 because their events would not have had room.",
            value=log.refused,
        )
        yield GaugeMetricFamily("konsul_audit_buffer_events", "Events not written yet.", value=log.waiting())
        yield from _store(trail)


def _store(trail: Trail) -> Iterable[Family]:
    if trail.store is None or not trail.store.is_open():
        return
    yield GaugeMetricFamily(
        "konsul_audit_store_size_bytes",
        "Size of the searchable store, compressed.",
        value=trail.store.size_bytes(),
    )


METRICS: Final[tuple[Metric, ...]] = (_Audit(),)
