"""A planner that dies half-way leaves instances worse than they are: the leader mends that, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from konsul.engine import Applied
from konsul.features.catalog import mending
from konsul.features.catalog.checks import complete
from konsul.features.catalog.maintenance import node_maintenance
from konsul.features.catalog.nodes import put_node
from konsul.features.catalog.registering import register_instance
from konsul.features.catalog.rules import Service
from konsul.features.catalog.tables import CRITICAL, PASSING, WARNING, Check, Instance, Node
from konsul.kernel import entry
from konsul.kernel.context import Context
from tests.unit.catalog.stage import problems, rows, running
from tests.waiting import until_async

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

MANY = 700


def story(told: Callable[[Context], Coroutine[Any, Any, None]], folder: Path) -> None:
    async def run() -> None:
        async with running(folder) as ctx:
            await told(ctx)

    asyncio.run(run())


def healths(ctx: Context) -> set[str]:
    return {row.health for row in rows(ctx, Instance).values()}


async def write(ctx: Context, *ops: entry.Op) -> None:
    await ctx.commit(entry.encode([entry.case([], ops)]))


async def ill_node(ctx: Context) -> None:
    """A node with many instances, critical as its only check says."""
    await put_node.call(ctx, name="n0")
    row = Instance(key="", name="web", ttl_ms=None, zone="", node="n0")
    await write(ctx, *(entry.put(Instance, f"web {n:04}", row.cells()) for n in range(MANY)))
    await node_maintenance.call(ctx, name="n0", enable=True)
    assert healths(ctx) == {CRITICAL}


async def recovers(ctx: Context, health: str = PASSING) -> None:
    """What a planner writes first; then it dies."""
    (check,) = rows(ctx, Check)
    changed = entry.patch(Check, check, {"status": health})
    await write(ctx, changed, entry.patch(Node, "n0", {"health": health}))
    assert healths(ctx) == {CRITICAL}


def test_a_recovery_that_nobody_spread_is_spread(tmp_path: Path) -> None:
    async def told(ctx: Context) -> None:
        await ill_node(ctx)
        assert await mending.mend(ctx) == 0, "what is ill stays ill"
        await recovers(ctx)
        assert len(problems(ctx)) == MANY
        assert await mending.mend(ctx) == MANY
        assert (healths(ctx), problems(ctx)) == ({PASSING}, [])
        index = ctx.engine.contact()[2]
        assert await mending.mend(ctx) == 0
        assert ctx.engine.contact()[2] == index, "what is well enters no log"

    story(told, tmp_path)


def test_a_warning_that_nobody_spread_is_spread(tmp_path: Path) -> None:
    async def told(ctx: Context) -> None:
        await ill_node(ctx)
        await recovers(ctx, WARNING)
        assert await mending.mend(ctx) == MANY
        await node_maintenance.call(ctx, name="n0", enable=False)
        assert healths(ctx) == {PASSING}
        await write(ctx, entry.patch(Node, "n0", {"health": WARNING}))
        assert await mending.mend(ctx) == MANY
        assert healths(ctx) == {WARNING}

    story(told, tmp_path)


class Meddled(Context):
    """Lets something happen between the reading of the first plan and its entry."""

    __slots__ = ("__dict__",)

    async def commit(self, cases: bytes) -> Applied:
        happen = self.noted.pop("happen", None)
        if happen is not None:
            await happen()
        return await Context.commit(self, cases)


def test_a_stale_plan_makes_nobody_well(tmp_path: Path) -> None:
    async def told(ctx: Context) -> None:
        await ill_node(ctx)
        own = [{"id": "own", "tcp": "h:1", "initial_status": PASSING}]
        await register_instance(ctx, service_on("db", "n0", own), None)
        (of_node,) = (one.id for one in rows(ctx, Check).values() if one.node)
        changed = entry.patch(Check, of_node, {"status": PASSING})
        await write(ctx, changed, entry.patch(Node, "n0", {"health": PASSING}))

        async def happen() -> None:
            await write(ctx, entry.patch(Check, "own", {"status": CRITICAL}))

        meddled = Meddled(
            ctx.engine, ctx.config, ctx.identity, "", "", ctx.pipeline, noted={"happen": happen}
        )
        assert await mending.mend(meddled) == MANY
        found = {row.name: row.health for row in rows(ctx, Instance).values()}
        assert (found, problems(ctx)) == ({"web": PASSING, "db": CRITICAL}, [])

        async def again() -> None:
            await write(ctx, entry.patch(Check, of_node, {"status": CRITICAL}))

        await write(ctx, entry.patch(Instance, "web 0000", {"health": WARNING}))
        assert await mending.mend(replace(meddled, noted={"happen": again})) == 0
        assert (healths(ctx), problems(ctx)) == ({CRITICAL}, [])

    story(told, tmp_path)


def service_on(name: str, node: str, checks: list[dict[str, Any]]) -> Service:
    return Service(name, "10.0.0.1", 80, checks=complete(checks, name, name), node=node)


def test_a_new_leader_mends_at_once(tmp_path: Path) -> None:
    async def told(ctx: Context) -> None:
        await ill_node(ctx)
        await recovers(ctx)
        leader = SimpleNamespace(engine=ctx.engine, config=ctx.config, pipeline=ctx.pipeline)
        service = mending.Mending(cast("Kernel", leader))
        await service.start()
        await until_async(lambda: healths(ctx) == {PASSING}, "the first sweep")
        assert service.health() is None
        await service.stop()

    assert mending.Mending.runs == "on-leader"
    story(told, tmp_path)
