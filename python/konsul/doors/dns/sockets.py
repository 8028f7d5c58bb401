"""The sockets of the door: UDP and TCP on one port."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

from konsul.doors.dns.tcp import Connection, Connections
from konsul.doors.dns.udp import UdpSocket
from konsul.errors import StartFailed
from konsul.kernel.address import is_unspecified, join_address
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.names import Target

if TYPE_CHECKING:
    from konsul.doors.dns.door import DnsDoor

_DRAWS: Final = 32
"""Tries for a port that is free for both transports."""
_BACKLOG: Final = 512


def bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on one port; with port 0 on one that is free for both.

    Raises:
        StartFailed: it cannot be had; says what to do.
    """
    for left in reversed(range(_DRAWS if port == 0 else 1)):
        tcp: socket.socket | None = None
        try:
            tcp = _bound(host, port, socket.SOCK_STREAM)
            return _bound(host, tcp.getsockname()[1], socket.SOCK_DGRAM), tcp
        except OSError as error:
            if tcp is not None:
                tcp.close()
            if not left:
                raise StartFailed(
                    f"cannot listen on {host} port {port} for DNS: {error.strerror}; stop what uses it,"
                    " choose another address with KONSUL_DNS_HOST and KONSUL_DNS_PORT, or set"
                    " KONSUL_DNS_ENABLED=false"
                ) from None
    raise AssertionError("unreachable")


def _bound(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        if kind == socket.SOCK_STREAM:
            # Only who listens has the port: two could be bound to it.
            made.listen(_BACKLOG)
            made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


class Sockets:
    """Opened by `start`, closed by `stop`."""

    def __init__(self, door: DnsDoor, bound: tuple[socket.socket, socket.socket]) -> None:
        self._door = door
        udp, self._tcp = bound
        self.host, self.port = udp.getsockname()[:2]
        self._udp = UdpSocket(door, udp)
        self._server: asyncio.Server | None = None
        self._connections: Connections | None = None

    async def start(self) -> None:
        """Takes questions from now on."""
        self._connections = Connections(self._door)
        self._udp.start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(partial(Connection, self._connections), sock=self._tcp)

    async def stop(self) -> None:
        """Takes no more, and ends what is open."""
        self._udp.stop()
        if self._server is not None:
            self._server.close()
        else:
            self._tcp.close()
        if self._connections is not None:
            self._connections.close_all()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return join_address(self.host, self.port)

    def connections(self) -> int:
        """How many TCP connections are open."""
        return 0 if self._connections is None else len(self._connections)


def own_address(host: str, cluster: ClusterSettings) -> tuple[Target, ...]:
    """Where this node is, for its NS record: what it listens on or tells its peers; none if neither says."""
    if not is_unspecified(host):
        return (Target(host),)
    advertised = (cluster.advertise_addr or "").rpartition(":")[0].strip("[]")
    return () if not advertised or is_unspecified(advertised) else (Target(advertised),)
