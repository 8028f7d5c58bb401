"""How the bodies of `/auth/users` and `/auth/apikeys` look in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from konsul.features.auth.credentials import PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, USER_ID
from konsul.kernel.routing import JSON

_TEXT: Final = {"type": "string"}
_SECRET: Final = {"type": "string", "format": "password"}
_PASSWORD: Final = _SECRET | {"minLength": PASSWORD_CHARS_MIN, "maxLength": PASSWORD_BYTES_MAX}
_USER_ID: Final = {"type": "string", "pattern": f"^{USER_ID.pattern}$"}
_POLICY: Final = {"type": "string", "pattern": "^([A-Za-z0-9_-]{1,64}|[*])$"}
_POLICIES: Final = {"type": "array", "items": _POLICY, "maxItems": 64}
_ROLES: Final = {"type": "array", "items": {"type": "string", "enum": ["user", "admin"]}}
_METADATA: Final = {"type": "object", "additionalProperties": _TEXT, "maxProperties": 64}
_BOOL: Final = {"type": "boolean"}


def _body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


_USER: Final = {"username": _TEXT, "roles": _ROLES, "policies": _POLICIES}
_KEY: Final = {"name": _TEXT, "permissions": _POLICIES, "metadata": _METADATA}

USER: Final = _body({"user_id": _USER_ID, "password": _PASSWORD, **_USER}, ["user_id"])
USER_CHANGES: Final = _body({**_USER, "enabled": _BOOL}, [])
PASSWORD: Final = _body({"password": _PASSWORD, "old_password": _SECRET}, ["password"])
API_KEY: Final = _body(
    {**_KEY, "expires_in": {"type": "integer", "minimum": 1, "description": "Seconds; without it, never."}},
    ["name"],
)
API_KEY_CHANGES: Final = _body({**_KEY, "enabled": _BOOL}, [])
