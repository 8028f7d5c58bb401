"""Bytes to a server and what it answers, for requests that no client library would send."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

WITHIN_S = 30.0
CRLF = b"\r\n"


@dataclass(frozen=True)
class Reply:
    """One answer of possibly several on a connection."""

    status: int
    head: bytes
    body: bytes


def head(method: str, target: str | bytes, *lines: str | bytes, host: bool = True) -> bytes:
    """A request head from its lines, each as it is."""
    raw = [line if isinstance(line, bytes) else line.encode("utf-8") for line in lines]
    to = target if isinstance(target, bytes) else target.encode("utf-8")
    first = b"%b %b HTTP/1.1" % (method.encode(), to)
    return CRLF.join([first, *([b"Host: k"] if host else []), *raw, b"", b""])


def said(port: int, *pieces: bytes, close: bool = True) -> bytes:
    """Everything the server answers to these pieces until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as connection:
        got = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            if close:
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65_536):
                got += chunk
        except OSError:
            pass  # refused while this side still sent, or kept open with nothing more to say
        return got


def replies(raw: bytes) -> list[Reply]:
    """The answers in what a connection said, by their lengths."""
    found = []
    while raw:
        top, separator, rest = raw.partition(b"\r\n\r\n")
        if not separator or not top.startswith(b"HTTP/1.1 "):
            break
        length = 0
        for line in top.split(CRLF)[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        found.append(Reply(int(top[9:12]), top, rest[:length]))
        raw = rest[length:]
    return found


def statuses(port: int, *pieces: bytes) -> list[int]:
    """The statuses of all answers to these pieces."""
    return [reply.status for reply in replies(said(port, *pieces))]


def lines(headers: dict[str, str]) -> Iterable[str]:
    return [f"{name}: {value}" for name, value in headers.items()]
