"""Reading the audit log of the node that is asked."""

from __future__ import annotations

from typing import Any, Final

from konsul.errors import Unsupported
from konsul.features.audit.search import Page, Position, Question
from konsul.features.audit.trail import Trail, trail_of
from konsul.kernel.command import query
from konsul.kernel.context import Context

NOT_ENABLED: Final = "audit is not enabled"


@query("audit.events", needs="admin:read")
async def events(ctx: Context, question: Question, limit: int, after: Position | None) -> Page:
    """The events that are asked for, a page of them. Raises Unsupported without a log or a store."""
    return await _trail(ctx).find(question, limit, after)


@query("audit.stats", needs="admin:read")
async def stats(ctx: Context) -> dict[str, Any]:
    """What was recorded, written and lost, and what the store holds. Raises Unsupported without a log."""
    return await _trail(ctx).stats()


def _trail(ctx: Context) -> Trail:
    trail = trail_of(ctx.engine)
    if trail is None:
        raise Unsupported(NOT_ENABLED)
    return trail
