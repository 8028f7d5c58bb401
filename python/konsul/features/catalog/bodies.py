"""Reads services out of request bodies."""

from __future__ import annotations

from typing import Any, Final

import orjson

from konsul.errors import Invalid
from konsul.features.catalog.checks import complete, shown_of
from konsul.features.catalog.rules import TTL_MAX_MS, Service
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.routing import MAYBE_TEXTS, MAYBE_U64, OBJECTS, TEXT, TEXT_MAP, TEXTS, Kind

_I64: Final = range(-(2**63), 2**63)


class _Integer:
    """A signed 64-bit integer; which of them are ports is for the rules to say."""

    empty: Final = 0

    def __call__(self, value: object) -> int:
        if type(value) is not int or value not in _I64:
            raise ValueError
        return value


SERVICE: Final[dict[str, Kind]] = {
    "name": TEXT,
    "id": TEXT,
    "address": TEXT,
    "port": _Integer(),
    "tags": TEXTS,
    "meta": TEXT_MAP,
    "checks": OBJECTS,
    "node": TEXT,
    "zone": TEXT,
    "ttl": TEXT,
    "dependencies": MAYBE_TEXTS,
}
SERVICE_WITH_CAS: Final[dict[str, Kind]] = SERVICE | {"cas": MAYBE_U64}


def service_of(picked: dict[str, Any]) -> Service:
    """The service of the members named by `SERVICE`. Raises Invalid for a check or TTL that cannot be one."""
    name, instance = picked["name"], picked["id"] or None
    depends_on = picked["dependencies"]
    return Service(
        name=name,
        id=instance,
        address=picked["address"],
        port=picked["port"],
        tags=tuple(picked["tags"]),
        meta=picked["meta"],
        checks=complete(picked["checks"], name, instance or name),
        node=picked["node"] or None,
        zone=picked["zone"],
        ttl_ms=_ttl_ms(picked["ttl"]),
        depends_on=None if depends_on is None else tuple(depends_on),
    )


def _ttl_ms(text: str) -> int | None:
    if not text:
        return None
    try:
        given_ms = parse_duration_ms(text)
    except ValueError:
        raise Invalid(f"invalid service ttl: {text[:100]} (expected a duration such as 30s, or 0)") from None
    if given_ms > TTL_MAX_MS:
        raise Invalid(f"invalid service ttl: {text[:100]} is too long (at most 8760h)")
    return given_ms


def document(service: Service, zone: str) -> bytes:
    """The service as JSON text, as a read of it would answer; `zone`: the one it was given."""
    members: dict[str, Any] = {"name": service.name}
    if service.id is not None and service.id != service.name:
        members["id"] = service.id
    members |= {"address": service.address, "port": service.port}
    if service.tags:
        members["tags"] = service.tags
    if service.meta:
        members["meta"] = service.meta
    if service.checks:
        members["checks"] = orjson.Fragment(shown_of(service.checks) or b"[]")
    if service.node:
        members["node"] = service.node
    if zone:
        members["zone"] = zone
    return orjson.dumps(members)
