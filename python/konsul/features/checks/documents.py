"""How checks look in answers, and what their routes take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from konsul.features.catalog.check_definitions import KINDS, shown
from konsul.features.catalog.documents import CHECK_MEMBERS
from konsul.features.catalog.status import transitions_of
from konsul.features.catalog.tables import STATUSES, Check, split_key
from konsul.features.checks.definition import INTERVAL, TIMEOUT
from konsul.kernel.duration import moment, parse_duration_ms
from konsul.kernel.routing import JSON, TEXT, Kind

ZERO_TIME: Final = "0001-01-01T00:00:00Z"
"""What the first Konsul wrote for a moment that has not come."""
DURATIONS: Final = ("ttl", "interval", "timeout")
"""Nanoseconds in answers, as the first Konsul had them; Go's text in definitions."""
_NS_PER_MS: Final = 1_000_000

CREATE: Final[Mapping[str, Kind]] = KINDS | {"service": TEXT, "node": TEXT}
OUTCOME: Final[Mapping[str, Kind]] = {"output": TEXT, "status": TEXT}


def check(row: Check, last_ms: int | None, lease_left_ms: int | None, now_ms: int) -> dict[str, Any]:
    """A check as every listing shows it.

    Args:
        last_ms: when it ran or was told last; None: not known, then as long as its status is what it is.
        lease_left_ms: of a TTL check, how long its last report still counts.
    """
    defined = dict(shown(orjson.loads(row.definition) if row.definition else {}))
    found: dict[str, Any] = {"id": row.id, "name": row.name}
    if row.instance is not None:
        found |= {"service": row.service, "service_id": split_key(row.instance)[1]}
    if row.node is not None:
        found["node"] = row.node
    found |= {"type": row.type, "status": row.status, "output": row.output}
    if row.type == "ttl" and lease_left_ms is not None:
        ttl = defined.get("ttl")
        last_ms = now_ms + lease_left_ms - parse_duration_ms(ttl) if ttl else last_ms
    found["last_check"] = moment(last_ms or row.changed_at_ms or None) or ZERO_TIME
    found["changed_at"] = moment(row.changed_at_ms or None) or ZERO_TIME
    # Of every type, as the first Konsul had it: typed clients of old read both of a TTL check too.
    for name, value in ({"interval": INTERVAL, "timeout": TIMEOUT} | defined).items():
        found[name] = parse_duration_ms(value) * _NS_PER_MS if name in DURATIONS else value
    expires_ms = None if lease_left_ms is None else now_ms + lease_left_ms
    found["expires_at"] = moment(expires_ms) or ZERO_TIME
    return found


def transitions(row: Check) -> list[dict[str, Any]]:
    """Its last changes of status, oldest first."""
    return [one | {"at": moment(one["at"])} for one in transitions_of(row)]


def results(remembered: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Its last attempts, oldest first. `said`: what the attempt found; `status`: what the check was then."""
    return [
        {
            "at": moment(at_ms),
            "status": decided,
            "said": status,
            "output": output,
            "took_ms": took_ms,
            "flapping": is_flapping,
        }
        for at_ms, status, decided, output, took_ms, is_flapping in remembered
    ]


def _body(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": {JSON: {"schema": schema}}}}


_TEXT: Final = {"type": "string"}
_STATUS: Final = {"type": "string", "enum": list(STATUSES)}
DEFINITION: Final = {**CHECK_MEMBERS, "service_id": _TEXT}
"""The members of a definition as JSON schema."""
CREATE_BODY: Final = _body({"type": "object", "properties": DEFINITION | {"service": _TEXT, "node": _TEXT}})
DEFINE_BODY: Final = _body({"type": "object", "properties": DEFINITION})
OUTCOME_BODY: Final = _body({"type": "object", "properties": {"output": _TEXT}}, required=False)
UPDATE_BODY: Final = _body(
    {"type": "object", "required": ["status"], "properties": {"status": _STATUS, "output": _TEXT}}
)
