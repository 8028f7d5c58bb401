"""The target of the checks: a lean HTTP server in a process of its own, that can fall ill.

`python -m benches.checks.target PORT`. `/down` and `/up` change how it is; everything else is the health.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_ILL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"


class Target:
    """How it is, and how often it was asked."""

    def __init__(self) -> None:
        self.is_ill = False
        self.hits = 0


class Answering(asyncio.Protocol):
    """One connection; a request of these checks fits into one packet."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        target, transport = self._target, self._transport
        if transport is None:
            return
        path = data.split(b" ", 2)[1]
        if path == b"/hits":
            text = str(target.hits).encode()
            transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
            return
        if path in (b"/down", b"/up"):
            target.is_ill = path == b"/down"
        else:
            target.hits += 1
        # Only the checks see the illness; whoever changes it is answered.
        is_check = path.startswith(b"/health")
        transport.write(_ILL if target.is_ill and is_check else _OK)


async def serve(port: int) -> None:
    """Until it is ended."""
    target = Target()
    server = await asyncio.get_running_loop().create_server(
        lambda: Answering(target), "127.0.0.1", port, backlog=4_096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
