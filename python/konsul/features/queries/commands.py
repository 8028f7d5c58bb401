"""Making, changing and deleting prepared queries."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from konsul.errors import Conflict, Duplicate, Invalid, LimitReached, NotFound
from konsul.features.queries.config import PreparedSettings
from konsul.features.queries.finding import UNKNOWN, found_now
from konsul.features.queries.tables import PreparedQuery, lookup_of
from konsul.features.sessions.tables import Session
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context

TAKEN: Final = "a query of this name exists already"


def new_id(ctx: Context) -> str:
    """The id of a query that is to be made; the same when its request is repeated under its key."""
    write_id = ctx.terms.write_id
    return str(uuid.UUID(bytes=write_id, version=4) if write_id else uuid.uuid4())


@command("query.create", needs="query:write", resource="scope")
async def create(ctx: Context, *, scope: str, id: str, document: Mapping[str, Any]) -> int:
    """Stores a new query; returns its modify_index. `scope`: its name, or its id if it has none.

    Raises:
        Duplicate: there is one of this name. Invalid: its session is unknown. LimitReached: too many.
    """
    del scope
    most = ctx.config.of(PreparedSettings).most
    if ctx.engine.count(PreparedQuery.table_id) >= most:
        raise LimitReached(f"too many prepared queries: {most} (KONSUL_PREPARED_QUERIES_MAX)")
    return await _put(ctx, id, document, entry.absent(PreparedQuery, id))


@command("query.update", needs="query:write", resource="scopes")
async def update(
    ctx: Context, *, scopes: Sequence[str], which: str, document: Mapping[str, Any], cas: int | None = None
) -> tuple[str, int]:
    """Replaces a query; returns its id and modify_index. `scopes`: its name until now, and from now on.

    Raises:
        NotFound: there is none. Duplicate: another has this name. Invalid: its session is unknown.
        Conflict: `cas` and its modify_index differ.
    """
    del scopes
    stored = await found_now(ctx, which)
    guard = entry.exists(PreparedQuery, stored.id)
    if cas is not None:
        guard = entry.at(PreparedQuery, stored.id, cas)
    return stored.id, await _put(ctx, stored.id, document, guard)


@command("query.delete", needs="query:write", resource="scope")
async def delete(ctx: Context, *, scope: str, which: str, cas: int | None = None) -> str:
    """Removes a query; returns its id.

    Raises:
        NotFound: there is none. Conflict: `cas` and its modify_index differ.
    """
    del scope
    id = (await found_now(ctx, which)).id
    guard = entry.exists(PreparedQuery, id) if cas is None else entry.at(PreparedQuery, id, cas)
    try:
        await ctx.commit(entry.encode([entry.case([guard], [entry.delete(PreparedQuery, id)])]))
    except Conflict as conflict:
        raise _refusal(id, cas, conflict) from None
    return id


async def _put(ctx: Context, id: str, document: Mapping[str, Any], guard: entry.Guard) -> int:
    name, session = document.get("name", ""), document.get("session")
    template = document.get("template")
    row = PreparedQuery(
        id=id,
        lookup=lookup_of(name) if name or template is not None else None,
        template="" if template is None else template["type"],
        session=session,
        document=orjson.dumps(document),
    )
    guards = [guard] if session is None else [entry.exists(Session, session), guard]
    try:
        applied = await ctx.commit(
            entry.encode([entry.case(guards, [entry.put(PreparedQuery, id, row.cells())])])
        )
    except Duplicate:
        raise Duplicate(TAKEN) from None
    except Conflict as conflict:
        if session is not None and ctx.engine.get(Session.table_id, session.encode()) is None:
            raise Invalid(f"Invalid query: session: there is no session {session}") from None
        raise _refusal(id, None, conflict) from None
    return applied.index


def _refusal(id: str, cas: int | None, conflict: Conflict) -> NotFound | Conflict:
    if conflict.current == 0:
        return NotFound(UNKNOWN)
    expected = "" if cas is None else f": expected ModifyIndex {cas}, but current is {conflict.current}"
    return Conflict(f"CAS conflict for query '{id}'{expected}", key=id.encode(), current=conflict.current)


def scope_for(id: str, document: Mapping[str, Any]) -> str:
    """What rules of policies name of a query with this document."""
    return str(document.get("name") or id)
