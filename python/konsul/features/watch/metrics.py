"""What watches show to Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from konsul.kernel.metrics import Metric, Source

_RING_HELP: Final[Mapping[str, tuple[str, str]]] = {
    "ring_entries": ("konsul_watch_ring_entries", "Changes kept for those who come back."),
    "ring_bytes": ("konsul_watch_ring_bytes", "Memory of those changes."),
    "held_bytes": ("konsul_watch_held_bytes", "Memory of what waits to be told."),
    "ring_floor": ("konsul_watch_ring_floor", "Who comes back with a lower index is told to list again."),
}


class _Watches:
    """Who watches, what was told, what was refused; from counters that are plain integers."""

    def families(self, source: Source) -> Iterable[Family]:
        watching, lines = source.watching, source.lines
        if watching is None or lines is None:
            return
        counters = watching.counters
        active = GaugeMetricFamily("konsul_watchers_active", "Open watches.", labels=("transport",))
        for transport, count in sorted(counters.active.items()):
            active.add_metric((transport,), count)
        yield active
        yield _by("konsul_watch_events", "Changes told.", "event_type", counters.delivered)
        opened = CounterMetricFamily(
            "konsul_watch_connections", "Watches opened and closed.", labels=("transport", "status")
        )
        for status, counts in (("opened", counters.opened), ("closed", counters.closed)):
            for transport, count in sorted(counts.items()):
                opened.add_metric((transport, status), count)
        yield opened
        # Nothing is dropped while the ring still has it; past that the client is told, and counted here.
        missed = {"compacted": counters.compacted}
        yield _by("konsul_watch_events_dropped", "Times a watcher had to list again.", "reason", missed)
        yield _by("konsul_watch_acl_denials", "Changes withheld.", "reason", counters.withheld)
        yield _by("konsul_watch_refused", "Watches over a limit.", "reason", counters.refused)
        yield CounterMetricFamily(
            "konsul_watch_behind", "Times a watcher was told that it is behind.", value=counters.behind
        )
        yield GaugeMetricFamily("konsul_lines_open", "Open event streams and WebSockets.", value=len(lines))
        closed = {"write_timeout": lines.closed_slow, "idle_timeout": lines.closed_idle}
        yield _by("konsul_lines_closed", "Connections that the server ended.", "reason", closed)
        for name, (metric, text) in _RING_HELP.items():
            yield GaugeMetricFamily(metric, text, value=source.native.get("watch", {}).get(name, 0))


def _by(name: str, text: str, label: str, counts: Mapping[str, int]) -> Family:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in sorted(counts.items()):
        family.add_metric((value,), count)
    return family


METRICS: Final[tuple[Metric, ...]] = (_Watches(),)
