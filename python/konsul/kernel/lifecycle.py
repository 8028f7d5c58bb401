"""Background work of features: started after the engine and stopped before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Protocol

from konsul.kernel.logging import logger

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

_LEADERSHIP_POLL_S: Final = 0.5


class Service(Protocol):
    """Work in the background. `start` returns at once, `stop` when the work has ended."""

    name: ClassVar[str]
    runs: ClassVar[Literal["everywhere", "on-leader"]]

    def __init__(self, kernel: Kernel) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def health(self) -> str | None:
        """What is wrong, or None."""
        ...


class Services:
    """Starts and stops the services, and follows leadership for those that run only on the leader."""

    def __init__(self, services: Iterable[Service], leads: Callable[[], bool]) -> None:
        self._services = tuple(services)
        self._leads = leads
        self._running: list[Service] = []
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts everything that runs here now, in order. A failure stops what was started and is raised."""
        try:
            for service in self._services:
                if service.runs == "everywhere" or self._leads():
                    await self._start(service)
        except BaseException:
            await self.stop()
            raise
        if any(service.runs == "on-leader" for service in self._services):
            self._follower = asyncio.create_task(self._follow(), name="leadership")

    async def stop(self) -> None:
        """Stops in reverse order; one that fails is logged and does not keep the others from stopping."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
            self._follower = None
        for service in reversed(self._running.copy()):
            await self._stop(service)

    def health(self) -> dict[str, str]:
        """What is wrong, by service name; empty when all is well."""
        return {service.name: wrong for service in self._running if (wrong := service.health())}

    async def _start(self, service: Service) -> None:
        await service.start()
        self._running.append(service)

    async def _stop(self, service: Service) -> None:
        self._running.remove(service)
        try:
            await service.stop()
        except Exception:
            logger().exception("service did not stop", service=service.name)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_LEADERSHIP_POLL_S)
            leads = self._leads()
            for service in self._services:
                if service.runs != "on-leader" or leads == (service in self._running):
                    continue
                try:
                    await (self._start(service) if leads else self._stop(service))
                except Exception:
                    logger().exception("service did not start", service=service.name)
