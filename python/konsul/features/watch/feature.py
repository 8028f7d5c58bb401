"""The watch feature, declared."""

from __future__ import annotations

from konsul.features.watch import routes
from konsul.features.watch.metrics import METRICS
from konsul.kernel.feature import Feature

feature = Feature(name="watch", router=routes.router, metrics=METRICS)
