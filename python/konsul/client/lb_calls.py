"""The calls of load balancing: selections, rules, reports. Rules come and go as the server words them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from konsul.client.model import Document, Service
from konsul.client.request import JSON, Answer, Call, Params, Request, option, segment
from konsul.client.service_calls import service as service_of
from konsul.errors import Invalid


@dataclass(frozen=True, slots=True)
class Selected:
    """Whom the server chose. `services`: best first, one unless more were wished for. `rule`: the named rule
    the request was for, empty for none."""

    service: Service
    strategy: str
    services: tuple[Service, ...] = ()
    rule: str = ""


@dataclass(frozen=True, slots=True)
class BalancingRules:
    """What was said of one service. `set_at` is RFC 3339 text."""

    service: str
    rules: Mapping[str, Any] = field(default_factory=dict)
    modify_index: int = 0
    set_by: str = ""
    set_at: str = ""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One client's word on an instance: its open connections, and how long answers took. `id` empty: of the
    one called like its service."""

    name: str
    id: str = ""
    connections: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class InstanceLoad:
    """What one server knows of the load of an instance. `assigned`: clients it sent there since a report."""

    id: str
    connections: int = 0
    clients: int = 0
    assigned: int = 0
    latency_ms: float | None = None
    age_ms: int | None = None


def wishes(
    strategy: str | None,
    session: str | None,
    region: str | None,
    zone: str | None,
    client_ip: str | None,
    rule: str | None,
    warning: str | None,
    load_factor: float | None,
    limit: int | None,
    consistency: str | None,
) -> Params:
    """The parameters of a selection that are said."""
    return (
        *option("strategy", strategy),
        *option("session", session),
        *option("region", region),
        *option("zone", zone),
        *option("client-ip", client_ip),
        *option("rule", rule),
        *option("warning", warning),
        *option("load-factor", load_factor),
        *option("limit", limit),
        *option("consistency", consistency),
    )


def select(name: str, params: Params = ()) -> Call[Selected]:
    """An instance with the tag `name`, else of the service of that name. The result raises NotFound when none
    serves."""
    if not name:
        raise Invalid("a tag or the name of a service is required")
    path = "/lb/service/" + "/".join(segment(part) for part in name.split("/"))
    return _select(path, "GET /lb/service/{tag}", params)


def find(tags: Iterable[str], meta: Mapping[str, str], params: Params = ()) -> Call[Selected]:
    """An instance that carries all of `tags` and all pairs of `meta`. Raises Invalid without any."""
    filters: Params = (
        *(("tags", tag) for tag in tags),
        *((f"meta.{name}", value) for name, value in meta.items()),
    )
    if not filters:
        raise Invalid("at least one tag or metadata filter must be specified")
    return _select("/lb/query", "GET /lb/query", (*filters, *params))


def strategy() -> Call[str]:
    """The strategy of the server asked."""
    request = Request("GET", "/lb/strategy", "GET /lb/strategy", repeatable=True, kind="read")
    return Call(request, lambda answer: str(answer.json()["strategy"]))


def set_strategy(name: str) -> Call[str]:
    """Change the strategy of the server asked, until it stops."""
    return Call(
        _write("PUT", "/lb/strategy", "/lb/strategy", {"strategy": name}),
        lambda answer: str(answer.json()["strategy"]),
    )


def rules(service: str) -> Call[BalancingRules]:
    """The rules of a service, or of a tag. The result raises NotFound without some."""
    path = f"/lb/rules/{_named(service)}"
    request = Request("GET", path, "GET /lb/rules/{service}", repeatable=True, kind="read")
    return Call(request, lambda answer: _rules(answer.json()))


def list_rules() -> Call[tuple[BalancingRules, ...]]:
    """The rules of every service that has some and may be listed, by name."""
    request = Request("GET", "/lb/rules", "GET /lb/rules", repeatable=True, kind="read")
    return Call(request, lambda answer: tuple(_rules(item) for item in answer.json()["rules"]))


def set_rules(service: str, document: Mapping[str, Any], cas: int | None = None) -> Call[BalancingRules]:
    """Replace the rules of a service, on every server; with `cas` only at that modify_index (0: only new)."""
    path = f"/lb/rules/{_named(service)}"
    request = _write("PUT", path, "/lb/rules/{service}", document, option("cas", cas), repeatable=cas is None)
    return Call(request, lambda answer: _rules(answer.json()))


def delete_rules(service: str, cas: int | None = None) -> Call[None]:
    """Take the rules of a service away. The result raises NotFound when there are none."""
    path = f"/lb/rules/{_named(service)}"
    request = Request("DELETE", path, "DELETE /lb/rules/{service}", option("cas", cas), kind="write")
    return Call(request, lambda _: None)


