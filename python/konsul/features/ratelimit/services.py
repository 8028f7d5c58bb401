"""Background work of the rate limits: following the tables, forgetting buckets that nobody uses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from konsul.features.ratelimit.limiting import limiting_of
from konsul.features.ratelimit.tables import LIST_FORM, RATE_FORM, ListRow, RateRow
from konsul.kernel.following import Changes, Following
from konsul.kernel.logging import logger
from konsul.kernel.schema import Row
from konsul.kernel.watching import Spec

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

IDLE_MS: Final = 300_000
"""A full bucket unused for so long is forgotten."""
_SWEPT_AT_ONCE: Final = 5_000
"""Buckets of each table looked at before others get their turn: under a millisecond."""
_TABLES: Final[Mapping[int, type[Row]]] = {row.table_id: row for row in (RateRow, ListRow)}
_SPECS: Final = [
    Spec(form, row.table_id, "**", "admin:read", coalesce=True)
    for row, form in ((RateRow, RATE_FORM), (ListRow, LIST_FORM))
]


class Limits:
    """Keeps this node's limits as the cluster's tables say."""

    name: ClassVar[str] = "ratelimit"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._limiting = limiting_of(kernel.engine)
        self._following = Following(kernel, _SPECS, self._take)
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """What is stored is in force before the first request."""
        if self._limiting is None:
            return
        self._following.start("ratelimit-following")
        settings = self._limiting.settings
        logger().info(
            "rate limits",
            requests_per_sec=self._limiting.rate_micros / 1_000_000,
            burst=self._limiting.burst,
            by_ip=settings.by_ip,
            by_apikey=settings.by_apikey,
            max_clients=settings.clients_max,
        )
        self._sweeping = asyncio.create_task(self._sweep(), name="ratelimit-sweeping")

    async def stop(self) -> None:
        """Ends both."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await self._following.stop()

    def health(self) -> str | None:
        """What is wrong, or None."""
        if self._sweeping is not None and self._sweeping.done():
            return "ended: ratelimit-sweeping"
        return self._following.health()

    def _take(self, changes: Changes) -> bool:
        engine, limiting = self._kernel.engine, self._limiting
        assert limiting is not None  # noqa: S101 - narrows for mypy
        if changes is None:
            limiting.reload(engine)
            return True
        for table, key in changes:
            limiting.follow(engine, _TABLES[table], key)
        limiting.put_in_force()
        return True

    async def _sweep(self) -> None:
        limiting = self._limiting
        assert limiting is not None  # noqa: S101 - narrows for mypy
        while True:
            await asyncio.sleep(limiting.settings.cleanup_ms / 1_000)
            largest = max(clients for clients, *_ in limiting.native.stats())
            for _ in range(0, largest, _SWEPT_AT_ONCE):
                limiting.native.sweep(IDLE_MS, _SWEPT_AT_ONCE)
                await asyncio.sleep(0)
