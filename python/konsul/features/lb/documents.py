"""What the routes of load balancing take and answer."""

from __future__ import annotations

from typing import Any, Final

from konsul.features.lb.loads import Known
from konsul.features.lb.rule_queries import Stored
from konsul.features.lb.rules import DROP, KEEP, document_of
from konsul.features.lb.strategies import Strategy
from konsul.kernel.duration import moment
from konsul.kernel.routing import JSON

_TEXT: Final = {"type": "string"}
_NAMED: Final = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _TEXT,
        "percent": {"type": "number", "minimum": 0, "maximum": 100},
        "tags": {"type": "array", "items": _TEXT},
        "meta": {"type": "object", "additionalProperties": _TEXT},
    },
}
_SPLIT: Final[dict[str, Any]] = {
    "rules": {"type": "array", "items": _NAMED},
    "active": _TEXT,
    "strict": {"type": "boolean"},
}
_STRATEGY: Final = {"type": "string", "enum": list(Strategy)}
_RULES: Final[dict[str, Any]] = {
    "strategy": _STRATEGY,
    "warning": {"type": "string", "enum": [KEEP, DROP]},
    "warning_weight_percent": {"type": "integer", "minimum": 1, "maximum": 100},
    "zone": {
        "type": "object",
        "properties": {
            "prefer": {"type": "boolean"},
            "min_percent": {"type": "integer", "minimum": 1, "maximum": 100},
        },
    },
    "load_factor": {"type": "number", "minimum": 1.01, "maximum": 100},
    **_SPLIT,
}
_LOAD: Final[dict[str, Any]] = {
    "id": _TEXT,
    "connections": {"type": "integer", "minimum": 0},
    "latency_ms": {"type": "number", "minimum": 0},
}
_REPORTS: Final = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "required": ["name"], "properties": {"name": _TEXT, **_LOAD}},
}


def _body(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


SET_STRATEGY: Final = _body(["strategy"], {"strategy": _STRATEGY})
SET_RULES: Final = _body([], _RULES)
SET_SPLIT: Final = _body(["rules"], _SPLIT)
ACTIVATE: Final = _body(["active"], {"active": _TEXT})
REPORT: Final = _body([], {"client": _TEXT, **_LOAD})
REPORTS: Final = _body(["reports"], {"client": _TEXT, "reports": _REPORTS})


def stored(one: Stored) -> dict[str, Any]:
    """The rules of a service with what is known of them."""
    return {
        "service": one.service,
        "rules": document_of(one.rules),
        "modify_index": one.modify_index,
        "set_by": one.set_by,
        "set_at": moment(one.set_at_ms),
    }


def load(instance_id: str, known: Known) -> dict[str, Any]:
    """What a node knows of the load of one instance."""
    return {
        "id": instance_id,
        "connections": known.connections,
        "clients": known.clients,
        "assigned": known.assigned,
        "latency_ms": None if known.latency_ms is None else round(known.latency_ms, 3),
        "age_ms": None if known.age_s is None else round(known.age_s * 1_000),
    }
