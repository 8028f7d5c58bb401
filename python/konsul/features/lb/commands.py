"""Changing how this node chooses."""

from __future__ import annotations

from typing import Final

from konsul.errors import Invalid
from konsul.features.lb.balancer import balancer_of
from konsul.features.lb.metrics import STRATEGY_CHANGES
from konsul.features.lb.strategies import Strategy
from konsul.kernel.command import command
from konsul.kernel.context import Context

UNKNOWN: Final = "Invalid strategy. Must be one of: " + ", ".join(Strategy)


@command("lb.set_strategy", needs="admin:write", local=True)
async def set_strategy(ctx: Context, *, strategy: str) -> Strategy:
    """Makes this node choose by another strategy from now on. Other nodes, and its next start, do not know.

    Raises:
        Invalid: there is no such strategy.
    """
    try:
        wanted = Strategy(strategy)
    except ValueError:
        raise Invalid(UNKNOWN) from None
    balancer = balancer_of(ctx.engine)
    if wanted is not balancer.strategy:
        STRATEGY_CHANGES.labels(balancer.strategy.value, wanted.value).inc()
        balancer.strategy = wanted
    return wanted
