"""The checks feature, declared."""

from __future__ import annotations

from konsul.features.checks import commands, queries, routes
from konsul.features.checks.config import CheckSettings
from konsul.features.checks.metrics import METRICS
from konsul.features.checks.overdue import Overdue
from konsul.features.checks.services import Checks
from konsul.features.checks.tables import CheckRunner
from konsul.kernel.feature import Feature

feature = Feature(
    name="checks",
    tables=(CheckRunner,),
    commands=(commands.create, commands.define, commands.delete, commands.update),
    queries=(queries.checks, queries.check, queries.history),
    router=routes.router,
    services=(Checks, Overdue),
    config=CheckSettings,
    metrics=METRICS,
)
