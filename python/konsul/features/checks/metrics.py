"""What the checks show to Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from konsul.kernel.metrics import Metric, Source

if TYPE_CHECKING:
    from konsul.engine import Engine
    from konsul.features.checks.running import Runner

RESULTS: Final = Counter(
    "konsul_health_check_results_total",
    "Attempts by this node, and what it was told of TTL checks, by type of check and what was said.",
    ("type", "status"),
    registry=None,
)
DURATION_SECONDS: Final = Histogram(
    "konsul_health_check_duration_seconds",
    "Time of one attempt.",
    ("type",),
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30),
    registry=None,
)
LATE_SECONDS: Final = Histogram(
    "konsul_health_check_lateness_seconds",
    "From when an attempt was due to its begin.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=None,
)
SKIPPED: Final = Counter(
    "konsul_health_check_skipped_total",
    "Attempts left out because the one before was still under way.",
    registry=None,
)
REFUSED: Final = Counter(
    "konsul_health_check_refused_total",
    "Checks not taken on: too many, or of a kind this version does not know.",
    registry=None,
)
REPORTS: Final = Counter(
    "konsul_health_check_reports_total",
    "Changes told to the cluster: written, dropped (superseded or no longer this node's), retried.",
    ("result",),
    registry=None,
)
HELD: Final = Counter(
    "konsul_health_check_outputs_held_total",
    "Outputs told of TTL checks that were not written, for others were just before.",
    registry=None,
)
DEREGISTERED: Final = Counter(
    "konsul_health_check_deregistered_total",
    "Instances this node deregistered for having been critical too long.",
    registry=None,
)
RUNNERS: Final[WeakKeyDictionary[Engine, Runner]] = WeakKeyDictionary()
"""The runner of each node of this process."""


class _Now:
    """How it stands at the scrape."""

    def families(self, source: Source) -> Iterable[Family]:
        """What this node runs; nothing where it runs none."""
        runner = RUNNERS.get(source.engine)
        if runner is None:
            return
        for name, text, value in (
            ("konsul_health_checks_assigned", "Checks that this node runs.", len(runner)),
            ("konsul_health_checks_in_flight", "Attempts under way.", runner.in_flight),
            ("konsul_health_checks_waiting", "Attempts due that wait for their turn.", runner.waiting),
            ("konsul_health_checks_flapping", "Checks whose worse status is held.", runner.flapping),
        ):
            yield GaugeMetricFamily(name, text, value)


METRICS: Final[tuple[Metric, ...]] = (
    RESULTS,
    DURATION_SECONDS,
    LATE_SECONDS,
    SKIPPED,
    REFUSED,
    REPORTS,
    HELD,
    DEREGISTERED,
    _Now(),
)
