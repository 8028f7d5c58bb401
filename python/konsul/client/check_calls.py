"""The calls of the routes of checks. Documents are as the server words them; their durations are nanoseconds.

Semantics:
    create, define: the definition is a `Check`; `create` with an id that the owner has defines that one anew.
    passing, warning, critical: what a TTL check says from now on, for its TTL. `output` None keeps the words
        of before where nothing else changes. The result raises Invalid for an unknown id, and for a check
        that somebody runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from konsul.client.model import Check, Document, Page
from konsul.client.request import JSON, Answer, Call, Flow, Request, option, segment
from konsul.client.service_calls import check_document
from konsul.errors import Invalid

_LIST = "/health/checks"
_ONE = "/health/check"
PAGE = 1_000


def list_(
    service: str | None = None,
    node: str | None = None,
    status: str | None = None,
    filter: str | None = None,
    consistency: str | None = None,
) -> Flow[tuple[Document, ...]]:
    """Checks by id: of a service, of a node itself, of a status, that a filter accepts; any number."""
    found: list[Document] = []
    after: str | None = None
    while True:
        params = (
            *option("service", service),
            *option("node", node),
            *option("status", status),
            *option("filter", filter),
            *option("limit", PAGE),
            *option("after", after),
            *option("consistency", consistency),
        )
        request = Request("GET", _LIST, f"GET {_LIST}", params, repeatable=True, kind="read")
        page = yield Call(request, _page)
        found += page.items
        after = page.after
        if after is None:
            return tuple(found)


def get(check_id: str, consistency: str | None = None) -> Call[Document]:
    """One check with its last results and changes of status. The result raises NotFound."""
    return _read(check_id, "", consistency)


def history(check_id: str, consistency: str | None = None) -> Call[Document]:
    """The last ten results of a check and its changes of status. The result raises NotFound."""
    return _read(check_id, "/history", consistency)


def create(check: Check, service: str = "", instance: str = "", node: str = "") -> Call[str]:
    """Add a check to an instance of a service (without `instance` the one called like it) or to a node; its
    id."""
    if bool(service) == bool(node):
        raise Invalid("a check is of a service, or of a node")
    owner = {"service": service, "service_id": instance, "node": node}
    body = check_document(check) | {name: text for name, text in owner.items() if text}
    return Call(_write("POST", _ONE, f"POST {_ONE}", body), lambda answer: str(answer.json()["check_id"]))


def define(check_id: str, check: Check) -> Call[None]:
    """Give a check another definition; with the one it has it keeps its status."""
    return _told(check_id, "definition", check_document(check))


def delete(check_id: str) -> Call[None]:
    """Take a check away. The result raises NotFound when there is none."""
    request = Request("DELETE", _path(check_id), f"DELETE {_ONE}/{{id}}", kind="write")
    return Call(request, lambda _: None)


def renew(check_id: str) -> Call[None]:
    """Tell that a TTL check passes."""
    return Call(_write("PUT", _path(check_id), f"PUT {_ONE}/{{id}}", None), lambda _: None)


def passing(check_id: str, output: str | None = None) -> Call[None]:
    """Tell that a TTL check passes, in these words."""
    return _told(check_id, "pass", _words(output))


def warning(check_id: str, output: str | None = None) -> Call[None]:
    """Tell that a TTL check warns."""
    return _told(check_id, "warn", _words(output))


def critical(check_id: str, output: str | None = None) -> Call[None]:
    """Tell that a TTL check fails: when it returns, nobody is given its instance any more."""
    return _told(check_id, "fail", _words(output))


def _words(output: str | None) -> Mapping[str, Any] | None:
    return None if output is None else {"output": output}


def _read(check_id: str, what: str, consistency: str | None) -> Call[Document]:
    params = option("consistency", consistency)
    route = f"GET {_ONE}/{{id}}{what}"
    request = Request("GET", _path(check_id) + what, route, params, repeatable=True, kind="read")
    return Call(request, Answer.json)


def _told(check_id: str, verb: str, body: Mapping[str, Any] | None) -> Call[None]:
    path = f"{_path(check_id)}/{verb}"
    return Call(_write("PUT", path, f"PUT {_ONE}/{{id}}/{verb}", body), lambda _: None)


def _write(method: str, path: str, route: str, body: Mapping[str, Any] | None) -> Request:
    if body is None:
        return Request(method, path, route, repeatable=True, kind="write")
    return Request(
        method,
        path,
        route,
        headers={"Content-Type": JSON},
        body=json.dumps(body).encode(),
        repeatable=True,
        kind="write",
    )


def _page(answer: Answer) -> Page[Document]:
    return Page(tuple(answer.json()), answer.headers.get("x-konsul-next-after"))


def _path(check_id: str) -> str:
    if not check_id:
        raise Invalid("check id is required")
    return f"{_ONE}/{segment(check_id)}"
