"""Lines: open connections that the server pushes to, event streams and WebSockets, whatever listener holds
them.

One timer serves all of them: heartbeats, idle time-outs, and clients that do not read. Everything here runs
on the loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from konsul.errors import Forbidden, Stopping, TooMany
from konsul.kernel.asgi_line import AsgiLine
from konsul.kernel.line import ALLOW_ORIGIN as ALLOW_ORIGIN
from konsul.kernel.line import GOING_AWAY as GOING_AWAY
from konsul.kernel.line import HIGH_WATER_BYTES as HIGH_WATER_BYTES
from konsul.kernel.line import MESSAGE_MAX_BYTES as MESSAGE_MAX_BYTES
from konsul.kernel.line import NORMAL as NORMAL
from konsul.kernel.line import REFUSED as REFUSED
from konsul.kernel.line import SERVER_ERROR as SERVER_ERROR
from konsul.kernel.line import SSE_HEADERS as SSE_HEADERS
from konsul.kernel.line import TOO_BIG as TOO_BIG
from konsul.kernel.line import UNAUTHENTICATED as UNAUTHENTICATED
from konsul.kernel.line import Headers as Headers
from konsul.kernel.line import Line as Line
from konsul.kernel.line import LineUser as LineUser
from konsul.kernel.line import RawLine as RawLine
from konsul.kernel.logging import logger
from konsul.kernel.per_client import PerClient
from konsul.kernel.watch_settings import WatchSettings

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

STOPPING: Final = "the node is stopping"
WRITE_TIMEOUT: Final = "write timeout"
IDLE_TIMEOUT: Final = "idle timeout"
_GONE: Final = "the client is gone"
"""In what the listener says when there is nobody to open a line to."""
_TICK_MAX_S: Final = 0.5
_TICK_MIN_S: Final = 0.01


class Lines:
    """Every open line of the node. It runs no timer while there is none."""

    def __init__(self, settings: WatchSettings) -> None:
        self._heartbeat_s = settings.heartbeat_interval_ms / 1_000
        self._idle_s = settings.timeout_ms / 1_000
        self.ends_silence = self._idle_s > 0
        """True if lines must tell of everything they send."""
        self._write_s = settings.write_timeout_ms / 1_000
        self._origins = frozenset(settings.allowed_origins)
        self._per_client = settings.max_per_client
        self._clients = PerClient()
        shortest_s = min(self._heartbeat_s / 8, self._write_s / 8, (self._idle_s or self._heartbeat_s) / 8)
        self._tick_s = max(_TICK_MIN_S, min(_TICK_MAX_S, shortest_s))
        # A wheel: each tick one slot beats, so that ten thousand heartbeats are not one pause of the loop.
        slots = max(1, round(self._heartbeat_s / self._tick_s))
        self._wheel: list[dict[Line, None]] = [{} for _ in range(slots)]
        self._at = self._next_slot = 0
        self._open = 0
        self._slow: dict[Line, float] = {}
        """Lines over the high-water mark, oldest first, and since when."""
        self._active: dict[Line, float] = {}
        """With an idle time-out: every line, the longest silent first, and since when."""
        self._due: list[Callable[[], None]] = []
        self._is_beating = False
        self._timer: asyncio.TimerHandle | None = None
        self.is_stopping = False
        self.closed_slow = 0
        """Lines closed because their client did not read."""
        self.closed_idle = 0
        """Lines closed because nothing was said on them."""

    def __len__(self) -> int:
        return self._open

    def check_origin(self, connection: HTTPConnection) -> None:
        """Keeps other sites' pages out: a browser sends their WebSockets with the user's own credentials.

        Raises:
            Forbidden: the `Origin` is neither the node's own host nor in KONSUL_WATCH_ALLOWED_ORIGINS.
        """
        origin = connection.headers.get("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return
        host = connection.headers.get("host", "")
        if host and origin.partition("://")[2].lower() == host.lower():
            return
        raise Forbidden(
            "this origin may not open WebSockets here: name it in KONSUL_WATCH_ALLOWED_ORIGINS to allow it"
        )

    def stream(self, scope: Scope, user: LineUser, status: int, headers: Headers) -> Response:
        """Opens an event stream; the answer is for the route to return. Raises Stopping."""
        line = self._admit(user, is_stream=True)
        native = scope.get("konsul", {}).get("lines")
        if any(name == b"origin" for name, _ in scope["headers"]):
            # The front allows it once more, and a browser takes two allowances for none.
            headers = [header for header in headers if header[0] != ALLOW_ORIGIN]
        if native is None:
            raw = AsgiLine(line, is_stream=True, high_water_bytes=HIGH_WATER_BYTES)
            line.hold(raw)
            return _AsgiStream(raw, status, headers)
        try:
            held = native.sse(status, headers, line)
        except BaseException as error:
            self.forget(line, line.slot)
            raise _reason(error) from None
        line.hold(held)
        return _Held()

    async def websocket(
        self,
        websocket: WebSocket,
        user: LineUser,
        subprotocol: str | None,
        max_message_bytes: int,
        client: str = "",
    ) -> None:
        """Upgrades the connection. Returns at once with the native listener, else at the connection's end.

        `client`: whose it is, where the connection itself has to count against a limit.
        """
        self.check_origin(websocket)
        if client and self._per_client and self._clients.of(client) >= self._per_client:
            raise TooMany(
                "too many connections of this client: "
                f"{WatchSettings.declarations['max_per_client'].env} is {self._per_client}"
            )
        line = self._admit(user, is_stream=False, client=client)
        native = websocket.scope.get("konsul", {}).get("lines")
        raw = AsgiLine(
            line, is_stream=False, high_water_bytes=HIGH_WATER_BYTES, max_message_bytes=max_message_bytes
        )
        try:
            if native is not None:
                held = native.websocket(line, subprotocol, [], max_message_bytes)
            else:
                await raw.accept(websocket.receive, websocket.send, subprotocol)
        except BaseException as error:
            self.forget(line, line.slot)
            raise _reason(error) from None
        if native is not None:
            line.hold(held)
            return
        line.hold(raw)
        await raw.run(websocket.receive, websocket.send)

    def close_all(self, code: int = GOING_AWAY, reason: str = STOPPING) -> int:
        """Ends every line with a reason, and opens no more; returns how many there were."""
        self.is_stopping = True
        lines = [line for slot in self._wheel for line in slot]
        for line in lines:
            line.close(code, reason)
        return len(lines)

    def soon(self, flush: Callable[[], None]) -> None:
        """Calls `flush` at the end of this turn of the loop, with those of everybody else."""
        self._due.append(flush)
        if len(self._due) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        due, self._due = self._due, []
        for flush in due:
            try:
                flush()
            except Exception:  # a defect of one must not keep the others waiting for ever
                logger().exception("a line failed")

    # What lines tell

    def sent(self, line: Line, has_room: bool) -> None:
        """Something was queued on the line."""
        if not has_room:
            self._slow.setdefault(line, asyncio.get_running_loop().time())
        if self._idle_s and not self._is_beating:
            self.heard(line)

    def heard(self, line: Line) -> None:
        """Its client spoke, or was told something."""
        if self._idle_s:
            self._active.pop(line, None)
            self._active[line] = asyncio.get_running_loop().time()

    def drained(self, line: Line) -> None:
        """Its client has read."""
        self._slow.pop(line, None)

    def forget(self, line: Line, slot: int) -> None:
        """It ended."""
        if self._wheel[slot].pop(line, self) is not None:
            return
        self._open -= 1
        if line.client:
            self._clients.drop(line.client)
        self._slow.pop(line, None)
        self._active.pop(line, None)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _admit(self, user: LineUser, *, is_stream: bool, client: str = "") -> Line:
        if self.is_stopping:
            raise Stopping(STOPPING)
        self._next_slot = (self._next_slot + 1) % len(self._wheel)
        line = Line(self, user, is_stream, self._next_slot, client)
        if client:
            self._clients.add(client)
        self._wheel[self._next_slot][line] = None
        self._open += 1
        self.heard(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)
        return line

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick_s, self._tick)
        now_s = loop.time()
        for line in _older(self._slow, now_s - self._write_s):
            self.closed_slow += 1
            line.close(REFUSED, WRITE_TIMEOUT)
        if self._idle_s:
            for line in _older(self._active, now_s - self._idle_s):
                self.closed_idle += 1
                line.close(GOING_AWAY, IDLE_TIMEOUT)
        self._at = (self._at + 1) % len(self._wheel)
        self._is_beating = True
        try:
            for line in list(self._wheel[self._at]):
                # Whoever does not read needs no sign of life, and must not be given more to hold.
                if line.is_open and line not in self._slow:
                    self._beat(line)
        finally:
            self._is_beating = False

    @staticmethod
    def _beat(line: Line) -> None:
        try:
            line.user.beat()
        except Exception:  # as in `_flush`
            logger().exception("a line failed")
            line.close(SERVER_ERROR, "a defect ended this connection")


def _older(ordered: dict[Line, float], than_s: float) -> list[Line]:
    """The lines at the front that are in the dict since before `than_s`."""
    found: list[Line] = []
    for line, since_s in ordered.items():
        if since_s > than_s:
            break
        found.append(line)
    return found


def _reason(error: BaseException) -> BaseException:
    """What kept a line from opening; a client that hung up meanwhile is no defect."""
    return ClientDisconnect() if _GONE in str(error) else error


class _Held(Response):
    """The answer of a request whose connection the native listener has taken over."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends nothing: the head is on its way already."""


