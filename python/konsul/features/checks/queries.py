"""Reading checks: listings, one, its history."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from konsul.errors import Invalid, NotFound
from konsul.features.catalog.rules import is_possible
from konsul.features.catalog.search import Asked, Found, search
from konsul.features.catalog.search_fields import CHECKS
from konsul.features.catalog.status import CHECK_NOT_FOUND
from konsul.features.catalog.tables import STATUSES, Check
from konsul.features.checks import documents, seen
from konsul.features.checks.commands import stored
from konsul.features.checks.definition import RUN
from konsul.kernel.command import query
from konsul.kernel.context import Context

ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichChecks:
    """Which checks: all that is given must hold. `status` may be `any`."""

    service: str | None = None
    node: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class ListedChecks:
    """A page of documents. `after`: to go on with, None at the end."""

    checks: Sequence[dict[str, Any]]
    after: str | None


@query("health.checks", needs="health:read")
async def checks(ctx: Context, *, which: WhichChecks, asked: Asked) -> ListedChecks:
    """The checks that match, by id, with when each ran last as far as its runner says.

    Raises:
        Invalid: a status that is none; as `search.search`.
    """
    found = await _rows(ctx, which, asked)
    return ListedChecks(await described(ctx, found.rows), found.after)


@query("health.check.rows", needs="health:read")
async def check_rows(ctx: Context, *, which: WhichChecks, asked: Asked) -> Found[Check]:
    """As `checks`, the rows."""
    return await _rows(ctx, which, asked)


@query("health.check.row", needs="health:read")
async def stored_check(ctx: Context, *, id: str) -> Check | None:
    """One check's row, None when there is none."""
    return await stored(ctx, id)


@query("health.check.get", needs="health:read")
async def check(ctx: Context, *, id: str) -> dict[str, Any]:
    """One check with its changes of status and last results. Raises NotFound."""
    row = await stored(ctx, id)
    if row is None:
        raise NotFound(CHECK_NOT_FOUND)
    (document,) = await described(ctx, [row])
    return document | {"transitions": documents.transitions(row), **await _remembered(ctx, row)}


@query("health.check.history", needs="health:read")
async def history(ctx: Context, *, id: str) -> dict[str, Any]:
    """The last ten results of a check, from the node that runs it, and its last changes of status.

    Raises:
        NotFound: there is no such check.
    """
    row = await stored(ctx, id)
    if row is None:
        raise NotFound(CHECK_NOT_FOUND)
    found = {"check_id": row.id, "status": row.status, "transitions": documents.transitions(row)}
    return found | await _remembered(ctx, row)


async def _rows(ctx: Context, which: WhichChecks, asked: Asked) -> Found[Check]:
    """As `checks`, the rows. Raises as it."""
    where = []
    for column, value in (("service", which.service), ("node", which.node), ("status", which.status)):
        if value is None or (column == "status" and value == ANY):
            continue
        if column == "status" and value not in STATUSES:
            raise Invalid(f"invalid status: {value[:100]} (expected any, {', '.join(STATUSES)})")
        packed = value.encode("utf-8", "replace")
        if not packed or not is_possible(packed):
            return Found((), None)
        where.append((Check.column(column), packed))
    return await search(ctx, CHECKS, asked, where=where)


async def described(ctx: Context, found: Sequence[Check]) -> list[dict[str, Any]]:
    """Their documents; what runners and the leader do not say in time is left open."""
    run = [row.id.encode() for row in found if row.type in RUN]
    told = [row.id.encode() for row in found if row.lease is not None]
    last = await seen.last_seen(ctx.engine, run) if run else {}
    leases = await seen.leases_ms(ctx.engine, told) if told else {}
    now_ms = time.time_ns() // 1_000_000
    return [
        documents.check(row, last.get(row.id.encode()), leases.get(row.id.encode()), now_ms) for row in found
    ]


async def _remembered(ctx: Context, row: Check) -> dict[str, Any]:
    """`runner`: the node that runs it; `results`: what it remembers, empty while it says nothing."""
    if row.type not in RUN:
        return {"results": []}
    runner = seen.runner_of(ctx.engine, row.id.encode())
    found = await seen.results(ctx.engine, row.id.encode())
    return {
        "runner": None if runner is None else runner[0].decode(),
        "results": documents.results(found or ()),
    }
