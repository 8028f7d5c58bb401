"""How the KV bodies look in the OpenAPI document; what decodes them is in the routes."""

from __future__ import annotations

from typing import Any, Final, get_args

from konsul.features.kv.transaction_plan import Kind
from konsul.kernel.routing import JSON, MSGPACK

_U64: Final = {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}
_KEYS: Final = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1_000}
_ITEMS: Final = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "minProperties": 1,
    "maxProperties": 1_000,
}
_EXPECTED: Final = {"type": "object", "additionalProperties": _U64}
_VALUE: Final = {
    "value": {"type": "string"},
    "encoding": {"type": "string", "enum": ["", "utf-8", "base64"]},
    "flags": _U64,
    "ttl": {"type": "string", "example": "30s"},
}


def _body(properties: dict[str, Any], required: list[str], *media: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    content = {kind: {"schema": schema} for kind in media}
    return {"requestBody": {"required": True, "content": content}}


def _batch(**properties: Any) -> dict[str, Any]:
    return _body(properties, list(properties), JSON, MSGPACK)


def _put() -> dict[str, Any]:
    document = _body({**_VALUE, "cas": _U64}, [], JSON)
    document["requestBody"]["content"]["application/octet-stream"] = {
        "schema": {"type": "string", "format": "binary"}
    }
    return document


PUT: Final = _put()
BATCH_KEYS: Final = _batch(keys=_KEYS)
BATCH_SET: Final = _batch(items=_ITEMS)
BATCH_SET_CAS: Final = _batch(items=_ITEMS, expected_indices=_EXPECTED)
BATCH_DELETE_CAS: Final = _batch(keys=_KEYS, expected_indices=_EXPECTED)
TRANSACTION: Final = _batch(
    operations={
        "type": "array",
        "minItems": 1,
        "maxItems": 128,
        "items": {
            "type": "object",
            "required": ["type", "key"],
            "properties": {
                "type": {"type": "string", "enum": list(get_args(Kind))},
                "key": {"type": "string"},
                "index": _U64,
                "session": {"type": "string"},
                **_VALUE,
            },
        },
    }
)
