"""Query parameters that several features read: switches, integers, durations."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Query

from konsul.errors import Invalid
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.routing import U64_MAX

_U64: Final = re.compile(r"[0-9]{1,20}", re.ASCII)

Cas = Annotated[
    str | None,
    Query(description="Only if the modify_index is this; an unsigned 64-bit integer.", examples=["7"]),
]
Metadata = Annotated[str | None, Query(description="`true`: with indices and what else is known.")]


def is_on(text: str | None) -> bool:
    """A switch is on when it is there bare (`?recurse`) or as `true`."""
    return text in ("", "true")


def u64(text: str | None, message: str) -> int | None:
    """An unsigned 64-bit integer, None when absent. Raises Invalid(message) for anything else."""
    if text is None:
        return None
    if not _U64.fullmatch(text) or int(text) > U64_MAX:
        raise Invalid(message)
    return int(text)


def positive_duration_ms(text: str | None, message: str) -> int | None:
    """A duration over zero, None when absent or empty. Raises Invalid(message) for anything else."""
    if not text:
        return None
    try:
        duration_ms = parse_duration_ms(text)
    except ValueError:
        raise Invalid(message) from None
    if duration_ms == 0:
        raise Invalid(message)
    return duration_ms
