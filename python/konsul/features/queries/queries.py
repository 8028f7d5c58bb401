"""Reading prepared queries, and executing them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from konsul.features.catalog.tables import LISTED
from konsul.features.lb.strategies import Strategy
from konsul.features.queries.executing import execute as execute_ready
from konsul.features.queries.finding import Ready, Stored, found, ready
from konsul.features.queries.metrics import EXECUTION_SECONDS, EXECUTIONS
from konsul.features.queries.tables import PreparedQuery
from konsul.kernel.command import query
from konsul.kernel.context import Context
from konsul.kernel.scanning import pages

LIST: Final = "query:list"
PAGE: Final = 250


@dataclass(frozen=True, slots=True)
class Executed:
    """What a query found. `instances`: JSON texts with their health, best first."""

    query: Ready
    instances: list[bytes]
    more: bool
    """There are others behind the limit."""


@query("query.list", needs=LIST)
async def list_(ctx: Context) -> list[dict[str, Any]]:
    """Every query that the caller may list or read, by name; those without a name only for who sees all."""
    sight = ctx.visible(LIST)
    documents: list[dict[str, Any]] = []
    for page in pages(ctx.engine, PreparedQuery.table_id, size=PAGE):
        for key, row in page:
            shown = Stored(key.decode(), row).shown()
            name = shown.get("name", "")
            if sight is None or sight.sees_all() or (name and sight.sees(name)):
                documents.append(shown)
    return sorted(documents, key=lambda one: (one.get("name", "").lower(), one["id"]))


@query("query.read", needs="query:read", resource="scope")
async def read(ctx: Context, *, scope: str, which: str) -> dict[str, Any]:
    """One query by its id or name. Raises NotFound."""
    del scope
    return found(ctx, which).shown()


@query("query.explain", needs="query:read", resource="scope")
async def explain(ctx: Context, *, scope: str, which: str) -> dict[str, Any]:
    """What would be executed for this id or name, and which query it comes from.

    Raises:
        NotFound: there is none. Invalid: the name makes no query of the template.
    """
    del scope
    asked = ready(ctx, which)
    sought = asked.prepared.sought
    service = {name: getattr(sought, name) for name in sought.__dataclass_fields__}
    said = {name: value for name, value in service.items() if value not in ("", (), False) and value != {}}
    stored = asked.stored.shown()
    return {
        "id": asked.stored.id,
        "name": asked.name,
        "is_template": asked.stored.is_template,
        "matched": stored.get("name", ""),
        "query": {**stored, "name": asked.name, "service": said},
    }


@query("query.execute", needs="query:read", resource="scope")
async def execute(
    ctx: Context,
    *,
    scope: str,
    which: str,
    near: str = "",
    strategy: Strategy | None = None,
    limit: int | None = None,
    passing: bool = False,
) -> Executed:
    """The instances that the query of this id or name finds, of the services that the caller may read.

    Raises:
        NotFound: there is none. Invalid: the name makes no query of the template.
    """
    del scope
    began_s = time.perf_counter()
    status = "error"
    try:
        asked = ready(ctx, which)
        candidates = await execute_ready(ctx, asked, near=near, strategy=strategy, passing=passing)
        most = least(asked.prepared.limit, limit)
        texts: list[bytes] = []
        for one in candidates:
            if most is not None and len(texts) == most:
                break
            text = ctx.engine.get_json(LISTED, one.key)
            if text is not None:
                texts.append(text)
        status = "success" if texts else "empty"
        return Executed(asked, texts, len(texts) < len(candidates) and len(texts) == most)
    finally:
        EXECUTIONS.labels(status).inc()
        EXECUTION_SECONDS.observe(time.perf_counter() - began_s)


def least(one: int | None, other: int | None) -> int | None:
    """The smaller of two limits, None for no limit."""
    given = [limit for limit in (one, other) if limit is not None]
    return min(given, default=None)
