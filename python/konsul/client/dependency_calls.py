"""The calls of the routes about dependencies between services."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from konsul.client.model import Dependencies, DependencyGraph, GraphNode, Impact
from konsul.client.request import JSON, Answer, Call, Params, Request, option, segment
from konsul.errors import Invalid

_GRAPH = "/services/dependency-graph"
_ROUTE = "/services/{name}/dependencies"


def get(name: str, consistency: str | None = None) -> Call[Dependencies]:
    """What a service depends on, and which depend on it. The result raises NotFound when nobody has heard of
    it."""
    params = option("consistency", consistency)
    request = Request("GET", _path(name), f"GET {_ROUTE}", params, repeatable=True, kind="read")
    return Call(request, _declared)


def add(name: str, needed: Iterable[str]) -> Call[Dependencies]:
    """Declare that a service depends on these too. The result raises Conflict for a cycle, and names it."""
    return _declare("POST", name, needed)


def replace(name: str, needed: Iterable[str]) -> Call[Dependencies]:
    """Declare all that a service depends on. The result raises Conflict for a cycle, and names it."""
    return _declare("PUT", name, needed)


def remove(name: str, needed: Iterable[str] = ()) -> Call[Dependencies]:
    """Take these back, or all; absent ones are fine."""
    params = tuple(("dependency", one) for one in needed)
    request = Request("DELETE", _path(name), f"DELETE {_ROUTE}", params, repeatable=True, kind="write")
    return Call(request, _declared)


def graph(root: str | None = None, consistency: str | None = None) -> Call[DependencyGraph]:
    """Which service depends on which, of all or from `root` on."""
    params = (*option("root", root), *option("consistency", consistency))
    return Call(_graph(params), _graph_of)


def dot(root: str | None = None, consistency: str | None = None) -> Call[str]:
    """The graph in Graphviz's language."""
    params = (("format", "dot"), *option("root", root), *option("consistency", consistency))
    return Call(_graph(params), lambda answer: answer.body.decode())


def impact(name: str, consistency: str | None = None) -> Call[Impact]:
    """How far a failure of a service would reach. The result raises NotFound when nobody has heard of it."""
    path = f"/services/{_segment(name)}/impact"
    params = option("consistency", consistency)
    request = Request("GET", path, "GET /services/{name}/impact", params, repeatable=True, kind="read")
    return Call(request, _impact_of)


def node(members: Mapping[str, Any], name: str = "name") -> GraphNode:
    """A service in a graph from its JSON form."""
    counts = members.get("instances") or {}
    return GraphNode(
        str(members[name]),
        str(members.get("health", "")),
        int(counts.get("passing", 0)),
        int(counts.get("warning", 0)),
        int(counts.get("critical", 0)),
        int(members.get("depth", 0)),
    )


def _declare(method: str, name: str, needed: Iterable[str]) -> Call[Dependencies]:
    if isinstance(needed, str):
        raise Invalid("dependencies are a list of names")
    body = json.dumps({"dependencies": list(needed)}).encode()
    route = f"{method} {_ROUTE}"
    headers = {"Content-Type": JSON}
    return Call(Request(method, _path(name), route, (), headers, body, True, "write"), _declared)


def _declared(answer: Answer) -> Dependencies:
    members = answer.json()
    return Dependencies(
        str(members["service"]),
        tuple(members.get("dependencies") or ()),
        tuple(members.get("dependents") or ()),
    )


def _graph(params: Params) -> Request:
    return Request("GET", _GRAPH, f"GET {_GRAPH}", params, repeatable=True, kind="read")


def _graph_of(answer: Answer) -> DependencyGraph:
    members = answer.json()
    return DependencyGraph(
        tuple(node(one) for one in members["nodes"]),
        tuple((str(one["from"]), str(one["to"])) for one in members["edges"]),
        tuple(members.get("order") or ()),
    )


def _impact_of(answer: Answer) -> Impact:
    members = answer.json()
    return Impact(
        node(members, "service"),
        tuple(node(one) for one in members["dependents"]),
        tuple(node(one) for one in members["dependencies"]),
    )


def _path(name: str) -> str:
    return f"/services/{_segment(name)}/dependencies"


def _segment(name: str) -> str:
    if not name:
        raise Invalid("service name is required")
    return segment(name)
