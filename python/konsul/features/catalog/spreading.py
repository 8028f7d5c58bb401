"""Carrying a node's health to its instances: for the better, and to warning. To critical it is law."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from konsul.errors import Busy, Conflict
from konsul.features.catalog.plans import ATTEMPTS, Plan
from konsul.features.catalog.tables import Instance
from konsul.kernel import entry
from konsul.kernel.scanning import pages

if TYPE_CHECKING:
    from konsul.kernel.context import Context

STEPS_MAX: Final = entry.MAX_STEPS - 256
"""An entry is full before another instance might not fit in: its checks' guards and a few more."""
PER_ENTRY: Final = 512
"""Instances of one entry; after a conflict half as many."""


async def spread(ctx: Context, node: str) -> None:
    """Gives every instance of a node the health that follows from the node's and its own checks.

    In as many entries as it takes; all are applied when this returns. Until then an instance may be told
    worse than it is, never critical ones better.

    Raises:
        Busy: its instances change too often. What `Context.commit` raises.
    """
    ctx = ctx.following()
    where = [(Instance.column("node"), node.encode())]
    for rows in pages(ctx.engine, Instance.table_id, b"", where):
        await settle(ctx, [Instance.stored(key, row.cells) for key, row in rows], node)


async def settle(ctx: Context, rows: list[Instance], node: str | None = None) -> int:
    """Gives these instances the health that follows. With `node`: those that are still on it. Returns how
    many had another.

    Raises:
        Busy: they change too often. What `Context.commit` raises.
    """
    most = PER_ENTRY
    settled = 0
    lost = 0
    at = 0
    while at < len(rows):
        plan = Plan(ctx.engine)
        on = None if node is None else plan.node_health(node)
        end = at
        while end < min(len(rows), at + most) and plan.steps < STEPS_MAX:
            row = plan.instance(rows[end].key.encode())
            end += 1
            if row is not None and node in (None, row.node):
                plan.settle_instance(row, row.check_ids, {}, on)
        try:
            if plan.ops:
                await plan.commit(ctx)
        except Conflict:
            lost += 1
            if lost >= ATTEMPTS:
                whose = "instances" if node is None else f"the instances of node {node}"
                raise Busy(f"{whose} change too often now: try again") from None
            most = max(1, (end - at) // 2)
            if not ctx.engine.is_current():
                await ctx.engine.barrier("default", ctx.terms.timeout_ms)
            continue
        settled += len(plan.ops)
        lost, at = 0, end
        await asyncio.sleep(0)
    return settled
