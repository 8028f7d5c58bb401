"""Reports, registrations, maintenance and nodes at once: who is told that it is done is told the truth."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest

from konsul.errors import Invalid, NotFound
from konsul.features.catalog import status
from konsul.features.catalog.candidates import ANY, PASSING, SERVING, candidates_of
from konsul.features.catalog.checks import complete, row_of
from konsul.features.catalog.commands import deregister
from konsul.features.catalog.maintenance import node_maintenance, service_maintenance
from konsul.features.catalog.nodes import delete_node, put_node
from konsul.features.catalog.registering import register_instance
from konsul.features.catalog.rules import Service
from konsul.features.catalog.spreading import spread
from konsul.features.catalog.tables import STATUSES, TTL_EXPIRED, WARNING, Check, Instance, Node
from konsul.kernel import entry
from konsul.kernel.context import Context
from tests.unit.catalog.stage import problems, rows, running
from tests.waiting import until_async

ACTORS = 6
STEPS = 60


def service(name: str, checks: list[dict[str, Any]], node: str | None) -> Service:
    return Service(name, "10.0.0.1", 80, checks=complete(checks, name, name), node=node)


class World:
    """What actors do at random to a few services, checks and nodes, each check one after the other."""

    def __init__(self, ctx: Context, seed: int) -> None:
        self.ctx = ctx
        self.rng = random.Random(seed)
        self.spreading = 0
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def act(self) -> None:
        step = self.rng.choice(
            (self.report, self.report, self.report, self.register, self.drop, self.maintain, self.node)
        )
        try:
            await step()
        except NotFound:
            # Another actor was faster.
            return

    async def report(self) -> None:
        check_id = (
            f"s{self.rng.randrange(4)}-{self.rng.choice('abt')}" if self.rng.random() < 0.8 else "n0-check"
        )
        said = self.rng.choice(STATUSES)
        async with self._locks[check_id]:
            self.spreading += check_id == "n0-check"
            try:
                await status.report(self.ctx, check_id, said, f"says {said}")
            finally:
                self.spreading -= check_id == "n0-check"
            check = rows(self.ctx, Check).get(check_id)
            # Nobody else reports on it; but it may have been defined anew, or its lease have ended.
            if check is None or check.output in ("", TTL_EXPIRED):
                return
            assert (check.status, check.output) == (said, f"says {said}")

    async def register(self) -> None:
        name = f"s{self.rng.randrange(4)}"
        checks: list[dict[str, Any]] = [
            {"id": f"{name}-{letter}", "tcp": "h:1", "initial_status": self.rng.choice(STATUSES)}
            for letter in "ab"
            if self.rng.random() < 0.6
        ]
        if self.rng.random() < 0.5:
            checks.append({"id": f"{name}-t", "ttl": f"{self.rng.choice((5, 20))}ms"})
        await register_instance(self.ctx, service(name, checks, self.rng.choice((None, "n0", "n1"))), None)

    async def drop(self) -> None:
        name = f"s{self.rng.randrange(4)}"
        if self.rng.random() < 0.3:
            await deregister.call(self.ctx, name=name)
        elif self.rng.random() < 0.5:
            await status.remove_check(self.ctx, f"{name}-{self.rng.choice('abt')}")
        else:
            added = {
                "id": f"{name}-api",
                "name": "api",
                "tcp": "h:1",
                "interval": f"{self.rng.randrange(1, 3)}s",
            }
            await status.put_check(
                self.ctx, row_of(added, service=name, instance=f"{name} {name}", origin="api")
            )

    async def maintain(self) -> None:
        on = self.rng.random() < 0.5
        if self.rng.random() < 0.7:
            await service_maintenance.call(self.ctx, name=f"s{self.rng.randrange(4)}", enable=on, reason="r")
            return
        self.spreading += 1
        try:
            await node_maintenance.call(self.ctx, name=f"n{self.rng.randrange(2)}", enable=on)
        finally:
            self.spreading -= 1

    async def node(self) -> None:
        name = f"n{self.rng.randrange(2)}"
        if self.rng.random() < 0.15:
            await delete_node.call(self.ctx, name=name)
            return
        await put_node.call(self.ctx, name=name, zone=self.rng.choice(("", "z1")))
        check = {"id": "n0-check", "name": "n0", "tcp": "h:1"}
        self.spreading += 1
        try:
            await status.put_check(self.ctx, row_of(check, node="n0", origin="api"))
        except Invalid:
            raise AssertionError("an id that is its own is refused") from None
        finally:
            self.spreading -= 1


def story(told: Callable[[Context], Coroutine[Any, Any, None]], folder: Path) -> None:
    async def whole() -> None:
        async with running(folder) as ctx:
            await told(ctx)

    asyncio.run(whole())


@pytest.mark.parametrize("seed", range(6))
def test_health_is_always_the_worst_of_what_it_is_made_of(tmp_path: Path, seed: int) -> None:
    async def told(ctx: Context) -> None:
        world = World(ctx, seed)

        async def actor() -> None:
            for _ in range(STEPS):
                await world.act()
                assert problems(ctx, is_spreading=world.spreading > 0) == []

        await asyncio.gather(*(actor() for _ in range(ACTORS)))
        assert problems(ctx) == []

    story(told, tmp_path)


def test_what_says_nothing_new_enters_no_log(tmp_path: Path) -> None:
    async def told(ctx: Context) -> None:
        checks = [{"id": "t", "ttl": "1h"}, {"id": "h", "tcp": "h:1"}]
        await register_instance(ctx, service("web", checks, None), None)
        for check_id in "th":
            await status.report(ctx, check_id, PASSING, "fine")
        index = ctx.engine.contact()[2]
        for check_id in "thth":
            await status.report(ctx, check_id, PASSING, "fine")
        assert ctx.engine.contact()[2] == index
        with pytest.raises(NotFound):
            await status.report(ctx, "t", PASSING, definition=b'{"ttl":"2h"}')
        with pytest.raises(Invalid):
            await status.report(ctx, "t", "fine")

    story(told, tmp_path)


def test_a_ttl_that_ends_is_a_transition_like_any_other(tmp_path: Path) -> None:
    async def told(ctx: Context) -> None:
        await register_instance(ctx, service("web", [{"id": "t", "ttl": "20ms"}], None), None)
        await status.report(ctx, "t", PASSING, "x" * 5_000)
        await until_async(lambda: rows(ctx, Check)["t"].status == "critical", "the lease to end")
        await status.report(ctx, "t", WARNING, "slow")
        check = rows(ctx, Check)["t"]
        assert [(one["from"], one["to"]) for one in status.transitions_of(check)] == [
            ("critical", "passing"),
            ("passing", "critical"),
            ("critical", "warning"),
        ]
        outputs = [one["output"] for one in orjson.loads(check.recent or b"")]
        assert outputs == ["x" * status.RECENT_OUTPUT_CHARS, "TTL expired", "slow"]

    story(told, tmp_path)


def test_a_node_s_recovery_reaches_more_instances_than_one_entry_holds(tmp_path: Path) -> None:
    async def told(ctx: Context) -> None:
        many = 1_200
        await put_node.call(ctx, name="n0")
        for start in range(0, many, 400):
            puts = [
                entry.put(
                    Instance,
                    f"web {n:05}",
                    Instance(key="", name="web", ttl_ms=None, zone="", health=PASSING, node="n0").cells(),
                )
                for n in range(start, start + 400)
            ]
            await ctx.commit(entry.encode([entry.case([], puts)]))
        await node_maintenance.call(ctx, name="n0", enable=True)
        assert candidates_of(ctx, "web", many) == []
        await node_maintenance.call(ctx, name="n0", enable=False)
        assert len(candidates_of(ctx, "web", 2 * many, PASSING)) == many
        await delete_node.call(ctx, name="n0")
        assert (ctx.engine.count(Instance.table_id), ctx.engine.count(Node.table_id)) == (0, 0)

    story(told, tmp_path)


def test_candidates_are_of_the_health_asked_for_in_order(tmp_path: Path) -> None:
    async def told(ctx: Context) -> None:
        for n, health in enumerate(STATUSES * 3):
            row = Instance(
                key="", name="web", id=f"{n}", ttl_ms=None, zone=f"z{n % 2}", health=health, tags=["t"]
            )
            await ctx.commit(entry.encode([entry.case([], [entry.put(Instance, f"web {n}", row.cells())])]))

        def found(*args: Any, **kwargs: Any) -> str:
            return "".join(one.id or "" for one in candidates_of(ctx, "web", *args, **kwargs))

        assert (found(10, ANY), found(10, SERVING), found(10, PASSING)) == ("012345678", "013467", "036")
        assert (found(3), found(10, zone="z1"), found(10, ANY, tags=["t"], zone="z0")) == (
            "013",
            "137",
            "02468",
        )

    story(told, tmp_path)


def test_spreading_to_nobody_is_no_entry(tmp_path: Path) -> None:
    async def told(ctx: Context) -> None:
        await put_node.call(ctx, name="n0")
        index = ctx.engine.contact()[2]
        await spread(ctx, "n0")
        assert ctx.engine.contact()[2] == index

    story(told, tmp_path)
