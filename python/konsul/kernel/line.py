"""One line: an open connection that the server pushes to, and who speaks on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from konsul.kernel.lines import Lines

Headers = list[tuple[bytes, bytes]]

HIGH_WATER_BYTES: Final = 64 << 10
"""More than this waiting for a client makes `send` answer False."""
MESSAGE_MAX_BYTES: Final = 64 << 10
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
REFUSED: Final = 1008
TOO_BIG: Final = 1009
SERVER_ERROR: Final = 1011
UNAUTHENTICATED: Final = 4401
"""The close code of who does not prove who it is, or no longer can."""
ALLOW_ORIGIN: Final = b"access-control-allow-origin"
SSE_HEADERS: Final[Headers] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
    (ALLOW_ORIGIN, b"*"),
]
"""What every event stream is answered with."""


class RawLine(Protocol):
    """One connection as a listener holds it: `konsul_ext`'s native line, or an `AsgiLine`."""

    def send(self, data: bytes) -> bool:
        """Stream: the bytes as they are. WebSocket: one text frame. False: taken, but over the high water."""
        ...

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends it; what waits is still written for a few seconds, unless it is over `HIGH_WATER_BYTES`."""
        ...

    @property
    def queued_bytes(self) -> int:
        """What the client has not been given yet."""
        ...


class LineUser:
    """Who speaks on a line. Subclass it: what is not needed may be left out."""

    def opened(self, line: Line) -> None:
        """Called once, before anything else. It may send at once."""

    def message(self, data: str | bytes) -> None:
        """A WebSocket's client sent a text or a binary message."""

    def drained(self) -> None:
        """After a `send` that answered False: there is room again."""

    def beat(self) -> None:
        """It is time for a sign of life."""

    def farewell(self, reason: str) -> bytes:
        """The last bytes of an event stream that the server ends."""
        return b": closed: %b\n\n" % reason.encode()

    def closed(self, reason: str) -> None:
        """Called once, at the end, whoever ended it. Nothing may be sent any more."""


class Line:
    """One open connection. After `close`, or once its user was told `closed`, sending does nothing."""

    __slots__ = ("_lines", "_raw", "client", "is_stream", "slot", "user")

    def __init__(self, lines: Lines, user: LineUser, is_stream: bool, slot: int, client: str) -> None:
        self._lines = lines
        self._raw: RawLine | None = None
        self.slot = slot
        self.client = client
        self.user = user
        self.is_stream = is_stream

    @property
    def is_open(self) -> bool:
        """False once it ended."""
        return self._raw is not None

    @property
    def queued_bytes(self) -> int:
        """What the client has not been given yet."""
        return self._raw.queued_bytes if self._raw is not None else 0

    def send(self, data: bytes) -> bool:
        """Queues bytes of an event stream, or one text message. False: send no more until `drained`."""
        raw = self._raw
        if raw is None:
            return False
        has_room = raw.send(data)
        if not has_room or self._lines.ends_silence:
            self._lines.sent(self, has_room)
        return has_room

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends it; the user is told before this returns. `code` is a WebSocket's close code."""
        raw = self._raw
        if raw is None:
            return
        if self.is_stream and reason:
            raw.send(self.user.farewell(reason))
        self._end(reason)
        raw.close(code, reason)

    # What the listener calls

    def message(self, data: str | bytes) -> None:
        """See `LineUser`."""
        if self._raw is not None:
            self._lines.heard(self)
            self.user.message(data)

    def drained(self) -> None:
        """See `LineUser`."""
        if self._raw is not None:
            self._lines.drained(self)
            self.user.drained()

    def closed(self, reason: str, sent_bytes: int = 0) -> None:  # noqa: ARG002 - some listeners count
        """See `LineUser`."""
        if self._raw is not None:
            self._end(reason)

    def _end(self, reason: str) -> None:
        self._raw = None
        self._lines.forget(self, self.slot)
        self.user.closed(reason)

    def hold(self, raw: RawLine) -> None:
        """Binds it to the listener's connection; from now on it is open."""
        self._raw = raw
        self.user.opened(self)
