"""`/lb`: live instances, best first, and the strategy of the node."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import Query, Request, Response

from konsul.features.catalog.parameters import filters_of, meta_filters
from konsul.features.lb import documents, report_routes, rule_routes
from konsul.features.lb.asked import EXTRA, PLAIN, wishes_of
from konsul.features.lb.commands import set_strategy
from konsul.features.lb.config import LbSettings
from konsul.features.lb.queries import Selection, current_strategy, select
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import TEXT, Ctx, Router, json_response, read_members

Tags = Annotated[list[str], Query(description="Tags the instance must have, all of them; repeatable.")]

router = Router(tags=["load balancing"])
# Before `/lb/service/{tag}`: a tag may hold slashes, and that of a split ends with one.
router.include_router(rule_routes.router)
router.include_router(report_routes.router)


@router.get("/lb/service/{tag:path}", needs="service:read", openapi_extra=EXTRA)
async def service_route(ctx: ReadCtx, tag: str, request: Request) -> Response:
    """Selects an instance that has the tag; if none has, one of the service with that name."""
    wishes = wishes_of(request, ctx.config.of(LbSettings))
    return _answer(await ctx.run(select, kind="service", service=tag, wishes=wishes), wishes.limit)


@router.get("/lb/tags", needs="service:read", openapi_extra=EXTRA)
async def tags_route(
    ctx: ReadCtx,
    request: Request,
    tags: Tags = [],  # noqa: B006
    tag: Tags = [],  # noqa: B006
) -> Response:
    """Selects an instance that has every tag."""
    wanted = [*tags, *tag]
    wishes = wishes_of(request, ctx.config.of(LbSettings))
    chosen = await ctx.run(select, kind="tags", tags=wanted, wishes=wishes)
    return _answer(chosen, wishes.limit, {"tags": wanted})


@router.get("/lb/metadata", needs="service:read")
async def metadata_route(ctx: ReadCtx, request: Request) -> Response:
    """Selects an instance by metadata: every query parameter but those of reads is a pair that must hold."""
    pairs = filters_of(request)
    chosen = await ctx.run(select, kind="metadata", metadata=pairs, wishes=PLAIN)
    return _answer(chosen, None, {"metadata": dict(pairs)})


@router.get("/lb/query", needs="service:read", openapi_extra=EXTRA)
async def query_route(
    ctx: ReadCtx,
    request: Request,
    tags: Tags = [],  # noqa: B006
    tag: Tags = [],  # noqa: B006
) -> Response:
    """Selects an instance by tags and by `meta.<key>=<value>`, all of which must hold."""
    wanted = [*tags, *tag]
    pairs = meta_filters(request)
    wishes = wishes_of(request, ctx.config.of(LbSettings))
    chosen = await ctx.run(select, kind="combined", tags=wanted, metadata=pairs, wishes=wishes)
    return _answer(chosen, wishes.limit, {"tags": wanted, "metadata": dict(pairs)})


@router.get("/lb/strategy", needs="service:read")
async def strategy_route(ctx: Ctx) -> Response:
    """The strategy of this node."""
    strategy = await ctx.run(current_strategy)
    return json_response({"strategy": strategy})


@router.put("/lb/strategy", needs="admin:write", openapi_extra=documents.SET_STRATEGY)
async def set_strategy_route(ctx: Ctx, request: Request) -> Response:
    """Changes the strategy of this node, until it stops."""
    body = await read_members(request, {"strategy": TEXT})
    strategy = await ctx.run(set_strategy, strategy=body["strategy"])
    return json_response({"message": "strategy updated", "strategy": strategy})


def _answer(chosen: Selection, limit: int | None, asked: dict[str, Any] | None = None) -> Response:
    members: dict[str, Any] = {
        "service": orjson.Fragment(chosen.services[0]),
        "strategy": chosen.strategy,
    }
    if limit is not None:
        members["services"] = [orjson.Fragment(text) for text in chosen.services]
    if chosen.rule:
        members["rule"] = chosen.rule
    if asked is not None:
        members["query"] = asked
    return json_response(members)
