"""An event stream as its bytes come, and a WebSocket: what the tests of watches listen with."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

DEADLINE_S = 20.0


@dataclass(frozen=True)
class Block:
    """What stands between two empty lines of a stream."""

    raw: bytes

    def field(self, name: str) -> str | None:
        prefix = f"{name}: ".encode()
        found = [line for line in self.raw.splitlines() if line.startswith(prefix)]
        return found[-1][len(prefix) :].decode() if found else None

    @property
    def event(self) -> str | None:
        return self.field("event")

    @property
    def id(self) -> int | None:
        text = self.field("id")
        return None if text is None else int(text)

    @property
    def data(self) -> Any:
        text = self.field("data")
        return None if text is None else json.loads(text)


class Stream:
    """An open event stream. Everything waits up to `DEADLINE_S`."""

    def __init__(self, port: int, path: str, headers: Mapping[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        self._connection.request("GET", path, headers=dict(headers or {}))
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}
        self.last_id: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def all_of(self, name: str) -> list[str]:
        """Every value of a header."""
        return self._response.msg.get_all(name, [])

    def close(self) -> None:
        """Hangs up."""
        self._response.close()
        self._connection.close()

    def block(self) -> Block | None:
        """The next block, None at the end of the stream. An id counts as an EventSource counts it: once its
        block is whole."""
        lines: list[bytes] = []
        while True:
            try:
                line = self._response.readline()
            except (OSError, http.client.HTTPException):
                line = b""
            if not line:
                return None
            if line == b"\n":
                found = Block(b"".join(lines))
                self.last_id = self.last_id if found.id is None else found.id
                return found
            lines.append(line)

    def event(self, name: str | None = None) -> Block:
        """The next event (of that name), past comments and bookmarks."""
        while True:
            block = self.block()
            assert block is not None, "the stream ended"
            if block.event is not None and name in (None, block.event):
                return block

    def comment(self) -> Block:
        """The next block that is no event."""
        while True:
            block = self.block()
            assert block is not None, "the stream ended"
            if block.event is None:
                return block

    def events(self, count: int) -> list[Block]:
        return [self.event() for _ in range(count)]

    def rest(self) -> list[Block]:
        """Everything up to the end."""
        blocks = []
        while (block := self.block()) is not None:
            blocks.append(block)
        return blocks

    def body(self) -> bytes:
        """The whole of an answer that is no stream."""
        return self._response.read()


def socket(port: int, path: str, **options: Any) -> ClientConnection:
    """A WebSocket; a context manager."""
    url = f"ws://127.0.0.1:{port}{path}"
    opened: ClientConnection = connect(url, open_timeout=DEADLINE_S, proxy=None, **options)
    return opened


def message(connection: ClientConnection) -> Any:
    """The next message, decoded."""
    return json.loads(connection.recv(timeout=DEADLINE_S))
