"""What the key-value store shows to Prometheus."""

from __future__ import annotations

from typing import Final

from konsul.features.kv.tables import Entry
from konsul.kernel.metrics import EngineGauge, Metric, OperationCounter

METRICS: Final[tuple[Metric, ...]] = (
    OperationCounter(
        "konsul_kv_operations_total",
        "KV operations by outcome.",
        {
            "kv.get": "get",
            "kv.get_json": "get",
            "kv.set": "set",
            "kv.delete": "delete",
            "kv.delete_prefix": "delete_prefix",
            "kv.list": "list",
            "kv.list_rows": "list",
            "kv.page": "list",
            "kv.count": "count",
            "kv.rows": "batch_get",
            "kv.delete_tree": "delete_prefix",
            "kv.batch_get": "batch_get",
            "kv.batch_set": "batch_set",
            "kv.batch_delete": "batch_delete",
            "kv.batch_set_cas": "batch_set_cas",
            "kv.batch_delete_cas": "batch_delete_cas",
            "kv.transaction": "transaction",
            "kv.acquire": "acquire",
            "kv.release": "release",
        },
    ),
    EngineGauge("konsul_kv_store_size", "Keys stored.", lambda engine: engine.count(Entry.table_id)),
)
