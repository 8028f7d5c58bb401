"""Declaring what a service depends on. A registration with `dependencies` declares in its own entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from konsul.errors import Busy, Conflict, LimitReached
from konsul.features.catalog.rules import check_name
from konsul.features.dependencies.planning import ATTEMPTS_MAX, full, replacing, turn
from konsul.features.dependencies.reading import dependencies_of
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context


@command("service.add_dependencies", needs="service:write", resource="name")
async def add(ctx: Context, *, name: str, dependencies: Sequence[str]) -> Sequence[str]:
    """Declares that a service depends on these, beside what it depends on already; answers all of those.
    Neither has to exist.

    Raises:
        Invalid: a rule is broken. Duplicate: it would close a cycle, which the message names.
        LimitReached: there are too many in all. Busy: others declare all the time.
    """
    return await _change(ctx, name, lambda before: [*dict.fromkeys((*before, *dependencies))])


@command("service.set_dependencies", needs="service:write", resource="name")
async def replace(ctx: Context, *, name: str, dependencies: Sequence[str]) -> Sequence[str]:
    """Declares that a service depends on these and no others; answers them. Raises as `add`."""
    return await _change(ctx, name, lambda _: dependencies)


@command("service.delete_dependencies", needs="service:write", resource="name")
async def remove(ctx: Context, *, name: str, dependencies: Sequence[str] = ()) -> Sequence[str]:
    """Takes back these dependencies of a service, without any all of them; answers those that stay. Absent
    ones are fine."""
    gone = set(dependencies)
    return await _change(ctx, name, lambda before: [one for one in before if gone and one not in gone])


async def _change(ctx: Context, name: str, wanted: Callable[[Sequence[str]], Sequence[str]]) -> Sequence[str]:
    check_name(name)
    async with turn(ctx):
        for number in range(ATTEMPTS_MAX):
            if number or not ctx.engine.is_current():
                # What was acknowledged before, or what it lost against, may not be in the tables here yet.
                await ctx.engine.barrier("default", ctx.terms.timeout_ms)
            listed = wanted(dependencies_of(ctx.engine, name))
            steps = replacing(ctx, name, listed)
            if not steps.ops:
                return sorted(listed)
            try:
                await ctx.commit(entry.encode([entry.case(steps.guards, steps.ops)]))
            except LimitReached:
                raise LimitReached(full(ctx)) from None
            except Conflict:
                continue
            return sorted(listed)
    raise Busy("other declarations came first every time: try again")
