"""A line over plain ASGI: two coroutines per connection. What a listener without lines of its own gives."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from starlette.types import Message, Receive, Send

LINGER_S: Final = 5.0
"""How long what waits may still be written after `close`."""
GOODBYE_S: Final = 1.0
"""How long a client has to answer the close of a WebSocket."""
_BATCH_BYTES: Final = 64 << 10
_GONE: Final = "the client has gone"
_TOO_BIG: Final = 1009


class Listening(Protocol):
    """Whom an AsgiLine tells; see `konsul.kernel.lines.LineUser`."""

    def message(self, data: str | bytes) -> None: ...
    def drained(self) -> None: ...
    def closed(self, reason: str) -> None: ...


class AsgiLine:
    """Queues what is sent and writes it as fast as the client reads."""

    def __init__(
        self, user: Listening, *, is_stream: bool, high_water_bytes: int, max_message_bytes: int = 0
    ) -> None:
        self._user = user
        self._is_stream = is_stream
        self._high_water_bytes = high_water_bytes
        self._max_message_bytes = max_message_bytes
        self._waiting: deque[bytes] = deque()
        self._queued_bytes = 0
        self._is_over = False
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def queued_bytes(self) -> int:
        """What was not handed to the server yet."""
        return self._queued_bytes

    def send(self, data: bytes) -> bool:
        """Queues it. False once more than the high-water mark waits."""
        if self._closing is None:
            self._waiting.append(data)
            self._queued_bytes += len(data)
            self._is_over = self._is_over or self._queued_bytes > self._high_water_bytes
            self._wake.set()
        return not self._is_over

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Ends it once what waits is written; at once if the client does not read."""
        if self._closing is not None:
            return
        self._closing = (code, reason)
        self._wake.set()
        if self._task is not None:
            if self._is_over:
                self._task.cancel()
            else:
                asyncio.get_running_loop().call_later(LINGER_S, self._task.cancel)

    async def accept(self, receive: Receive, send: Send, subprotocol: str | None) -> None:
        """Upgrades the connection to a WebSocket."""
        await receive()
        await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})

    async def run(self, receive: Receive, send: Send, head: Message | None = None) -> None:
        """Writes and reads until either side ends the connection. `head`: of an event stream."""
        reading = asyncio.create_task(self._read(receive), name="line reader")
        self._task = asyncio.create_task(self._write(send, head), name="line writer")
        try:
            await asyncio.wait((reading, self._task), return_when=asyncio.FIRST_COMPLETED)
            # A server may hold the connection's lock while it is read: a close would wait for the client.
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            if self._closing is not None and self._task.done() and not self._task.cancelled():
                async with asyncio.timeout(GOODBYE_S):
                    await send(self._last(*self._closing))
                    while not self._is_stream and (await receive())["type"] != "websocket.disconnect":
                        pass
        except Exception:  # noqa: S110 - whatever fails now: the connection is over, which is what was wanted
            pass
        finally:
            for task in (reading, self._task):
                task.cancel()
            await asyncio.gather(reading, self._task, return_exceptions=True)
            self._waiting.clear()
            self._queued_bytes = 0
            self._closing = self._closing or (1000, _GONE)
            self._user.closed(_GONE)

    async def _read(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] in ("http.disconnect", "websocket.disconnect"):
                return
            if message["type"] != "websocket.receive":
                continue
            text = message.get("text")
            data: str | bytes = text if text is not None else message.get("bytes") or b""
            if len(data.encode() if isinstance(data, str) else data) > self._max_message_bytes:
                self.close(_TOO_BIG, "message too big")
                await asyncio.Event().wait()  # until the writer has said so
            self._user.message(data)

    async def _write(self, send: Send, head: Message | None) -> None:
        if head is not None:
            await send(head)
            # The head goes out with the first piece of the body.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        while True:
            while self._waiting:
                size = len(self._waiting[0])
                message = self._next()
                if self._is_stream:
                    size = len(message["body"])
                await send(message)
                self._wrote(size)
            if self._closing is not None:
                return
            self._wake.clear()
            await self._wake.wait()

    def _next(self) -> Message:
        if not self._is_stream:
            return {"type": "websocket.send", "text": self._waiting.popleft().decode()}
        parts: list[bytes] = []
        size = 0
        while self._waiting and size < _BATCH_BYTES:
            parts.append(self._waiting.popleft())
            size += len(parts[-1])
        return {"type": "http.response.body", "body": b"".join(parts), "more_body": True}

    def _last(self, code: int, reason: str) -> Message:
        if self._is_stream:
            return {"type": "http.response.body", "body": b"", "more_body": False}
        return {"type": "websocket.close", "code": code, "reason": reason}

    def _wrote(self, size: int) -> None:
        self._queued_bytes -= size
        if self._is_over and self._queued_bytes * 2 <= self._high_water_bytes:
            self._is_over = False
            self._user.drained()
