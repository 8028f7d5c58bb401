"""Selecting live instances, and seeing how that is done: the strategy, rules, what was reported."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from konsul.errors import Forbidden, Invalid, NotFound
from konsul.features.catalog.candidates import ANY, candidates_of, text_of
from konsul.features.lb.asked import PLAIN, Wishes
from konsul.features.lb.balancer import balancer_of
from konsul.features.lb.loads import Known, loads_of
from konsul.features.lb.metrics import POOL_SIZE, SELECTION_SECONDS, SELECTIONS
from konsul.features.lb.selecting import CANDIDATES_MAX, Prospect, Question, Selecting
from konsul.features.lb.strategies import Strategy
from konsul.kernel.command import query
from konsul.kernel.context import Context

SelectionType: TypeAlias = Literal["service", "tags", "metadata", "combined"]
READ: Final = "service:read"
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
    """Instances as JSON texts, best first, and what chose them: the strategy, and the named rule whose they
    are ("" for none)."""

    services: list[bytes]
    strategy: Strategy
    rule: str


@query("lb.strategy", needs="service:read")
async def current_strategy(ctx: Context) -> Strategy:
    """The strategy this node chooses by where nobody says otherwise."""
    return balancer_of(ctx.engine).strategy


@query("lb.select", needs="service:list")
async def select(
    ctx: Context,
    *,
    kind: SelectionType,
    service: str | None = None,
    tags: Sequence[str] = (),
    metadata: Sequence[tuple[str, str]] = (),
    wishes: Wishes = PLAIN,
) -> Selection:
    """Live instances that serve, one or as many as are wished: by `service` (a tag, else a name), or with
    every tag and metadata pair; of the services that the caller may read.

    Raises:
        Forbidden: he may read none.
        Invalid: neither tag nor pair is given, or too many; a rule was named that is not there.
        NotFound: no instance matches.
    """
    strategy = wishes.strategy or balancer_of(ctx.engine).strategy
    began_s = time.perf_counter()
    status = "error"
    try:
        if service is None and not tags and not metadata:
            raise Invalid(_NO_FILTER[kind])
        sight = ctx.visible(READ)
        if sight is not None and not sight.could_see(""):
            raise Forbidden(needs=READ, resource="*", reason="no rule lets any service be read")
        selecting = Selecting(ctx)
        prospect = selecting.prospect(Question(service, frozenset(tags), frozenset(metadata)), wishes)
        strategy = prospect.strategy
        POOL_SIZE.labels(kind).observe(len(prospect.pool))
        texts = await _texts(ctx, selecting, prospect, wishes.limit or 1)
        if not texts:
            status = "not_found"
            raise NotFound(_NONE[kind])
        status = "success"
        return Selection(texts, strategy, prospect.rule)
    finally:
        SELECTIONS.labels(strategy.value, kind, status).inc()
        SELECTION_SECONDS.labels(strategy.value, kind).observe(time.perf_counter() - began_s)


async def _texts(ctx: Context, selecting: Selecting, prospect: Prospect, most: int) -> list[bytes]:
    while prospect.pool.found:
        found = prospect.pool.found
        texts: list[bytes] = []
        for at in await selecting.order(prospect, most):
            text = text_of(ctx, found[at])
            if text is None:
                # It went after it was found; the rest is as good.
                prospect = selecting.without(prospect, at)
                break
            texts.append(text)
        else:
            return texts
    return []


@query("lb.loads", needs="service:read", resource="service")
async def loads(ctx: Context, *, service: str) -> list[tuple[str, Known]]:
    """What this node knows of the load of a service's instances, by id.

    Raises:
        NotFound: there is no such service.
    """
    found = candidates_of(ctx, service, CANDIDATES_MAX, ANY)
    if not found:
        raise NotFound("Service not found")
    known = loads_of(ctx.engine)
    return [(one.id or one.name, known.known(one.key)) for one in found]
