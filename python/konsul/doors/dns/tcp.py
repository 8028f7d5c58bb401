"""TCP (RFC 7766): questions behind each other on one connection, answers as they are found."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from konsul.kernel.per_client import PerClient

if TYPE_CHECKING:
    from konsul.doors.dns.door import DnsDoor

_LENGTH: Final = 2
_AT_ONCE: Final = 64
"""Questions of one connection before others have their turn."""
_QUESTION_MAX_BYTES: Final = 4_096
_SWEEP_S: Final = 0.5
_UNANSWERED_MAX: Final = 64
"""Questions of one connection that may wait for an answer; no more are read meanwhile."""
_WRITE_MAX_BYTES: Final = 128 << 10
"""Answers that may wait to be read by the client; no more questions are read meanwhile."""
_READ_MAX_BYTES: Final = 64 << 10
"""Questions that may wait to be looked at; no more are read meanwhile."""


class Connections:
    """Every open connection, with one timer for all."""

    def __init__(self, door: DnsDoor) -> None:
        self.door = door
        self._settings = door.settings
        self._open: dict[Connection, None] = {}
        self._clients = PerClient()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._open)

    def accept(self, one: Connection, client: str) -> bool:
        """Takes one in; False, counted, where there are too many."""
        settings, refused = self._settings, self.door.counters.tcp_refused
        if len(self._open) >= settings.tcp_connections:
            refused["total"] += 1
            return False
        if self._clients.of(client) >= settings.tcp_per_client:
            refused["client"] += 1
            return False
        self._clients.add(client)
        self._open[one] = None
        self.rest(one)
        if self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_S, self._sweep)
        return True

    def forget(self, one: Connection, client: str) -> None:
        """It is closed."""
        if one in self._open:
            del self._open[one]
            self._clients.drop(client)

    def rest(self, one: Connection) -> None:
        """It has said or been told something whole: its time begins anew."""
        one.until_s = self._loop.time() + self._settings.tcp_idle_ms / 1_000

    def close_all(self) -> None:
        """Ends every one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for one in list(self._open):
            one.abort()

    def _sweep(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        for one in [one for one in self._open if one.until_s <= now_s]:
            self.door.counters.tcp_refused["idle"] += 1
            one.abort()
        if self._open:
            self._timer = self._loop.call_later(_SWEEP_S, self._sweep)


class Connection(asyncio.Protocol):
    """One connection. Who sends no whole question in time, or does not read its answers, is closed."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._client: Any = ("", 0)
        self._buffer = bytearray()
        self._unanswered = 0
        self._is_full = False
        self._is_over = False
        self._is_last = False
        self._is_paused = False
        self.until_s = 0.0
        """When it is closed unless something whole passes before."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes its place, if there is one."""
        self._transport = cast(asyncio.Transport, transport)
        self._client = transport.get_extra_info("peername") or ("", 0)
        if not self._connections.accept(self, self._client[0]):
            self._is_over = True
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(_WRITE_MAX_BYTES)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        """Gives up its place."""
        self._is_over = True
        self._connections.forget(self, self._client[0])

    def data_received(self, data: bytes) -> None:
        """Some of a question, or several."""
        if not self._is_over:
            self._buffer += data
            self._work()

    def eof_received(self) -> bool:
        """The client says no more; what it asked is still answered."""
        self._is_last = True
        return self._is_busy()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It does again."""
        self._is_full = False
        self._connections.rest(self)
        self._work()

    def abort(self) -> None:
        """Cuts it off."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    def answer(self, found: bytes | None) -> None:
        """One question is answered; None: it gets none, and who sends such things is not listened to."""
        self._unanswered -= 1
        if self._is_over or self._transport is None:
            return
        if found is None:
            self.abort()
            return
        self._transport.write(len(found).to_bytes(_LENGTH) + found)
        self._connections.rest(self)

    def answer_later(self, found: bytes | None) -> None:
        """As `answer`, after a wait."""
        self.answer(found)
        self._work()

    def _work(self) -> None:
        """Asks what is there as whole messages, as far as there is room for the answers."""
        door, buffer, left = self._connections.door, self._buffer, _AT_ONCE
        while not self._is_over and not self._is_full and self._unanswered < _UNANSWERED_MAX:
            if len(buffer) < _LENGTH:
                break
            size = int.from_bytes(buffer[:_LENGTH])
            if size > _QUESTION_MAX_BYTES:
                door.counters.tcp_refused["too_long"] += 1
                self.abort()
                return
            if len(buffer) < _LENGTH + size:
                break
            if not left:
                asyncio.get_running_loop().call_soon(self._work)
                break
            left -= 1
            message = bytes(buffer[_LENGTH : _LENGTH + size])
            del buffer[: _LENGTH + size]
            self._unanswered += 1
            door.message(message, self._client, self)
        if not self._is_over:
            self._read_on(len(buffer) <= _READ_MAX_BYTES)

    def _read_on(self, has_room: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if has_room == self._is_paused:
            self._is_paused = not has_room
            if has_room:
                transport.resume_reading()
            else:
                transport.pause_reading()
        if self._is_last and not self._is_busy():
            transport.close()

    def _is_busy(self) -> bool:
        """Whether something that was asked is not answered."""
        buffer = self._buffer
        return self._unanswered > 0 or len(buffer) >= _LENGTH + int.from_bytes(buffer[:_LENGTH]) > _LENGTH
