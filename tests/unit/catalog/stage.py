"""A node in this process with the catalog's tables, and what must hold in them at any moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from konsul.engine import Engine, Options
from konsul.features.catalog.healths import worst
from konsul.features.catalog.search_config import SearchSettings
from konsul.features.catalog.tables import CRITICAL, PASSING, Check, CheckLease, Instance, Node
from konsul.features.dependencies.config import DependencySettings
from konsul.features.dependencies.tables import Dependencies
from konsul.kernel.config import load
from konsul.kernel.context import Context
from konsul.kernel.pipeline import INSIDE, Pipeline
from konsul.kernel.schema import Row, compile_schema
from konsul.kernel.settings import ServiceSettings

R = TypeVar("R", bound=Row)
TABLES = [Instance, Node, Check, CheckLease, Dependencies]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Context]:
    """A started engine whose log is in memory, as commands see it."""
    options = Options(
        data_dir=str(folder), backend="memory", segment_bytes=1 << 20, disk_reserve_bytes=1 << 20
    )
    engine = Engine(options)
    await engine.start(compile_schema(TABLES))
    config = load([ServiceSettings, SearchSettings, DependencySettings], environ={})
    try:
        yield Context(engine, config, INSIDE, "", "", Pipeline())
    finally:
        await engine.stop()


def rows(ctx: Context, table: type[R]) -> dict[str, R]:
    """Every row of a table, by key."""
    found = ctx.engine.scan(table.table_id, limit=10_000).rows
    return {key.decode(): table.stored(key, row.cells) for key, row in found}


def problems(ctx: Context, *, is_spreading: bool = False) -> list[str]:
    """What is wrong in tables that are all of one index. `is_spreading`: a node's health is on its way to its
    instances, which may meanwhile be told otherwise, but never not critical while they are."""
    while True:
        index = ctx.engine.contact()[2]
        instances, nodes = rows(ctx, Instance), rows(ctx, Node)
        checks, leases = rows(ctx, Check), rows(ctx, CheckLease)
        if ctx.engine.contact()[2] == index:
            break
    found: list[str] = []
    for key, one in instances.items():
        on = nodes[one.node].health if one.node else PASSING
        inputs = [on, *(checks[id].status for id in one.check_ids or () if id in checks)]
        found += _compare(f"instance {key}", one.health, worst(inputs), is_spreading=is_spreading)
        found += _owned(
            f"instance {key}", one.check_ids, {id for id, c in checks.items() if c.instance == key}
        )
    for name, node in nodes.items():
        inputs = [checks[id].status for id in node.check_ids or () if id in checks]
        found += _compare(f"node {name}", node.health, worst(inputs), is_spreading=False)
        found += _owned(f"node {name}", node.check_ids, {id for id, c in checks.items() if c.node == name})
    for id, check in checks.items():
        is_orphan = check.instance not in instances if check.instance else check.node not in nodes
        found += [f"check {id} is nobody's"] * is_orphan
        found += [f"check {id} has a lease: {id in leases}"] * ((check.lease == id) != (id in leases))
    return found + [f"lease {id} is no check's" for id in leases if id not in checks]


def _compare(whose: str, health: str, expected: str, *, is_spreading: bool) -> list[str]:
    is_wrong = health != expected and (not is_spreading or expected == CRITICAL)
    return [f"{whose} is {health}, not {expected}"] * is_wrong


def _owned(whose: str, ids: list[str] | None, pointing: set[str]) -> list[str]:
    return [f"{whose} names {ids}, but {sorted(pointing)} are its"] * (set(ids or ()) != pointing)
