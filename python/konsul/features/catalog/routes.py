"""Registering and finding services. Batches have a file of their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from fastapi import Query, Request, Response

from konsul.errors import Invalid
from konsul.features.catalog import batch_routes, documents, node_routes, watches
from konsul.features.catalog.bodies import SERVICE_WITH_CAS, document, service_of
from konsul.features.catalog.commands import deregister, deregister_all, heartbeat, register
from konsul.features.catalog.healths import ANY
from konsul.features.catalog.parameters import filters_of, meta_filters
from konsul.features.catalog.queries import (
    Known,
    QueryType,
    as_object,
    find,
    get,
    get_metadata,
    instances,
    instances_metadata,
    list_services,
)
from konsul.features.catalog.search_fields import INSTANCES
from konsul.features.catalog.search_parameters import Healthy, Paged, Placed, asked_words, page_response
from konsul.features.catalog.search_queries import search_services
from konsul.kernel.context import Context
from konsul.kernel.parameters import Cas, Metadata, is_on, u64
from konsul.kernel.polling import Polling
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import Ctx, Router, json_response, read_members

InstanceId = Annotated[
    str | None, Query(description="The instance; without it the one called like its service.")
]
Tags = Annotated[list[str], Query(description="Tags the service must have, all of them; repeatable.")]

router = Router(tags=["services"])
router.include_router(batch_routes.router)
router.include_router(node_routes.router)


@router.put("/register", needs="service:register", openapi_extra=documents.REGISTER)
async def register_route(ctx: Ctx, request: Request) -> Response:
    """Registers one instance of a service, replacing the one with its id."""
    body = await read_members(request, SERVICE_WITH_CAS)
    service = service_of(body)
    done = await ctx.run(register, name=service.name, service=service, cas=body["cas"])
    return json_response(
        b'{"message":"service registered","modify_index":%d,"service":%b}'
        % (done.index, document(service, done.zone))
    )


router.add_api_route(
    "/register",
    register_route,
    needs="service:register",
    methods=["POST"],
    openapi_extra=documents.REGISTER,
    operation_id="register_by_post",
)


@router.delete("/deregister/{name}", needs="service:deregister")
async def deregister_route(
    ctx: Ctx,
    name: str,
    id: InstanceId = None,
    cas: Cas = None,
    all: Annotated[str | None, Query(description="On: every instance of the service.")] = None,
) -> Response:
    """Removes one instance of a service, or all of them. Absent is fine, unless `cas` is given."""
    expected = u64(cas, "Invalid CAS parameter")
    if not is_on(all):
        await ctx.run(deregister, name=name, id=id, cas=expected)
    elif id is not None or expected is not None:
        raise Invalid("all cannot be combined with id or cas")
    else:
        await ctx.run(deregister_all, name=name)
    return json_response({"message": "service deregistered", "name": name})


@router.put("/heartbeat/{name}", needs="service:write")
async def heartbeat_route(ctx: Ctx, name: str, id: InstanceId = None) -> Response:
    """Keeps one instance alive for another TTL. Indices stay as they are."""
    await ctx.run(heartbeat, name=name, id=id)
    return json_response({"message": "heartbeat updated", "service": name})


@router.get("/services", needs="service:list")
async def list_route(ctx: ReadCtx, poll: Polling, which: Placed, asked: Paged) -> Response:
    """Lists every instance of every service, by name and id; or those that are searched for."""
    if asked.filter is not None:
        # A filter that cannot be understood is not waited for.
        INSTANCES.selectors.filter(asked.filter)
    ctx = await poll.wait(ctx, watches.of_names_as(which.health or ANY), "*")
    if which or asked:
        found = await ctx.run(search_services, which=which, asked=asked)
        return page_response(found.services, found.after)
    text = await ctx.run(list_services)
    return json_response(text)


@router.get("/services/query", needs="service:list")
async def query_route(
    ctx: ReadCtx,
    request: Request,
    which: Placed,
    asked: Paged,
    tags: Tags = [],  # noqa: B006
    tag: Tags = [],  # noqa: B006
) -> Response:
    """Finds services by tags, `meta.<key>=<value>`, name, node, zone, health and filter; all must hold."""
    wanted = [*tags, *tag]
    pairs = meta_filters(request)
    if which or asked.filter is not None or (asked and (wanted or pairs)):
        which = replace(which, tags=wanted, metadata=pairs)
        found = await ctx.run(search_services, which=which, asked=asked)
        return json_response(
            b'{"count":%d,"query":%b,"services":%b,"after":%b}'
            % (
                found.count,
                orjson.dumps(asked_words(which, asked)),
                found.services,
                orjson.dumps(found.after),
            )
        )
    if not wanted and not pairs:
        raise Invalid("At least one tag or metadata filter must be specified")
    return await _found(ctx, "combined", wanted, pairs)


@router.get("/services/query/tags", needs="service:list")
async def query_tags_route(ctx: ReadCtx, tags: Tags = [], tag: Tags = []) -> Response:  # noqa: B006
    """Finds services that have every tag."""
    wanted = [*tags, *tag]
    if not wanted:
        raise Invalid("At least one tag must be specified")
    return await _found(ctx, "tags", wanted, [])


@router.get("/services/query/metadata", needs="service:list")
async def query_metadata_route(ctx: ReadCtx, request: Request) -> Response:
    """Finds services by metadata: every other query parameter is a pair that must hold."""
    pairs = filters_of(request)
    if not pairs:
        raise Invalid("At least one metadata filter must be specified")
    return await _found(ctx, "metadata", [], pairs)


@router.get("/services/{name}", needs="service:read")
async def get_route(
    ctx: ReadCtx,
    poll: Polling,
    name: str,
    metadata: Metadata = None,
) -> Response:
    """Reads a service: its instance of the same name, else the first passing one by id."""
    ctx = await poll.wait(ctx, watches.of_service, name)
    if metadata == "true":
        return json_response(_with_expiry(await ctx.run(get_metadata, name=name)))
    text = await ctx.run(get, name=name)
    return json_response(text)


@router.get("/services/{name}/instances", needs="service:read")
async def instances_route(
    ctx: ReadCtx,
    poll: Polling,
    name: str,
    wanted: Healthy,
    metadata: Metadata = None,
) -> Response:
    """Lists every instance of one service, by id; or those that are as healthy as asked for."""
    health = wanted or ANY
    ctx = await poll.wait(ctx, watches.of_service_as(health), name)
    if metadata == "true":
        known = await ctx.run(instances_metadata, name=name, health=health)
        return json_response(b"[%b]" % b",".join(map(_with_expiry, known)))
    text = await ctx.run(instances, name=name, health=health)
    return json_response(text)


async def _found(ctx: Context, kind: QueryType, tags: list[str], metadata: list[tuple[str, str]]) -> Response:
    services, count = await ctx.run(find, kind=kind, tags=tags, metadata=metadata)
    asked: dict[str, Any] = {}
    if kind != "metadata":
        asked["tags"] = tags
    if kind != "tags":
        asked["metadata"] = dict(metadata)
    return json_response(b'{"count":%d,"query":%b,"services":%b}' % (count, orjson.dumps(asked), services))


def _with_expiry(known: Known) -> bytes:
    """Leases live in the leader's memory as a rest of time, so the moment is worked out when asked for."""
    if known.expires_in_ms is None:
        return as_object(known, None)
    moment = datetime.now(UTC) + timedelta(milliseconds=known.expires_in_ms)
    return as_object(known, moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
