"""The load balancing feature, declared."""

from __future__ import annotations

from konsul.features.lb import commands, queries, routes
from konsul.features.lb.metrics import METRICS
from konsul.kernel.feature import Feature

feature = Feature(
    name="lb",
    commands=(commands.set_strategy,),
    queries=(queries.select, queries.current_strategy),
    router=routes.router,
    metrics=METRICS,
)
