"""HTTP/1.1 connections of checks: one exchange at a time, kept open for the next where the target allows.

The least that a check needs, on h11 and asyncio's protocols: a client library resolves names by itself, and
here the address is chosen by the guard. Kept connections are told apart by everything they were made for.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import h11

IDLE_S: Final = 25.0
"""A connection nobody used for so long is closed: many servers do so after 30 seconds."""
_DRAINED_MAX: Final = 16 << 10
"""Of a body nobody looks at so much is read to keep the connection; beyond, a new one is cheaper."""
_HEAD_BYTES_MAX: Final = 32 << 10


class Origin(NamedTuple):
    """What a connection was made for. `server_name` empty: without TLS."""

    address: str
    port: int
    server_name: str = ""
    is_verified: bool = True


class Reply(NamedTuple):
    """An answer; `body` holds at most what was asked for. `is_whole`: all of it was read."""

    status: int
    reason: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> str:
        """The first header of that lower-case name, empty if there is none."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


class Broken(OSError):
    """The peer closed before it answered, or does not speak HTTP/1.1."""


class Connection(asyncio.Protocol):
    """One connection and the exchange that is going on over it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
        self._answer: asyncio.Future[Reply] | None = None
        self._head: h11.Response | None = None
        self._body: list[bytes] = []
        self._size = self._wanted = 0
        self.is_fresh = True
        """Nothing was exchanged over it yet."""
        self.idle_since_s = 0.0

    @property
    def is_open(self) -> bool:
        """True while another request may be sent."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and self._http.our_state is h11.IDLE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio calls it."""
        # Not asyncio's own class under uvloop.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """asyncio calls it. What nobody asked for ends the connection."""
        if self._answer is None:
            self.close()
            return
        try:
            self._http.receive_data(data)
            self._advance()
        except h11.RemoteProtocolError as error:
            self._fail(Broken(f"this is not HTTP/1.1: {error}"))

    def eof_received(self) -> bool:
        """asyncio calls it: some answers end with the connection."""
        if self._answer is not None:
            try:
                self._http.receive_data(b"")
                self._advance()
            except h11.RemoteProtocolError:
                self._fail(Broken("the connection was closed before the answer was whole"))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio calls it."""
        self._fail(error if isinstance(error, OSError) else Broken("the connection was closed"))

    def close(self) -> None:
        """Ends it; who waits for an answer gets Broken."""
        self._fail(Broken("the connection was closed"))
        if self._transport is not None:
            self._transport.abort()

    async def exchange(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes, wanted: int
    ) -> Reply:
        """Sends a request and answers the reply with up to `wanted` bytes of its body.

        Raises:
            ValueError: method, path or a header cannot be sent. OSError: no answer came.
        """
        if self._transport is None or self._transport.is_closing():
            raise Broken("the connection was closed")
        try:
            request = h11.Request(method=method, target=path, headers=headers)
            sent = self._http.send(request) or b""
            if body:
                sent += self._http.send(h11.Data(data=body)) or b""
            sent += self._http.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError as error:
            raise ValueError(f"the request cannot be sent: {error}") from None
        self._answer = asyncio.get_running_loop().create_future()
        self._head, self._body, self._size, self._wanted = None, [], 0, wanted
        self._transport.write(sent)
        try:
            return await self._answer
        finally:
            self._answer, self.is_fresh = None, False

    def _advance(self) -> None:
        while True:
            event = self._http.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return
            if isinstance(event, h11.Response):
                self._head = event
            elif isinstance(event, h11.Data):
                if self._size < self._wanted:
                    self._body.append(bytes(event.data)[: self._wanted - self._size])
                self._size += len(event.data)
                if self._size > max(self._wanted, _DRAINED_MAX):
                    self._finish()
                    self.close()
                    return
            elif isinstance(event, h11.EndOfMessage):
                if self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                    self._http.start_next_cycle()
                self._finish()
                return
            elif isinstance(event, h11.ConnectionClosed):
                self._fail(Broken("the connection was closed before an answer came"))
                return

    def _finish(self) -> None:
        head = self._head
        if head is None or self._answer is None or self._answer.done():
            return
        reason = bytes(head.reason).decode("latin-1")
        self._answer.set_result(Reply(head.status_code, reason, list(head.headers), b"".join(self._body)))

    def _fail(self, error: OSError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Connections:
    """Makes connections and keeps idle ones, the newest first: the older ones then come of age."""

    def __init__(self, idle_max: int) -> None:
        self._idle_max = idle_max
        self._idle: dict[Origin, deque[Connection]] = {}
        self._count = 0

    @property
    def idle(self) -> int:
        """How many wait for another request."""
        return self._count

    def take(self, origin: Origin) -> Connection | None:
        """A kept connection of the origin that is still open."""
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            self._count -= 1
            if not kept:
                del self._idle[origin]
            if connection.is_open and time.monotonic() - connection.idle_since_s < IDLE_S:
                return connection
            connection.close()
        return None

    def give(self, origin: Origin, connection: Connection) -> None:
        """Keeps the connection for the next request, if it may have one and there is room."""
        if not connection.is_open or self._count >= self._idle_max:
            connection.close()
            return
        connection.idle_since_s = time.monotonic()
        self._idle.setdefault(origin, deque()).append(connection)
        self._count += 1

    async def open(self, origin: Origin, context: ssl.SSLContext | None) -> Connection:
        """A new connection. Raises OSError, ssl.SSLError."""
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection,
            origin.address,
            origin.port,
            ssl=context,
            server_hostname=origin.server_name or None if context is not None else None,
        )
        return connection

    def sweep(self) -> None:
        """Closes what was idle for too long."""
        limit_s = time.monotonic() - IDLE_S
        for origin in list(self._idle):
            kept = self._idle[origin]
            while kept and (kept[0].idle_since_s < limit_s or not kept[0].is_open):
                kept.popleft().close()
                self._count -= 1
            if not kept:
                del self._idle[origin]

    def close(self) -> None:
        """Closes every idle one."""
        for kept in self._idle.values():
            for connection in kept:
                connection.close()
        self._idle.clear()
        self._count = 0
