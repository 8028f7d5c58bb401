"""The calls of the routes about nodes, the machines that instances are on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from konsul.client.model import Node, Page
from konsul.client.request import JSON, Answer, Call, Flow, Request, option, segment
from konsul.errors import Invalid

_ROUTE = "/nodes/{name}"
PAGE = 1_000


def list_(filter: str | None = None, consistency: str | None = None) -> Flow[tuple[Node, ...]]:
    """Every node by name, or those that the filter expression holds for; any number, page by page."""
    found: list[Node] = []
    after: str | None = None
    while True:
        params = (
            *option("filter", filter),
            *option("limit", PAGE),
            *option("after", after),
            *option("consistency", consistency),
        )
        request = Request("GET", "/nodes", "GET /nodes", params, repeatable=True, kind="read")
        page = yield Call(request, _page)
        found += page.items
        after = page.after
        if after is None:
            return tuple(found)


def get(name: str, consistency: str | None = None) -> Call[Node]:
    """One node with its instances and checks. The result raises NotFound when there is none."""
    params = option("consistency", consistency)
    request = Request("GET", _path(name), f"GET {_ROUTE}", params, repeatable=True, kind="read")
    return Call(request, lambda answer: node(answer.json()))


def set_(name: str, address: str, zone: str, meta: Mapping[str, str]) -> Call[None]:
    """Make a node, or replace what is known of it; its instances and checks stay."""
    body = {"address": address, "zone": zone, "meta": dict(meta)}
    packed = json.dumps({member: value for member, value in body.items() if value}).encode()
    headers = {"Content-Type": JSON}
    route = f"PUT {_ROUTE}"
    return Call(Request("PUT", _path(name), route, (), headers, packed, True, "write"), lambda _: None)


def delete(name: str) -> Call[None]:
    """Remove a node with its instances and checks. The result raises NotFound when there is none."""
    request = Request("DELETE", _path(name), f"DELETE {_ROUTE}", repeatable=True, kind="write")
    return Call(request, lambda _: None)


def maintenance(name: str, enable: bool, reason: str = "") -> Call[None]:
    """Take everything on a node out of service, as if it were critical; or put it back."""
    params = (("enable", "true" if enable else "false"), *option("reason", reason or None))
    route = f"PUT {_ROUTE}/maintenance"
    request = Request("PUT", f"{_path(name)}/maintenance", route, params, repeatable=True, kind="write")
    return Call(request, lambda _: None)


def node(members: Mapping[str, Any]) -> Node:
    """A node from its JSON form."""
    return Node(
        name=str(members["name"]),
        address=str(members.get("address") or ""),
        zone=str(members.get("zone") or ""),
        meta=dict(members.get("meta") or {}),
        health=str(members.get("health") or ""),
        document=dict(members),
    )


def _page(answer: Answer) -> Page[Node]:
    return Page(tuple(map(node, answer.json())), answer.headers.get("x-konsul-next-after"))


def _path(name: str) -> str:
    if not name:
        raise Invalid("node name is required")
    return f"/nodes/{segment(name)}"
