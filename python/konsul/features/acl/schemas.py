"""How the bodies of `/acl` look in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from konsul.features.acl.policy import (
    CAPABILITIES,
    DESCRIPTION_MAX,
    PATTERN_MAX_BYTES,
    RULES_MAX,
    SELECTORS,
)
from konsul.kernel.routing import JSON

_TEXT: Final = {"type": "string"}
_NAME: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_NAMES: Final = {"type": "array", "items": _TEXT, "maxItems": 64}
_RESOURCE: Final = {"type": "string", "enum": list(SELECTORS)}


def _body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


def _rules(resource: str) -> dict[str, Any]:
    selector = SELECTORS[resource]
    capabilities = {
        "type": "array",
        "items": {"type": "string", "enum": list(CAPABILITIES[resource])},
        "minItems": 1,
    }
    pattern = {"type": "string", "minLength": 1, "maxLength": PATTERN_MAX_BYTES}
    properties = ({} if selector is None else {selector: pattern}) | {"capabilities": capabilities}
    rule = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "array", "items": rule, "maxItems": RULES_MAX}


_DOCUMENT: Final = {
    "name": _NAME,
    "description": {"type": "string", "maxLength": DESCRIPTION_MAX},
    **{resource: _rules(resource) for resource in SELECTORS},
}
_QUESTION: Final = {"resource": _RESOURCE, "path": _TEXT, "capability": _TEXT}

POLICY: Final = _body(_DOCUMENT, ["name"])
VALIDATE: Final = _body(_DOCUMENT, [])
TEST: Final = _body({"policies": _NAMES, **_QUESTION}, ["policies", "resource", "capability"])
EXPLAIN: Final = _body(
    {
        **_QUESTION,
        "token": _TEXT | {"description": "A token or API key; without any of these, the caller."},
        "api_key": _TEXT | {"description": "The id of an API key."},
        "user": _TEXT | {"description": "The id of a user."},
        "policies": _NAMES | {"description": "Policies as if somebody had them."},
        "document": {"type": "object", "properties": _DOCUMENT, "description": "A policy stored nowhere."},
    },
    ["resource", "capability"],
)
