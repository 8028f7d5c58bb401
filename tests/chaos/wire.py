"""A bare HTTP/1.1 connection: as little as possible between the writer and the server it doubts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

READ_S = 20.0


class Lost(Exception):
    """The connection broke: whether the request took effect is unknown."""


class Wire:
    """One keep-alive connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """The status and the decoded answer.

        Raises:
            Lost: no whole answer arrived.
        """
        try:
            async with asyncio.timeout(READ_S):
                if self._writer is None or self._reader is None:
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                payload = b"" if body is None else json.dumps(body).encode()
                head = (
                    f"{method} {path} HTTP/1.1\r\nHost: konsul\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(payload)}\r\n\r\n"
                )
                self._writer.write(head.encode() + payload)
                return await self._answer(self._reader)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            await self.close()
            raise Lost(str(error)) from error

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, Any]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        is_json = headers.get("content-type", "").startswith("application/json")
        return int(lines[0].split(" ")[1]), json.loads(body) if is_json and body else body

    async def close(self) -> None:
        """Forgets the connection; the next request opens another."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.transport.abort()
