"""Rows of instances: by offset, by filter, by name. For doors that choose fields."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from konsul.engine import Row, Sight
from konsul.errors import Invalid, NotFound
from konsul.features.catalog.queries import LIST, PAGE, QueryType, filters, measured, representative
from konsul.features.catalog.rules import NOT_FOUND, is_possible
from konsul.features.catalog.tables import PASSING, Instance, instance_key, instances_prefix
from konsul.kernel.command import query
from konsul.kernel.context import Context

NAMES_MAX: Final = 1_000
COUNTED: Final = 10_000
"""Instances counted in one step."""


@dataclass(frozen=True, slots=True)
class Page:
    """Instances with their keys, by name, then by id; `more`: there are further ones behind it."""

    rows: Sequence[tuple[bytes, Row]]
    more: bool


@query("service.page", needs="service:list")
async def page(
    ctx: Context,
    *,
    kind: QueryType | None = None,
    tags: Sequence[str] = (),
    metadata: Sequence[tuple[str, str]] = (),
    passing: bool = False,
    offset: int = 0,
    limit: int,
) -> Page:
    """The instances that have every tag and metadata pair, with `passing` only those that pass, after the
    first `offset` of them, at most `limit`; of the services that the caller may list or read.

    `kind`: counts as such a query, as `queries.find` does.

    Raises:
        Invalid: `offset` or `limit` is negative, or more filters than a scan takes.
    """
    where = filters(tags, metadata)
    if where is not None and passing:
        where.append((Instance.column("health"), PASSING.encode()))
    if kind is None:
        return await _page(ctx, b"", where, offset, limit, ctx.visible(LIST))
    with measured(kind) as results:
        found = await _page(ctx, b"", where, offset, limit, ctx.visible(LIST))
        results.append(len(found.rows))
        return found


@query("service.instances_page", needs="service:read", resource="name")
async def instances_page(ctx: Context, *, name: str, offset: int = 0, limit: int) -> Page:
    """The instances of one service by id, as `page`; none when there is no such service."""
    prefix = instances_prefix(name)
    return await _page(ctx, prefix, [] if is_possible(prefix) else None, offset, limit)


@query("service.count", needs="service:list")
async def count(ctx: Context) -> int:
    """How many instances there are, of the services that the caller may list or read. One whose lease has
    ended is gone, so all of them are active."""
    sight = ctx.visible(LIST)
    if sight is None:
        return ctx.engine.count(Instance.table_id)
    number = 0
    after: bytes | None = None
    while True:
        found = ctx.engine.keys_json(Instance.table_id, b"", b"", after, COUNTED, sight)
        number, after = number + found.count, found.after
        if after is None:
            return number
        await asyncio.sleep(0)


@query("service.rows", needs="service:read", resource="names")
async def rows(ctx: Context, *, names: Sequence[str]) -> list[tuple[bytes, Row] | None]:
    """The instance that stands for each service, as `queries.get` says; None where there is none.

    Raises:
        Invalid: more than `NAMES_MAX` names.
    """
    if len(names) > NAMES_MAX:
        raise Invalid(f"Maximum {NAMES_MAX} names per request")
    found: list[tuple[bytes, Row] | None] = []
    for name in names:
        key = representative(ctx, name)
        row = None if key is None else ctx.engine.get(Instance.table_id, key)
        found.append(None if key is None or row is None else (key, row))
    return found


@query("service.instance", needs="service:read", resource="name")
async def instance(ctx: Context, *, name: str, id: str | None = None) -> tuple[bytes, Row]:
    """One instance with its key; without `id` the one called like its service.

    Raises:
        NotFound: there is no such instance.
    """
    key = instance_key(name, id)
    row = ctx.engine.get(Instance.table_id, key) if is_possible(key) else None
    if row is None:
        raise NotFound(NOT_FOUND)
    return key, row


async def _page(
    ctx: Context,
    prefix: bytes,
    where: list[tuple[int, bytes]] | None,
    offset: int,
    limit: int,
    sight: Sight | None = None,
) -> Page:
    if offset < 0 or limit < 0:
        raise Invalid(f"{'offset' if offset < 0 else 'limit'} must not be negative")
    if where is None:
        return Page([], False)
    found: list[tuple[bytes, Row]] = []
    after: bytes | None = None
    skip = offset
    while True:
        # One more than wanted tells whether there are more.
        wanted = min(PAGE, skip + limit + 1 - len(found))
        if skip >= PAGE:
            packed, after = ctx.engine.scan_packed(Instance.table_id, prefix, where, after, PAGE, sight)
            skip -= len(packed)
        else:
            step = ctx.engine.scan(Instance.table_id, prefix, where, after, wanted, sight)
            found += step.rows[skip:]
            skip = max(0, skip - len(step.rows))
            after = step.after
        if after is None or len(found) > limit:
            return Page(found[:limit], len(found) > limit)
        await asyncio.sleep(0)
