"""The calls of the catalog routes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from konsul.client.kv_calls import moment
from konsul.client.model import BatchResult, BatchServices, Check, Service, ServiceInstance, Written
from konsul.client.request import JSON, Answer, Call, Flow, Params, Request, flag, option, segment
from konsul.errors import Invalid

BATCH_SERVICES_MAX = 100
CHECK_FIELDS = tuple(one.name for one in dataclasses.fields(Check))


def register(service: Service, cas: int | None = None) -> Call[Written]:
    """Register or replace one instance; a plain registration renews its lease."""
    body = {**document(service), **({} if cas is None else {"cas": cas})}
    headers = {"Content-Type": JSON}
    request = Request(
        "PUT", "/register", "PUT /register", (), headers, _json(body), cas is None, kind="write"
    )
    return Call(request, lambda answer: Written(service.name, int(answer.json().get("modify_index", 0))))


def deregister(name: str, instance: str | None = None, cas: int | None = None) -> Call[Written]:
    """Take one instance out; without `cas` an absent one is a success."""
    params = (*option("id", instance), *option("cas", cas))
    path = f"/deregister/{_name(name)}"
    return Call(
        Request("DELETE", path, "DELETE /deregister/{name}", params, repeatable=cas is None, kind="write"),
        lambda _: Written(name),
    )


def deregister_all(name: str) -> Call[None]:
    """Take every instance of a service out; none is a success."""
    path = f"/deregister/{_name(name)}"
    request = Request(
        "DELETE", path, "DELETE /deregister/{name}", flag("all", True), repeatable=True, kind="write"
    )
    return Call(request, lambda _: None)


def heartbeat(name: str, instance: str | None = None) -> Call[None]:
    """Renew the lease of one instance. The result raises NotFound when it is not registered (any more)."""
    path = f"/heartbeat/{_name(name)}"
    request = Request("PUT", path, "PUT /heartbeat/{name}", option("id", instance), repeatable=True)
    return Call(request, lambda _: None)


def get(name: str, consistency: str | None = None) -> Call[ServiceInstance]:
    """The instance that stands for the service: the one called like it, else the first by id."""
    path = f"/services/{_name(name)}"
    params = (*flag("metadata", True), *option("consistency", consistency))
    request = Request("GET", path, "GET /services/{name}", params, repeatable=True, kind="read")
    return Call(request, lambda answer: _instance(answer.json()))


def instances(
    name: str, consistency: str | None = None, health: str | None = None
) -> Call[tuple[ServiceInstance, ...]]:
    """Every live instance of a service, by id; with `health` (passing, serving, any) those that are so. The
    result raises NotFound when there is none at all."""
    path = f"/services/{_name(name)}/instances"
    params = (*flag("metadata", True), *option("health", health), *option("consistency", consistency))
    request = Request("GET", path, "GET /services/{name}/instances", params, repeatable=True, kind="read")
    return Call(request, lambda answer: tuple(_instance(item) for item in answer.json()))


def list_(consistency: str | None = None, health: str | None = None) -> Call[tuple[Service, ...]]:
    """Every live instance of every service, by name and id; with `health` (passing, serving, any) those that
    are so."""
    params = (*option("health", health), *option("consistency", consistency))
    request = Request("GET", "/services/", "GET /services/", params, repeatable=True, kind="read")
    return Call(request, lambda answer: tuple(service(item) for item in answer.json()))


def maintenance(name: str, enable: bool, reason: str = "", instance: str | None = None) -> Call[None]:
    """Take an instance out of service, as if it were critical, or put it back; without `instance` the one
    called like its service."""
    path = f"/services/{_name(name)}/maintenance"
    params = (
        ("enable", "true" if enable else "false"),
        *option("reason", reason or None),
        *option("id", instance),
    )
    route = "PUT /services/{name}/maintenance"
    return Call(Request("PUT", path, route, params, repeatable=True, kind="write"), lambda _: None)


def query(
    tags: Iterable[str], meta: Mapping[str, str], consistency: str | None = None
) -> Call[tuple[Service, ...]]:
    """Services that carry all of `tags` and all pairs of `meta`. Raises Invalid when neither is given."""
    params: Params = (
        *(("tags", tag) for tag in tags),
        *((f"meta.{name}", value) for name, value in meta.items()),
    )
    if not params:
        raise Invalid("at least one tag or metadata filter must be specified")
    params += option("consistency", consistency)
    return Call(
        Request("GET", "/services/query", "GET /services/query", params, repeatable=True, kind="read"),
        lambda answer: tuple(service(item) for item in answer.json()["services"]),
    )


def get_many(names: Iterable[str], consistency: str | None = None) -> Flow[BatchServices]:
    """Read any number of services, a hundred at a time."""
    found: dict[str, Service] = {}
    missing: dict[str, None] = {}
    for part in _chunks(list(names)):
        answer = yield _batch("get", {"names": part}, option("consistency", consistency))
        found.update({name: service(item) for name, item in answer["found"].items()})
        missing.update(dict.fromkeys(answer["not_found"]))
    return BatchServices(found, tuple(missing))


def register_many(
    services: Iterable[Service], progress: Callable[[int], None] = lambda _: None
) -> Flow[BatchResult]:
    """Register any number of services, a hundred at a time. Each stands alone: see `failed` for those
    refused."""
    count = requests = 0
    failed: dict[str, str] = {}
    for part in _chunks(list(services)):
        answer = yield _batch("register", {"services": [document(one) for one in part]})
        reasons = answer.get("errors") or {}
        failed.update({name: str(reasons.get(name, "refused")) for name in answer.get("failed") or ()})
        count, requests = count + int(answer["count"]), requests + 1
        progress(len(part))
    return BatchResult(count, requests, failed)


def deregister_many(names: Iterable[str]) -> Flow[BatchResult]:
    """Take any number of services out, a hundred at a time; absent ones count."""
    count = requests = 0
    for part in _chunks(list(names)):
        answer = yield _batch("deregister", {"names": part})
        count, requests = count + int(answer["count"]), requests + 1
    return BatchResult(count, requests)


def document(one: Service) -> dict[str, Any]:
    """The JSON form of a service; empty members are left out."""
    members: dict[str, Any] = {"name": one.name, "id": one.id, "address": one.address, "port": one.port}
    members |= {"tags": list(one.tags), "meta": dict(one.meta)}
    members["checks"] = [check_document(check) for check in one.checks]
    members |= {"node": one.node, "zone": one.zone, "ttl": one.ttl}
    found = {name: value for name, value in members.items() if value or name == "port"}
    if one.dependencies is not None:
        found["dependencies"] = list(one.dependencies)
    return found


def check_document(one: Check) -> dict[str, Any]:
    """The JSON form of a check; empty members are left out."""
    members = {name: getattr(one, name) for name in CHECK_FIELDS}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in members.items() if value
    }


def check(members: Mapping[str, Any]) -> Check:
    """A check from the JSON form of its definition; members that this client does not know are left out."""
    found = {name: value for name, value in members.items() if name in CHECK_FIELDS and value}
    if "script" in found:
        found["script"] = tuple(found["script"])
    return Check(**found)


def service(members: Mapping[str, Any]) -> Service:
    """A service from its JSON form."""
    return Service(
        name=str(members["name"]),
        address=str(members.get("address", "")),
        port=int(members.get("port", 0)),
        id=str(members.get("id") or ""),
        tags=tuple(members.get("tags") or ()),
        meta=dict(members.get("meta") or {}),
        checks=tuple(check(item) for item in members.get("checks") or ()),
        node=str(members.get("node") or ""),
        zone=str(members.get("zone") or ""),
    )


def _instance(members: Mapping[str, Any]) -> ServiceInstance:
    inner = members.get("service")
    return ServiceInstance(
        service(inner if isinstance(inner, dict) else members),
        int(members.get("create_index", 0)),
        int(members.get("modify_index", 0)),
        moment(members.get("expires_at")),
        str(members.get("health") or ""),
    )


def _name(name: str) -> str:
    if not name:
        raise Invalid("service name is required")
    return segment(name)


def _json(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()


def _chunks(items: list[Any]) -> Iterable[list[Any]]:
    return (items[at : at + BATCH_SERVICES_MAX] for at in range(0, len(items), BATCH_SERVICES_MAX))


def _batch(verb: str, body: Mapping[str, Any], params: Params = ()) -> Call[Any]:
    route = f"/batch/services/{verb}"
    kind: Literal["read", "write"] = "read" if verb == "get" else "write"
    headers = {"Content-Type": JSON}
    request = Request(
        "POST", route, f"POST {route}", params, headers, _json(body), repeatable=True, kind=kind
    )
    return Call(request, Answer.json)
