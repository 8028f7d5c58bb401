"""Writes over keep-alive connections, with what was acknowledged and when."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Self


class Refused(Exception):
    """A write was answered with another status than 2xx."""


@dataclass(frozen=True)
class Acked:
    """An acknowledged write: its index, and when it was sent and answered (`time.monotonic_ns()`)."""

    index: int
    sent_ns: int
    answered_ns: int


class Writer:
    """One connection, one write at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, url: str) -> Self:
        """Connects to `http://host:port`."""
        host, _, port = url.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def put(self, key: str, value: str) -> Acked:
        """Sets one key."""
        return await self.send("PUT", f"/kv/{key}", {"value": value})

    async def send(self, method: str, path: str, body: object = None) -> Acked:
        """One write; any JSON body.

        Raises:
            Refused: the answer is not 2xx. OSError, asyncio.IncompleteReadError: there is none.
        """
        payload = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        sent_ns = time.monotonic_ns()
        self._writer.write(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        answer = await self._reader.readexactly(int(fields.get("content-length", "0")))
        if not lines[0].split(" ")[1].startswith("2"):
            raise Refused(f"{method} {path}: {lines[0]}: {answer[:300]!r}")
        return Acked(int(fields["x-konsul-index"]), sent_ns, time.monotonic_ns())

    def close(self) -> None:
        """Ends the connection."""
        self._writer.close()
