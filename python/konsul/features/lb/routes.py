"""`/lb`: one instance at a time."""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
from fastapi import Query, Request, Response

from konsul.features.catalog.parameters import filters_of, meta_filters
from konsul.features.lb.commands import set_strategy
from konsul.features.lb.queries import Selection, current_strategy, select
from konsul.features.lb.strategies import Strategy
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import JSON, TEXT, Ctx, Router, json_response, read_members

_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["strategy"],
                    "properties": {"strategy": {"type": "string", "enum": list(Strategy)}},
                }
            }
        },
    }
}
Tags = Annotated[list[str], Query(description="Tags the instance must have, all of them; repeatable.")]
Session = Annotated[
    str, Query(description="What `ring-hash` keeps on one instance; else the client address.")
]
Region = Annotated[str, Query(description="The client's region, for `latency-based`.")]

router = Router(tags=["load balancing"])


@router.get("/lb/service/{tag:path}", needs="service:read")
async def service_route(ctx: ReadCtx, tag: str, session: Session = "", region: Region = "") -> Response:
    """Selects one instance that has the tag; if none has, one of the service with that name."""
    chosen = await ctx.run(select, kind="service", service=tag, session=session, region=region)
    return _answer(chosen)


@router.get("/lb/tags", needs="service:read")
async def tags_route(
    ctx: ReadCtx,
    tags: Tags = [],  # noqa: B006
    tag: Tags = [],  # noqa: B006
    session: Session = "",
    region: Region = "",
) -> Response:
    """Selects one instance that has every tag."""
    wanted = [*tags, *tag]
    chosen = await ctx.run(select, kind="tags", tags=wanted, session=session, region=region)
    return _answer(chosen, {"tags": wanted})


@router.get("/lb/metadata", needs="service:read")
async def metadata_route(ctx: ReadCtx, request: Request) -> Response:
    """Selects one instance by metadata: every other query parameter is a pair that must hold."""
    pairs = filters_of(request)
    chosen = await ctx.run(select, kind="metadata", metadata=pairs)
    return _answer(chosen, {"metadata": dict(pairs)})


@router.get("/lb/query", needs="service:read")
async def query_route(
    ctx: ReadCtx,
    request: Request,
    tags: Tags = [],  # noqa: B006
    tag: Tags = [],  # noqa: B006
    session: Session = "",
    region: Region = "",
) -> Response:
    """Selects one instance by tags and by `meta.<key>=<value>`, all of which must hold."""
    wanted = [*tags, *tag]
    pairs = meta_filters(request)
    chosen = await ctx.run(
        select, kind="combined", tags=wanted, metadata=pairs, session=session, region=region
    )
    return _answer(chosen, {"tags": wanted, "metadata": dict(pairs)})


@router.get("/lb/strategy", needs="service:read")
async def strategy_route(ctx: Ctx) -> Response:
    """The strategy of this node."""
    strategy = await ctx.run(current_strategy)
    return json_response({"strategy": strategy})


@router.put("/lb/strategy", needs="admin:write", openapi_extra=_BODY)
async def set_strategy_route(ctx: Ctx, request: Request) -> Response:
    """Changes the strategy of this node, until it stops."""
    body = await read_members(request, {"strategy": TEXT})
    strategy = await ctx.run(set_strategy, strategy=body["strategy"])
    return json_response({"message": "strategy updated", "strategy": strategy})


def _answer(chosen: Selection, asked: dict[str, Any] | None = None) -> Response:
    members: dict[str, Any] = {"service": orjson.Fragment(chosen.service), "strategy": chosen.strategy}
    if asked is not None:
        members["query"] = asked
    return json_response(members)
