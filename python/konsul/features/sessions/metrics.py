"""What sessions show to Prometheus."""

from __future__ import annotations

from typing import Final

from konsul.features.sessions.tables import LockDelay, Session
from konsul.kernel.metrics import EngineGauge, Metric, OperationCounter

METRICS: Final[tuple[Metric, ...]] = (
    OperationCounter(
        "konsul_session_operations_total",
        "Session operations by outcome.",
        {
            "session.create": "create",
            "session.renew": "renew",
            "session.destroy": "destroy",
            "session.get": "get",
            "session.list": "list",
        },
    ),
    EngineGauge("konsul_sessions", "Sessions alive.", lambda engine: engine.count(Session.table_id)),
    EngineGauge(
        "konsul_lock_delays",
        "Keys that may not be locked yet, because a session that held them was lost.",
        lambda engine: engine.count(LockDelay.table_id),
    ),
)
