"""The least an HTTP client can do: a keep-alive connection that asks one thing after the other. What a client
costs is taken from the server on a machine of two cores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

_LENGTH = b"content-length: "
_INDEX = b"x-konsul-index: "


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._head = b""

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of the answer. Exits for any answer but 200."""
        head = f"{method} {path} HTTP/1.1\r\nhost: k\r\n"
        if body:
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        self._head = await self._reader.readuntil(b"\r\n\r\n")
        size = int(self._after(_LENGTH) or 0)
        answer = await self._reader.readexactly(size)
        if not self._head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{method} {path}: {self._head[:100]!r} {answer[:500]!r}")
        return answer

    async def index(self) -> int:
        """The index of the tables."""
        await self.ask("GET", "/kv/?limit=1")
        return int(self._after(_INDEX) or 0)

    def _after(self, name: bytes) -> bytes | None:
        _, found, rest = self._head.lower().partition(name)
        return rest.partition(b"\r\n")[0] if found else None


@asynccontextmanager
async def open_wires(port: int, count: int) -> AsyncIterator[Sequence[Wire]]:
    """So many connections to a port of this machine, closed at the end."""
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield [Wire(*pair) for pair in pairs]
    finally:
        for _, writer in pairs:
            writer.close()
