"""Durations and moments as the API writes them: Go's text form, `1h30m`, and RFC 3339. Inside, whole ms."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_NS_PER: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, what Go prints
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART: Final = re.compile(r"([0-9]{0,19})(?:\.([0-9]{0,19}))?(ns|us|µs|μs|ms|s|m|h)")
_MAX_NS: Final = 2**63 - 1


def parse_duration_ms(text: str) -> int:
    """Reads Go duration text into milliseconds, rounding a part of a millisecond up.

    Raises ValueError for anything else: a number without a unit, a negative duration, one over 292 years.
    """
    if text == "0":
        return 0
    total_ns, position = 0, 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None or not (part[1] or part[2]):
            raise ValueError(f"{text!r} is not a duration such as 300ms, 1.5h or 2h45m")
        unit_ns = _NS_PER[part[3]]
        fraction = part[2] or ""
        total_ns += int(part[1] or 0) * unit_ns + (int(fraction or 0) * unit_ns) // 10 ** len(fraction)
        position = part.end()
    if position == 0 or total_ns > _MAX_NS:
        raise ValueError(f"{text!r} is not a duration such as 300ms, 1.5h or 2h45m")
    return -(-total_ns // 1_000_000)


def format_duration_ms(duration_ms: int) -> str:
    """Writes milliseconds as Go does: `3m2.5s`, `1.5s`, `250ms`, `0s`."""
    if duration_ms < 1_000:
        return f"{duration_ms}ms" if duration_ms else "0s"
    minutes, rest_ms = divmod(duration_ms, 60_000)
    seconds = f"{rest_ms / 1_000:.3f}".rstrip("0").rstrip(".") + "s"
    if not minutes:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def moment(ms: int | None) -> str | None:
    """Milliseconds since 1970 as RFC 3339 in UTC; None stays None."""
    if ms is None:
        return None
    text = datetime.fromtimestamp(ms / 1_000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
