"""The DNS door as one object, with its sockets and what waits. One per node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from konsul.doors.dns import wire
from konsul.doors.dns.answering import Answering, Later, Reply
from konsul.doors.dns.cache import Cache
from konsul.doors.dns.counters import Counters, DnsMetrics
from konsul.doors.dns.permission import Permission
from konsul.doors.dns.records import Records
from konsul.doors.dns.sockets import Sockets, bind, own_address
from konsul.doors.dns.words import SERVFAIL
from konsul.doors.dns.zone import Zone
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.dns_settings import DnsSettings
from konsul.kernel.logging import logger
from konsul.kernel.names import Resolver

if TYPE_CHECKING:
    from konsul.doors.dns.tcp import Connection
    from konsul.doors.dns.udp import UdpSocket
    from konsul.kernel.node import Kernel

Client: TypeAlias = Any
"""A socket's address: its first member is the IP."""
_FAULT_EVERY_S: Final = 10.0
"""A defect that somebody can provoke must not fill the disk with its log."""


class DnsDoor:
    """Answers from the tables of this node. For the loop's thread."""

    def __init__(self, kernel: Kernel, host: str) -> None:
        """Takes its port, and answers nothing yet. `host`: where to listen unless the settings say otherwise.

        Raises:
            StartFailed: the port cannot be had.
        """
        settings = kernel.config.of(DnsSettings)
        self.settings = settings
        self.counters = Counters()
        listens = settings.host or host
        resolvers: dict[str, Resolver] = {}
        for feature in kernel.features:
            resolvers.update(feature.names)
        self.cache = Cache(kernel, resolvers.values(), settings.cache_entries)
        self._permission = Permission(kernel, settings)
        own = own_address(listens, kernel.config.of(ClusterSettings))
        self._answering = Answering(
            kernel,
            settings,
            self.counters,
            zone=Zone(Records(settings), resolvers, own),
            cache=self.cache,
            permission=self._permission,
        )
        self._answer = self._answering.answer
        self._sockets = Sockets(self, bind(listens, settings.port))
        self._tasks: set[asyncio.Task[None]] = set()
        self._faulted_s = -_FAULT_EVERY_S
        kernel.metrics.registry.register(DnsMetrics(self))

    async def start(self) -> None:
        """Answers from now on."""
        await self._sockets.start()
        settings = self.settings
        logger().info(
            "dns",
            domain=settings.zone,
            address=self._sockets.address,
            port=self._sockets.port,
            only_passing=settings.only_passing,
            recursors=list(settings.recursors),
            policies=list(settings.policies),
        )
        self._permission.announce()

    async def stop(self) -> None:
        """Answers nothing any more."""
        await self._sockets.stop()
        waiting = self.waiting()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await self.cache.stop()

    def waiting(self) -> list[asyncio.Task[None]]:
        """Questions that wait for something."""
        return list(self._tasks)

    def tcp_connections(self) -> int:
        """How many are open."""
        return self._sockets.connections()

    def datagram(self, data: bytes, client: Client, socket: UdpSocket) -> Reply:
        """What a datagram is answered now; None: nothing, or later through `socket`."""
        self.counters.udp += 1
        try:
            found = self._answer(data, client[0], over_tcp=False)
        except Exception:
            return self._fault(data)
        if found is None or isinstance(found, bytes):
            return found

        def tell(late: Reply) -> None:
            if late is not None:
                socket.send(late, client)

        return self._later(data, found, tell)

    def message(self, data: bytes, client: Client, connection: Connection) -> None:
        """Has a message of a connection answered."""
        self.counters.tcp += 1
        try:
            found = self._answer(data, client[0], over_tcp=True)
        except Exception:
            found = self._fault(data)
        if found is None or isinstance(found, bytes):
            connection.answer(found)
            return
        refused = self._later(data, found, connection.answer_later)
        if refused is not None:
            connection.answer(refused)

    def _later(self, data: bytes, work: Later, tell: Callable[[Reply], None]) -> Reply:
        """Waits for what has to be waited for; where too much waits already, the answer says so."""
        if len(self._tasks) >= self.settings.inflight_max:
            work.close()
            self.counters.refused["busy"] += 1
            return _servfail(data)
        task = asyncio.get_running_loop().create_task(self._tell(data, work, tell))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    async def _tell(self, data: bytes, work: Later, tell: Callable[[Reply], None]) -> None:
        try:
            found = await work
        except Exception:
            found = self._fault(data)
        tell(found)

    def _fault(self, data: bytes) -> Reply:
        """A defect of this door: told to the client, and to the log now and then."""
        self.counters.refused["fault"] += 1
        now_s = time.monotonic()
        if now_s - self._faulted_s >= _FAULT_EVERY_S:
            self._faulted_s = now_s
            logger().exception("a dns question failed", message=data[: wire.PLAIN_MAX_BYTES].hex())
        return _servfail(data)


def _servfail(data: bytes) -> Reply:
    if len(data) < wire.HEADER or data[2] & 0x80:
        return None
    flags = wire.flags_of(int.from_bytes(data[2:4]), SERVFAIL)
    return data[:2] + wire.head(flags, 0, 0, 0, 0)
