"""A session kept alive in the background, for asyncio: what locks, semaphores and elections stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from konsul.client import session_calls
from konsul.client.aio import AsyncClient
from konsul.client.holding import PAUSE_S, Belief, boot_clock_s, drawn_s
from konsul.errors import KonsulError, NotFound

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWishes:
    """How a session is made. `lock_delay` None: as the server has it."""

    ttl: str
    ttl_s: float
    name: str = ""
    node: str = ""
    checks: tuple[str, ...] = ()
    behavior: str = "release"
    lock_delay: str | None = None


class AsyncLoss:
    """Whether what was held is lost. True for ever once it is, and no later than the TTL allows."""

    def __init__(self, belief: Belief) -> None:
        self._belief = belief
        self._event = asyncio.Event()
        self.told: list[Callable[[], None]] = []
        """Called once when it is lost."""

    @property
    def reason(self) -> str:
        """Why, once it is; empty before."""
        return self._belief.reason

    def is_set(self) -> bool:
        """Whether it is lost, by this moment's clock."""
        if self._belief.is_over() and not self._event.is_set():
            self.end(self._belief.reason)
        return self._event.is_set()

    def is_over(self) -> bool:
        """As `is_set`, for any thread; tells nobody."""
        return self._belief.is_over()

    def end(self, reason: str) -> None:
        """It is lost."""
        self._belief.end(reason)
        if not self._event.is_set():
            self._event.set()
            for tell in self.told:
                tell()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Returns when it is lost, or after `timeout_s`; whether it is."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), timeout_s)
        return self.is_set()


class LiveSession:
    """Made with `start`; renewed three times per TTL until `stop`."""

    def __init__(self, client: AsyncClient, session_id: str, belief: Belief) -> None:
        self.id = session_id
        self.loss = AsyncLoss(belief)
        self._client, self._belief = client, belief
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls, client: AsyncClient, wishes: SessionWishes, clock: Callable[[], float] = boot_clock_s
    ) -> LiveSession:
        """Creates it. Raises as `session_calls.create`."""
        started_s = clock()
        made = await client.call(
            session_calls.create(
                wishes.name, wishes.node, wishes.checks, wishes.behavior, wishes.lock_delay, wishes.ttl
            )
        )
        live = cls(client, made.id, Belief(wishes.ttl_s, started_s, clock))
        live.keep(live._renew(clock))
        live.keep(live._watch_time())
        return live

    def keep(self, doing: Coroutine[Any, Any, None]) -> None:
        """Does something until the session is stopped."""
        self._tasks.append(asyncio.create_task(doing))

    async def stop(self, *, destroy: bool) -> None:
        """No renewals any more. With `destroy` it ends now, else when its TTL is over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if destroy:
            # Who cannot say that it is over lets its TTL say it.
            with suppress(KonsulError):
                await self._client.call(session_calls.destroy(self.id))
        self.loss.end("given back")

    async def _renew(self, clock: Callable[[], float]) -> None:
        pause_s = self._belief.ttl_s / 3
        while True:
            await asyncio.sleep(pause_s)
            started_s = clock()
            try:
                await self._client.call(session_calls.renew(self.id))
            except NotFound:
                self.loss.end("its session has ended")
                return
            except KonsulError:
                pause_s = drawn_s(min(PAUSE_S, self._belief.ttl_s / 20))
                continue
            self._belief.renewed(started_s)
            pause_s = self._belief.ttl_s / 3

    async def _watch_time(self) -> None:
        """A request that hangs must not keep the end from being told."""
        while True:
            if self.loss.is_set():
                return
            await asyncio.sleep(self._belief.left_s() + 0.001)