def activate(service: str, active: str) -> Call[int]:
    """Give every request to the service's rule of that name from now on; the modify_index of the rules."""
    path = f"/lb/rules/{_named(service)}/active"
    request = _write("PUT", path, "/lb/rules/{service}/active", {"active": active})
    return Call(request, lambda answer: int(answer.json()["modify_index"]))


def split(service: str) -> Call[Document]:
    """The named rules of a service: `rules`, and what is said of `active` and `strict`."""
    path = f"/lb/service/{_named(service)}/split"
    request = Request("GET", path, "GET /lb/service/{tag}/split", repeatable=True, kind="read")
    return Call(request, lambda answer: dict(answer.json()["split"]))


def set_split(service: str, document: Mapping[str, Any]) -> Call[Document]:
    """Replace the named rules of a service, and leave the rest of what its rules say."""
    path = f"/lb/service/{_named(service)}/split"
    request = _write("PUT", path, "/lb/service/{tag}/split", document)
    return Call(request, lambda answer: dict(answer.json()["split"]))


def delete_split(service: str) -> Call[None]:
    """Take the named rules of a service away. The result raises NotFound when there are none."""
    path = f"/lb/service/{_named(service)}/split"
    return Call(Request("DELETE", path, "DELETE /lb/service/{tag}/split", kind="write"), lambda _: None)


def report(one: LoadReport, client: str = "") -> Call[None]:
    """Say how many connections `client` (the caller, if empty) has to an instance, how fast it answers."""
    path = f"/lb/report/{_named(one.name)}"
    body = _without_name(one) | ({"client": client} if client else {})
    return Call(_write("PUT", path, "/lb/report/{name}", body, kind="other"), lambda _: None)


def report_many(reports: Iterable[LoadReport], client: str = "") -> Call[tuple[tuple[str, str], ...]]:
    """The same of many instances at once; name and id of those that are not there."""
    items = [{"name": one.name, **_without_name(one)} for one in reports]
    body = {"reports": items} | ({"client": client} if client else {})
    request = _write("POST", "/lb/reports", "/lb/reports", body, kind="other")
    return Call(
        request,
        lambda answer: tuple((str(one["name"]), str(one["id"])) for one in answer.json()["unknown"]),
    )


def loads(name: str) -> Call[tuple[InstanceLoad, ...]]:
    """What the server asked knows of the load of each instance of a service."""
    path = f"/lb/report/{_named(name)}"
    request = Request("GET", path, "GET /lb/report/{name}", repeatable=True, kind="read")
    return Call(request, lambda answer: tuple(_load(item) for item in answer.json()["instances"]))


def _select(path: str, route: str, params: Params) -> Call[Selected]:
    request = Request("GET", path, route, params, repeatable=True, kind="read")
    return Call(request, _selected)


def _selected(answer: Answer) -> Selected:
    members = answer.json()
    one = service_of(members["service"])
    several = tuple(service_of(item) for item in members.get("services") or ())
    return Selected(one, str(members["strategy"]), several or (one,), str(members.get("rule") or ""))


def _rules(members: Mapping[str, Any]) -> BalancingRules:
    return BalancingRules(
        service=str(members["service"]),
        rules=dict(members.get("rules") or {}),
        modify_index=int(members.get("modify_index", 0)),
        set_by=str(members.get("set_by") or ""),
        set_at=str(members.get("set_at") or ""),
    )


def _load(members: Mapping[str, Any]) -> InstanceLoad:
    return InstanceLoad(
        id=str(members["id"]),
        connections=int(members.get("connections") or 0),
        clients=int(members.get("clients") or 0),
        assigned=int(members.get("assigned") or 0),
        latency_ms=members.get("latency_ms"),
        age_ms=members.get("age_ms"),
    )


def _without_name(one: LoadReport) -> dict[str, Any]:
    members = {"id": one.id or None, "connections": one.connections, "latency_ms": one.latency_ms}
    return {name: value for name, value in members.items() if value is not None}


def _write(
    method: str,
    path: str,
    template: str,
    body: Mapping[str, Any],
    params: Params = (),
    *,
    repeatable: bool = True,
    kind: Any = "write",
) -> Request:
    headers = {"Content-Type": JSON}
    packed = json.dumps(body).encode()
    return Request(method, path, f"{method} {template}", params, headers, packed, repeatable, kind=kind)


def _named(text: str) -> str:
    if not text:
        raise Invalid("the name of a service is required")
    return "/".join(segment(part) for part in text.split("/"))
