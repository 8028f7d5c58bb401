"""How what is told looks on the wire: an event stream, a WebSocket of one watch, a channel of several.

A framing is shared by all connections of its kind and keeps the last text it made: a change that ten thousand
are told of is written once.
"""

from __future__ import annotations

from typing import Final, Protocol

import orjson

_COMPACTED: Final = "changes up to this index may be missing here: list again, then go on from it"


class Framing(Protocol):
    """The form of one kind of connection."""

    joins: bool
    """True if several texts may be sent as one."""
    marks_last: bool
    """True if the last change of an index is told from the others."""

    def opened(self, position: int | None) -> bytes:
        """The first thing said; empty for nothing. `position`: where a reconnect would go on."""
        ...

    def change(self, index: int, payload: bytes, *, is_last: bool) -> bytes:
        """A change. `is_last`: no other change of its index follows."""
        ...

    def behind(self, index: int) -> bytes:
        """The client was too slow; what it missed follows, from `index` on."""
        ...

    def compacted(self, index: int) -> bytes:
        """What changed up to `index` may be missing."""
        ...

    def beat(self, position: int | None) -> bytes:
        """A sign of life; empty for none."""
        ...


def behind_text(index: int) -> bytes:
    """The notice as JSON."""
    return b'{"type":"behind","resume_index":%d}' % index


def compacted_text(index: int) -> bytes:
    """The notice as JSON."""
    return b'{"type":"compacted","modify_index":%d,"message":%b}' % (index, orjson.dumps(_COMPACTED))


def closed_text(reason: str) -> bytes:
    """The last event of a stream that the server ends."""
    return b'event: closed\ndata: {"type":"closed","reason":%b}\n\n' % orjson.dumps(reason)


def error_text(message: str) -> bytes:
    """The last event of a stream whose client's credentials no longer hold."""
    return b"event: error\ndata: %b\n\n" % orjson.dumps({"error": "unauthorized", "message": message})


class StreamFraming:
    """Server-sent events. The `id` is what a reconnect sends back as `Last-Event-ID`.

    Changes of one entry share an index, and a connection may end between them: only the last of them carries
    it as its id, those before it the index below. So a cut in between repeats some and loses none.
    """

    joins = True

    def __init__(self, name: str, *, has_ids: bool = True) -> None:
        self._name = name.encode()
        self._has_ids = self.marks_last = has_ids
        self._made: tuple[bytes, bytes] = (b"", b"")

    def opened(self, position: int | None) -> bytes:
        """A bookmark, so that a reconnect before the first change goes on from here."""
        return b": watching\n\n" if position is None else b": watching\nid: %d\n\n" % position

    def change(self, index: int, payload: bytes, *, is_last: bool) -> bytes:
        """See `Framing`."""
        if not is_last:
            return self._event(index - 1, payload)
        if self._made[0] is not payload:
            self._made = (payload, self._event(index, payload))
        return self._made[1]

    def _event(self, event_id: int, payload: bytes) -> bytes:
        if self._has_ids:
            return b"id: %d\nevent: %b\ndata: %b\n\n" % (event_id, self._name, payload)
        return b"event: %b\ndata: %b\n\n" % (self._name, payload)

    def behind(self, index: int) -> bytes:
        """See `Framing`."""
        return b"event: behind\ndata: %b\n\n" % behind_text(index)

    def compacted(self, index: int) -> bytes:
        """See `Framing`."""
        return b"id: %d\nevent: compacted\ndata: %b\n\n" % (index, compacted_text(index))

    def beat(self, position: int | None) -> bytes:
        """A comment, and how far the client is although nothing was said."""
        return b": keep-alive\n\n" if position is None else b": keep-alive\nid: %d\n\n" % position


class SocketFraming:
    """One JSON text per message, ended by a line feed.

    `progress`: signs of life say how far it is, and the last change of an index is marked `complete`. That is
    what the id says in an event stream: a reconnect may go on from this index.
    """

    joins = False

    def __init__(self, *, progress: bool = False) -> None:
        self._progress = self.marks_last = progress
        self._made: tuple[bytes, bool, bytes] = (b"", False, b"")

    def opened(self, position: int | None) -> bytes:
        """Nothing, or the first progress."""
        return self.beat(position)

    def change(self, index: int, payload: bytes, *, is_last: bool) -> bytes:  # noqa: ARG002 - the protocol's
        """See `Framing`."""
        is_marked = is_last and self._progress
        if self._made[0] is not payload or self._made[1] is not is_marked:
            text = payload[:-1] + b',"complete":true}\n' if is_marked else payload + b"\n"
            self._made = (payload, is_marked, text)
        return self._made[2]

    def behind(self, index: int) -> bytes:
        """See `Framing`."""
        return behind_text(index) + b"\n"

    def compacted(self, index: int) -> bytes:
        """See `Framing`."""
        return compacted_text(index) + b"\n"

    def beat(self, position: int | None) -> bytes:
        """Pings are the listener's; with `progress` a message too."""
        if not self._progress or position is None:
            return b""
        return b'{"type":"progress","modify_index":%d}\n' % position


class ChannelFraming:
    """One of several kinds of changes on a WebSocket: `{"channel":..,"data":..}`."""

    joins = False
    marks_last = False

    def __init__(self, channel: str) -> None:
        self._channel = channel.encode()
        self._made: tuple[bytes, bytes] = (b"", b"")

    def _wrapped(self, text: bytes) -> bytes:
        return b'{"channel":"%b","data":%b}' % (self._channel, text)

    def opened(self, position: int | None) -> bytes:  # noqa: ARG002 - the protocol's
        """Nothing: the subscription was acknowledged."""
        return b""

    def change(self, index: int, payload: bytes, *, is_last: bool) -> bytes:  # noqa: ARG002 - the protocol's
        """See `Framing`."""
        if self._made[0] is not payload:
            self._made = (payload, self._wrapped(payload))
        return self._made[1]

    def behind(self, index: int) -> bytes:
        """See `Framing`."""
        return self._wrapped(behind_text(index))

    def compacted(self, index: int) -> bytes:
        """See `Framing`."""
        return self._wrapped(compacted_text(index))

    def beat(self, position: int | None) -> bytes:  # noqa: ARG002 - the protocol's
        """Nothing: pings are the listener's."""
        return b""
