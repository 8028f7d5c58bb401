"""Selecting one live instance: candidates by the catalog's indexes, the choice by the node's strategy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from konsul.errors import Forbidden, Invalid, NotFound
from konsul.features.catalog.candidates import Candidate, candidates_of, candidates_with, text_of
from konsul.features.lb.balancer import Asking, balancer_of
from konsul.features.lb.metrics import POOL_SIZE, SELECTION_SECONDS, SELECTIONS
from konsul.features.lb.strategies import Strategy
from konsul.kernel.command import query
from konsul.kernel.context import Context

SelectionType: TypeAlias = Literal["service", "tags", "metadata", "combined"]
READ: Final = "service:read"
CANDIDATES_MAX: Final = 10_000
"""The first so many by name take part; one selection is bounded by it."""
_NONE: Final[dict[SelectionType, str]] = {
    "service": "No service instances available",
    "tags": "No service instances matching tags",
    "metadata": "No service instances matching metadata",
    "combined": "No service instances matching query",
}
_NO_FILTER: Final[dict[SelectionType, str]] = {
    "tags": "At least one tag must be specified",
    "metadata": "At least one metadata filter must be specified",
    "combined": "At least one tag or metadata filter must be specified",
}


class Selection(NamedTuple):
    """The instance as JSON text, and what chose it."""

    service: bytes
    strategy: Strategy


@query("lb.strategy", needs="service:read")
async def current_strategy(ctx: Context) -> Strategy:
    """The strategy this node chooses by."""
    return balancer_of(ctx.engine).strategy


@query("lb.select", needs="service:list")
async def select(
    ctx: Context,
    *,
    kind: SelectionType,
    service: str | None = None,
    tags: Sequence[str] = (),
    metadata: Sequence[tuple[str, str]] = (),
    session: str = "",
    region: str = "",
) -> Selection:
    """One live instance: by `service` (a tag, else a name), or with every tag and metadata pair; of the
    services that the caller may read.

    Raises:
        Forbidden: he may read none.
        Invalid: neither tag nor pair is given, or too many. NotFound: no instance matches.
    """
    balancer = balancer_of(ctx.engine)
    strategy = balancer.strategy
    began_s = time.perf_counter()
    status = "error"
    try:
        if service is None and not tags and not metadata:
            raise Invalid(_NO_FILTER[kind])
        sight = ctx.visible(READ)
        if sight is not None and not sight.could_see(""):
            raise Forbidden(needs=READ, resource="*", reason="no rule lets any service be read")
        found = _candidates(ctx, service, tags, metadata)
        POOL_SIZE.labels(kind).observe(len(found))
        group = (service, frozenset(tags), frozenset(metadata))
        asking = Asking(group, ctx.client_addr, session, region)
        while found:
            at = await balancer.choose(strategy, found, asking)
            text = text_of(ctx, found[at])
            if text is not None:
                status = "success"
                return Selection(text, strategy)
            # It went after it was found; the rest is as good.
            del found[at]
        status = "not_found"
        raise NotFound(_NONE[kind])
    finally:
        SELECTIONS.labels(strategy.value, kind, status).inc()
        SELECTION_SECONDS.labels(strategy.value, kind).observe(time.perf_counter() - began_s)


def _candidates(
    ctx: Context, service: str | None, tags: Sequence[str], metadata: Sequence[tuple[str, str]]
) -> list[Candidate]:
    if service is None:
        return candidates_with(ctx, tags, metadata, CANDIDATES_MAX)
    return candidates_with(ctx, [service], (), CANDIDATES_MAX) or candidates_of(ctx, service, CANDIDATES_MAX)
