"""`/nodes`, and maintenance of nodes and instances."""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
from fastapi import Query, Request, Response

from konsul.errors import Invalid
from konsul.features.catalog import documents
from konsul.features.catalog.maintenance import node_maintenance, service_maintenance
from konsul.features.catalog.nodes import delete_node, get_node, list_nodes, members_of, put_node
from konsul.features.catalog.search_parameters import Paged, page_response
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import TEXT, TEXT_MAP, Ctx, Kind, Router, json_response, read_members

BAD_ENABLE: Final = "Invalid enable parameter: expected true or false"
_NODE: Final[dict[str, Kind]] = {"address": TEXT, "zone": TEXT, "meta": TEXT_MAP}

Enable = Annotated[str | None, Query(description="`true`: into maintenance, `false`: out of it.")]
Reason = Annotated[str, Query(description="Why; shown as the output of the check that takes it out.")]
InstanceId = Annotated[
    str | None, Query(description="The instance; without it the one called like its service.")
]
Zone = Annotated[str | None, Query(description="Only nodes in this zone.")]

router = Router(tags=["nodes"])


@router.get("/nodes", needs="agent:list")
async def list_route(ctx: ReadCtx, asked: Paged, zone: Zone = None) -> Response:
    """Lists nodes by name, or those that are searched for."""
    nodes, after = await ctx.run(list_nodes, asked=asked, zone=zone)
    return page_response(orjson.dumps([members_of(node) for node in nodes]), after)


@router.get("/nodes/{name}", needs="agent:read")
async def get_route(ctx: ReadCtx, name: str) -> Response:
    """Reads a node: where it is, how healthy, its own checks, and the instances on it."""
    document = await ctx.run(get_node, name=name)
    return json_response(document.members)


@router.put("/nodes/{name}", needs="agent:write", openapi_extra=documents.NODE)
async def put_route(ctx: Ctx, request: Request, name: str) -> Response:
    """Makes a node known, or says anew where it is; what is left out is emptied."""
    body: dict[str, Any] = await read_members(request, _NODE)
    index = await ctx.run(put_node, name=name, address=body["address"], zone=body["zone"], meta=body["meta"])
    return json_response({"message": "node updated", "name": name, "modify_index": index})


@router.delete("/nodes/{name}", needs="agent:write")
async def delete_route(ctx: Ctx, name: str) -> Response:
    """Removes a node, with it every instance that said it runs there, and all their checks."""
    await ctx.run(delete_node, name=name)
    return json_response({"message": "node deregistered", "name": name})


@router.put("/nodes/{name}/maintenance", needs="agent:write")
async def node_maintenance_route(ctx: Ctx, name: str, enable: Enable = None, reason: Reason = "") -> Response:
    """Takes a node, and every instance on it, out of what is given to clients, or back in."""
    is_on = _wanted(enable)
    await ctx.run(node_maintenance, name=name, enable=is_on, reason=reason)
    return json_response({"message": "node maintenance updated", "name": name, "maintenance": is_on})


@router.put("/services/{name}/maintenance", needs="service:write")
async def service_maintenance_route(
    ctx: Ctx, name: str, enable: Enable = None, reason: Reason = "", id: InstanceId = None
) -> Response:
    """Takes one instance out of what is given to clients, or back in."""
    is_on = _wanted(enable)
    await ctx.run(service_maintenance, name=name, id=id, enable=is_on, reason=reason)
    return json_response(
        {"message": "service maintenance updated", "name": name, "id": id or name, "maintenance": is_on}
    )


def _wanted(enable: str | None) -> bool:
    if enable not in ("true", "false"):
        raise Invalid(BAD_ENABLE)
    return enable == "true"
