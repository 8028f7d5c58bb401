"""The rate limit feature, declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from konsul.features.ratelimit import commands, queries, routes, tables
from konsul.features.ratelimit.config import RateLimitSettings
from konsul.features.ratelimit.limiting import Limiting, set_limiting
from konsul.features.ratelimit.metrics import METRICS
from konsul.features.ratelimit.services import Limits
from konsul.kernel.feature import Feature

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel


def install(kernel: Kernel) -> None:
    """Fills the limit slot, if the limits are on."""
    settings = kernel.config.of(RateLimitSettings)
    if settings.enabled:
        limiting = Limiting(settings)
        set_limiting(kernel.engine, limiting)
        kernel.pipeline.limit = limiting


feature = Feature(
    name="ratelimit",
    tables=(tables.RateRow, tables.ListRow),
    commands=(
        commands.set_config,
        commands.unset_config,
        commands.set_client,
        commands.unset_client,
        commands.list_add,
        commands.list_remove,
        commands.reset,
        commands.reset_all,
    ),
    queries=(
        queries.stats,
        queries.config,
        queries.clients,
        queries.client,
        queries.status,
        queries.top,
        queries.events,
        queries.entries,
    ),
    router=routes.router,
    services=(Limits,),
    config=RateLimitSettings,
    metrics=METRICS,
    install=install,
)
