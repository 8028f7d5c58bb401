"""The front in plain Python: what it does to a request, the compiled front must do the same way.

Used where the compiled one is not wanted, and as its oracle in tests/contract. It has no short cuts: every
route is answered by the application.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from konsul.doors.http.admission import NO_ROOM, UNRECORDED, Admission
from konsul.doors.http.answers import (
    JSON,
    ORIGIN_HEADERS,
    PHRASES,
    PREFLIGHT_HEADERS,
    STOPPING_MESSAGE,
    TEXT,
    Headers,
    contact_headers,
    standard_body,
)
from konsul.doors.http.app import refusal
from konsul.doors.http.auditing import record
from konsul.doors.http.counters import Counters
from konsul.doors.http.paths import normalise
from konsul.errors import KonsulError
from konsul.kernel.logging import logger
from konsul.kernel.pipeline import ANONYMOUS

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_LENGTH: Final = b"content-length"
_CLOSE: Final[Headers] = [(b"connection", b"close")]
_RETRY: Final[Headers] = [(b"retry-after", b"1")]
UNMATCHED: Final = "unmatched"


class _Broken(Exception):
    """The body ended before it was whole: the client went away, or framed it wrongly and still reads."""


@dataclass(slots=True)
class _Answer(Exception):
    """An answer the front gives by itself."""

    status: int
    content_type: bytes
    body: bytes
    headers: Headers


class PlainFront:
    """One ASGI callable for every request: id, limits, CORS, path, counters, log; then the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_head_bytes: int = 4096,
        max_body_bytes: int = 4 << 20,
        body_timeout_ms: int = 30_000,
        access_log: str = "all",
        contact: Callable[[], tuple[bool, int, int]] | None = None,
        admission: Admission | None = None,
        answer_headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._app = app
        self._max_head_bytes = max_head_bytes
        self._max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_ms / 1_000
        self._access_log = access_log
        self._contact = contact
        self._admission = None if admission is None or admission.is_open else admission
        self._answer_headers = list(answer_headers)
        self._counters = Counters()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    def start(self) -> None:
        """Nothing to start; the compiled front has threads here."""

    def close(self) -> None:
        """Nothing to close."""

    def snapshot(self) -> dict[str, Any]:
        """The request counters."""
        return self._counters.snapshot()

    async def drain(self, grace_ms: int) -> int:
        """Refuses new requests and waits for those in flight. Returns how many were left after `grace_ms`."""
        self.draining = True
        try:
            async with asyncio.timeout(grace_ms / 1_000):
                await self._idle.wait()
        except TimeoutError:
            pass
        return self._counters.in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._connect(scope, receive, send)
            return
        began_s = time.perf_counter()
        headers = {name.lower(): value for name, value in reversed(scope["headers"])}
        client = scope.get("client")
        about: dict[str, Any] = {
            "request_id": _request_id(headers.get(b"x-request-id", b"")),
            "identity": ANONYMOUS,
            "client": client[0] if client else "",
            "route": None,
        }
        scope["konsul"] = about
        seen = _Watched(send, about, b"origin" in headers, scope["method"] == "HEAD", self._answer_headers)
        self._counters.in_flight += 1
        self._idle.clear()
        method = scope["method"]
        try:
            await self._answer(scope, headers, receive, seen)
        finally:
            self._counters.in_flight -= 1
            if self._counters.in_flight == 0:
                self._idle.set()
            seconds = time.perf_counter() - began_s
            self._counters.add(about["route"] or UNMATCHED, method, seen.status, seconds)
            self._log(scope, headers, about, seen, method, seconds)
            self._record(scope, about, method, seen.status, seconds)

    def _record(self, scope: Scope, about: dict[str, Any], method: str, status: int, seconds: float) -> None:
        audit = self._admission.pipeline.audit if self._admission is not None else None
        if audit is not None and about.pop("audited", False):
            path = scope["raw_path"].partition(b"?")[0]
            record(audit, about, method, path, status, seconds, about.pop("body", None))

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket: prepared as a request is, and not counted as one."""
        headers = {name.lower(): value for name, value in reversed(scope["headers"])}
        client = scope.get("client")
        if scope["type"] != "websocket" or self.draining:
            await send({"type": "websocket.close", "code": 1012})
            return
        try:
            scope["path"] = normalise(scope["raw_path"].partition(b"?")[0])
        except ValueError:
            await send({"type": "websocket.close", "code": 1008})
            return
        about = scope["konsul"] = {
            "request_id": _request_id(headers.get(b"x-request-id", b"")),
            "identity": ANONYMOUS,
            "client": client[0] if client else "",
            "route": None,
        }
        began_s = time.perf_counter()
        status = 101
        try:
            await self._admit(scope)
            await self._app(scope, receive, send)
        except _Answer as answer:
            status = answer.status
            await _deny(scope, send, answer)
        finally:
            self._record(scope, about, "GET", status, time.perf_counter() - began_s)

    async def _admit(self, scope: Scope) -> None:
        """Raises _Answer for who is not let in."""
        admission, about = self._admission, scope["konsul"]
        if admission is None:
            return
        sent = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        admission.place(scope)
        audit = admission.pipeline.audit
        needs_room = audit is not None and not (about["public"] and scope["path"] in UNRECORDED)
        if audit is not None and needs_room and not audit.admits():
            raise _Answer(503, JSON, standard_body(503, NO_ROOM, about["request_id"], sent), _RETRY)
        about["audited"] = audit is not None
        self._let_in(scope, admission.admit)

    def _let_in(self, scope: Scope, admit: Callable[[Scope], None]) -> None:
        """Raises _Answer for what `admit` raises."""
        about = scope["konsul"]
        try:
            admit(scope)
        except Exception as error:
            told = getattr(error, "headers", None)
            about["rate"] = told or about.get("rate", [])
            about["reason"] = getattr(error, "reason", "") or str(error)
            sent = scope["raw_path"].partition(b"?")[0].decode("latin-1")
            status, headers, body = refusal(error, about["request_id"], sent)
            (_, content_type), *others = headers
            raise _Answer(status, content_type, body, others) from None

    async def _answer(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: _Watched
    ) -> None:
        try:
            receive = await self._prepare(scope, headers, receive)
        except _Answer as answer:
            await send(
                {
                    "type": "http.response.start",
                    "status": answer.status,
                    "headers": [
                        *([(b"content-type", answer.content_type)] if answer.content_type else ()),
                        *([(b"content-length", b"%d" % len(answer.body))] if answer.status != 204 else ()),
                        *answer.headers,
                    ],
                }
            )
            await send({"type": "http.response.body", "body": answer.body})
            return
        send.contact = self._contact
        await self._app(scope, receive, send)

    async def _prepare(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Everything before the application. Raises _Answer for a request that ends here."""
        raw: bytes = scope["raw_path"].partition(b"?")[0]
        about = scope["konsul"]

        def standard(status: int, message: str, extra: Headers) -> _Answer:
            body = standard_body(status, message, about["request_id"], raw.decode("latin-1"))
            return _Answer(status, JSON, body, extra)

        if self.draining:
            raise standard(503, STOPPING_MESSAGE, _CLOSE + _RETRY)
        if _head_bytes(scope, raw) > self._max_head_bytes:
            raise _Answer(431, TEXT, PHRASES[431].encode(), _CLOSE)
        if (
            scope["method"] == "OPTIONS"
            and b"origin" in headers
            and b"access-control-request-method" in headers
        ):
            raise _Answer(204, b"", b"", PREFLIGHT_HEADERS)
        try:
            scope["path"] = normalise(raw)
        except ValueError as error:
            raise standard(400, str(error), []) from None
        await self._admit(scope)
        if scope.get("http_version") == "2" and scope["method"] in ("PUT", "POST") and _LENGTH not in headers:
            # HTTP/2 needs neither header: a body ends with its stream (RFC 9113, 8.1).
            headers = {**headers, b"transfer-encoding": b""}
        try:
            async with asyncio.timeout(self._body_timeout_s):
                body = about["body"] = await self._read(headers, receive)
        except TimeoutError:
            raise standard(408, "the request body did not arrive in time", _CLOSE) from None
        except _Broken:
            raise standard(400, "the request body is not whole", _CLOSE) from None
        if body and self._admission is not None:
            self._let_in(scope, self._admission.admit_again)
        return _replay(body, receive)

    async def _read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, never more than the limit of it."""
        declared = headers.get(_LENGTH, b"0")
        if declared == b"0" and b"transfer-encoding" not in headers:
            return b""
        too_large = _Answer(413, TEXT, PHRASES[413].encode(), _CLOSE)
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            raise too_large
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Broken
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body_bytes:
                raise too_large
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _log(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        about: dict[str, Any],
        seen: _Watched,
        method: str,
        seconds: float,
    ) -> None:
        if self._access_log == "off" or (self._access_log == "errors" and seen.status < 400):
            return
        log = logger()
        say = log.info if seen.status < 400 else log.warning if seen.status < 500 else log.error
        say(
            "Request completed",
            request_id=about["request_id"],
            method=method,
            path=scope["raw_path"].partition(b"?")[0].decode("latin-1"),
            status=seen.status,
            duration=round(seconds, 6),
            response_size=seen.size,
            ip=about["client"],
            user_agent=headers.get(b"user-agent", b"").decode("latin-1"),
        )


class _Watched:
    """Passes an answer on with the headers every answer has, and notes its status and size.

    `contact` is set once the request has reached the application: then the answer says what it is based on.
    """

    def __init__(
        self, send: Send, about: dict[str, Any], cors: bool, head: bool, answer_headers: Headers
    ) -> None:
        self._send = send
        self._about = about
        self._headers: Headers = [
            (b"x-request-id", about["request_id"].encode()),
            (b"server", b"konsul"),
            *answer_headers,
        ]
        self.contact: Callable[[], tuple[bool, int, int]] | None = None
        if cors:
            self._headers += ORIGIN_HEADERS
        self._head = head
        self.status = 500
        self.size = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given: Headers = list(message.get("headers", ()))
            # A preflight answer has its own CORS headers already.
            names = {name for name, _ in given}
            own = self._headers + self._about.get("rate", []) + self._told()
            added = [header for header in own if header[0] not in names]
            message = {**message, "headers": given + added}
        elif message["type"] == "http.response.body":
            if self._head:
                message = {**message, "body": b""}
            self.size += len(message.get("body", b""))
        await self._send(message)

    def _told(self) -> Headers:
        """What the answer is based on; nothing on a node that has stopped."""
        if self.contact is None:
            return []
        try:
            known_leader, last_contact_ms, index = self.contact()
        except KonsulError:
            return []
        return contact_headers(known_leader, last_contact_ms, self._about.get("index", index))


async def _deny(scope: Scope, send: Send, answer: _Answer) -> None:
    """Refuses an upgrade, in words if the server can pass them on."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", answer.content_type), *answer.headers]
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})


def _request_id(given: bytes) -> str:
    """The client's id if it is harmless in a header and a log line, else a new one."""
    return given.decode() if _REQUEST_ID.fullmatch(given) else str(uuid4())


def _head_bytes(scope: Scope, raw: bytes) -> int:
    """Bytes of request line and headers as they were on the wire, give or take white space."""
    query = scope.get("query_string", b"")
    line = len(scope["method"]) + len(raw) + (len(query) + 1 if query else 0) + len("  HTTP/1.1\r\n")
    return line + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) + 2


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
