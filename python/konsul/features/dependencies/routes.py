"""Dependencies over HTTP. Declared before the catalog's routes, which `/services/{name}` would shadow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from fastapi import Query, Request, Response

from konsul.errors import Invalid
from konsul.features.catalog.rules import NAME
from konsul.features.dependencies import commands
from konsul.features.dependencies.queries import dependencies, graph, impact
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import JSON, MAYBE_TEXTS, Ctx, Router, json_response, read_members

DOT: Final = "text/vnd.graphviz; charset=utf-8"
_NAMES: Final = {"type": "array", "items": {"type": "string", "pattern": f"^{NAME.pattern}$"}}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["dependencies"],
                    "properties": {"dependencies": _NAMES},
                    "example": {"dependencies": ["db", "cache"]},
                }
            }
        },
    }
}

router = Router(tags=["dependencies"])


@router.get("/services/dependency-graph", needs="service:list")
async def graph_route(
    ctx: ReadCtx,
    format: Annotated[Literal["json", "dot"], Query(description="`dot`: for Graphviz.")] = "json",
    root: Annotated[str | None, Query(description="Only this service and what it depends on.")] = None,
) -> Response:
    """Shows which service depends on which, each with the health of its instances."""
    found = await ctx.run(graph, root=root)
    if format == "dot":
        return Response(found.dot(), media_type=DOT)
    return json_response(found.document())


@router.get("/services/{name}/dependencies", needs="service:read")
async def read_route(ctx: ReadCtx, name: str) -> Response:
    """What a service depends on, and which services depend on it."""
    found = await ctx.run(dependencies, name=name)
    return json_response(found)


@router.post("/services/{name}/dependencies", needs="service:write", openapi_extra=_BODY)
async def add_route(ctx: Ctx, request: Request, name: str) -> Response:
    """Declares that a service depends on others, beside those it depends on already; 409 names a cycle."""
    return _declared(name, await ctx.run(commands.add, name=name, dependencies=await _wanted(request)))


@router.put("/services/{name}/dependencies", needs="service:write", openapi_extra=_BODY)
async def replace_route(ctx: Ctx, request: Request, name: str) -> Response:
    """Declares all that a service depends on, in place of what was declared; 409 names a cycle."""
    return _declared(name, await ctx.run(commands.replace, name=name, dependencies=await _wanted(request)))


@router.delete("/services/{name}/dependencies", needs="service:write")
async def remove_route(
    ctx: Ctx,
    name: str,
    dependency: Annotated[
        list[str], Query(description="Only these; repeatable. Without it all of the service's.")
    ] = [],  # noqa: B006
) -> Response:
    """Takes back what a service declared. Absent is fine."""
    return _declared(name, await ctx.run(commands.remove, name=name, dependencies=dependency))


@router.get("/services/{name}/impact", needs="service:read")
async def impact_route(ctx: ReadCtx, name: str) -> Response:
    """What a failure of a service would reach, and what it depends on itself, over any number of steps."""
    found = await ctx.run(impact, name=name)
    return json_response(found)


async def _wanted(request: Request) -> list[str]:
    names: list[str] | None = (await read_members(request, {"dependencies": MAYBE_TEXTS}))["dependencies"]
    if names is None:
        raise Invalid("dependencies is required: a list of service names")
    return names


def _declared(name: str, dependencies: Sequence[str]) -> Response:
    return json_response({"service": name, "dependencies": list(dependencies)})
