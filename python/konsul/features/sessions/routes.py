"""`/sessions`: creating, finding, renewing and destroying them. Locks are taken at `/kv`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from konsul.features.sessions import commands, documents, queries
from konsul.features.sessions.config import SessionSettings
from konsul.kernel.context import Context
from konsul.kernel.parameters import u64
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import Ctx, Router, json_response, read_members

After = Annotated[str | None, Query(description="Continue after this id; see `X-Konsul-Next-After`.")]
Limit = Annotated[str | None, Query(description="At most so many, 1 to 10000; 1000 if not said.")]
OfNode = Annotated[str | None, Query(description="Only those of this node.")]

router = Router(tags=["sessions"])


@router.post("/sessions", needs="session:write", openapi_extra=documents.CREATE, status_code=201)
async def create_route(ctx: Ctx, request: Request) -> Response:
    """Creates a session: 400 if its node or a check is unknown, or a check is critical."""
    body: dict[str, Any] = {name: kind.empty for name, kind in documents.MEMBERS.items()}
    if await request.body():
        body = await read_members(request, documents.MEMBERS)
    wanted = documents.wanted_of(body, ctx.config.of(SessionSettings))
    scope = documents.scope_of(wanted.name, wanted.node)
    made = await ctx.run(commands.create, scope=scope, wanted=wanted)
    return json_response(made, 201)


@router.get("/sessions", needs="session:list")
async def list_route(ctx: ReadCtx, node: OfNode = None, after: After = None, limit: Limit = None) -> Response:
    """Lists sessions by id."""
    return await _listed(ctx, node, after, limit)


@router.get("/sessions/node/{node}", needs="session:list")
async def node_route(ctx: ReadCtx, node: str, after: After = None, limit: Limit = None) -> Response:
    """Lists the sessions of a node by id."""
    return await _listed(ctx, node, after, limit)


@router.get("/sessions/{id}", needs="session:read")
async def get_route(ctx: ReadCtx, id: str) -> Response:
    """Reads one session."""
    found = await ctx.run(queries.get, id=id, scope=await queries.scope(ctx, id))
    return json_response(found)


@router.put("/sessions/{id}/renew", needs="session:write")
async def renew_route(ctx: Ctx, id: str) -> Response:
    """Gives a session its whole TTL again. Indices stay as they are."""
    renewed = await ctx.run(commands.renew, id=id, scope=await queries.scope(ctx, id))
    return json_response(renewed)


@router.delete("/sessions/{id}", needs="session:write")
async def destroy_route(ctx: Ctx, id: str) -> Response:
    """Ends a session. What it holds is released or deleted, and its lock-delay begins."""
    index = await ctx.run(commands.destroy, id=id, scope=await queries.scope(ctx, id))
    return json_response({"id": id, "message": "session destroyed", "modify_index": index})


async def _listed(ctx: Context, node: str | None, after: str | None, limit: str | None) -> Response:
    most = u64(limit, "Invalid limit parameter")
    found, rest = await ctx.run(queries.list_, node=node, after=after, limit=most)
    response = json_response(list(found))
    if rest is not None:
        response.headers["X-Konsul-Next-After"] = rest
    return response
