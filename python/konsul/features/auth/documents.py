"""What OpenAPI says of the bodies."""

from __future__ import annotations

from typing import Any, Final

from konsul.kernel.routing import JSON


def _body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


_TEXT: Final = {"type": "string"}
_SECRET: Final = {"type": "string", "format": "password"}
LOGIN: Final = _body(
    {"user_id": _TEXT, "username": _TEXT, "password": _SECRET}, ["user_id", "username", "password"]
)
REFRESH: Final = _body({"refresh_token": _SECRET}, ["refresh_token"])
