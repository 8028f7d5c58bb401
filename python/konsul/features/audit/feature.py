"""The audit feature, declared."""

from __future__ import annotations

from konsul.features.audit import queries, routes
from konsul.features.audit.config import AuditSettings
from konsul.features.audit.metrics import METRICS
from konsul.features.audit.services import Writing
from konsul.features.audit.trail import install
from konsul.kernel.feature import Feature

feature = Feature(
    name="audit",
    queries=(queries.events, queries.stats),
    router=routes.router,
    services=(Writing,),
    config=AuditSettings,
    metrics=METRICS,
    install=install,
)
