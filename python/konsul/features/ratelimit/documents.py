"""What the routes of the rate limits answer and take."""

from __future__ import annotations

from typing import Any, Final

from konsul.engine import Row
from konsul.features.ratelimit.limiting import KINDS, Limiting
from konsul.features.ratelimit.tables import ListRow, parts_of
from konsul.kernel import route_classes
from konsul.kernel.duration import format_duration_ms, moment
from konsul.kernel.routing import JSON

Client = tuple[int, str, float, int, int, int, int, int, int, int]
Refused = tuple[int, int, int, str, int, int, float]


def _body(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


_TEXT: Final = {"type": "string"}
_KIND: Final = {"type": "string", "enum": list(KINDS)}
_DURATION: Final = {"type": "string", "examples": ["1h", "24h"]}
_RATE: Final = {"type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000_000}
_BURST: Final = {"type": "integer", "minimum": 1, "maximum": 1_000_000_000}
CONFIG: Final = _body([], requests_per_sec=_RATE, burst=_BURST)
ADJUST: Final = _body(["rate", "burst"], rate=_RATE, burst=_BURST, duration=_DURATION)
WHITELIST: Final = _body(
    ["identifier", "type"], identifier=_TEXT, type=_KIND, reason=_TEXT, duration=_DURATION
)
BLACKLIST: Final = _body(
    ["identifier", "type", "duration"], identifier=_TEXT, type=_KIND, reason=_TEXT, duration=_DURATION
)


def number(value: float) -> float | int:
    """A number as JSON of the first Konsul had it: whole ones without a fraction."""
    return int(value) if value == int(value) else value


def config(limiting: Limiting) -> dict[str, Any]:
    """The configuration in force."""
    settings = limiting.settings
    return {
        "enabled": settings.enabled,
        "requests_per_sec": number(limiting.rate_micros / 1_000_000),
        "burst": limiting.burst,
        "by_ip": settings.by_ip,
        "by_apikey": settings.by_apikey,
        "cleanup_interval": format_duration_ms(settings.cleanup_ms),
    }


def stats(limiting: Limiting) -> dict[str, int]:
    """How many clients have a bucket, by kind; what is off is absent."""
    ips, keys, users = (one[0] for one in limiting.native.stats())
    found = {"ip_limiters": ips} if limiting.settings.by_ip else {}
    return (
        {**found, "apikey_limiters": keys, "user_limiters": users} if limiting.settings.by_apikey else found
    )


def totals(limiting: Limiting) -> dict[str, Any]:
    """How this node answered so far, by kind."""
    names = ("clients", "allowed", "exceeded", "whitelisted", "blacklisted")
    rows = zip(KINDS, limiting.native.stats(), strict=True)
    return {kind: dict(zip(names, row, strict=True)) for kind, row in rows}


def client(row: Client) -> dict[str, Any]:
    """A client as the first Konsul showed it."""
    kind, id, tokens, burst, rate_micros, last_ms, *_ = row
    return {
        "identifier": id,
        "type": KINDS[kind],
        "tokens": number(round(tokens, 6)),
        "max_tokens": burst,
        "rate": number(rate_micros / 1_000_000),
        "last_update": moment(last_ms),
    }


def client_in_full(row: Client) -> dict[str, Any]:
    """A client with all that is known of it."""
    *_, first_ms, allowed, denied, custom_until_ms = row
    return {
        **client(row),
        "first_seen": moment(first_ms),
        "allowed": allowed,
        "denied": denied,
        "custom_until": moment(custom_until_ms or None),
    }


def list_entry(id: str, kind: str, row: ListRow) -> dict[str, Any]:
    """An entry of a list."""
    return {
        "identifier": id,
        "type": kind,
        "reason": row.reason,
        "added_at": moment(row.added_at_ms),
        "expires_at": moment(row.expires_at_ms),
        "added_by": row.added_by,
    }


def stored_entry(key: bytes, row: Row) -> dict[str, Any]:
    """The same from a stored row."""
    _, kind, id = parts_of(key)
    reason, added_by, added_at_ms, expires_at_ms = row.cells
    read = ListRow(
        name=key.decode(),
        reason=reason,
        added_by=added_by,
        added_at_ms=added_at_ms,
        expires_at_ms=expires_at_ms,
    )
    return list_entry(id, kind, read)


def event(refused: Refused) -> dict[str, Any]:
    """One refusal."""
    number_, at_ms, kind, id, class_id, cost, tokens = refused
    return {
        "number": number_,
        "time": moment(at_ms),
        "status": "DENIED",
        "identifier": id,
        "type": KINDS[kind],
        "class": route_classes.ALL[class_id],
        "cost": cost,
        "tokens": number(round(tokens, 6)),
    }
