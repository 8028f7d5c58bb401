"""A server of streams that says what a script tells it to: server-sent events and WebSockets, over real
sockets."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CUT: Final = "cut"
"""Ends the connection without a farewell."""
HOLD: Final = "hold"
"""Keeps the connection open until the other side leaves."""
HEAR: Final = "hear"
"""Waits for a message of the client."""
LISTEN_S: Final = 30.0
CLOSE_FRAME: Final = 0x88


@dataclass(frozen=True)
class Refusal:
    """An answer instead of a stream."""

    status: int
    document: Any = None


@dataclass(frozen=True)
class Farewell:
    """Closes a WebSocket with a code."""

    code: int
    reason: str = ""


@dataclass(frozen=True)
class Event:
    """A named server-sent event."""

    name: str
    document: Any = None


@dataclass
class Asked:
    """One request."""

    line: str
    headers: Mapping[str, str]
    body: bytes
    heard: list[str] = field(default_factory=list)


class Streams:
    """`turns`: what each stream says, one list per connection; the last one repeats. An item is a document,
    a bookmark as a whole number, an `Event`, a `threading.Event` to wait for, or one of the words above. Any
    other request is answered with `listing` at `index`."""

    def __init__(
        self,
        *turns: list[Any] | Refusal,
        index: int = 10,
        listing: Any = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.turns = list(turns)
        self.index = index
        self.listing = listing
        self.streams: list[Asked] = []
        self.calls: list[Asked] = []
        self.left = threading.Event()
        """Set when a client leaves a connection that is held."""
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        port: int = self._server.getsockname()[1]
        self.base_url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        self._tls = tls
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self._thread.join(LISTEN_S)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            connection.settimeout(LISTEN_S)
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._open.add(connection)
            while (asked := _request(connection)) is not None and self._answer(connection, asked):
                pass
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _answer(self, connection: socket.socket, asked: Asked) -> bool:
        """Whether the connection goes on."""
        upgrade = asked.headers.get("upgrade", "").lower() == "websocket"
        if not upgrade and asked.headers.get("accept") != "text/event-stream":
            self.calls.append(asked)
            _reply(connection, 200, self.listing, self.index)
            return True
        with self._lock:
            turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
            self.streams.append(asked)
        if isinstance(turn, Refusal):
            _reply(connection, turn.status, turn.document, self.index)
            return True
        say = _accepted(connection, asked) if upgrade else _streaming(connection)
        for item in turn:
            if item == CUT:
                return False
            if item == HOLD:
                while (said := connection.recv(4096)) and said[0] != CLOSE_FRAME:
                    pass
                self.left.set()
                return False
            if item == HEAR:
                asked.heard.append(_heard(connection))
            elif isinstance(item, threading.Event):
                item.wait(LISTEN_S)
            elif isinstance(item, Farewell):
                connection.sendall(_frame(8, struct.pack(">H", item.code) + item.reason.encode()))
                return False
            else:
                connection.sendall(say(item))
        return False


def _request(connection: socket.socket) -> Asked | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return None
        head += byte
    line, *rest = head.decode().strip().split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
    return Asked(line, headers, _exactly(connection, int(headers.get("content-length", 0))))


def _exactly(connection: socket.socket, size: int) -> bytes:
    body = b""
    while len(body) < size:
        piece = connection.recv(size - len(body))
        if not piece:
            raise ConnectionResetError
        body += piece
    return body


def _reply(connection: socket.socket, status: int, document: Any, index: int) -> None:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nX-Konsul-Index: {index}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def _streaming(connection: socket.socket) -> Any:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    return _as_event


def _as_event(item: Any) -> bytes:
    if isinstance(item, int):
        return b": keep-alive\nid: %d\n\n" % item
    if isinstance(item, Event):
        data = "" if item.document is None else json.dumps(item.document)
        return f"event: {item.name}\ndata: {data}\n\n".encode()
    return f"event: kv-change\ndata: {json.dumps(item)}\n\n".encode()


def _accepted(connection: socket.socket, asked: Asked) -> Any:
    digest = hashlib.sha1(asked.headers["sec-websocket-key"].encode() + GUID, usedforsecurity=False).digest()
    chosen = asked.headers.get("sec-websocket-protocol", "")
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n"
    )
    protocol = f"Sec-WebSocket-Protocol: {chosen}\r\n" if chosen else ""
    connection.sendall(f"{head}{protocol}\r\n".encode())
    return _as_message


def _as_message(item: Any) -> bytes:
    document = {"type": "progress", "modify_index": item} if isinstance(item, int) else item
    return _frame(1, json.dumps(document).encode() + b"\n")


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + struct.pack(">H", size) + payload
    return bytes((0x80 | opcode, 127)) + struct.pack(">Q", size) + payload


def _heard(connection: socket.socket) -> str:
    """One short masked text message."""
    _, size = _exactly(connection, 2)
    size &= 0x7F
    if size == 126:
        (size,) = struct.unpack(">H", _exactly(connection, 2))
    mask = _exactly(connection, 4)
    payload = _exactly(connection, size)
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)).decode()
