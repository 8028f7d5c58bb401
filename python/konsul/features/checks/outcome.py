"""What one look at a target says."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from konsul.features.catalog.status import OUTPUT_MAX_BYTES

_CUT: Final = "..."
_TIMES: Final = re.compile(r" after [0-9.]+(?:us|ms|s)(?=: )| \([0-9.]+s\)$")


class Outcome(NamedTuple):
    """The result of one attempt.

    `said` is the output without what differs every time, such as how long it took: only when that changes is
    there something new to tell.
    """

    status: str
    output: str
    said: str


def outcome(status: str, said: str, detail: str = "") -> Outcome:
    """An outcome whose output is `said` and, behind it, what may differ from one attempt to the next."""
    said = bounded(said)
    return Outcome(status, bounded(f"{said} {detail}") if detail else said, said)


def bounded(text: str, most: int = OUTPUT_MAX_BYTES) -> str:
    """The text in at most `most` bytes of UTF-8, without characters that would take a terminal over."""
    text = "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text[: most + 1])
    packed = text.encode("utf-8", "replace")
    if len(packed) <= most:
        return packed.decode()
    return packed[: most - len(_CUT)].decode("utf-8", "ignore") + _CUT


def took(seconds: float) -> str:
    """A span as the first Konsul wrote it: `57us`, `1.234ms`, `2.5s`."""
    if seconds < 0.001:
        return f"{round(seconds * 1e6)}us"
    if seconds < 1:
        return f"{round(seconds * 1e3, 3):g}ms"
    return f"{round(seconds, 3):g}s"


def timeless(output: str) -> str:
    """An output without the times in it: two of the same attempt at different moments are equal."""
    return _TIMES.sub("", output)
