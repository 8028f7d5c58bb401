"""The request bodies of `/cluster`, for OpenAPI."""

from __future__ import annotations

from typing import Any, Final

from konsul.features.cluster.autopilot_config import AutopilotConfig, document
from konsul.kernel.routing import JSON


def _body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {"requestBody": {"required": bool(required), "content": {JSON: {"schema": schema}}}}


_TEXT: Final = {"type": "string"}
_KINDS: Final = {bool: "boolean", int: "integer", str: "string"}

JOIN: Final = _body(
    {
        "node_id": _TEXT,
        "address": _TEXT | {"description": "host:port at which it listens for peers"},
        "join_token": _TEXT,
    },
    ["node_id", "address"],
)
TRANSFER: Final = _body({"node_id": _TEXT}, [])
JOIN_TOKEN: Final = _body(
    {
        "ttl": _TEXT | {"description": "Go text such as 24h; a day without it"},
        "uses": {"type": "integer", "minimum": 1, "maximum": 1_000},
        "description": _TEXT,
    },
    [],
)
AUTOPILOT: Final = _body(
    {
        name: {"type": _KINDS[type(value)], "default": value}
        for name, value in document(AutopilotConfig()).items()
    },
    [],
)
