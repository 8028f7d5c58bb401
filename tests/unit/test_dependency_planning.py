"""Declarations that were planned side by side: their guards let one of them through, on whatever node it was
planned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from konsul.engine import Engine
from konsul.errors import Conflict, Duplicate
from konsul.features.dependencies import commands, planning, reading
from konsul.features.dependencies.config import DependencySettings
from konsul.features.dependencies.tables import Dependencies
from konsul.kernel import entry
from konsul.kernel.config import Config
from konsul.kernel.context import Context
from konsul.kernel.pipeline import INSIDE, Pipeline
from konsul.kernel.schema import compile_schema
from tests.core.node import options

Story = Callable[[Context], Awaitable[None]]


def told(folder: Path, story: Story) -> None:
    """Plays a story on a node in memory that has the dependencies and nothing else."""

    async def play() -> None:
        engine = Engine(options(folder / "data", backend="memory"))
        await engine.start(compile_schema([Dependencies]))
        try:
            await story(Context(engine, Config([DependencySettings()]), INSIDE, "", "", Pipeline()))
        finally:
            await engine.stop(1_000)

    asyncio.run(play())


async def commit(ctx: Context, steps: planning.Steps) -> None:
    await ctx.commit(entry.encode([entry.case(steps.guards, steps.ops)]))


def test_of_two_halves_of_a_cycle_the_second_is_refused(tmp_path: Path) -> None:
    async def story(ctx: Context) -> None:
        one = planning.replacing(ctx, "a", ["b"])
        other = planning.replacing(ctx, "b", ["a"])
        await commit(ctx, one)
        with pytest.raises(Conflict):
            await commit(ctx, other)
        with pytest.raises(Duplicate, match=r"^dependency cycle: b -> a -> b$"):
            planning.replacing(ctx, "b", ["a"])
        assert reading.edge_count(ctx.engine) == 1

    told(tmp_path, story)


def test_two_plans_for_one_service_are_not_mixed(tmp_path: Path) -> None:
    async def story(ctx: Context) -> None:
        await commands.replace.call(ctx, name="a", dependencies=["b", "c"])
        less = planning.replacing(ctx, "a", ["b"])
        none = planning.replacing(ctx, "a", [])
        await commit(ctx, less)
        with pytest.raises(Conflict):
            await commit(ctx, none)
        assert reading.edge_count(ctx.engine) == 1

    told(tmp_path, story)


def test_what_is_declared_again_writes_nothing_and_must_still_hold(tmp_path: Path) -> None:
    async def story(ctx: Context) -> None:
        assert planning.replacing(ctx, "a", []).ops == []
        await commands.replace.call(ctx, name="a", dependencies=["c", "b"])
        again = planning.replacing(ctx, "a", ["b", "c"])
        assert again.ops == []
        probe = [entry.put(Dependencies, "probe", [[]])]
        await ctx.commit(entry.encode([entry.case(again.guards, probe)]))
        # Others declare all the time: that is no reason to plan this one again.
        await commands.replace.call(ctx, name="x", dependencies=["y"])
        await ctx.commit(entry.encode([entry.case(again.guards, probe)]))
        await commands.remove.call(ctx, name="a", dependencies=["c"])
        with pytest.raises(Conflict):
            await ctx.commit(entry.encode([entry.case(again.guards, probe)]))

    told(tmp_path, story)


def test_a_crowd_is_declared_one_after_the_other(tmp_path: Path) -> None:
    async def story(ctx: Context) -> None:
        names = [f"s{number}" for number in range(200)]
        await asyncio.gather(*(commands.add.call(ctx, name=name, dependencies=["db"]) for name in names))
        assert reading.dependents_of(ctx.engine, "db") == sorted(names)
        assert reading.edge_count(ctx.engine) == 200
        await asyncio.gather(*(commands.remove.call(ctx, name=name) for name in names))
        assert reading.all_edges(ctx.engine) == {}
        assert reading.edge_count(ctx.engine) == 0

    told(tmp_path, story)
