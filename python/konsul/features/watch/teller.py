"""Who stands between a watch and a line: takes changes from the one, tells them on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from konsul.errors import Forbidden, KonsulError, Stopping, Unauthenticated
from konsul.features.watch.framing import Framing, closed_text, error_text
from konsul.kernel.lines import GOING_AWAY, NORMAL, SERVER_ERROR, UNAUTHENTICATED, Line, Lines, LineUser
from konsul.kernel.watching import CLUSTER

if TYPE_CHECKING:
    from konsul.kernel.watching import Watch

FORBIDDEN: Final = "insufficient permissions to watch this key pattern"
_GATHERED_MAX: Final = 64
_GATHERED_MAX_BYTES: Final = 64 << 10
"""What is gathered within one turn of the loop before the watch is asked to wait."""


class Teller(LineUser):
    """Tells the changes of one watch. What comes within one turn of the loop is sent together.

    A change is kept until the next one or the end of the turn, because only then it is known whether it is
    the last of its index.
    """

    def __init__(self, lines: Lines, framing: Framing) -> None:
        self._lines = lines
        self._framing = framing
        self._line: Line | None = None
        self._watch: Watch | None = None
        self._texts: list[bytes] = []
        self._last: tuple[int, bytes] | None = None
        self._told = -1
        """Changes up to this index are in what the client was given first."""
        self._gathered_bytes = 0
        self._has_room = True
        self._is_due = False
        self._refusal = b""
        """The last event of a stream whose client's credentials no longer hold."""

    def begin(self, watch: Watch, first: tuple[int, bytes] | None = None) -> None:
        """Binds the watch. `first`: index and text of the value the client is told before any change."""
        self._watch = watch
        position = self._position()
        texts = []
        if first is not None:
            self._told = first[0]
            texts.append(self._framing.change(*first, is_last=True))
        if first is None or position is None or position > first[0]:
            # The value may be old: who came back with its index would be told that something may be missing.
            texts.append(self._framing.opened(position))
        self._texts[:0] = filter(None, texts)
        if self._texts:
            self._soon()

    # What the watch tells

    def event(self, index: int, key: bytes, payload: bytes) -> bool:  # noqa: ARG002 - the protocol's
        """See `konsul.kernel.watching.Sink`."""
        if index <= self._told:
            return True
        last = self._last
        if last is not None:
            self._texts.append(self._framing.change(*last, is_last=last[0] != index))
        self._last = (index, payload)
        self._gathered_bytes += len(payload)
        if not self._is_due:
            self._is_due = True
            self._lines.soon(self._flush)
        is_full = len(self._texts) >= _GATHERED_MAX or self._gathered_bytes >= _GATHERED_MAX_BYTES
        return self._has_room and not is_full

    def behind(self, index: int) -> None:
        """See `konsul.kernel.watching.Sink`."""
        self._settle_last()
        self._texts.append(self._framing.behind(index))
        self._soon()

    def compacted(self, index: int) -> None:
        """See `konsul.kernel.watching.Sink`."""
        self._settle_last()
        self._texts.append(self._framing.compacted(index))
        self._soon()

    def ended(self, error: KonsulError) -> None:
        """See `konsul.kernel.watching.Sink`."""
        self._has_room = False  # whatever happens now, the watch is over
        self._flush()
        if isinstance(error, Unauthenticated):
            self._refusal = error_text(str(error))
        if self._line is not None:
            self._line.close(*_closing(error))

    # What the line tells

    def opened(self, line: Line) -> None:
        """See `LineUser`."""
        self._line = line
        self._flush()

    def drained(self) -> None:
        """See `LineUser`."""
        self._has_room = True
        if self._watch is not None:
            self._watch.resume()

    def beat(self) -> None:
        """See `LineUser`."""
        self._flush()
        text = self._framing.beat(self._position())
        if text and self._line is not None and not self._line.send(text):
            self._has_room = False

    def farewell(self, reason: str) -> bytes:
        """See `LineUser`."""
        return self._refusal or closed_text(reason)

    def closed(self, reason: str) -> None:  # noqa: ARG002 - the protocol's
        """See `LineUser`."""
        self._line = None
        self._texts.clear()
        self._last = None
        if self._watch is not None:
            self._watch.close()

    def _position(self) -> int | None:
        watch = self._watch
        return None if watch is None or watch.spec.table == CLUSTER else watch.position

    def _soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._lines.soon(self._flush)

    def _settle_last(self) -> None:
        """Writes the change that was kept. The core hands out in pieces, which may end within an entry."""
        last = self._last
        if last is not None:
            self._last = None
            self._texts.append(self._kept(last))

    def _kept(self, last: tuple[int, bytes]) -> bytes:
        index, payload = last
        position = self._position() if self._framing.marks_last else None
        return self._framing.change(index, payload, is_last=position is None or position >= index)

    def _flush(self) -> None:
        self._is_due = False
        line, last = self._line, self._last
        if line is None:
            return
        if last is not None and not self._texts:
            # The usual case, ten thousand times in a row: one change.
            self._last = None
            self._gathered_bytes = 0
            has_room = line.send(self._kept(last))
        else:
            self._settle_last()
            if not self._texts:
                return
            texts, self._texts = self._texts, []
            # Large ones go as they are: all lines share them.
            if self._framing.joins and len(texts) > 1 and self._gathered_bytes < _GATHERED_MAX_BYTES:
                texts = [b"".join(texts)]
            self._gathered_bytes = 0
            for text in texts:
                has_room = line.send(text)
        if not has_room:
            self._has_room = False
        elif self._has_room and self._watch is not None and self._watch.held:
            self._watch.resume()


def _closing(error: KonsulError) -> tuple[int, str]:
    if isinstance(error, Forbidden):
        return NORMAL, "forbidden"
    if isinstance(error, Unauthenticated):
        return UNAUTHENTICATED, str(error)
    return (GOING_AWAY if isinstance(error, Stopping) else SERVER_ERROR), str(error)
