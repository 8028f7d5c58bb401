"""What the OpenAPI document says of credentials and permissions: the routes' own needs, on this node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI

from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.pipeline import AUTHENTICATED, PUBLIC
from konsul.kernel.routing import Route

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

NEEDS: Final = "x-konsul-needs"
"""The extension that names an operation's permission: `resource type:capability`."""
_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of `POST /auth/login`.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key; also as `Authorization: ApiKey <key>`.",
    },
}
_EITHER: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"apiKey": []}]
_TEXT: Final = {"type": "string"}


def _refusal(description: str, *members: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = dict.fromkeys(members, _TEXT) | (more or {})
    schema = {"type": "object", "required": ["error"], "properties": properties}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "401": _refusal("No credentials, or such as do not hold.", "error"),
    "403": _refusal(
        "Not permitted, or the client is blocked.",
        *("error", "message", "resource", "capability", "path", "identifier"),
    ),
    "429": _refusal(
        "Over the client's rate.",
        *("error", "identifier", "message", "reset_at"),
        more={"retry_after": {"type": "integer"}},
    ),
}


def describe(app: FastAPI, kernel: Kernel) -> None:
    """Has `/openapi.json` say what each operation needs, and, where credentials are checked, which ones."""
    guard = kernel.config.of(GuardSettings)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        is_made = app.openapi_schema is not None
        document = plain()
        if not is_made:
            _add(document, app, guard)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _add(document: dict[str, Any], app: FastAPI, guard: GuardSettings) -> None:
    if guard.auth_enabled:
        document.setdefault("components", {})["securitySchemes"] = _SCHEMES
    for route in app.routes:
        if not isinstance(route, Route) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            operation = document["paths"][route.path_format].get(method.lower())
            if operation is not None:
                _tell(operation, route.needs, guard)


def _tell(operation: dict[str, Any], needs: str, guard: GuardSettings) -> None:
    if needs not in (PUBLIC, AUTHENTICATED):
        operation[NEEDS] = needs
    answers = operation["responses"]
    answers.setdefault("429", _ANSWERS["429"])
    if not guard.auth_enabled:
        return
    if needs == PUBLIC:
        operation["security"] = []
        return
    operation["security"] = _EITHER if guard.requires_auth else [{}, *_EITHER]
    for status in ("401", "403"):
        answers.setdefault(status, _ANSWERS[status])