class _AsgiStream(Response):
    """An event stream over ASGI: ends when the line does."""

    def __init__(self, raw: AsgiLine, status: int, headers: Headers) -> None:
        super().__init__(None, status)
        self._raw = raw
        self.raw_headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Sends the head, and the stream until its end."""
        head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await self._raw.run(receive, send, head)


async def open_stream(
    request: Request, user: LineUser, *, status: int = 200, headers: Headers = SSE_HEADERS
) -> Response:
    """Answers with a stream that stays open. The route returns the Response; `user.opened` was called.

    Raises:
        Stopping: the node ends its lines.
    """
    kernel: Kernel = request.app.state.kernel
    return kernel.lines.stream(request.scope, user, status, headers)


async def open_websocket(
    websocket: WebSocket,
    user: LineUser,
    *,
    subprotocol: str | None = None,
    max_message_bytes: int = MESSAGE_MAX_BYTES,
    client: str = "",
) -> None:
    """Upgrades to a WebSocket. The route has nothing to do afterwards; a larger message closes with 1009.

    With `client` the connection counts as one of that client's, also before it watches anything.

    Raises:
        Forbidden: another site's page asks. TooMany: this client has as many as it may. Stopping.
    """
    kernel: Kernel = websocket.app.state.kernel
    await kernel.lines.websocket(websocket, user, subprotocol, max_message_bytes, client)
