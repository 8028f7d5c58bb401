"""The calls of prepared queries, and of searches. Documents come as the server words them."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from konsul.client.model import Document
from konsul.client.request import JSON, Answer, Call, Params, Request, flag, option, segment
from konsul.errors import Invalid

PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which services are searched for, and in what order; all that is said must hold.

    Attributes:
        filter: an expression of the filter language.
        health: passing, serving (passing or warning), any, or exactly warning or critical.
        sort: name, id, address, port, health, node, zone or modify_index.
        limit: at most so many; None: all there are.
        after: to go on behind a page.
    """

    filter: str | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    meta: tuple[tuple[str, str], ...] = ()
    node: str | None = None
    zone: str | None = None
    health: str | None = None
    sort: str | None = None
    descending: bool = False
    limit: int | None = None
    after: str | None = None
    consistency: str | None = None


@dataclass(frozen=True, slots=True)
class ServicePage:
    """Services with their health, as the server words them. `after`: to go on with; None at the end."""

    services: tuple[Document, ...]
    after: str | None


def search_of(tags: Iterable[str], meta: Mapping[str, str] | None, **said: Any) -> Search:
    """A search of what is said. Raises Invalid for a limit below 1."""
    if said.get("limit") is not None and said["limit"] < 1:
        raise Invalid("a limit is at least 1")
    return Search(tags=tuple(tags), meta=tuple((meta or {}).items()), **said)


def search(asked: Search) -> Generator[Call[Any], Any, ServicePage]:
    """Any number of services, a thousand at a time, until the limit or the end."""
    found: list[Document] = []
    after = asked.after
    while True:
        most = PAGE if asked.limit is None else min(PAGE, asked.limit - len(found))
        page: ServicePage = yield _page(replace(asked, after=after, limit=most))
        found += page.services
        after = page.after
        if after is None or len(found) == asked.limit:
            return ServicePage(tuple(found), after)


def _page(asked: Search) -> Call[ServicePage]:
    params: Params = (
        *option("filter", asked.filter),
        *option("name", asked.name),
        *(("tags", tag) for tag in asked.tags),
        *((f"meta.{name}", value) for name, value in asked.meta),
        *option("node", asked.node),
        *option("zone", asked.zone),
        *option("health", asked.health),
        *option("sort", asked.sort or "name"),
        *option("order", "desc" if asked.descending else None),
        *option("limit", asked.limit),
        *option("after", asked.after),
        *option("consistency", asked.consistency),
    )
    has_question = any((asked.filter is not None, asked.name, asked.tags, asked.meta, asked.node, asked.zone))
    if not has_question and asked.health is None:
        params += (("health", "any"),)
    request = Request("GET", "/services/query", "GET /services/query", params, repeatable=True, kind="read")
    return Call(request, _page_of)


def _page_of(answer: Answer) -> ServicePage:
    document = answer.json()
    return ServicePage(tuple(document["services"]), document.get("after"))


def list_(consistency: str | None = None) -> Call[tuple[Document, ...]]:
    """Every prepared query, by name."""
    request = Request(
        "GET", "/query", "GET /query", option("consistency", consistency), repeatable=True, kind="read"
    )
    return Call(request, lambda answer: tuple(answer.json()))


def get(which: str, consistency: str | None = None) -> Call[Document]:
    """One by its id or name. The result raises NotFound."""
    return _read(which, "", option("consistency", consistency))


def explain(which: str) -> Call[Document]:
    """What would be executed for an id or name. The result raises NotFound."""
    return _read(which, "/explain", ())


def execute(
    which: str,
    near: str | None = None,
    limit: int | None = None,
    strategy: str | None = None,
    passing: bool = False,
    consistency: str | None = None,
) -> Call[Document]:
    """What an id, a name, or a name that a template answers for, finds. The result raises NotFound."""
    params = (
        *option("near", near),
        *option("limit", limit),
        *option("strategy", strategy),
        *flag("passing", passing),
        *option("consistency", consistency),
    )
    return _read(which, "/execute", params)


def create(document: Mapping[str, Any]) -> Call[str]:
    """Make a query; the result is its id. Conflict if its name is taken."""
    request = Request(
        "POST", "/query", "POST /query", (), {"Content-Type": JSON}, _json(document), kind="write"
    )
    return Call(request, _id)


def update(which: str, document: Mapping[str, Any], cas: int | None = None) -> Call[str]:
    """Replace a query, all of it; the result is its id. The result raises NotFound and Conflict."""
    headers = {"Content-Type": JSON}
    path, params = _path(which), option("cas", cas)
    route = "PUT /query/{id}"
    return Call(Request("PUT", path, route, params, headers, _json(document), cas is None, kind="write"), _id)


def delete(which: str, cas: int | None = None) -> Call[str]:
    """Remove a query by its id or name; the result is its id. The result raises NotFound and Conflict."""
    request = Request("DELETE", _path(which), "DELETE /query/{id}", option("cas", cas), kind="write")
    return Call(request, _id)


def _read(which: str, rest: str, params: Params) -> Call[Document]:
    path = _path(which) + rest
    request = Request("GET", path, f"GET /query/{{id}}{rest}", params, repeatable=True, kind="read")
    return Call(request, Answer.json)


def _path(which: str) -> str:
    if not which:
        raise Invalid("a query has an id or a name")
    return f"/query/{segment(which)}"


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _id(answer: Answer) -> str:
    return str(answer.json()["id"])
