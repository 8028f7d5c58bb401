"""What can be watched: paths, how changes are read, and the listings a watch begins with or falls back to."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from konsul.client import pattern as patterns
from konsul.client import service_calls
from konsul.client.changes import ClusterChange, KvChange, ServiceChange
from konsul.client.course import MIN_INDEX
from konsul.client.kv_calls import row
from konsul.client.model import KeyValue, Service
from konsul.client.pursuit import Listing, Plan
from konsul.client.request import Answer, Call, Flow, Params, Request, flag, option, segment
from konsul.errors import Invalid

Rows = tuple[int, tuple[Any, ...], str | None]
HEARTBEAT = "heartbeat"
NOBODY = "-"
"""A name that a service may have and hardly one does: asked about for the index of the answer."""


def kv_plan(pattern: str, coalesce: bool, page_size: int) -> Plan:
    """The changes of the keys that match `pattern`. Raises Invalid for an empty one."""
    if not pattern:
        raise Invalid("a pattern is required; ** is every key")

    def listed(rows: bool, at_least: int) -> Flow[Listing]:
        return _kv_listing(pattern, page_size, at_least) if rows else _kv_index(pattern, at_least)

    path, params = _pattern_path(pattern)
    return Plan(
        path=path,
        route="GET /kv/watch/{pattern}",
        read=kv_change,
        key_of=lambda document: str(document["key"]),
        listed=listed,
        params=(*params, *flag("coalesce", coalesce)),
    )


def services_plan(name: str | None, tags: Sequence[str], heartbeats: bool, passing: bool = False) -> Plan:
    """The changes of the instances whose service's name matches and that carry all tags; with `passing` an
    instance comes when it is passing, and goes when it no longer is."""

    def listed(rows: bool, at_least: int) -> Flow[Listing]:
        return _services_listing(name, tags, at_least, passing) if rows else _services_index(name, at_least)

    return Plan(
        path="/services/watch",
        route="GET /services/watch",
        read=service_change,
        key_of=_instance_key,
        listed=listed,
        params=(
            *option("service", name),
            *(("tag", tag) for tag in tags),
            *flag("heartbeats", heartbeats),
            *flag("passing", passing),
        ),
    )


def cluster_plan() -> Plan:
    """The leader and the members as one node sees them. These have no past: each connection begins with how
    it is."""
    return Plan(
        path="/cluster/watch",
        route="GET /cluster/watch",
        read=lambda document: ClusterChange(str(document.get("type", "")), dict(document)),
        key_of=lambda _: None,
        listed=None,
    )


def kv_change(document: Mapping[str, Any]) -> KvChange:
    """A change of a key from its JSON form."""
    is_set = document["type"] == "set"
    old = document.get("old_value")
    return KvChange(
        "set" if is_set else "delete",
        str(document["key"]),
        _bytes(document.get("value", ""), document.get("encoding")) if is_set else None,
        None if old is None else _bytes(old, document.get("old_value_encoding")),
        int(document.get("modify_index", 0)),
        int(document.get("timestamp", 0)),
    )


def service_change(document: Mapping[str, Any]) -> ServiceChange:
    """A change of an instance from its JSON form."""
    kind: Any = document["type"]
    return ServiceChange(
        kind,
        service_calls.service(document["service"]),
        int(document.get("modify_index", 0)),
        int(document.get("timestamp", 0)),
    )


def _bytes(text: str, encoding: str | None) -> bytes:
    return base64.b64decode(text, validate=True) if encoding == "base64" else text.encode()


def _pattern_path(pattern: str) -> tuple[str, Params]:
    if "%2" in pattern:
        # In the path the server would take it for a slash or a star that somebody escaped twice.
        return "/kv/watch/", (("key", pattern),)
    stem = pattern.rstrip("/")
    parts = (quote(part, safe="*") if "." not in part else segment(part) for part in stem.split("/"))
    return "/kv/watch/" + "/".join(parts) + "%2F" * (len(pattern) - len(stem)), ()


def _listing_call(params: Params, at_least: int, read: Callable[[Any], Any]) -> Call[Rows]:
    headers = {MIN_INDEX: str(at_least)} if at_least else {}
    request = Request("GET", "/kv/", "GET /kv/", params, headers, repeatable=True, kind="read")

    def page(answer: Answer) -> Rows:
        after = answer.headers.get("x-konsul-next-after")
        rows = tuple(read(one) for one in answer.json())
        return _index(answer), rows, None if after is None else unquote(after)

    return Call(request, page)


def _index(answer: Answer) -> int:
    return int(answer.headers["x-konsul-index"])


def _kv_index(pattern: str, at_least: int) -> Flow[Listing]:
    params = (*option("prefix", patterns.prefix(pattern) or None), *flag("keys", True), *option("limit", 1))
    index, _, _ = yield _listing_call(params, at_least, str)
    return Listing(index)


def _kv_listing(pattern: str, page_size: int, at_least: int) -> Flow[Listing]:
    """Page by page; a page may be newer than the first, which is why newer rows are named."""
    matches, start = patterns.matcher(pattern), patterns.prefix(pattern)
    exact = patterns.is_exact(pattern)
    found: list[KeyValue] = []
    first: int | None = None
    after: str | None = None
    while True:
        params = (
            *option("prefix", start or None),
            *flag("recurse", True),
            *option("limit", 1 if exact else page_size),
            *option("after", after),
        )
        index, rows, after = yield _listing_call(params, first or at_least, row)
        first = index if first is None else first
        found += [one for one in rows if matches(one.key)]
        if after is None or exact:
            newer = {one.key: one.modify_index for one in found if one.modify_index > first}
            return Listing(first, tuple(found), newer)


def _services_index(name: str | None, at_least: int) -> Flow[Listing]:
    exact = name if name and patterns.is_exact(name) else NOBODY
    headers = {MIN_INDEX: str(at_least)} if at_least else {}
    path = f"/services/{segment(exact)}"
    request = Request("GET", path, "GET /services/{name}", (), headers, repeatable=True, kind="read")
    index = yield Call(request, _index, accepts=frozenset({404}))
    return Listing(index)


def _services_listing(name: str | None, tags: Sequence[str], at_least: int, passing: bool) -> Flow[Listing]:
    headers = {MIN_INDEX: str(at_least)} if at_least else {}
    params = flag("passing", passing)
    request = Request("GET", "/services/", "GET /services/", params, headers, repeatable=True, kind="read")
    matches = patterns.matcher(name) if name else lambda _: True
    wanted = set(tags)

    def page(answer: Answer) -> Listing:
        rows: list[Service] = [service_calls.service(one) for one in answer.json()]
        kept = (one for one in rows if matches(one.name) and wanted <= set(one.tags))
        return Listing(_index(answer), tuple(kept))

    listing: Listing = yield Call(request, page)
    return listing


def _instance_key(document: Mapping[str, Any]) -> str | None:
    if document["type"] == HEARTBEAT:
        return None
    service = document["service"]
    return f"{service['name']} {service.get('id') or service['name']}"
