"""The checks feature, declared."""

from __future__ import annotations

from konsul.features.checks import commands, queries, routes
from konsul.features.checks.config import CheckSettings
from konsul.features.checks.metrics import METRICS
from konsul.features.checks.overdue import Overdue
from konsul.features.checks.services import Checks
from konsul.features.checks.tables import CheckRunner
from konsul.kernel.feature import Feature
from konsul.kernel.graph import Graph

feature = Feature(
    name="checks",
    tables=(CheckRunner,),
    commands=(commands.create, commands.define, commands.delete, commands.update),
    queries=(queries.checks, queries.check_rows, queries.check, queries.stored_check, queries.history),
    router=routes.router,
    services=(Checks, Overdue),
    config=CheckSettings,
    metrics=METRICS,
    graphql=Graph("konsul.features.checks.graphql"),
)
