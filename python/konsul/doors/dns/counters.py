"""What the door counts: plain numbers on the hot path, samples when asked for. Labels are bounded."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from konsul.doors.dns.words import RCODES, type_name

if TYPE_CHECKING:
    from konsul.doors.dns.door import DnsDoor

_TOOK_S: Final = (0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Counters:
    """One node's."""

    def __init__(self) -> None:
        self.answered: dict[tuple[str, str], list[int]] = {}
        """Type and rcode -> answers; a cell is kept by those who count in it."""
        self.dropped: defaultdict[str, int] = defaultdict(int)
        """Messages that got no answer, by reason."""
        self.refused: defaultdict[str, int] = defaultdict(int)
        """Questions that were refused, by reason."""
        self.limited: defaultdict[str, int] = defaultdict(int)
        self.recursions: defaultdict[str, int] = defaultdict(int)
        self.tcp_refused: defaultdict[str, int] = defaultdict(int)
        self.udp = self.tcp = self.hits = self.misses = self.truncated = 0
        self._took = [0] * (len(_TOOK_S) + 1)
        self._took_s = 0.0

    def cell(self, kind: int, rcode: int) -> list[int]:
        """Where answers of that type and code are counted."""
        key = (type_name(kind), RCODES.get(rcode, str(rcode)))
        return self.answered.setdefault(key, [0])

    def took(self, seconds: float) -> None:
        """One question was looked up, not found ready."""
        self._took[bisect_left(_TOOK_S, seconds)] += 1
        self._took_s += seconds

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """The times, as a histogram's buckets and sum."""
        total = 0
        found: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, _TOOK_S), "+Inf"), self._took, strict=True):
            total += count
            found.append((bound, total))
        return found, self._took_s


class DnsMetrics(Collector):
    """The samples of one door."""

    def __init__(self, door: DnsDoor) -> None:
        self._door = door

    def describe(self) -> Iterable[Metric]:
        """Nothing: it is asked at every scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One scrape."""
        counters, door = self._door.counters, self._door
        queries = CounterMetricFamily(
            "konsul_dns_queries_total", "Messages that came.", labels=("transport",)
        )
        queries.add_metric(("udp",), counters.udp)
        queries.add_metric(("tcp",), counters.tcp)
        yield queries
        answers = CounterMetricFamily("konsul_dns_responses_total", "Answers.", labels=("type", "rcode"))
        for labels, cell in sorted(counters.answered.items()):
            answers.add_metric(labels, cell[0])
        yield answers
        for name, text, label, counts in (
            ("dropped", "Messages that got no answer.", "reason", counters.dropped),
            ("refused", "Questions that were refused.", "reason", counters.refused),
            ("rate_limited", "Answers held back by the response rate limit.", "action", counters.limited),
            ("recursions", "Questions sent on to recursors.", "outcome", counters.recursions),
            ("tcp_refused", "TCP connections closed by the server.", "reason", counters.tcp_refused),
        ):
            family = CounterMetricFamily(f"konsul_dns_{name}_total", text, labels=(label,))
            for value, count in sorted(counts.items()):
                family.add_metric((value,), count)
            yield family
        for name, text, number in (
            ("cache_hits", "Answers that were ready.", counters.hits),
            ("cache_misses", "Questions that were looked up.", counters.misses),
            ("truncated", "Answers over UDP that sent the client to TCP.", counters.truncated),
        ):
            yield CounterMetricFamily(f"konsul_dns_{name}_total", text, value=number)
        yield GaugeMetricFamily(
            "konsul_dns_cache_entries", "Questions whose answer is kept.", len(door.cache)
        )
        yield GaugeMetricFamily("konsul_dns_tcp_connections", "Open TCP connections.", door.tcp_connections())
        buckets, total_s = counters.buckets()
        took = HistogramMetricFamily(
            "konsul_dns_lookup_seconds", "Looking one question up, not from the cache."
        )
        took.add_metric((), buckets, total_s)
        yield took
