"""`/health/check*`, `/health/checks`, `/health/service`, `/health/node`, `/health/state`."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import Query, Request, Response

from konsul.errors import Invalid, NotFound
from konsul.features.catalog.checks import also_needs
from konsul.features.catalog.search import Asked
from konsul.features.catalog.search_parameters import Paged, page_response
from konsul.features.catalog.tables import Check
from konsul.features.checks import commands, documents, queries
from konsul.features.checks.queries import WhichChecks
from konsul.features.checks.tables import CHECK_FORM
from konsul.kernel.context import Context
from konsul.kernel.polling import Poll, Polling
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import Ctx, Router, json_response, read_members
from konsul.kernel.watching import Spec

Note = Annotated[str | None, Query(description="The output, as Consul's agent takes it.")]
OfService = Annotated[str | None, Query(description="Only checks of this service.")]
OfNode = Annotated[str | None, Query(description="Only checks of this node itself.")]
OfStatus = Annotated[str | None, Query(description="`passing`, `warning`, `critical` or `any`.")]

router = Router(tags=["checks"])


@router.get("/health/checks", needs="health:read")
async def checks_route(
    ctx: ReadCtx,
    poll: Polling,
    asked: Paged,
    service: OfService = None,
    node: OfNode = None,
    status: OfStatus = None,
) -> Response:
    """Lists checks by id; `filter` takes an expression such as `Status != "passing"`."""
    return await _listed(ctx, poll, WhichChecks(service=service, node=node, status=status), asked)


@router.get("/health/service/{name}", needs="health:read")
async def service_route(ctx: ReadCtx, poll: Polling, asked: Paged, name: str) -> Response:
    """Lists the checks of a service's instances; `[]` when there are none."""
    return await _listed(ctx, poll, WhichChecks(service=name), asked)


@router.get("/health/node/{name}", needs="health:read")
async def node_route(ctx: ReadCtx, poll: Polling, asked: Paged, name: str) -> Response:
    """Lists the checks of a node itself."""
    return await _listed(ctx, poll, WhichChecks(node=name), asked)


@router.get("/health/state/{status}", needs="health:read")
async def state_route(ctx: ReadCtx, poll: Polling, asked: Paged, status: str) -> Response:
    """Lists the checks of one status: `passing`, `warning`, `critical` or `any`."""
    return await _listed(ctx, poll, WhichChecks(status=status), asked)


@router.get("/health/check/{id}", needs="health:read")
async def check_route(ctx: ReadCtx, id: str) -> Response:
    """Reads one check, with its last results and changes of status."""
    found = await ctx.run(queries.check, id=id)
    return json_response(found)


@router.get("/health/check/{id}/history", needs="health:read")
async def history_route(ctx: ReadCtx, id: str) -> Response:
    """The last ten results of a check and its last changes of status, oldest first."""
    found = await ctx.run(queries.history, id=id)
    return json_response(found)


@router.post("/health/check", needs="service:write", openapi_extra=documents.CREATE_BODY)
async def create_route(ctx: Ctx, request: Request) -> Response:
    """Adds a check to an instance of a service or to a node; the same id and owner: defines it anew."""
    body = await read_members(request, documents.CREATE)
    owner = {"service": body.pop("service"), "node": body.pop("node"), "service_id": body["service_id"]}
    if not owner["service"] and not owner["node"]:
        owner["service"] = owner["service_id"]
    scope = commands.scope_of_new(owner, body)
    made = await ctx.run(commands.create, scope=scope, owner=owner, definition=body)
    return json_response({"check_id": made, "message": "check registered"})


@router.put("/health/check/{id}", needs="service:write")
async def renew_route(ctx: Ctx, id: str) -> Response:
    """Tells that a TTL check passes; again in time, nothing enters the log."""
    return await _update(ctx, id, "passing", None)


@router.put("/health/check/{id}/definition", needs="service:write", openapi_extra=documents.DEFINE_BODY)
async def define_route(ctx: Ctx, request: Request, id: str) -> Response:
    """Gives a check another definition; an unchanged one keeps its status."""
    definition = await read_members(request, documents.CREATE)
    scope = await commands.scope_of(ctx, id)
    if scope:
        scope = [*scope, *also_needs(definition)]
    await ctx.run(commands.define, id=id, scope=scope, definition=definition)
    return json_response({"check_id": id, "message": "check updated"})


@router.put("/health/check/{id}/update", needs="service:write", openapi_extra=documents.UPDATE_BODY)
async def update_route(ctx: Ctx, request: Request, id: str) -> Response:
    """Tells what a TTL check says: `status` and `output`."""
    body = await read_members(request, documents.OUTCOME)
    return await _update(ctx, id, body["status"], body["output"] or None)


@router.put("/health/check/{id}/pass", needs="service:write", openapi_extra=documents.OUTCOME_BODY)
async def pass_route(ctx: Ctx, request: Request, id: str, note: Note = None) -> Response:
    """Tells that a TTL check passes."""
    return await _update(ctx, id, "passing", await _output(request, note))


@router.put("/health/check/{id}/warn", needs="service:write", openapi_extra=documents.OUTCOME_BODY)
async def warn_route(ctx: Ctx, request: Request, id: str, note: Note = None) -> Response:
    """Tells that a TTL check warns."""
    return await _update(ctx, id, "warning", await _output(request, note))


@router.put("/health/check/{id}/fail", needs="service:write", openapi_extra=documents.OUTCOME_BODY)
async def fail_route(ctx: Ctx, request: Request, id: str, note: Note = None) -> Response:
    """Tells that a TTL check fails: its instance is critical when this is answered."""
    return await _update(ctx, id, "critical", await _output(request, note))


@router.delete("/health/check/{id}", needs="service:write")
async def delete_route(ctx: Ctx, id: str) -> Response:
    """Takes a check away."""
    scope = await commands.scope_of(ctx, id)
    await ctx.run(commands.delete, id=id, scope=scope)
    return json_response({"check_id": id, "message": "check deleted"})


async def _update(ctx: Context, id: str, status: str, output: str | None) -> Response:
    scope = await commands.scope_of(ctx, id)
    try:
        await ctx.run(commands.update, id=id, scope=scope, status=status, output=output)
    except NotFound as error:
        # The first Konsul answers 400 here, and clients know it.
        raise Invalid(str(error)) from None
    return json_response({"check_id": id, "message": "TTL check updated"})


async def _output(request: Request, note: str | None) -> str | None:
    if note is not None or not await request.body():
        return note
    body = await read_members(request, documents.OUTCOME)
    return body["output"] or None


async def _listed(ctx: Context, poll: Poll, which: WhichChecks, asked: Asked) -> Response:
    ctx = await poll.wait(ctx, lambda _: _watched(which), "")
    found = await ctx.run(queries.checks, which=which, asked=asked)
    return page_response(orjson.dumps(found.checks), found.after)


def _watched(which: WhichChecks) -> Spec:
    """What a long-poll of such a listing waits for."""
    where: list[tuple[int, bytes]] = []
    for column, value in (("service", which.service), ("node", which.node), ("status", which.status)):
        if value and value != queries.ANY:
            where.append((Check.column(column), value.encode("utf-8", "replace")))
    return Spec(CHECK_FORM, Check.table_id, "**", "health:read", where=tuple(where), coalesce=True)
