"""One request three ways: through the plain front, the compiled one as ASGI, and as granian drives that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from konsul.doors.http.app import create_app
from konsul.doors.http.plain_front import PlainFront
from konsul.engine import Engine, Options
from konsul.features import FEATURES
from konsul.kernel import settings
from konsul.kernel.config import load
from konsul.kernel.feature import load_all
from konsul.kernel.node import Kernel
from konsul.server.front import make_front
from konsul_ext.front import Front

Message = MutableMapping[str, Any]
ANSWER_DEADLINE_S = 20.0
_MOMENT = re.compile(rb'"(timestamp|expires_at)":"[^"]*"')
_OWN_HEADERS = frozenset((b"server", b"content-length"))
"""What the compiled front adds by itself, and what the server computes when the application does not."""


@dataclass(frozen=True)
class Call:
    """One request. `pieces`: how the body arrives; `declared`: whether it says its length."""

    method: str
    path: bytes
    query: bytes = b""
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    pieces: int = 1
    declared: bool = True
    request_id: bytes = b"the-same-for-all"

    def scope(self) -> dict[str, Any]:
        headers = [(b"host", b"konsul"), (b"x-request-id", self.request_id), *self.headers]
        if self.body and self.declared:
            headers.append((b"content-length", b"%d" % len(self.body)))
        elif self.body:
            headers.append((b"transfer-encoding", b"chunked"))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path.decode("latin-1"),
            "raw_path": self.path,
            "query_string": self.query,
            "root_path": "",
            "headers": headers,
            "client": ("192.0.2.7", 50000),
            "server": ("127.0.0.1", 8888),
        }

    def messages(self) -> list[Message]:
        size = max(1, -(-len(self.body) // self.pieces))
        parts = [self.body[at : at + size] for at in range(0, len(self.body), size)] or [b""]
        return [
            {"type": "http.request", "body": part, "more_body": at < len(parts) - 1}
            for at, part in enumerate(parts)
        ]


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def comparable(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Without what may differ: moments, and headers the server would set itself."""
        headers = sorted(header for header in self.headers if header[0] not in _OWN_HEADERS)
        return self.status, headers, _MOMENT.sub(rb'"\1":"*"', self.body)


class Way(Protocol):
    """Something that answers a call."""

    async def __call__(self, call: Call) -> Reply: ...


@dataclass
class Collected:
    """An ASGI `send` that keeps the messages."""

    messages: list[Message] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, message: Message) -> None:
        self.keep(message)

    def keep(self, message: Message) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.done.set()

    def reply(self) -> Reply:
        start, *rest = self.messages
        assert start["type"] == "http.response.start"
        body = b"".join(message.get("body", b"") for message in rest)
        return Reply(start["status"], list(start["headers"]), body)


class AsgiWay:
    """Calls an ASGI application in this process."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app

    async def __call__(self, call: Call) -> Reply:
        collected = Collected()
        pending = call.messages()

        async def receive() -> Message:
            if pending:
                return pending.pop(0)
            await collected.done.wait()
            return {"type": "http.disconnect"}

        async with asyncio.timeout(ANSWER_DEADLINE_S):
            await self._app(call.scope(), receive, collected.send)
        return collected.reply()


class Ready:
    """An awaitable that granian hands out done."""

    def __await__(self) -> Any:
        return iter(())


class Piece:
    """A future as granian makes them: it calls back through the loop-like object it was made with."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._result: Message | None = None
        self._callback: Callable[[Any], object] | None = None

    def add_done_callback(self, callback: Callable[[Any], object], *, context: object = None) -> None:
        self._callback = callback
        if self._result is not None:
            self._loop.call_soon(callback, self, context=context)

    def finish(self, message: Message) -> None:
        self._result = message
        if self._callback is not None:
            self._loop.call_soon_threadsafe(self._callback, self, context=None)

    def result(self) -> Message | None:
        return self._result

    def cancel(self) -> bool:
        return False


class Watcher:
    """The double of granian's watcher and protocol for one request."""

    def __init__(self, direct: Any, call: Call) -> None:
        self.scope = call.scope()
        self.proto = self
        self.collected = Collected()
        self.pieces = call.messages()
        self.waiting: list[Piece] = []
        self.finished = False
        self._direct = direct

    def receive(self) -> Piece:
        """The next piece, later; the last one leaves `more_body` on, as granian's do."""
        piece = Piece(self._direct)
        loop = asyncio.get_running_loop()
        if self.pieces:
            message = self.pieces.pop(0)
            if message["type"] == "http.request":
                message = {**message, "more_body": True}
            loop.call_soon(piece.finish, message)
        elif not self.finished:
            loop.call_soon(piece.finish, {"type": "http.request", "body": b"", "more_body": False})
            self.finished = True
        else:
            self.waiting.append(piece)
        return piece

    def send(self, message: Message) -> Ready:
        self.collected.keep(message)
        return Ready()

    def done(self) -> None:
        for piece in self.waiting:
            piece.finish({"type": "http.disconnect"})
        self.waiting.clear()

    def err(self, error: BaseException) -> None:
        raise error


class DirectWay:
    """Drives the compiled front as granian does."""

    def __init__(self, front: Front) -> None:
        self.door = front.direct(asyncio.get_running_loop())

    def begin(self, call: Call, stalled_after: list[Message] | None = None) -> Watcher:
        """Starts a request. `stalled_after`: these messages instead of its body, and then silence."""
        watcher = Watcher(self.door, call)
        if stalled_after is not None:
            watcher.pieces, watcher.finished = stalled_after, True
        self.door.schedule(watcher)
        return watcher

    async def __call__(self, call: Call) -> Reply:
        watcher = self.begin(call)
        async with asyncio.timeout(ANSWER_DEADLINE_S):
            await watcher.collected.done.wait()
        return watcher.collected.reply()


async def start_node(data_dir: str, environ: dict[str, str] | None = None) -> Kernel:
    """A node in memory mode with every feature."""
    features = load_all(FEATURES)
    groups = [*settings.GROUPS, *(each.config for each in features if each.config is not None)]
    config = load(groups, environ={"KONSUL_ACCESS_LOG": "off", **(environ or {})})
    kernel = Kernel(Engine(Options(data_dir=data_dir, backend="memory")), config, features)
    await kernel.start()
    return kernel


def plain(kernel: Kernel) -> PlainFront:
    """The twin, with the limits of the compiled front's settings."""
    http, kv = kernel.config.of(settings.HttpSettings), kernel.config.of(settings.KvSettings)
    return PlainFront(
        create_app(kernel),
        max_head_bytes=http.max_header_bytes,
        max_body_bytes=settings.max_body_bytes(http, kv),
        body_timeout_ms=http.body_timeout_ms,
        access_log="off",
        contact=kernel.engine.contact,
    )


def compiled(kernel: Kernel) -> Front:
    """The compiled front of a node, started."""
    front = make_front(kernel, create_app(kernel))
    assert isinstance(front, Front)
    front.start()
    return front
