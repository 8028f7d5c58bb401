"""Background work of the rate limits: following the tables, forgetting buckets that nobody uses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from konsul.errors import KonsulError, Stopping
from konsul.features.ratelimit.limiting import limiting_of
from konsul.features.ratelimit.tables import LIST_FORM, RATE_FORM, ListRow, RateRow
from konsul.kernel import pipeline
from konsul.kernel.context import Context
from konsul.kernel.logging import logger
from konsul.kernel.schema import Row
from konsul.kernel.watching import INSIDE, Spec, Watch

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

IDLE_MS: Final = 300_000
"""A full bucket unused for so long is forgotten."""
_AGAIN_S: Final = 0.25
_SWEPT_AT_ONCE: Final = 5_000
"""Buckets of each table looked at before others get their turn: under a millisecond."""
_SPECS: Final[Mapping[type[Row], Spec]] = {
    RateRow: Spec(RATE_FORM, RateRow.table_id, "**", "admin:read", coalesce=True),
    ListRow: Spec(LIST_FORM, ListRow.table_id, "**", "admin:read", coalesce=True),
}


class _Changes:
    """The sink of one table's watch: the keys that changed, None once that is not all."""

    def __init__(self, table: type[Row], woken: asyncio.Event) -> None:
        self.table = table
        self.is_over = False
        self._woken = woken
        self._keys: set[bytes] | None = None

    def take(self) -> set[bytes] | None:
        """What changed since the last time."""
        keys, self._keys = self._keys, set()
        return keys

    def event(self, index: int, key: bytes, payload: bytes) -> bool:  # noqa: ARG002 - the protocol's
        if self._keys is not None:
            self._keys.add(key)
        self._woken.set()
        return True

    def behind(self, index: int) -> None:  # noqa: ARG002 - the protocol's
        self._keys = None
        self._woken.set()

    def compacted(self, index: int) -> None:
        self.behind(index)

    def ended(self, error: KonsulError) -> None:  # noqa: ARG002 - the protocol's
        self.is_over = True
        self._woken.set()


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
        self._limiting.reload(self._kernel.engine)
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
        """Reads what changes until a watch ends; what changed before they were open is read once they are."""
        kernel, limiting = self._kernel, self._limiting
        assert limiting is not None  # noqa: S101 - narrows for mypy
        woken = asyncio.Event()
        woken.set()
        watches: list[Watch] = []
        sinks: list[_Changes] = []
        try:
            for table, spec in _SPECS.items():
                sinks.append(_Changes(table, woken))
                watches.append(kernel.watching.open(self._context(), spec, sinks[-1], transport=INSIDE))
            while not any(sink.is_over for sink in sinks):
                await woken.wait()
                woken.clear()
                changes = [(sink.table, sink.take()) for sink in sinks]
                if any(keys is None for _, keys in changes):
                    limiting.reload(kernel.engine)
                    continue
                for table, keys in changes:
                    for key in keys or ():
                        limiting.follow(kernel.engine, table, key)
                limiting.put_in_force()
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
