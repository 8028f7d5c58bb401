"""What the catalog shows to Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from konsul.features.catalog.health_counts import counts_of
from konsul.features.catalog.tables import Instance
from konsul.kernel.metrics import (
    EngineGauge,
    Metric,
    NativeCounter,
    OperationCounter,
    ResourceCounter,
    Source,
)

_SIZES: Final = (0, 1, 2, 5, 10, 20, 30, 50, 64)

TAGS: Final = Histogram(
    "konsul_service_tags_per_service", "Tags of a service when registered.", buckets=_SIZES, registry=None
)
METADATA_KEYS: Final = Histogram(
    "konsul_service_metadata_keys_per_service",
    "Metadata pairs of a service when registered.",
    buckets=_SIZES,
    registry=None,
)
QUERIES: Final = Counter(
    "konsul_service_query_total", "Queries by tag and metadata.", ("query_type", "status"), registry=None
)
QUERY_SECONDS: Final = Histogram(
    "konsul_service_query_duration_seconds",
    "Time of a query.",
    ("query_type",),
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1),
    registry=None,
)
QUERY_RESULTS: Final = Histogram(
    "konsul_service_query_results_count",
    "Instances a query found.",
    ("query_type",),
    buckets=(0, 1, 5, 10, 25, 50, 100, 250, 500),
    registry=None,
)
SEARCH_ROWS: Final = Counter(
    "konsul_search_rows_total",
    "Rows that searches with a filter, an order or a page looked at.",
    registry=None,
)
SEARCH_LIMITS: Final = Counter(
    "konsul_search_limits_total",
    "Searches that met a limit: `rows` answered a part and where to go on, `sort` were refused.",
    ("limit",),
    registry=None,
)
MENDED: Final = Counter(
    "konsul_service_health_mended_total",
    "Instances whose health the leader found not to follow from their node and checks, and corrected.",
    registry=None,
)


class InstancesByHealth:
    """Instances alive by health."""

    name = "konsul_service_instances"

    def families(self, source: Source) -> Iterable[Family]:
        """One sample per status."""
        family = GaugeMetricFamily(self.name, "Instances alive by health.", labels=("health",))
        for status, number in counts_of(source.engine).items():
            family.add_metric((status,), number)
        yield family


METRICS: Final[tuple[Metric, ...]] = (
    InstancesByHealth(),
    OperationCounter(
        "konsul_service_operations_total",
        "Catalog operations by outcome.",
        {
            "service.register": "register",
            "service.deregister": "deregister",
            "service.deregister_all": "deregister",
            "service.get": "get",
            "service.get_metadata": "get",
            "service.instance": "get",
            "service.rows": "batch_get",
            "service.batch_register": "batch_register",
            "service.batch_deregister": "batch_deregister",
            "service.batch_get": "batch_get",
        },
    ),
    ResourceCounter(
        "konsul_service_heartbeats_total", "Heartbeats by service.", "service.heartbeat", "service"
    ),
    EngineGauge(
        "konsul_registered_services_total", "Instances alive.", lambda engine: engine.count(Instance.table_id)
    ),
    NativeCounter(
        "konsul_expired_services_total", "Instances gone because nobody renewed them.", "expired_leases_total"
    ),
    TAGS,
    METADATA_KEYS,
    QUERIES,
    QUERY_SECONDS,
    QUERY_RESULTS,
    SEARCH_ROWS,
    SEARCH_LIMITS,
    MENDED,
)
