"""Health-check definitions inside a service: kept and echoed here, run by the health feature."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

import orjson

from konsul.errors import Invalid
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.routing import BOOL, TEXT, TEXT_MAP, Kind, members

MAX_CHECKS: Final = 64
MAX_BYTES: Final = 64 << 10
"""Of all checks of an instance together, as JSON: a listing gathers them, and a body may be much larger."""
_KINDS: Final[dict[str, Kind]] = {
    "id": TEXT,
    "name": TEXT,
    "service_id": TEXT,
    "http": TEXT,
    "tcp": TEXT,
    "grpc": TEXT,
    "ttl": TEXT,
    "interval": TEXT,
    "timeout": TEXT,
    "method": TEXT,
    "headers": TEXT_MAP,
    "tls_skip_verify": BOOL,
    "grpc_use_tls": BOOL,
}
_DURATIONS: Final = ("ttl", "interval", "timeout")
_NAMESPACE: Final = uuid.UUID("5b1d5c8e-8f5e-4c0b-9d55-3f2f4a6c7e10")


def complete(definitions: Sequence[Any], service: str, instance: str) -> bytes | None:
    """The definitions as JSON text with `id`, `name` and `service_id` filled in and empty members left out.

    A missing id is derived from the instance and the check's place and name, so that registering the same
    service again names the same checks.

    Raises:
        Invalid: too many, of the wrong type, or with a duration that cannot be one.
    """
    if len(definitions) > MAX_CHECKS:
        raise Invalid(f"check validation failed: too many checks: {len(definitions)} (max {MAX_CHECKS})")
    completed: list[dict[str, Any]] = []
    for position, definition in enumerate(definitions):
        check = members(definition, _KINDS)
        for name in _DURATIONS:
            _check_duration(name, check[name])
        check["name"] = check["name"] or f"{service}-health"
        derived = uuid.uuid5(_NAMESPACE, f"{service}/{instance}/{position}/{check['name']}")
        check["id"] = check["id"] or str(derived)
        check["service_id"] = instance
        completed.append({name: value for name, value in check.items() if value})
    ids = [check["id"] for check in completed]
    if len(set(ids)) != len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise Invalid(f"check validation failed: duplicate check id: {twice}")
    text = orjson.dumps(completed)
    if len(text) > MAX_BYTES:
        raise Invalid(f"check validation failed: checks too large: {len(text)} bytes (max {MAX_BYTES})")
    return text if completed else None


def _check_duration(name: str, text: str) -> None:
    """A period of zero would run a check without pause; a TTL of zero would never expire."""
    if not text:
        return
    try:
        fine = parse_duration_ms(text) > 0
    except ValueError:
        fine = False
    if not fine:
        raise Invalid(f"check validation failed: invalid {name}: {text} (expected a duration such as 30s)")
