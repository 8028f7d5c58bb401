"""The metrics feature, declared."""

from __future__ import annotations

from konsul.features.metrics import routes
from konsul.kernel.feature import Feature

feature = Feature(name="metrics", router=routes.router)
