"""Background work of the rate limits: following the tables, forgetting buckets that nobody uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from konsul.errors import KonsulError, Stopping
from konsul.features.ratelimit.limiting import limiting_of
from konsul.features.ratelimit.tables import LIST_FORM, RATE_FORM, ListRow, RateRow
from konsul.kernel import pipeline
from konsul.kernel.context import Context
from konsul.kernel.logging import logger
from konsul.kernel.watching import INSIDE, Spec, Watch

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

IDLE_MS: Final = 300_000
"""A full bucket unused for so long is forgotten."""
_AGAIN_S: Final = 0.25
_SWEPT_AT_ONCE: Final = 5_000
"""Buckets of each table looked at before others get their turn: under a millisecond."""
_SPECS: Final = (
    Spec(RATE_FORM, RateRow.table_id, "**", "admin:read", coalesce=True),
    Spec(LIST_FORM, ListRow.table_id, "**", "admin:read", coalesce=True),
)


class _Changed:
    """The sink of both watches: what changed does not matter, the tables are read whole."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.is_over = False

    def event(self, index: int, key: bytes, payload: bytes) -> bool:  # noqa: ARG002 - the protocol's
        self.changed.set()
        return True

    def behind(self, index: int) -> None:  # noqa: ARG002 - the protocol's
        self.changed.set()

    def compacted(self, index: int) -> None:  # noqa: ARG002 - the protocol's
        self.changed.set()

    def ended(self, error: KonsulError) -> None:  # noqa: ARG002 - the protocol's
        self.is_over = True
        self.changed.set()


class Following:
    """Keeps this node's limits as the cluster's tables say."""

    name: ClassVar[str] = "ratelimit"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._limiting = limiting_of(kernel.engine)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """What is stored is in force before the first request."""
        if self._limiting is None:
            return
        await self._limiting.reload(self._kernel.engine)
        settings = self._limiting.settings
        logger().info(
            "rate limits",
            requests_per_sec=self._limiting.rate_micros / 1_000_000,
            burst=self._limiting.burst,
            by_ip=settings.by_ip,
            by_apikey=settings.by_apikey,
            max_clients=settings.clients_max,
        )
        self._tasks = [
            asyncio.create_task(self._follow(), name="ratelimit-following"),
            asyncio.create_task(self._sweep(), name="ratelimit-sweeping"),
        ]

    async def stop(self) -> None:
        """Ends both."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def health(self) -> str | None:
        """What is wrong, or None."""
        ended = [task.get_name() for task in self._tasks if task.done()]
        return f"ended: {', '.join(ended)}" if ended else None

    async def _follow(self) -> None:
        while True:
            try:
                await self._watch()
            except Stopping:
                return
            except KonsulError:
                # The cluster's tables have not reached this node yet.
                await asyncio.sleep(_AGAIN_S)
            except Exception:
                logger().exception("following the rate limits failed")
                await asyncio.sleep(_AGAIN_S)

    async def _watch(self) -> None:
        """Reads the tables whenever they change, until a watch ends."""
        kernel, limiting = self._kernel, self._limiting
        assert limiting is not None  # noqa: S101 - narrows for mypy
        sink = _Changed()
        # What changed before the watches were open is read once they are.
        sink.changed.set()
        watches: list[Watch] = []
        try:
            for spec in _SPECS:
                watches.append(kernel.watching.open(self._context(), spec, sink, transport=INSIDE))
            while not sink.is_over:
                await sink.changed.wait()
                sink.changed.clear()
                await limiting.reload(kernel.engine)
        finally:
            for watch in watches:
                watch.close()
        await asyncio.sleep(_AGAIN_S)

    async def _sweep(self) -> None:
        limiting = self._limiting
        assert limiting is not None  # noqa: S101 - narrows for mypy
        while True:
            await asyncio.sleep(limiting.settings.cleanup_ms / 1_000)
            largest = max(clients for clients, *_ in limiting.native.stats())
            for _ in range(0, largest, _SWEPT_AT_ONCE):
                limiting.native.sweep(IDLE_MS, _SWEPT_AT_ONCE)
                await asyncio.sleep(0)

    def _context(self) -> Context:
        kernel = self._kernel
        return Context(
            engine=kernel.engine,
            config=kernel.config,
            identity=pipeline.INSIDE,
            request_id="",
            client_addr="",
            pipeline=kernel.pipeline,
        )
