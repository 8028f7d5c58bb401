"""What the dependencies show to Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from konsul.engine import Engine
from konsul.features.dependencies import shape
from konsul.features.dependencies.reading import all_edges, edge_count
from konsul.kernel.metrics import EngineGauge, Metric, Source

SERIES_MAX: Final = 1_000
"""The deepest so many services have a series: each would be kept by whoever scrapes."""

CYCLES: Final = Counter(
    "konsul_service_dependency_cycles_refused_total",
    "Declarations refused because they would have closed a cycle.",
    registry=None,
)


@dataclass(frozen=True, slots=True)
class Depths:
    """The depth of the services that need others."""

    def families(self, source: Source) -> Iterable[Family]:
        """One sample per service that declares something."""
        family = GaugeMetricFamily(
            "konsul_service_dependency_depth",
            "Services on the longest chain of dependencies below a service; the deepest thousand.",
            labels=("service",),
        )
        for name, depth in _deepest(source.engine):
            family.add_metric((name,), depth)
        yield family


def _deepest(engine: Engine) -> list[tuple[str, int]]:
    if not edge_count(engine):
        return []
    edges = all_edges(engine)
    found = [(name, depth) for name, depth in shape.depths(edges).items() if name in edges]
    return sorted(sorted(found, key=lambda one: (-one[1], one[0]))[:SERIES_MAX])


METRICS: Final[tuple[Metric, ...]] = (
    Depths(),
    EngineGauge("konsul_service_dependency_edges", "Dependencies that services declared.", edge_count),
    CYCLES,
)
