"""How the catalog's bodies look in the OpenAPI document; what decodes them is in `bodies`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from konsul.features.catalog.check_definitions import (
    ARGUMENTS_MAX,
    BODY_MAX_CHARS,
    NOTES_MAX_CHARS,
    PATTERN_MAX_CHARS,
    THRESHOLD_MAX,
)
from konsul.features.catalog.rules import NAME
from konsul.features.catalog.tables import STATUSES
from konsul.kernel.routing import JSON

_NAME: Final = {"type": "string", "pattern": f"^{NAME.pattern}$"}
_DURATION: Final = {"type": "string", "example": "10s"}
_THRESHOLD: Final = {"type": "integer", "minimum": 1, "maximum": THRESHOLD_MAX}
CHECK_MEMBERS: Final[Mapping[str, Any]] = {
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
    "udp": {"type": "string", "example": "10.0.0.7:5300"},
    "script": {"type": "array", "items": {"type": "string"}, "maxItems": ARGUMENTS_MAX},
    "alias_service": {"type": "string"},
    "alias_node": {"type": "string"},
    "body": {"type": "string", "maxLength": BODY_MAX_CHARS},
    "expected_status": {"type": "string", "example": "200-299,301"},
    "expected_body": {"type": "string", "maxLength": PATTERN_MAX_CHARS},
    "tls_skip_verify": {"type": "boolean"},
    "tls_server_name": {"type": "string"},
    "grpc_use_tls": {"type": "boolean"},
    "success_before_passing": _THRESHOLD,
    "failures_before_warning": _THRESHOLD,
    "failures_before_critical": _THRESHOLD,
    "deregister_critical_after": _DURATION,
    "initial_status": {"type": "string", "enum": list(STATUSES)},
    "notes": {"type": "string", "maxLength": NOTES_MAX_CHARS},
}
"""The members of a definition of a check as JSON schema."""
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
        "checks": {"type": "array", "items": {"type": "object", "properties": CHECK_MEMBERS}},
        "node": _NAME,
        "zone": {"type": "string"},
        "ttl": {"type": "string", "example": "30s"},
        "dependencies": {"type": "array", "items": _NAME},
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
NODE: Final = _body(
    {
        "type": "object",
        "properties": {
            "address": {"type": "string"},
            "zone": {"type": "string"},
            "meta": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
)
