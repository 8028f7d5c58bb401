"""What a planner left undone: the leader finds instances that are told worse than they are, and mends that.

Whoever plans a node's recovery, or its warning, may die between the node's entry and those of its instances.
An instance that should be critical and is not cannot exist: that is law, in the entry that makes it so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from konsul.errors import KonsulError
from konsul.features.catalog.healths import conditions
from konsul.features.catalog.metrics import MENDED
from konsul.features.catalog.plans import Plan
from konsul.features.catalog.spreading import settle
from konsul.features.catalog.tables import CRITICAL, PASSING, WARNING, Instance, Node
from konsul.kernel.context import Context
from konsul.kernel.logging import logger
from konsul.kernel.pipeline import INSIDE
from konsul.kernel.scanning import pages
from konsul.kernel.settings import ServiceSettings

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

AGAIN_S: Final = 5.0
"""After so long a sweep that could not be ended is begun anew."""
_NODE: Final = Instance.column("node")


class Mending:
    """Sweeps when this node begins to lead, and seldom afterwards."""

    name: ClassVar[str] = "health-mending"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "on-leader"

    def __init__(self, kernel: Kernel) -> None:
        self._context = Context(kernel.engine, kernel.config, INSIDE, "", "", kernel.pipeline)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins the first sweep."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Ends, between two entries."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def health(self) -> str | None:
        """What is wrong, or None."""
        return f"ended: {self.name}" if self._task is not None and self._task.done() else None

    async def _run(self) -> None:
        interval_s = self._context.config.of(ServiceSettings).mend_interval_ms / 1_000
        while True:
            wait_s = interval_s
            try:
                await mend(self._context)
            except KonsulError as error:
                logger().warning("the health of instances could not be mended for now", why=str(error))
                wait_s = min(AGAIN_S, interval_s)
            await asyncio.sleep(wait_s)


async def mend(ctx: Context) -> int:
    """Gives every instance whose stored health does not follow from its node and checks the one that does.

    At most `KONSUL_SERVICE_MEND_RATE` of them per second. Returns how many.

    Raises:
        Busy: they change too often. What `Context.commit` raises.
    """
    rate = ctx.config.of(ServiceSettings).mend_max_per_s
    mended = 0
    async for rows in _suspects(ctx):
        wrong = [row for row in rows if _is_wrong(ctx, row)]
        for start in range(0, len(wrong), rate):
            if mended:
                await asyncio.sleep(1)
            number = await settle(ctx, wrong[start : start + rate])
            MENDED.inc(number)
            mended += number
    if mended:
        logger().warning("instances had another health than their nodes and checks say", mended=mended)
    return mended


async def _suspects(ctx: Context) -> AsyncIterator[list[Instance]]:
    """Every instance that does not pass, and those that pass on a node that warns."""
    for health in (CRITICAL, WARNING):
        for where in conditions(health):
            async for rows in _pages(ctx, where):
                yield rows
    warns = [(Node.column("health"), WARNING.encode())]
    for nodes in pages(ctx.engine, Node.table_id, b"", warns):
        for name, _ in nodes:
            for where in conditions(PASSING):
                async for rows in _pages(ctx, (*where, (_NODE, name))):
                    yield rows


async def _pages(ctx: Context, where: tuple[tuple[int, bytes], ...]) -> AsyncIterator[list[Instance]]:
    for rows in pages(ctx.engine, Instance.table_id, b"", where):
        yield [Instance.stored(key, row.cells) for key, row in rows]
        await asyncio.sleep(0)


def _is_wrong(ctx: Context, row: Instance) -> bool:
    """A first look, guarded by nothing: whether it is worth a plan."""
    plan = Plan(ctx.engine)
    plan.settle_instance(row, row.check_ids, {})
    return bool(plan.ops)
