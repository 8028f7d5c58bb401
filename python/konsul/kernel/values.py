"""The kinds of value a setting can have: how the text is read, and what is said when it cannot be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from konsul.kernel.duration import format_duration_ms, parse_duration_ms

_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_BYTES: Final = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB|TiB)?")
_BYTES_PER: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True, slots=True)
class ValueKind:
    """Reads a setting's text. `read` raises ValueError; `expected` finishes the sentence "expected ..."."""

    name: str
    expected: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = str


def _read_int(text: str) -> int:
    if re.fullmatch(r"[+-]?[0-9]{1,19}", text) is None:
        raise ValueError
    return int(text)


def _read_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError


def _read_float(text: str) -> float:
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", text) is None:
        raise ValueError
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _read_list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _read_bytes(text: str) -> int:
    match = _BYTES.fullmatch(text)
    if match is None:
        raise ValueError
    return int(match[1]) * _BYTES_PER[match[2] or ""]


def write_bytes(count: int) -> str:
    """Writes a size with the largest unit that divides it: 524288 -> `512KiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count and count % _BYTES_PER[unit] == 0:
            return f"{count // _BYTES_PER[unit]}{unit}"
    return str(count)


def one_of(*words: str) -> ValueKind:
    """An enumeration, compared case-sensitively."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return ValueKind("one of " + ", ".join(words), "one of " + ", ".join(words), read)


TEXT: Final = ValueKind("text", "text", lambda text: text)
INT: Final = ValueKind("int", "a whole number", _read_int)
FLOAT: Final = ValueKind("float", "a decimal number", _read_float)
BOOL: Final = ValueKind(
    "bool",
    "true or false (1 t T TRUE true True, 0 f F FALSE false False)",
    _read_bool,
    lambda value: "true" if value else "false",
)
DURATION_MS: Final = ValueKind(
    "duration", "a duration with a unit, such as 300ms, 1.5s or 1h30m", parse_duration_ms, format_duration_ms
)
BYTES: Final = ValueKind(
    "bytes", "a number of bytes, such as 65536, 512KiB or 16MiB", _read_bytes, write_bytes
)
LIST: Final = ValueKind("list", "a comma-separated list", _read_list, ",".join)
