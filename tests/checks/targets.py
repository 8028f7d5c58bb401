"""An HTTP target on the test's own loop, and one attempt of a check."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from konsul.features.checks.config import CheckSettings
from konsul.features.checks.definition import Definition, definition_of
from konsul.features.checks.executors import Executors
from konsul.features.checks.outcome import Outcome

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of an answer, such as `answer("302 Found", b"", "Location: /x")`."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Web:
    """What it was asked, and by how many connections. `answers`: by path; else `OK`."""

    answers: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    closes: bool = False
    """It closes after each answer, without a word."""
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not self.closes or not self.requests or self.connections > len(self.requests):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = first.split(" ")
                self.requests.append((method, path, headers, body))
                writer.write(self.answers.get(path, OK))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(web: Web, context: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    """Serves on a free port of this machine."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await web.serve(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def no_alias(check: Definition) -> Outcome:
    raise AssertionError(check)


@asynccontextmanager
async def executors(
    resolver: Callable[[str], Sequence[str]] | None = None, **settings: Any
) -> AsyncIterator[Executors]:
    """Executors with these settings."""
    made = Executors(CheckSettings(**settings), no_alias, resolver)
    try:
        yield made
    finally:
        made.close()


def definition(kind: str, **members: Any) -> Definition:
    """A definition of the type, as it is stored."""
    return definition_of(kind, orjson.dumps(members))
