"""The plan of a declaration: what has to hold and what is written. A registration puts it into its entry.

Two declarations that are each free of cycles may make one together: `a -> b` and `b -> a`. So whatever adds a
dependency is guarded by the one row about the whole graph, which every addition changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

from konsul.engine import Engine
from konsul.errors import Duplicate, Invalid
from konsul.features.catalog.rules import NAME
from konsul.features.dependencies import shape
from konsul.features.dependencies.config import DependencySettings
from konsul.features.dependencies.metrics import CYCLES
from konsul.features.dependencies.reading import dependencies_of, edge_count, row_of
from konsul.features.dependencies.tables import GRAPH, Dependencies
from konsul.kernel import entry
from konsul.kernel.context import Context
from konsul.kernel.entry import Guard, Op

ATTEMPTS_MAX: Final = 16
"""How often a declaration is planned anew because another node's came first."""
_TURNS: Final[WeakKeyDictionary[Engine, asyncio.Lock]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Steps:
    """What a declaration adds to the guards and ops of an entry; both empty for no declaration."""

    guards: list[Guard] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)


@asynccontextmanager
async def turn(ctx: Context) -> AsyncIterator[None]:
    """One plan at a time on this node, up to its commit: declarations conflict with one another, and a crowd
    of them would plan nearly all in vain. Those of other nodes are met by the guards."""
    lock = _TURNS.get(ctx.engine)
    if lock is None:
        lock = _TURNS[ctx.engine] = asyncio.Lock()
    async with lock:
        yield


def check(wanted: Collection[str], settings: DependencySettings) -> None:
    """Raises Invalid for the first rule that a declaration breaks."""
    most = settings.per_service_max
    problem: str | None = None
    if len(wanted) > most:
        problem = f"too many dependencies: {len(wanted)} (max {most})"
    seen: set[str] = set()
    for one in wanted:
        if problem is None and not NAME.fullmatch(one):
            problem = f"invalid service name: {one[:200]} (must match ^{NAME.pattern}$)"
        if problem is None and one in seen:
            problem = f"duplicate dependency: {one}"
        seen.add(one)
    if problem is not None:
        raise Invalid(f"dependency validation failed: {problem}")


def replacing(ctx: Context, name: str, wanted: Iterable[str]) -> Steps:
    """The plan that makes `wanted` all that `name` depends on. Reads the tables as they are: on a Conflict
    plan again.

    Raises:
        Invalid: a rule is broken. Duplicate: it would close a cycle, which the message names.
    """
    listed = list(wanted)
    settings = ctx.config.of(DependencySettings)
    check(listed, settings)
    engine = ctx.engine
    row = row_of(engine, name)
    before, after = set(dependencies_of(engine, name)), set(listed)
    if before == after:
        # A service that registers again says what it said before: nothing is written, but it must still hold.
        if row is None:
            return Steps([entry.absent(Dependencies, name)])
        return Steps([entry.is_(Dependencies, name, "depends_on", sorted(after))])
    guards = [entry.at(Dependencies, name, 0 if row is None else row.modify_index)]
    if after - before:
        graph = row_of(engine, GRAPH)
        guards.append(entry.at(Dependencies, GRAPH, 0 if graph is None else graph.modify_index))
        _refuse_cycle(ctx, name, after - before)
    delta = len(after) - len(before)
    ceiling = settings.edges_max if delta > 0 else None
    ops = [
        entry.put(Dependencies, name, [sorted(after)]) if after else entry.delete(Dependencies, name),
        entry.add(Dependencies, GRAPH, "edges", delta, ceiling),
        entry.add(Dependencies, GRAPH, "declarations", 1),
    ]
    return Steps(guards, ops)


def full(ctx: Context) -> str:
    """What is said when the graph has no room left."""
    most = ctx.config.of(DependencySettings).edges_max
    return (
        f"there are {edge_count(ctx.engine)} dependencies already: KONSUL_DEPENDENCIES_MAX_EDGES is {most}; "
        "delete those of services that are gone"
    )


def _refuse_cycle(ctx: Context, name: str, added: Iterable[str]) -> None:
    engine = ctx.engine
    way = shape.cycle(name, added, lambda one: dependencies_of(engine, one))
    if way is None:
        return
    CYCLES.inc()
    sight = ctx.visible("service:read")
    sees = (lambda _: True) if sight is None else sight.sees
    raise Duplicate(f"dependency cycle: {shape.told(way, sees)}")
