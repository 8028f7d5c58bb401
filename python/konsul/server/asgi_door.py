"""Any ASGI application behind the listener, one task per request. The compiled front needs none of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from konsul.engine import HttpLine, HttpRequest
from konsul.kernel.logging import logger

_MESSAGE_MAX_BYTES: Final = 16 << 20
Message = dict[str, Any]
App = Callable[..., Awaitable[None]]


class AsgiDoor:
    """Gives the listener's requests to an application on the event loop."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def answer(self, scope: Message, request: HttpRequest) -> None:
        """For the listener, on its thread."""
        self._loop.call_soon_threadsafe(self._spawn, scope, request)

    def _spawn(self, scope: Message, request: HttpRequest) -> None:
        task = self._loop.create_task(self._run(scope, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, scope: Message, request: HttpRequest) -> None:
        scope["path"] = scope["raw_path"].decode("latin-1")
        scope["root_path"], scope["state"] = "", {}
        is_socket = scope["type"] == "websocket"
        way: _Exchange | _Socket = _Socket(request) if is_socket else _Exchange(request)
        try:
            await self._app(scope, way.receive, way.send)
        except Exception:
            logger().exception("request crashed")
        finally:
            way.finish()


class _Exchange:
    """One request."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._start: Message | None = None
        self._has_begun = False

    async def receive(self) -> Message:
        arrived = asyncio.get_running_loop().create_future()
        whole = self._request.take_body()
        if whole is not None:
            return {"type": "http.request", "body": whole, "more_body": False}
        self._request.wait(lambda piece, more: _settle(arrived, (piece, more)))
        piece, more = await arrived
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": more}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body" or self._start is None:
            return
        body, more = bytes(message.get("body", b"")), message.get("more_body", False)
        status, headers = self._start["status"], list(self._start.get("headers", ()))
        if not self._has_begun:
            self._has_begun = True
            if not more:
                self._request.answer(status, headers, body)
                return
            self._request.begin(status, headers)
        has_room = asyncio.get_running_loop().create_future()
        if not self._request.push(body, lambda *_: _settle(has_room, None)):
            await has_room
        if not more:
            self._request.end()

    def finish(self) -> None:
        self._request.finish()


def _settle(future: asyncio.Future[Any], result: object) -> None:
    """Whoever waited may have been cancelled meanwhile."""
    if not future.done():
        future.set_result(result)


class _Socket:
    """One WebSocket; the user of its own line."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._line: HttpLine | None = None
        self._told: deque[Message] = deque([{"type": "websocket.connect"}])
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._start: Message = {}

    async def receive(self) -> Message:
        while not self._told:
            self._has_news.clear()
            await self._has_news.wait()
        return self._told.popleft()

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._line = self._request.websocket(
                self, message.get("subprotocol"), list(message.get("headers", ())), _MESSAGE_MAX_BYTES
            )
        elif kind == "websocket.http.response.start":
            self._start = message
        elif kind == "websocket.http.response.body":
            headers = list(self._start.get("headers", ()))
            self._request.answer(self._start["status"], headers, message.get("body", b""))
        elif kind == "websocket.close" and self._line is None:
            self._request.answer(403, [], b"")
        elif kind == "websocket.close" and self._line is not None:
            self._line.close(message.get("code", 1000), message.get("reason") or "")
        elif kind == "websocket.send" and self._line is not None:
            text: str | None = message.get("text")
            data: bytes = message["bytes"] if text is None else text.encode()
            self._has_room.clear()
            if not self._line.send(data, text is None):
                await self._has_room.wait()

    def finish(self) -> None:
        if self._line is None:
            self._request.finish()
        else:
            self._line.close()

    # As the line's user

    def message(self, data: str | bytes) -> None:
        self._tell({"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data})

    def drained(self) -> None:
        self._has_room.set()

    def closed(self, reason: str, _sent_bytes: int) -> None:
        self._has_room.set()
        self._tell({"type": "websocket.disconnect", "code": 1006, "reason": reason})

    def _tell(self, message: Message) -> None:
        self._told.append(message)
        self._has_news.set()
