"""What prepared queries show to Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

from konsul.features.queries.tables import PreparedQuery
from konsul.kernel.metrics import EngineGauge, Metric

EXECUTIONS: Final = Counter(
    "konsul_prepared_query_executions_total",
    "Executions of prepared queries by outcome: success, empty (nothing was found) or error.",
    ("status",),
    registry=None,
)
EXECUTION_SECONDS: Final = Histogram(
    "konsul_prepared_query_duration_seconds",
    "Time of an execution.",
    buckets=(0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1),
    registry=None,
)

METRICS: Final[tuple[Metric, ...]] = (
    EngineGauge(
        "konsul_prepared_queries",
        "Prepared queries there are.",
        lambda engine: engine.count(PreparedQuery.table_id),
    ),
    EXECUTIONS,
    EXECUTION_SECONDS,
)
