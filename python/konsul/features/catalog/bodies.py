"""Reads services out of request bodies."""

from __future__ import annotations

from typing import Any, Final

import orjson

from konsul.features.catalog.checks import complete
from konsul.features.catalog.rules import Service
from konsul.kernel.routing import MAYBE_U64, OBJECTS, TEXT, TEXT_MAP, TEXTS, Kind

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
}
SERVICE_WITH_CAS: Final[dict[str, Kind]] = SERVICE | {"cas": MAYBE_U64}


def service_of(picked: dict[str, Any]) -> Service:
    """The service of the members named by `SERVICE`. Raises Invalid for a check that cannot be one."""
    name, instance = picked["name"], picked["id"] or None
    return Service(
        name=name,
        id=instance,
        address=picked["address"],
        port=picked["port"],
        tags=tuple(picked["tags"]),
        meta=picked["meta"],
        checks=complete(picked["checks"], name, instance or name),
    )


def document(service: Service) -> bytes:
    """The service as JSON text, as a read of it would answer."""
    members: dict[str, Any] = {"name": service.name}
    if service.id is not None and service.id != service.name:
        members["id"] = service.id
    members |= {"address": service.address, "port": service.port}
    if service.tags:
        members["tags"] = service.tags
    if service.meta:
        members["meta"] = service.meta
    if service.checks:
        members["checks"] = orjson.Fragment(service.checks)
    return orjson.dumps(members)
