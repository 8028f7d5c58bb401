"""The sessions feature, declared."""

from __future__ import annotations

from konsul.features.sessions import commands, queries, routes, tables
from konsul.features.sessions.config import SessionSettings
from konsul.features.sessions.metrics import METRICS
from konsul.kernel.feature import Feature

feature = Feature(
    name="sessions",
    tables=(tables.Session, tables.LockDelay),
    commands=(commands.create, commands.renew, commands.destroy),
    queries=(queries.get, queries.list_),
    router=routes.router,
    config=SessionSettings,
    metrics=METRICS,
)
