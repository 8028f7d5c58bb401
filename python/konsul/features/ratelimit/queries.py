"""What this node limits, whom it knows, and who is on the lists."""

from __future__ import annotations

import ipaddress
import time
from typing import Any, Final

from konsul.engine import RateLimits
from konsul.errors import Invalid, NotFound
from konsul.features.ratelimit import documents, tables
from konsul.features.ratelimit.commands import OFF
from konsul.features.ratelimit.limiting import KINDS, Limiting, limiting_of, rows_of
from konsul.kernel.command import query
from konsul.kernel.context import Context

CLIENTS_MAX: Final = 10_000
"""Most clients of a kind in one answer; one megabyte."""
NOT_FOUND: Final = "Client not found"
_EXPIRES: Final = tables.ListRow.column("expires_at_ms")


@query("admin.ratelimit.stats", needs="admin:read")
async def stats(ctx: Context, *, in_full: bool = False) -> dict[str, Any]:
    """How many clients have a bucket on this node; in full also how they were answered."""
    limiting = _limiting(ctx)
    found: dict[str, Any] = documents.stats(limiting)
    return {**found, "totals": documents.totals(limiting)} if in_full else found


@query("admin.ratelimit.config", needs="admin:read")
async def config(ctx: Context) -> dict[str, Any]:
    """The configuration in force on this node."""
    return documents.config(_limiting(ctx))


@query("admin.ratelimit.clients", needs="admin:read")
async def clients(ctx: Context, *, kind: str, limit: int = CLIENTS_MAX) -> list[dict[str, Any]]:
    """Who has a bucket on this node, of a kind or of `all`, by name; an unknown kind has nobody."""
    native = _limiting(ctx).native
    kinds = [number for number, name in enumerate(KINDS) if kind in ("all", name)]
    return [documents.client(row) for number in kinds for row in native.clients(number, limit)]


@query("admin.ratelimit.client", needs="admin:read")
async def client(ctx: Context, *, identifier: str) -> dict[str, Any]:
    """One client of this node: an address, else an API key, else a user.

    Raises:
        NotFound: it has no bucket here.
    """
    native = _limiting(ctx).native
    for kind in range(len(KINDS)):
        row = native.client(kind, identifier)
        if row is not None:
            return documents.client(row)
    raise NotFound(NOT_FOUND)


@query("admin.ratelimit.status", needs="admin:read")
async def status(ctx: Context, *, kind: str, id: str) -> dict[str, Any]:
    """All that this node knows of one client, and whether it is on a list.

    Raises:
        Invalid: there is no such kind. NotFound: it has no bucket here and is on no list.
    """
    if kind not in KINDS:
        raise Invalid("Invalid type. Must be 'ip' or 'apikey'")
    row = _limiting(ctx).native.client(KINDS.index(kind), id)
    lists = {name: _has(ctx, name, kind, id) for name in (tables.WHITELIST, tables.BLACKLIST)}
    if row is None and not any(lists.values()):
        raise NotFound(NOT_FOUND)
    found = {"identifier": id, "type": kind} if row is None else documents.client_in_full(row)
    return {**found, "whitelisted": lists[tables.WHITELIST], "blacklisted": lists[tables.BLACKLIST]}


@query("admin.ratelimit.top", needs="admin:read")
async def top(ctx: Context, *, by: str, limit: int) -> list[dict[str, Any]]:
    """The clients of this node with the most `violations` or `requests`.

    Raises:
        Invalid: by neither of them.
    """
    if by not in ("violations", "requests"):
        raise Invalid("Invalid by parameter. Must be: violations or requests")
    rows = _limiting(ctx).native.top(by == "violations", limit)
    return [documents.client_in_full(row) for row in rows]


@query("admin.ratelimit.events", needs="admin:read")
async def events(ctx: Context, *, after: int, limit: int) -> list[dict[str, Any]]:
    """The refusals of this node with a number above `after`, oldest first."""
    return [documents.event(one) for one in _limiting(ctx).native.history(after, limit)]


@query("admin.ratelimit.entries", needs="admin:read")
async def entries(ctx: Context, *, name: str) -> list[dict[str, Any]]:
    """Who is on the `whitelist` or the `blacklist`, without those whose time is over."""
    now_ms = time.time_ns() // 1_000_000
    prefix = f"{name} ".encode()
    return [
        documents.stored_entry(key, row)
        for page in rows_of(ctx.engine, tables.ListRow)
        for key, row in page
        if key.startswith(prefix) and (row.cells[_EXPIRES] is None or now_ms < row.cells[_EXPIRES])
    ]


def _has(ctx: Context, name: str, kind: str, id: str) -> bool:
    """True if the client, or a network it is in, is on the list."""
    now_ms = time.time_ns() // 1_000_000
    address = (
        ipaddress.ip_address(id) if kind == "ip" and RateLimits.network_of(id) and "/" not in id else None
    )
    for page in rows_of(ctx.engine, tables.ListRow):
        for key, row in page:
            first, its_kind, its_id = tables.parts_of(key)
            if first != name or its_kind != kind or (row.cells[_EXPIRES] or now_ms + 1) <= now_ms:
                continue
            if its_id == id or (address is not None and address in ipaddress.ip_network(its_id)):
                return True
    return False


def _limiting(ctx: Context) -> Limiting:
    found = limiting_of(ctx.engine)
    if found is None:
        raise NotFound(OFF)
    return found
