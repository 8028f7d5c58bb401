"""Creating, renewing and destroying sessions. How they end otherwise is said in `tables`."""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

from konsul.errors import Busy, Conflict, Invalid, LimitReached, NotFound
from konsul.features.catalog.tables import CRITICAL, Check, Node
from konsul.features.sessions.config import SessionSettings
from konsul.features.sessions.documents import Wanted, document, session_key
from konsul.features.sessions.queries import UNKNOWN, found, joined
from konsul.features.sessions.tables import Session
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context

_ATTEMPTS: Final = 8


@command("session.create", needs="session:write", resource="scope")
async def create(ctx: Context, *, scope: str, wanted: Wanted) -> dict[str, Any]:
    """Creates a session; its lease begins now. `scope`: its name, or its node's. Answers its document.

    Raises:
        Invalid: its node or one of its checks is unknown, or a check is critical.
        LimitReached: there are too many. Busy: its checks keep changing.
    """
    del scope
    await joined(ctx)
    most = ctx.config.of(SessionSettings).max
    if ctx.engine.count(Session.table_id) >= most:
        raise LimitReached(f"too many sessions: {most} (KONSUL_SESSION_MAX)")
    guards = [entry.exists(Node, wanted.node)] if wanted.node else []
    for check in wanted.checks:
        guards += [entry.exists(Check, check), entry.is_not(Check, check, "status", CRITICAL)]
    write_id = ctx.terms.write_id
    # A request that is repeated under its key must not make a second session.
    session_id = str(uuid.UUID(bytes=write_id, version=4) if write_id else uuid.uuid4())
    row = Session(
        id=session_id,
        name=wanted.name,
        node=wanted.node,
        checks=list(wanted.checks),
        behavior=wanted.behavior,
        lock_delay_ms=wanted.lock_delay_ms,
        ttl_ms=wanted.ttl_ms,
        created_at_ms=time.time_ns() // 1_000_000,
    )
    cases = entry.encode([entry.case(guards, [entry.put(Session, session_id, row.cells())])])
    for _ in range(_ATTEMPTS):
        try:
            applied = await ctx.commit(cases)
        except Conflict:
            await ctx.engine.barrier("linearizable", ctx.terms.timeout_ms)
            _explain(ctx, wanted)
            continue
        made = {"create_index": applied.index, "modify_index": applied.index}
        stored = ctx.engine.get(Session.table_id, session_id.encode())
        # It may have ended already: then it is answered as it was made.
        return document(session_id, stored) if stored else _as_made(row) | made
    raise Busy("the checks of this session keep changing: try again")


def _explain(ctx: Context, wanted: Wanted) -> None:
    """Raises Invalid for what keeps the session from being created; nothing if that has passed."""
    if wanted.node and ctx.engine.get(Node.table_id, wanted.node.encode()) is None:
        raise Invalid(f"unknown node '{wanted.node}'")
    for check in wanted.checks:
        row = ctx.engine.get(Check.table_id, check.encode())
        if row is None:
            raise Invalid(f"unknown check '{check}'")
        if row.cells[Check.column("status")] == CRITICAL:
            raise Invalid(f"check '{check}' is critical")


def _as_made(row: Session) -> dict[str, Any]:
    from konsul.engine import Row

    return document(row.id, Row(0, 0, row.cells()))


@command("session.renew", needs="session:write", resource="scope")
async def renew(ctx: Context, *, id: str, scope: str) -> dict[str, Any]:
    """Gives a session its whole TTL again; nothing enters the log. One without a TTL only answers.

    Raises:
        NotFound: it has ended, or is about to.
    """
    del scope
    # A leader that was replaced and does not know it yet would renew a lease that its successor lets end. Who
    # renews counts from the moment he asked: whoever led after that gives the session a whole TTL anyway.
    await ctx.engine.barrier("default", ctx.terms.timeout_ms)
    key, row = await found(ctx, id)
    if row.cells[Session.column("ttl_ms")] is not None:
        try:
            await ctx.renew(Session.table_id, key)
        except NotFound:
            raise NotFound(UNKNOWN) from None
    return document(id, row)


@command("session.destroy", needs="session:write", resource="scope")
async def destroy(ctx: Context, *, id: str, scope: str) -> int:
    """Ends a session; what it holds follows its behavior, in the same entry, whose index is answered.

    Raises:
        NotFound: it has ended already.
    """
    del scope
    key = session_key(id)
    if key is None:
        raise NotFound(UNKNOWN)
    case = entry.case([entry.exists(Session, key)], [entry.delete(Session, key)])
    try:
        return (await ctx.commit(entry.encode([case]))).index
    except Conflict:
        raise NotFound(UNKNOWN) from None
