"""How sessions look: in bodies, in answers, and in the OpenAPI document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from konsul.engine import Row
from konsul.errors import Invalid
from konsul.features.sessions.config import DELAY_MAX_MS, TTL_MAX_MS, SessionSettings
from konsul.features.sessions.tables import BEHAVIORS, RELEASE, Session
from konsul.kernel.duration import format_duration_ms, moment, parse_duration_ms
from konsul.kernel.routing import JSON, MAYBE_TEXT, MAYBE_TEXTS, TEXT, Kind

MEMBERS: Final[dict[str, Kind]] = {
    "name": TEXT,
    "node": TEXT,
    "checks": MAYBE_TEXTS,
    "behavior": TEXT,
    "lock_delay": MAYBE_TEXT,
    "lockdelay": MAYBE_TEXT,
    "ttl": TEXT,
}
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f]{0,128}")
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REFERENCE_MAX_BYTES: Final = 512
_TEXT: Final = {"type": "string"}
_BODY: Final = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 128},
        "node": _TEXT,
        "checks": {"type": "array", "items": _TEXT},
        "behavior": {"type": "string", "enum": list(BEHAVIORS)},
        "lock_delay": {"type": "string", "example": "15s"},
        "ttl": {"type": "string", "example": "30s"},
    },
}
CREATE: Final = {"requestBody": {"required": False, "content": {JSON: {"schema": _BODY}}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A session as it is to be created. Durations in ms; `ttl_ms` None: it stays until it is destroyed."""

    name: str = ""
    node: str | None = None
    checks: tuple[str, ...] = ()
    behavior: str = RELEASE
    lock_delay_ms: int = 15_000
    ttl_ms: int | None = None


def wanted_of(body: dict[str, Any], settings: SessionSettings) -> Wanted:
    """What a body asks for. Raises Invalid, naming the member that breaks a rule."""
    if not _NAME.fullmatch(body["name"]):
        raise Invalid("invalid session name: at most 128 characters, without spaces or control characters")
    behavior = body["behavior"] or RELEASE
    if behavior not in BEHAVIORS:
        raise Invalid(f"invalid session behavior '{behavior}': expected {' or '.join(BEHAVIORS)}")
    checks = tuple(dict.fromkeys(body["checks"] or ()))
    if len(checks) > settings.checks_max:
        raise Invalid(f"too many checks: {len(checks)} (max {settings.checks_max})")
    for reference in (*checks, body["node"]):
        if len(reference.encode("utf-8", "replace")) > _REFERENCE_MAX_BYTES:
            raise Invalid(f"name of a check or node too long (max {_REFERENCE_MAX_BYTES} bytes)")
    if "" in checks:
        raise Invalid("a check of a session needs its id")
    return Wanted(
        name=body["name"],
        node=body["node"] or None,
        checks=checks,
        behavior=behavior,
        lock_delay_ms=_lock_delay_ms(body, settings),
        ttl_ms=_ttl_ms(body["ttl"], settings),
    )


def _lock_delay_ms(body: dict[str, Any], settings: SessionSettings) -> int:
    text = body["lock_delay"] if body["lock_delay"] is not None else body["lockdelay"]
    if text is None:
        return settings.lock_delay_ms
    try:
        delay_ms = parse_duration_ms(text)
    except ValueError:
        delay_ms = -1
    if not 0 <= delay_ms <= DELAY_MAX_MS:
        raise Invalid(f"invalid lock_delay '{text}': expected a duration from 0s to 60s")
    return delay_ms


def _ttl_ms(text: str, settings: SessionSettings) -> int | None:
    if not text:
        return None
    try:
        ttl_ms = parse_duration_ms(text)
    except ValueError:
        ttl_ms = -1
    if ttl_ms == 0:
        return None
    if not settings.ttl_min_ms <= ttl_ms <= TTL_MAX_MS:
        least = format_duration_ms(settings.ttl_min_ms)
        raise Invalid(f"invalid session ttl '{text}': expected a duration from {least} to 24h")
    return ttl_ms


def session_key(session_id: str) -> bytes | None:
    """The stored key of a session, or None for what can be no session's id."""
    return session_id.encode() if _ID.fullmatch(session_id) else None


def scope_of(name: str, node: str | None) -> str:
    """What rules of policies name: the session's name, or its node's if it has none."""
    return name or node or ""


def document(session_id: str, row: Row) -> dict[str, Any]:
    """A stored session, as every door shows it. What it does not have is left out."""
    cells = dict(zip((column.name for column in Session.columns), row.cells, strict=False))
    ttl_ms = cells["ttl_ms"]
    found = {
        "id": session_id,
        "name": cells["name"] or None,
        "node": cells["node"],
        "checks": cells["checks"] or None,
        "behavior": cells["behavior"],
        "lock_delay": format_duration_ms(cells["lock_delay_ms"]),
        "ttl": None if ttl_ms is None else format_duration_ms(ttl_ms),
        "created_at": moment(cells["created_at_ms"]),
        "create_index": row.create_index,
        "modify_index": row.modify_index,
    }
    return {name: value for name, value in found.items() if value is not None}
