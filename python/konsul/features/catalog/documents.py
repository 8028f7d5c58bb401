"""How the catalog's bodies look in the OpenAPI document; what decodes them is in `bodies`."""

from __future__ import annotations

from typing import Any, Final

from konsul.features.catalog.rules import NAME
from konsul.kernel.routing import JSON

_NAME: Final = {"type": "string", "pattern": f"^{NAME.pattern}$"}
_DURATION: Final = {"type": "string", "example": "10s"}
_CHECK: Final = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "http": {"type": "string"},
        "tcp": {"type": "string"},
        "grpc": {"type": "string"},
        "ttl": _DURATION,
        "interval": _DURATION,
        "timeout": _DURATION,
        "method": {"type": "string"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "tls_skip_verify": {"type": "boolean"},
        "grpc_use_tls": {"type": "boolean"},
    },
}
_SERVICE: Final = {
    "type": "object",
    "required": ["name", "address", "port"],
    "properties": {
        "name": _NAME,
        "id": _NAME,
        "address": {"type": "string"},
        "port": {"type": "integer", "minimum": 1, "maximum": 65_535},
        "tags": {"type": "array", "items": {"type": "string"}},
        "meta": {"type": "object", "additionalProperties": {"type": "string"}},
        "checks": {"type": "array", "items": _CHECK},
    },
}
_CAS: Final = {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


def _list_of(name: str, items: dict[str, Any]) -> dict[str, Any]:
    member = {"type": "array", "items": items, "minItems": 1, "maxItems": 100}
    return _body({"type": "object", "required": [name], "properties": {name: member}})


REGISTER: Final = _body(
    {"allOf": [_SERVICE, {"type": "object", "properties": {"cas": _CAS}}]},
)
BATCH_SERVICES: Final = _list_of("services", _SERVICE)
BATCH_NAMES: Final = _list_of("names", {"type": "string"})
