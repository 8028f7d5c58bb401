"""All WebSockets of the door: who may open one, and one timer that looks after all of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.websockets import WebSocket

from konsul.doors.graphql.dialects import BAD_SUBPROTOCOL, INIT_TIMEOUT, pick
from konsul.doors.graphql.socket import Socket
from konsul.errors import Unauthenticated
from konsul.kernel import settings
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.lines import GOING_AWAY, REFUSED, STOPPING, WRITE_TIMEOUT, Line, LineUser, open_websocket
from konsul.kernel.per_client import PerClient
from konsul.kernel.pipeline import ANONYMOUS, Identity

if TYPE_CHECKING:
    from konsul.doors.graphql.door import Door

_TRY_LATER: Final = 1013
_REASONS: Final = {
    "": "closed",
    "the client has gone": "client",
    STOPPING: "stopping",
    WRITE_TIMEOUT: "write_timeout",
    "goodbye": "client",
    "idle": "idle",
    "connection initialisation timeout": "init_timeout",
    "unauthorized": "unauthorized",
    "too many initialisation requests": "protocol",
}
_TICK_MAX_S: Final = 1.0


class Sockets:
    """The open WebSockets. Its timer runs only while there is one."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._open: dict[Socket, None] = {}
        self._by_client = PerClient()
        self._timer: asyncio.TimerHandle | None = None
        own = door.settings
        self._requires_auth = door.kernel.config.of(GuardSettings).requires_auth
        self._init_s = own.ws_init_timeout_ms / 1_000
        self._read_s = own.ws_read_timeout_ms / 1_000
        self._write_s = own.ws_write_timeout_ms / 1_000
        self._ping_s = own.ws_ping_interval_ms / 1_000
        self._unused_s = own.event_cleanup_interval_ms / 1_000
        shortest_s = min(self._init_s, self._read_s, self._write_s, self._ping_s, self._unused_s)
        self._tick_s = min(_TICK_MAX_S, shortest_s / 4)

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, websocket: WebSocket) -> None:
        """Upgrades a connection, or says why not. Raises Forbidden for another site's page, Stopping."""
        about = websocket.scope.get("konsul", {})
        client = websocket.scope.get("client")
        address: str = about.get("client") or (client[0] if client else "")
        dialect = pick(websocket.scope.get("subprotocols") or [])
        limits = self.door.kernel.config
        largest = settings.max_body_bytes(limits.of(settings.HttpSettings), limits.of(settings.KvSettings))
        user: LineUser
        if dialect is None:
            user = _Refusing(BAD_SUBPROTOCOL, "Subprotocol not acceptable")
        elif full := self._full(address):
            user = _Refusing(_TRY_LATER, full)
        else:
            user = Socket(self, dialect, about.get("identity", ANONYMOUS), address)
        name = dialect.name if dialect is not None else None
        await open_websocket(websocket, user, subprotocol=name, max_message_bytes=largest)

    def identify(self, identity: Identity, authorization: bytes | None) -> Identity:
        """Who begins: whom its message names, else whom the front has found out.

        Raises:
            Unauthenticated: the credentials do not hold, or there are none and there have to be.
        """
        kernel = self.door.kernel
        if authorization is not None:
            identity = kernel.pipeline.identify(authorization, None, None)
        if identity.kind == "anonymous" and self._requires_auth:
            raise Unauthenticated("missing authorization header")
        return identity

    def known(self, socket: Socket) -> None:
        """One was let in as somebody."""
        self.door.kernel.identities.keep(socket)

    def add(self, socket: Socket) -> None:
        """One was opened."""
        self._open[socket] = None
        self._by_client.add(socket.address)
        self.door.metering.sockets.inc()
        self.door.metering.sockets_opened.inc()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._sweep)

    def remove(self, socket: Socket, reason: str) -> None:
        """One ended."""
        if self._open.pop(socket, self) is self:
            return
        self.door.kernel.identities.drop(socket)
        self._by_client.drop(socket.address)
        self.door.metering.sockets.dec()
        self.door.metering.sockets_closed.labels(_label(reason)).inc()
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _full(self, address: str) -> str:
        """Why no more may be opened now; empty: one more may."""
        own = self.door.settings
        if len(self._open) >= own.ws_max_connections:
            return f"{len(self._open)} connections are open (KONSUL_GRAPHQL_WS_MAX_CONNECTIONS)"
        of_client = self._by_client.of(address)
        if own.ws_max_per_client and of_client >= own.ws_max_per_client:
            return f"{of_client} connections of yours are open (KONSUL_GRAPHQL_WS_MAX_PER_CLIENT)"
        return ""

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick_s, self._sweep)
        now_s = loop.time()
        for socket in list(self._open):
            if not socket.is_acked:
                if now_s - socket.opened_s > self._init_s:
                    socket.close(INIT_TIMEOUT, "Connection initialisation timeout")
            elif socket.room.since_s and now_s - socket.room.since_s > self._write_s:
                socket.close(REFUSED, WRITE_TIMEOUT)
            elif not socket.is_busy and now_s - socket.heard_s > self._read_s:
                socket.close(GOING_AWAY, "idle: nothing was heard (KONSUL_GRAPHQL_WS_READ_TIMEOUT)")
            elif not socket.is_busy and now_s - socket.used_s > self._unused_s:
                socket.close(GOING_AWAY, "idle: no operation (KONSUL_GRAPHQL_EVENT_CLEANUP_INTERVAL)")
            elif not socket.room.since_s and now_s - socket.beat_s > self._ping_s:
                socket.beat_s = now_s
                socket.send(socket.dialect.sign_of_life)


class _Refusing(LineUser):
    """Closes at once: only a WebSocket's close code reaches a browser, a refused upgrade does not."""

    def __init__(self, code: int, reason: str) -> None:
        self._code = code
        self._reason = reason

    def opened(self, line: Line) -> None:
        """See `LineUser`."""
        line.close(self._code, self._reason)


def _label(reason: str) -> str:
    """A reason as a label: few, whatever clients write into their close frames."""
    return _REASONS.get(reason.partition(":")[0].lower(), "other")
