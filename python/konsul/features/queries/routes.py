"""`/query`: prepared queries, and executing them."""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
from fastapi import Query, Request, Response

from konsul.errors import Invalid
from konsul.features.lb.rules import strategy_of
from konsul.features.queries import commands, queries, schemas
from konsul.features.queries.documents import DOCUMENT_MAX_BYTES, checked
from konsul.features.queries.finding import scope_now, scope_of
from konsul.kernel.duration import format_duration_ms
from konsul.kernel.parameters import Cas, is_on, u64
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import Ctx, Router, decode_json, json_response

BAD_LIMIT: Final = "Invalid limit parameter: expected a whole number above 0"
Near = Annotated[
    str | None, Query(description="`_agent`, `_ip`, a node or a zone, in place of the query's own.")
]
Limit = Annotated[str | None, Query(description="At most so many instances; the query may say fewer.")]
StrategyName = Annotated[str | None, Query(description="A strategy, in place of the query's own.")]
Passing = Annotated[str | None, Query(description="On: only instances that pass.")]

router = Router(tags=["queries"])


async def _document(request: Request) -> dict[str, Any]:
    raw = await request.body()
    if len(raw) > 2 * DOCUMENT_MAX_BYTES:
        raise Invalid(f"Invalid query: expected at most {DOCUMENT_MAX_BYTES} bytes")
    return checked(decode_json(raw, request.headers.get("content-type", "")))


@router.post("/query", needs="query:write", openapi_extra=schemas.QUERY, status_code=201)
async def create_route(ctx: Ctx, request: Request) -> Response:
    """Makes a prepared query; 409 if its name is taken."""
    document = await _document(request)
    id = commands.new_id(ctx)
    index = await ctx.run(commands.create, scope=commands.scope_for(id, document), id=id, document=document)
    return json_response({"id": id, "message": "query created", "modify_index": index}, 201)


@router.get("/query", needs="query:list")
async def list_route(ctx: ReadCtx) -> Response:
    """Lists prepared queries by name."""
    found = await ctx.run(queries.list_)
    return json_response(found)


@router.get("/query/{id}", needs="query:read")
async def read_route(ctx: ReadCtx, id: str) -> Response:
    """Reads a prepared query by its id or name."""
    found = await ctx.run(queries.read, scope=scope_of(ctx, id), which=id)
    return json_response(found)


@router.put("/query/{id}", needs="query:write", openapi_extra=schemas.QUERY)
async def update_route(ctx: Ctx, id: str, request: Request, cas: Cas = None) -> Response:
    """Replaces a prepared query, all of it; 409 if its name is taken."""
    expected = u64(cas, "Invalid CAS parameter")
    document = await _document(request)
    scopes = dict.fromkeys((await scope_now(ctx, id), commands.scope_for(id, document)))
    found, index = await ctx.run(
        commands.update, scopes=list(scopes), which=id, document=document, cas=expected
    )
    return json_response({"id": found, "message": "query updated", "modify_index": index})


@router.delete("/query/{id}", needs="query:write")
async def delete_route(ctx: Ctx, id: str, cas: Cas = None) -> Response:
    """Removes a prepared query by its id or name."""
    expected = u64(cas, "Invalid CAS parameter")
    found = await ctx.run(commands.delete, scope=await scope_now(ctx, id), which=id, cas=expected)
    return json_response({"id": found, "message": "query deleted"})


@router.get("/query/{id}/explain", needs="query:read")
async def explain_route(ctx: ReadCtx, id: str) -> Response:
    """Shows what would be executed for an id or name, with a template's words filled in."""
    found = await ctx.run(queries.explain, scope=scope_of(ctx, id), which=id)
    return json_response(found)


@router.get("/query/{id}/execute", needs="query:read")
async def execute_route(
    ctx: ReadCtx,
    id: str,
    near: Near = None,
    limit: Limit = None,
    strategy: StrategyName = None,
    passing: Passing = None,
) -> Response:
    """Finds the instances of a prepared query by its id, its name, or a name that a template answers for."""
    most = u64(limit, BAD_LIMIT)
    if most == 0:
        raise Invalid(BAD_LIMIT)
    found = await ctx.run(
        queries.execute,
        scope=scope_of(ctx, id),
        which=id,
        near=near or "",
        strategy=strategy_of(strategy) if strategy else None,
        limit=most,
        passing=is_on(passing),
    )
    prepared = found.query.prepared
    head: dict[str, Any] = {
        "id": found.query.stored.id,
        "name": found.query.name,
        "service": prepared.sought.service,
        "count": len(found.instances),
        "more": found.more,
        "instances": [orjson.Fragment(text) for text in found.instances],
    }
    if prepared.ttl_s is not None:
        head["dns"] = {"ttl": format_duration_ms(prepared.ttl_s * 1_000)}
    if prepared.sought.failover:
        head["failover"] = prepared.sought.failover
    return json_response(head)
