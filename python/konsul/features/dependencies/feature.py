"""The dependencies feature, declared."""

from __future__ import annotations

from konsul.features.dependencies import commands, queries, routes, tables
from konsul.features.dependencies.config import DependencySettings
from konsul.features.dependencies.metrics import METRICS
from konsul.kernel.feature import Feature

feature = Feature(
    name="dependencies",
    tables=(tables.Dependencies,),
    commands=(commands.add, commands.replace, commands.remove),
    queries=(queries.dependencies, queries.impact, queries.graph),
    router=routes.router,
    config=DependencySettings,
    metrics=METRICS,
)
