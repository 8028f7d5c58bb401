"""One request three ways: the plain front, the compiled one as ASGI, and as the listener drives it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from konsul.doors.http.admission import Admission
from konsul.doors.http.app import create_app
from konsul.doors.http.plain_front import PlainFront
from konsul.engine import Engine, Options
from konsul.features import FEATURES
from konsul.kernel import settings
from konsul.kernel.config import load
from konsul.kernel.feature import Feature, load_all
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


class Asked:
    """The double of the listener's request object."""

    def __init__(self, call: Call) -> None:
        self.scope = call.scope()
        self.collected = Collected()
        self.whole = call.body if call.pieces == 1 and call.body else None
        self.pieces: list[Message] = [] if self.whole else call.messages()
        self.waiting: list[Callable[[bytes | None, bool], object]] = []
        self.has_given_up = False
        self.has_ended = self.whole is not None

    def take_body(self) -> bytes | None:
        whole, self.whole = self.whole, None
        return whole

    def read(self, callback: Callable[[bytes | None, bool], object]) -> None:
        """The next piece, later; the last one leaves `more` on, as those of a body of unknown length do."""
        loop = asyncio.get_running_loop()
        if self.pieces:
            message = self.pieces.pop(0)
            if message["type"] == "http.request":
                loop.call_soon(callback, message.get("body", b""), True)
            else:
                loop.call_soon(callback, None, False)
        elif not self.has_ended:
            loop.call_soon(callback, b"", False)
            self.has_ended = True
        else:
            self.waiting.append(callback)

    wait = read

    def give_up(self) -> None:
        self.has_given_up = True

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        if not self.begin(status, headers):
            return False
        self.collected.keep({"type": "http.response.body", "body": body})
        return True

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        if self.collected.messages:
            return False
        self.collected.keep({"type": "http.response.start", "status": status, "headers": headers})
        return True

    def push(self, body: bytes, _callback: Callable[[bytes | None, bool], object]) -> bool:
        self.collected.keep({"type": "http.response.body", "body": body, "more_body": True})
        return True

    def end(self) -> None:
        self.collected.keep({"type": "http.response.body", "body": b""})

    def finish(self) -> None:
        for callback in self.waiting:
            callback(None, False)
        self.waiting.clear()

    def sse(self, status: int, headers: list[tuple[bytes, bytes]], user: Any) -> Any:
        raise NotImplementedError

    def websocket(
        self, user: Any, subprotocol: str | None, headers: list[tuple[bytes, bytes]], max_message_bytes: int
    ) -> Any:
        raise NotImplementedError


class DirectWay:
    """Drives the compiled front as the listener does."""

    def __init__(self, front: Front) -> None:
        self.front = front

    def begin(self, call: Call, stalled_after: list[Message] | None = None) -> Asked:
        """Starts a request. `stalled_after`: these messages instead of its body, and then silence."""
        asked = Asked(call)
        if stalled_after is not None:
            asked.whole, asked.pieces, asked.has_ended = None, stalled_after, True
        self.front.answer(asked.scope, asked)
        return asked

    async def __call__(self, call: Call) -> Reply:
        asked = self.begin(call)
        async with asyncio.timeout(ANSWER_DEADLINE_S):
            await asked.collected.done.wait()
        return asked.collected.reply()


GUARDS: Final = frozenset(("audit", "auth", "acl", "ratelimit"))
"""Features that fill the pipeline; with played ones in their place a node is composed without them."""


async def start_node(
    data_dir: str,
    environ: dict[str, str] | None = None,
    guard: Callable[[Kernel], None] | None = None,
) -> Kernel:
    """A node in memory mode with every feature, or with `guard` in place of those that fill the pipeline."""
    words = FEATURES if guard is None else tuple(word for word in FEATURES if word not in GUARDS)
    features = load_all(words if guard is None else (*words, Feature(name="played", install=guard)))
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
        admission=Admission(kernel),
    )


def compiled(kernel: Kernel) -> Front:
    """The compiled front of a node, started."""
    front = make_front(kernel, create_app(kernel))
    assert isinstance(front, Front)
    front.start()
    return front
