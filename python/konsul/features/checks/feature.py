"""The checks feature, declared."""

from __future__ import annotations

from konsul.features.checks.config import CheckSettings
from konsul.features.checks.metrics import METRICS
from konsul.features.checks.overdue import Overdue
from konsul.features.checks.services import Checks
from konsul.features.checks.tables import CheckRunner
from konsul.kernel.feature import Feature

feature = Feature(
    name="checks",
    tables=(CheckRunner,),
    services=(Checks, Overdue),
    config=CheckSettings,
    metrics=METRICS,
)
