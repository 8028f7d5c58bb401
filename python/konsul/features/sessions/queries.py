"""Reading sessions: one, all, those of a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from konsul.engine import Row
from konsul.errors import Invalid, NotFound
from konsul.features.sessions.documents import document, scope_of, session_key
from konsul.features.sessions.tables import Session
from konsul.kernel.command import query
from konsul.kernel.context import Context
from konsul.kernel.pipeline import AUTHENTICATED

UNKNOWN: Final = "Session not found"
LIST: Final = "session:list"
LIMIT: Final = 1_000
LIMIT_MAX: Final = 10_000
_PAGE: Final = 1_000
_NODE: Final = Session.column("node")
_NAME: Final = Session.column("name")


async def joined(ctx: Context) -> None:
    """Returns when this node has tables: one that has just joined, or was wiped, waits for them.

    Raises:
        NoLeader, Timeout: they did not come in time.
    """
    if ctx.engine.contact()[2] == 0:
        await ctx.engine.barrier("default", ctx.terms.timeout_ms)


async def found(ctx: Context, session_id: str) -> tuple[bytes, Row]:
    """A session's key and row. A node that is behind asks the leader before it says that there is none.

    Raises:
        NotFound: it does not exist, or has ended.
    """
    key = session_key(session_id)
    if key is None:
        raise NotFound(UNKNOWN)
    await joined(ctx)
    row = ctx.engine.get(Session.table_id, key)
    if row is None:
        await ctx.engine.barrier("linearizable", ctx.terms.timeout_ms)
        row = ctx.engine.get(Session.table_id, key)
    if row is None:
        raise NotFound(UNKNOWN)
    return key, row


async def scope(ctx: Context, session_id: str) -> str:
    """What has to be allowed to do something with a session; of one that is not there "". Before every verb
    about one: names do not change."""
    await joined(ctx)
    key = session_key(session_id)
    row = None if key is None else ctx.engine.get(Session.table_id, key)
    try:
        if row is None:
            if ctx.pipeline.authorise is not None:  # nobody in particular does not make us ask the leader
                ctx.pipeline.authorise(ctx.identity, AUTHENTICATED, "")
            _, row = await found(ctx, session_id)
    except NotFound:
        return ""
    return scope_of(row.cells[_NAME], row.cells[_NODE])


@query("session.get", needs="session:read", resource="scope")
async def get(ctx: Context, *, id: str, scope: str) -> dict[str, Any]:
    """One session's document. Raises NotFound: it has ended, or never was."""
    del scope
    _, row = await found(ctx, id)
    return document(id, row)


@query("session.list", needs=LIST)
async def list_(
    ctx: Context, *, node: str | None = None, after: str | None = None, limit: int | None = None
) -> tuple[Sequence[dict[str, Any]], str | None]:
    """Sessions that the caller may list, by id, all or a node's, that come after `after`; and the id to go on
    after, None at the end.

    Raises:
        Invalid: `limit` is not in 1..`LIMIT_MAX`, or `after` is no session's id.
    """
    most = LIMIT if limit is None else limit
    if not 1 <= most <= LIMIT_MAX:
        raise Invalid(f"limit must be between 1 and {LIMIT_MAX}")
    start = None if after is None else session_key(after)
    if after is not None and start is None:
        raise Invalid("Invalid after parameter: expected a session's id")
    where = () if node is None else ((_NODE, node.encode("utf-8", "replace")),)
    sight = ctx.visible(LIST)
    taken: list[dict[str, Any]] = []
    while True:
        page = ctx.engine.scan(Session.table_id, b"", where, start, _PAGE)
        for key, row in page.rows:
            seen = scope_of(row.cells[_NAME], row.cells[_NODE])
            if sight is not None and not sight.sees(seen):
                continue
            if len(taken) == most:
                return taken, str(taken[-1]["id"])
            taken.append(document(key.decode(), row))
        if page.after is None:
            return taken, None
        start = page.after
