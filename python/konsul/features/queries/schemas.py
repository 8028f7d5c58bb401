"""How a prepared query looks in the OpenAPI document; what checks it is in `documents`."""

from __future__ import annotations

from typing import Any, Final

from konsul.features.lb.strategies import Strategy
from konsul.features.queries.documents import LIMIT_MAX, NAME, PAIRS_MAX, TAGS_MAX, TARGETS_MAX
from konsul.features.queries.templates import PREFIX_MATCH
from konsul.kernel.routing import JSON

_TEXT: Final = {"type": "string", "maxLength": 512}
_TEXTS: Final = {"type": "array", "items": _TEXT, "maxItems": TAGS_MAX}
_PAIRS: Final = {"type": "object", "additionalProperties": _TEXT, "maxProperties": PAIRS_MAX}
_TARGET: Final = {"type": "object", "required": ["datacenter"], "properties": {"datacenter": _TEXT}}
_SERVICE: Final = {
    "type": "object",
    "required": ["service"],
    "additionalProperties": False,
    "properties": {
        "service": _TEXT,
        "tags": _TEXTS | {"description": "All of them; with `!` in front none of them."},
        "meta": _PAIRS,
        "node_meta": _PAIRS,
        "only_passing": {"type": "boolean"},
        "near": _TEXT,
        "failover": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "nearest_n": {"type": "integer", "minimum": 0, "maximum": TARGETS_MAX},
                "targets": {"type": "array", "items": _TARGET, "maxItems": TARGETS_MAX},
            },
        },
        "ignore_check_ids": {"type": "array", "items": _TEXT},
        "filter": {"type": "string", "maxLength": 2_048},
    },
}
_QUERY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["service"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "session": {"type": "string"},
        "template": {
            "type": "object",
            "required": ["type"],
            "additionalProperties": False,
            "properties": {
                "type": {"type": "string", "enum": [PREFIX_MATCH]},
                "regexp": _TEXT,
                "remove_empty_tags": {"type": "boolean"},
            },
        },
        "service": _SERVICE,
        "dns": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"ttl": {"type": "string", "example": "10s"}},
        },
        "limit": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX},
        "strategy": {"type": "string", "enum": list(Strategy)},
        "id": {"type": "string"},
        "create_index": {"type": "integer"},
        "modify_index": {"type": "integer"},
    },
}
QUERY: Final = {"requestBody": {"required": True, "content": {JSON: {"schema": _QUERY}}}}
