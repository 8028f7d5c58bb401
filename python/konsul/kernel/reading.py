"""How fresh a read must be: what a client may ask for, and the wait until it may be served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from fastapi import Depends, Query, Request

from konsul.errors import Busy, Invalid, NoLeader, Timeout
from konsul.kernel.context import Context
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.parameters import is_on, u64
from konsul.kernel.routing import Ctx

Freshness: TypeAlias = Literal["stale", "default", "linearizable"]
NAMES: Final = frozenset(("consistency", "consistent", "stale", "max_stale"))
"""The query parameters of this file: where every parameter is a filter, these are not."""
TOO_LATE: Final = "no answer from the leader in time"
NO_TABLES: Final = "this node has no tables yet: it has not joined a cluster, or is about to"
BAD_CONSISTENCY: Final = "Invalid consistency parameter: expected stale, default or linearizable"
BAD_MAX_STALE: Final = "Invalid max_stale parameter: expected a duration such as 500ms or 10s"
BAD_MIN_INDEX: Final = "Invalid X-Konsul-Min-Index header: expected an unsigned 64-bit integer"

Consistency = Annotated[str | None, Query(description="`stale`, `default` or `linearizable`.")]
Consistent = Annotated[str | None, Query(description="`true`: as `consistency=linearizable`.")]
Stale = Annotated[str | None, Query(description="On: as `consistency=stale`.")]
MaxStale = Annotated[
    str | None,
    Query(description="As `stale` while the leader was heard of within this time, else as `default`."),
]


class ReadFailed(Exception):
    """A read as fresh as `wanted` cannot be served now."""

    def __init__(self, wanted: Freshness, detail: str) -> None:
        super().__init__(f"{wanted} read failed: {detail}")
        self.wanted = wanted
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reading:
    """What one read asks for. `max_stale_ms` only with `stale`. `min_index`: an index it must have seen."""

    wanted: Freshness = "default"
    max_stale_ms: int | None = None
    min_index: int = 0


def reading_of(
    consistency: str | None,
    consistent: str | None,
    stale: str | None,
    max_stale: str | None,
    min_index: str | None,
) -> Reading:
    """What the parameters say; `consistent=true` outdoes `consistency`, which outdoes the others.

    Raises:
        Invalid: one of them is none of its values.
    """
    if consistency not in (None, "stale", "default", "linearizable"):
        raise Invalid(BAD_CONSISTENCY)
    most_ms: int | None = None
    if max_stale is not None:
        try:
            most_ms = parse_duration_ms(max_stale)
        except ValueError:
            raise Invalid(BAD_MAX_STALE) from None
    wanted: Freshness
    if consistent == "true" or consistency == "linearizable":
        wanted = "linearizable"
    elif consistency == "default":
        wanted = "default"
    elif consistency == "stale" or is_on(stale) or most_ms is not None:
        wanted = "stale"
    else:
        wanted = "default"
    return Reading(wanted, most_ms if wanted == "stale" else None, u64(min_index, BAD_MIN_INDEX) or 0)


async def settle(ctx: Context, reading: Reading) -> Context:
    """Waits until the read may be served; returns what to go on with: the caller may be another by then.

    Raises:
        ReadFailed: it cannot be as fresh as wanted. Busy: the tables here do not reach `min_index` in time.
        Unauthenticated: the caller's credentials ended meanwhile.
    """
    engine = ctx.engine
    wanted = reading.wanted
    known, last_contact_ms, index = engine.contact()
    if wanted == "stale":
        if not index and not engine.is_current() and not engine.status()["tables"]:
            raise ReadFailed(wanted, NO_TABLES)
        most_ms = reading.max_stale_ms
        if most_ms is not None and (not known or last_contact_ms > most_ms):
            wanted = "default"
    if wanted == "linearizable" or (wanted == "default" and not engine.is_current()):
        try:
            await engine.barrier(wanted, ctx.terms.timeout_ms)
        except NoLeader as error:
            raise ReadFailed(wanted, str(error)) from None
        except Timeout:
            raise ReadFailed(wanted, TOO_LATE) from None
        index, ctx = engine.contact()[2], ctx.renewed()
    if index < reading.min_index:
        await _reach(ctx, reading.min_index)
        index, ctx = engine.contact()[2], ctx.renewed()
    ctx.noted["index"] = index
    return ctx


async def _reach(ctx: Context, index: int) -> None:
    try:
        await ctx.engine.wait_index(index, ctx.terms.timeout_ms)
    except Timeout:
        here = ctx.engine.contact()[2]
        raise Busy(f"this node is at index {here}, not yet at {index}: try again, or ask another") from None


async def settled(
    request: Request,
    ctx: Ctx,
    consistency: Consistency = None,
    consistent: Consistent = None,
    stale: Stale = None,
    max_stale: MaxStale = None,
) -> Context:
    """The request's Context, once its read may be served. Raises as `reading_of` and `settle`."""
    min_index = request.headers.get("x-konsul-min-index")
    reading = reading_of(consistency, consistent, stale, max_stale, min_index)
    ctx.noted["reading"] = reading
    return await settle(ctx, reading)


async def settle_again(ctx: Context) -> Context:
    """As `settle`, as the request said, after a wait: what was fresh when it began is not any more, and the
    caller need not be who it was."""
    return await settle(ctx.renewed(), ctx.noted["reading"])


ReadCtx = Annotated[Context, Depends(settled)]
"""Annotate the first parameter of an endpoint that reads with it."""
