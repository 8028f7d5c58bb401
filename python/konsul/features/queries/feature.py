"""The feature of prepared queries, declared."""

from __future__ import annotations

from konsul.features.queries import commands, queries, routes, tables
from konsul.features.queries.config import PreparedSettings
from konsul.features.queries.metrics import METRICS
from konsul.features.queries.names import NAMES
from konsul.kernel.feature import Feature

feature = Feature(
    name="queries",
    tables=(tables.PreparedQuery,),
    commands=(commands.create, commands.update, commands.delete),
    queries=(queries.list_, queries.read, queries.explain, queries.execute),
    router=routes.router,
    config=PreparedSettings,
    metrics=METRICS,
    names=NAMES,
)
