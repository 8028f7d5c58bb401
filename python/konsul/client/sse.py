"""Server-sent events from the bytes of a stream (HTML Standard, section 9.2.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from konsul.errors import TooLarge

EVENT_BYTES_MAX = 16 * 1024 * 1024
"""Two values of the largest size, written with escapes, fit in."""
LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of a server. An event without data only moves the `id` on; WebSocket messages have data
    only."""

    data: str
    name: str = ""
    id: str = ""


class Parser:
    """Takes pieces of a stream as they come. Raises TooLarge for an event over EVENT_BYTES_MAX."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[tuple[str, str]] = []
        self._bytes = 0

    def feed(self, piece: bytes) -> list[Heard]:
        """The events that this piece completes."""
        # A CR at the end of a piece may be half of a CRLF: it waits for the next piece.
        text = self._rest + piece
        held = b"\r" if text.endswith(b"\r") else b""
        lines = LINE_END.split(text[: len(text) - len(held)])
        self._rest = lines.pop() + held
        if self._bytes + len(self._rest) > EVENT_BYTES_MAX:
            raise TooLarge(f"the server sent an event of more than {EVENT_BYTES_MAX} bytes")
        return [heard for line in lines if (heard := self._line(line)) is not None]

    def _line(self, line: bytes) -> Heard | None:
        if line:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            self._bytes += len(line)
            if self._bytes > EVENT_BYTES_MAX:
                raise TooLarge(f"the server sent an event of more than {EVENT_BYTES_MAX} bytes")
            if name:
                self._lines.append((name, value.removeprefix(" ")))
            return None
        fields, self._lines, self._bytes = self._lines, [], 0
        if not fields:
            return None
        last = dict(fields)
        data = "\n".join(value for name, value in fields if name == "data")
        return Heard(data, last.get("event", ""), last.get("id", ""))
