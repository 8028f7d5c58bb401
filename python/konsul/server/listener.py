"""The HTTP listener: the core's own, before the front. What is measured about it stands in
docs/decisions/our-own-listener.md."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from konsul.engine import HttpListener, HttpRequest
from konsul.errors import StartFailed
from konsul.server.asgi_door import AsgiDoor
from konsul.server.certificates import Certificates

_BACKLOG: Final = 2_048
_CONNECTIONS_MAX: Final = 20_000
_OTHER_FILES: Final = 256
"""File descriptors left for the log, the tables and peers, so that a full node still says 503; at most a
quarter of what there is."""
_HEAD_MAX_BYTES: Final = 256 << 10
_PING_INTERVAL_MS: Final = 30_000
_PONG_TIMEOUT_MS: Final = 60_000
_STOP_MAX_MS: Final = 5_000
App = Callable[..., Awaitable[None]]
Answer = Callable[[dict[str, Any], HttpRequest], None]


class Listener:
    """Listens on one address until it is stopped."""

    def __init__(
        self,
        app: App,
        host: str,
        port: int,
        *,
        head_timeout_ms: int,
        handshake_timeout_ms: int = 10_000,
        handshakes_max: int = 1_000,
        certificates: Certificates | None = None,
    ) -> None:
        """`app`: a compiled front, or any ASGI application. With `certificates` it is HTTPS."""
        self.host, self.port = host, port
        self._app, self._certificates = app, certificates
        self._looking: asyncio.Task[None] | None = None
        self._native = HttpListener(
            head_timeout_ms=head_timeout_ms,
            head_max_bytes=_HEAD_MAX_BYTES,
            connections_max=connections_max(),
            ping_interval_ms=_PING_INTERVAL_MS,
            pong_timeout_ms=_PONG_TIMEOUT_MS,
            handshake_timeout_ms=handshake_timeout_ms,
            handshakes_max=handshakes_max,
        )

    @property
    def address(self) -> str:
        """Where clients find it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "http" if self._certificates is None else "https"
        return f"{scheme}://{host}:{self.port}"

    async def start(self) -> None:
        """Binds and begins to accept. Raises StartFailed for an address that cannot be had."""
        loop = asyncio.get_running_loop()
        # A compiled front answers on the listener's own thread; any other application on the loop.
        answer: Answer = getattr(self._app, "answer", None) or AsgiDoor(self._app, loop).answer
        listening = bind(self.host, self.port)
        listening.listen(_BACKLOG)
        tls = None if self._certificates is None else self._certificates.native
        self._native.start(listening.detach(), answer, loop.call_soon_threadsafe, tls)
        if self._certificates is not None:
            self._looking = loop.create_task(self._certificates.run(self._native.set_tls))

    def reload(self) -> None:
        """Reads the certificate's files again, now. What is connected stays."""
        if self._certificates is not None:
            self._certificates.reload(self._native.set_tls)

    async def stop(self) -> None:
        """Closes the listener and its connections; requests in flight should have been drained before."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        # In a thread: the last lines' users are told on this loop meanwhile.
        await asyncio.to_thread(self._native.stop, _STOP_MAX_MS)

    def stats(self) -> dict[str, int]:
        """What is open, and what was counted since the start."""
        counted = self._native.stats()
        if self._certificates is not None:
            counted["tls_certificate_expiry_seconds"] = self._certificates.left_s()
            for name, count in self._certificates.counts.items():
                counted[f"tls_certificates_{name}"] = count
        return counted


def connections_max() -> int:
    """As many as wanted, or as the system's limit of open files leaves."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _CONNECTIONS_MAX
    return max(1, min(_CONNECTIONS_MAX, files - min(_OTHER_FILES, files // 4)))


def probe_address(host: str, port: int) -> None:
    """Raises StartFailed if the address cannot be bound."""
    bind(host, port).close()


def bind(host: str, port: int) -> socket.socket:
    """A socket with the address. Raises StartFailed if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise StartFailed(
            f"cannot listen on {host} port {port}: {error.strerror}; stop what uses it or choose another "
            "address with KONSUL_HOST and KONSUL_PORT"
        ) from None
    return bound
