"""What load balancing shows to Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from konsul.features.catalog.tables import split_key
from konsul.features.lb.balancer import balancer_of
from konsul.features.lb.loads import loads_of
from konsul.features.lb.strategies import Strategy
from konsul.kernel.metrics import Metric, Source

SELECTIONS: Final = Counter(
    "konsul_load_balancer_selections_total",
    "Selections by outcome.",
    ("strategy", "selection_type", "status"),
    registry=None,
)
SELECTION_SECONDS: Final = Histogram(
    "konsul_load_balancer_selection_duration_seconds",
    "Time of a selection.",
    ("strategy", "selection_type"),
    buckets=(0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05),
    registry=None,
)
STRATEGY_CHANGES: Final = Counter(
    "konsul_load_balancer_strategy_changes_total",
    "Changes of this node's strategy.",
    ("from_strategy", "to_strategy"),
    registry=None,
)
POOL_SIZE: Final = Histogram(
    "konsul_load_balancer_instance_pool_size",
    "Instances a selection had to choose among.",
    ("selection_type",),
    buckets=(0, 1, 2, 5, 10, 20, 50, 100),
    registry=None,
)


REPORTS: Final = Counter(
    "konsul_load_balancer_reports_total",
    "Reports of connections and latencies, by who made them: clients, checks, or other nodes passing on.",
    ("source",),
    registry=None,
)
REPORTS_LOST: Final = Counter(
    "konsul_load_balancer_reports_lost_total",
    "Reports that another node was not told: its turn came with no room left, or it was not reached.",
    ("reason",),
    registry=None,
)
SERIES_MAX: Final = 1_000
"""Instances with a series of their own; the connections of those beyond are added up."""
OTHER: Final = "other"


class ActiveConnections:
    """What clients reported and what still counts of it."""

    def families(self, source: Source) -> Iterable[GaugeMetricFamily]:
        """A series per instance with a report."""
        family = GaugeMetricFamily(
            "konsul_load_balancer_active_connections",
            "Connections that clients reported.",
            labels=("service_name", "instance"),
        )
        others = 0
        for number, (key, connections) in enumerate(loads_of(source.engine).reported()):
            if number < SERIES_MAX:
                family.add_metric(split_key(key.decode("utf-8", "replace")), connections)
            else:
                others += connections
        if others:
            family.add_metric((OTHER, OTHER), others)
        yield family


class CurrentStrategy:
    """One series per strategy: 1 for the node's, 0 for the others."""

    def families(self, source: Source) -> Iterable[GaugeMetricFamily]:
        """All series, from the first scrape on."""
        family = GaugeMetricFamily(
            "konsul_load_balancer_current_strategy", "1 for this node's strategy.", labels=("strategy",)
        )
        current = balancer_of(source.engine).strategy
        for strategy in Strategy:
            family.add_metric((strategy.value,), int(strategy is current))
        yield family


METRICS: Final[tuple[Metric, ...]] = (
    SELECTIONS,
    SELECTION_SECONDS,
    STRATEGY_CHANGES,
    POOL_SIZE,
    CurrentStrategy(),
    ActiveConnections(),
    REPORTS,
    REPORTS_LOST,
)
