"""A bare HTTP/1.1 connection: as little as possible between the writer and the server it doubts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

READ_S = 20.0


class Lost(Exception):
    """The connection broke: whether the request took effect is unknown."""


class NotSent(Lost):
    """There was no connection: the request certainly had no effect."""


class Wire:
    """One keep-alive connection to a server on this machine. `read_s`: how long an answer may take."""

    def __init__(self, port: int, read_s: float = READ_S) -> None:
        self._port = port
        self._read_s = read_s
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and the decoded answer.

        Raises:
            Lost: no whole answer arrived.
        """
        try:
            async with asyncio.timeout(self._read_s):
                if self._writer is None or self._reader is None:
                    try:
                        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                    except OSError as error:
                        raise NotSent(str(error)) from error
                payload = b"" if body is None else json.dumps(body).encode()
                more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
                head = (
                    f"{method} {path} HTTP/1.1\r\nHost: konsul\r\nContent-Type: application/json\r\n"
                    f"{more}Content-Length: {len(payload)}\r\n\r\n"
                )
                self._writer.write(head.encode() + payload)
                return await self._answer(self._reader)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.CancelledError) as error:
            await self.close()
            if isinstance(error, asyncio.CancelledError):
                raise
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
