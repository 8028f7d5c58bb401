"""Patterns of keys and names, read as the server reads them: what a listing has to leave out."""

from __future__ import annotations

import re
from collections.abc import Callable

WILD = frozenset("*?[")


def is_exact(pattern: str) -> bool:
    """Whether it names one key."""
    return not WILD.intersection(pattern) or not any(_is_wild(part) for part in _parts(pattern))


def prefix(pattern: str) -> str:
    """What every match starts with."""
    start = ""
    for part in _parts(pattern):
        if _is_wild(part):
            break
        start += part
    return start


def matcher(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether a key matches: `*` and `?` inside a segment, `**` over any number of
    segments, `[a-c]` and `[!a-c]` one character; an unclosed `[` stands for itself."""
    expression = re.compile("".join(map(_regex, _parts(pattern))), re.DOTALL)
    return lambda key: expression.fullmatch(key) is not None


def _is_wild(part: str) -> bool:
    return part[0] in "*?" or (part[0] == "[" and len(part) > 1)


def _parts(pattern: str) -> list[str]:
    """The tokens: `**/` where a segment starts, runs of stars, `?`, closed sets, single characters."""
    parts: list[str] = []
    rest = pattern
    while rest:
        starts_segment = not parts or parts[-1] in ("/", "**/")
        if starts_segment and rest.startswith("**/"):
            part = "**/"
        elif rest[0] == "*":
            part = rest[: len(rest) - len(rest.lstrip("*"))]
        else:
            part = _set(rest) if rest[0] == "[" else rest[0]
        parts.append(part)
        rest = rest[len(part) :]
    return parts


def _set(text: str) -> str:
    """`[...]` with its brackets; the bracket alone where it is never closed."""
    first = 2 if text[1:2] in ("!", "^") else 1
    close = text.find("]", first + 1)
    return "[" if close < 0 else text[: close + 1]


def _regex(part: str) -> str:
    if part == "**/":
        return "(?:.*/)?"
    if part[0] == "*":
        return "[^/]*" if len(part) == 1 else ".*"
    if part == "?":
        return "[^/]"
    return _set_regex(part[1:-1]) if _is_wild(part) else re.escape(part)


def _set_regex(body: str) -> str:
    negated = body[:1] in ("!", "^")
    chars = body[1:] if negated else body
    ranges: list[str] = []
    at = 0
    while at < len(chars):
        last = at + 2 if chars[at + 1 : at + 2] == "-" and at + 2 < len(chars) else at
        if chars[at] <= chars[last]:
            ranges.append(f"{re.escape(chars[at])}-{re.escape(chars[last])}")
        at = last + 1
    inside = "".join(ranges)
    if negated:
        return f"[^/{inside}]"
    # No range that anything can be in: a pattern that matches nothing.
    return f"(?!/)[{inside}]" if inside else "(?!)"
