"""Searching services, nodes and checks: see `search`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from konsul.engine import Row
from konsul.features.catalog.candidates import Candidate
from konsul.features.catalog.healths import HEALTHS, PASSING, SERVING, serves
from konsul.features.catalog.queries import LIST, filters, measured
from konsul.features.catalog.rules import is_possible
from konsul.features.catalog.search import Asked, Found, search
from konsul.features.catalog.search_fields import INSTANCES
from konsul.features.catalog.tables import CRITICAL, LISTED, WARNING, Instance, instances_prefix
from konsul.kernel.command import query
from konsul.kernel.context import Context

Wanted: TypeAlias = Literal["passing", "serving", "any", "warning", "critical"]
WANTED: Final[tuple[Wanted, ...]] = (*HEALTHS, "warning", "critical")
"""What `health` can ask for: how healthy at least, or exactly."""
_EXACT: Final = (PASSING, WARNING, CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which instances are searched, as far as indexes know: all that is given must hold."""

    name: str | None = None
    tags: Sequence[str] = ()
    metadata: Sequence[tuple[str, str]] = ()
    node: str | None = None
    zone: str | None = None
    health: Wanted | None = None

    def __bool__(self) -> bool:
        places = (self.name, self.node, self.zone, self.health)
        return bool(self.tags or self.metadata) or any(one is not None for one in places)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of instances as a JSON array with their health."""

    services: bytes
    count: int
    after: str | None


@query("service.search", needs="service:list")
async def search_services(ctx: Context, *, which: Which, asked: Asked) -> Listed:
    """The instances that match, of the services that the caller may list or read.

    Raises:
        Invalid: more filters than a scan takes, or as `search.search`.
    """
    with measured("combined") as results:
        found = await search_instances(ctx, which, asked)
        texts = [ctx.engine.get_json(LISTED, one.key) for one in found.rows]
        there = [text for text in texts if text is not None]
        results.append(len(there))
        return Listed(b"[%b]" % b",".join(there), len(there), found.after)


@query("service.search_page", needs="service:list")
async def search_page(ctx: Context, *, which: Which, asked: Asked) -> Found[Row]:
    """As `search_services`, for doors that choose fields."""
    with measured("combined") as results:
        found = await search_instances(ctx, which, asked)
        rows = [ctx.engine.get(Instance.table_id, one.key) for one in found.rows]
        there = [row for row in rows if row is not None]
        results.append(len(there))
        return Found(there, found.after)


async def search_instances(
    ctx: Context, which: Which, asked: Asked, *, needs: str = LIST
) -> Found[Candidate]:
    """As `search_services`, for a neighbour; of the services that the caller has `needs` for."""
    where = filters(which.tags, which.metadata, which.node, which.zone)
    prefix = b"" if which.name is None else instances_prefix(which.name)
    if where is None or not is_possible(prefix):
        # Nothing can be found, but the rest of the question may still be wrong.
        where, prefix = [(Instance.column("name"), b" ")], b""
    if which.health in _EXACT:
        where.append((Instance.column("health"), which.health.encode()))
    return await search(
        ctx, INSTANCES, asked, prefix=prefix, where=where, keeps=_keeps(which), sight=ctx.visible(needs)
    )


def _keeps(which: Which) -> Callable[[Candidate], bool] | None:
    if which.health != SERVING:
        return None
    return lambda one: serves(SERVING, one.health)
