"""`/lb/report`: what clients say of instances."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request, Response

from konsul.features.lb import documents
from konsul.features.lb.commands import Said, report, report_many
from konsul.features.lb.queries import loads
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import (
    INVALID_BODY,
    MAYBE_TEXT,
    MAYBE_U64,
    OBJECTS,
    TEXT,
    Ctx,
    Kind,
    Router,
    json_response,
    members,
    read_members,
)


class _Number:
    """A JSON number."""

    empty = None

    def __call__(self, value: object) -> Any:
        if type(value) not in (int, float):
            raise ValueError
        return value


_LOAD: Final[dict[str, Kind]] = {"id": MAYBE_TEXT, "connections": MAYBE_U64, "latency_ms": _Number()}

router = Router(tags=["load balancing"])


@router.put("/lb/report/{name}", needs="service:write", openapi_extra=documents.REPORT)
async def report_route(ctx: Ctx, name: str, request: Request) -> Response:
    """Reports a client's connections to an instance and how long its answers take, until another report."""
    body = await read_members(request, {"client": TEXT, **_LOAD})
    said = Said(name, body["id"] or None, body["connections"], body["latency_ms"])
    await ctx.run(report, name=name, said=said, client=body["client"])
    return json_response({"message": "report taken", "service": name})


@router.get("/lb/report/{name}", needs="service:read")
async def loads_route(ctx: ReadCtx, name: str) -> Response:
    """What the node asked knows of the load of each instance of a service."""
    found = await ctx.run(loads, service=name)
    return json_response({"service": name, "instances": [documents.load(*one) for one in found]})


@router.post("/lb/reports", needs="service:write", openapi_extra=documents.REPORTS)
async def reports_route(ctx: Ctx, request: Request) -> Response:
    """Reports connections to and latencies of many instances at once; `unknown` are those not there."""
    body = await read_members(request, {"client": TEXT, "reports": OBJECTS})
    said: list[Said] = []
    for item in body["reports"]:
        one = members(item, {"name": TEXT, **_LOAD}, message=INVALID_BODY)
        said.append(Said(one["name"], one["id"] or None, one["connections"], one["latency_ms"]))
    names = list(dict.fromkeys(one.name for one in said))
    unknown = await ctx.run(report_many, names=names, said=said, client=body["client"])
    return json_response(
        {
            "message": "reports taken",
            "count": len(said) - len(unknown),
            "unknown": [{"name": name, "id": instance_id} for name, instance_id in unknown],
        }
    )
