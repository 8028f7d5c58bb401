"""What depends on what: of one service, of all, and how far a failure would reach."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from konsul.errors import NotFound
from konsul.features.catalog.queries import is_registered
from konsul.features.catalog.rules import NAME, NOT_FOUND
from konsul.features.dependencies import reading, shape
from konsul.features.dependencies.health import health_of
from konsul.kernel.command import query
from konsul.kernel.context import Context
from konsul.kernel.graph import TURN

READ: Final = "service:read"


@dataclass(frozen=True, slots=True)
class Graph:
    """Services and what they need: `nodes` by name with their documents, `edges` as `(from, to)`."""

    nodes: Mapping[str, dict[str, Any]]
    edges: Sequence[tuple[str, str]]
    order: Sequence[str]
    """Every service after all that it needs."""

    def document(self) -> dict[str, Any]:
        """As the route answers it."""
        return {
            "nodes": list(self.nodes.values()),
            "edges": [{"from": one, "to": other} for one, other in self.edges],
            "order": list(self.order),
        }

    def dot(self) -> str:
        """In Graphviz's language."""
        return shape.dot(((name, node["health"]) for name, node in self.nodes.items()), self.edges)


@query("service.dependencies", needs=READ, resource="name")
async def dependencies(ctx: Context, *, name: str) -> dict[str, Any]:
    """What a service depends on and which depend on it, without those that the caller may not read.

    Raises:
        NotFound: it has no instance, declares nothing and nothing depends on it.
    """
    needed, needing = _known(ctx, name)
    row = reading.row_of(ctx.engine, name)
    return {
        "service": name,
        "dependencies": _visible(ctx, needed),
        "dependents": _visible(ctx, needing),
        "modify_index": 0 if row is None else row.modify_index,
    }


@query("service.impact", needs=READ, resource="name")
async def impact(ctx: Context, *, name: str) -> dict[str, Any]:
    """What would be hit if a service failed, and what could hit it: all that depend on it and all it depends
    on, over any number of steps, each with its health. What the caller may not read is left out, not what is
    behind it.

    Raises:
        NotFound: as `dependencies`.
    """
    _known(ctx, name)
    engine = ctx.engine
    needed_by = shape.reach(name, lambda one: reading.dependents_of(engine, one))
    needs = shape.reach(name, lambda one: reading.dependencies_of(engine, one))
    return {
        **_node(ctx, name, "service"),
        "dependents": await _reached(ctx, needed_by),
        "dependencies": await _reached(ctx, needs),
    }


@query("service.dependency_graph", needs="service:list")
async def graph(ctx: Context, *, root: str | None = None) -> Graph:
    """Every service that depends on something or is depended on, or with `root` that one and all it depends
    on; without those that the caller may not read.

    Raises:
        NotFound: `root` is unknown, or not for the caller to read.
    """
    if root is None:
        edges = reading.all_edges(ctx.engine)
    else:
        if not _visible(ctx, [root]):
            raise NotFound(NOT_FOUND)
        _known(ctx, root)
        edges = _below(ctx, root)
    depths = shape.depths(edges)
    names = _visible(ctx, sorted({root} | depths.keys() if root else depths))
    seen = set(names)
    nodes: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names, 1):
        nodes[name] = _node(ctx, name) | {"depth": depths.get(name, 0)}
        if number % TURN == 0:
            await asyncio.sleep(0)
    pairs = [(one, other) for one in names for other in edges.get(one, ()) if other in seen]
    ordered = [name for name in shape.order(edges) if name in seen]
    return Graph(nodes, pairs, ordered or names)


def _below(ctx: Context, root: str) -> dict[str, Sequence[str]]:
    engine = ctx.engine
    reached = shape.reach(root, lambda one: reading.dependencies_of(engine, one))
    found = {name: reading.dependencies_of(engine, name) for name in (root, *reached)}
    return {name: needed for name, needed in found.items() if needed}


def _known(ctx: Context, name: str) -> tuple[Sequence[str], Sequence[str]]:
    """What it needs and what needs it. Raises NotFound for a service nobody has heard of."""
    if NAME.fullmatch(name):
        found = reading.dependencies_of(ctx.engine, name), reading.dependents_of(ctx.engine, name)
        if any(found) or is_registered(ctx, name):
            return found
    raise NotFound(NOT_FOUND)


def _visible(ctx: Context, names: Iterable[str]) -> list[str]:
    sight = ctx.visible(READ)
    return list(names) if sight is None else [name for name in names if sight.sees(name)]


def _node(ctx: Context, name: str, member: str = "name") -> dict[str, Any]:
    return {member: name, **health_of(ctx, name).document()}


async def _reached(ctx: Context, found: Mapping[str, int]) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    for number, name in enumerate(_visible(ctx, found), 1):
        nodes.append(_node(ctx, name) | {"depth": found[name]})
        if number % TURN == 0:
            await asyncio.sleep(0)
    return nodes
