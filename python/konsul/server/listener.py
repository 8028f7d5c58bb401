"""The HTTP listener: granian, embedded in our event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from konsul.errors import StartFailed

_BACKLOG: Final = 2_048
_CONNECTIONS_MAX: Final = 20_000
_READ_BUFFER_BYTES: Final = 256 << 10
_STOP_MAX_S: Final = 5.0
App = Callable[..., Awaitable[None]]


class Listener:
    """Listens on one address until it is stopped."""

    def __init__(self, app: App, host: str, port: int, *, head_timeout_ms: int) -> None:
        self.host, self.port = host, port
        self._front = app
        self._server = Server(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=True,
            runtime_threads=1,
            backlog=_BACKLOG,
            backpressure=_CONNECTIONS_MAX,
            http1_settings=HTTP1Settings(
                header_read_timeout=head_timeout_ms, max_buffer_size=_READ_BUFFER_BYTES
            ),
            log_level=LogLevels.error,
        )
        self._serving: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where clients find it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Binds and begins to accept. Raises StartFailed for an address that cannot be had."""
        probe_address(self.host, self.port)
        # The library hands out its own console handlers when constructed; its words belong into our log.
        for name in ("_granian", "granian.access"):
            logging.getLogger(name).setLevel(logging.ERROR)
        # A compiled front takes requests straight from granian's callback thread; any other as ASGI.
        spawn: Callable[..., Any] | None = None
        if hasattr(self._front, "direct"):
            from konsul_ext import granian_worker

            spawn = granian_worker.spawn
        self._serving = asyncio.create_task(self._server.serve(spawn), name="http listener")
        deadline_s = asyncio.get_running_loop().time() + _STOP_MAX_S
        while not await _accepts(self.host, self.port):
            if self._serving.done():
                await self._serving
                raise StartFailed(f"the HTTP listener on {self.address} ended while starting")
            if asyncio.get_running_loop().time() > deadline_s:
                raise StartFailed(f"the HTTP listener on {self.address} does not accept connections")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Closes the listener and its connections; requests in flight should have been drained before."""
        if self._serving is None:
            return
        self._server.stop()  # type: ignore[no-untyped-call]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._serving, _STOP_MAX_S)


async def _accepts(host: str, port: int) -> bool:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    target: Any = ("::1" if host == "::" else "127.0.0.1" if host == "0.0.0.0" else host, port)  # noqa: S104
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            await loop.sock_connect(probe, target)
        except OSError:
            return False
    return True


def probe_address(host: str, port: int) -> None:
    """Raises StartFailed if the address cannot be bound.

    The library sets SO_REUSEPORT: a second server on a taken port would start and share its clients.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartFailed(
                f"cannot listen on {host} port {port}: {error.strerror}; stop what uses it or choose another "
                "address with KONSUL_HOST and KONSUL_PORT"
            ) from None
