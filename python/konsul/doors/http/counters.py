"""Request counters of the plain front, in the form of the compiled one's snapshot."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any, Final

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SERIES_MAX: Final = 2_000
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


@dataclass(slots=True)
class _Series:
    count: int = 0
    sum_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))


class Counters:
    """Counts requests by route template, method and status. Bounded."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._series: dict[tuple[str, str, int], _Series] = {}
        self._dropped = 0

    def add(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts one answered request."""
        key = (route, method if method in METHODS else "OTHER", status)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= SERIES_MAX:
                self._dropped += 1
                return
            series = self._series[key] = _Series()
        series.count += 1
        series.sum_s += seconds
        series.buckets[bisect_left(BOUNDS_S, seconds)] += 1

    def snapshot(self) -> dict[str, Any]:
        """As `konsul_ext.front.Snapshot`."""
        requests = []
        for (route, method, status), series in self._series.items():
            total, cumulative = 0, []
            for count in series.buckets[:-1]:
                total += count
                cumulative.append(total)
            requests.append(
                {
                    "route": route,
                    "method": method,
                    "status": status,
                    "count": series.count,
                    "sum_seconds": series.sum_s,
                    "buckets": cumulative,
                }
            )
        return {
            "in_flight": self.in_flight,
            "bucket_bounds": list(BOUNDS_S),
            "requests": requests,
            "operations": [],
            "series_dropped": self._dropped,
            "log_lines": 0,
            "log_lines_dropped": 0,
        }
