"""The health feature, declared."""

from __future__ import annotations

from konsul.features.health import routes
from konsul.features.health.services import Elections
from konsul.kernel.feature import Feature
from konsul.kernel.graph import Graph

feature = Feature(
    name="health",
    router=routes.router,
    services=(Elections,),
    graphql=Graph("konsul.features.health.graphql"),
)
