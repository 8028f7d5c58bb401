"""Many services in one call. Registering is per entry: a bad one does not keep the others out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from konsul.errors import Duplicate, Invalid, KonsulError, LimitReached, TooLarge
from konsul.features.catalog.checks import authorise_checks
from konsul.features.catalog.commands import register
from konsul.features.catalog.rules import Service, is_possible
from konsul.features.catalog.tables import Instance, instance_key
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context

MAX_SERVICES: Final = 100
UNNAMED: Final = "unnamed-service"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One entry of a batch: a service, or why it is none."""

    name: str
    service: Service | Invalid


@dataclass(frozen=True, slots=True)
class Registered:
    """The names registered, in order, and by name why the others were not."""

    names: Sequence[str]
    failed: Sequence[str]
    errors: Mapping[str, str]


@command("service.batch_register", needs="service:register", resource="names")
async def register_many(ctx: Context, *, names: Sequence[str], candidates: Sequence[Candidate]) -> Registered:
    """Registers up to `MAX_SERVICES` instances, each by itself. `names` are the candidates' names.

    Raises:
        Invalid: none or too many. NoLeader, Busy, DiskFull, Timeout, Stopping: the node cannot write now, but
            some may be registered. Forbidden: `checks.also_needs`.
    """
    check_services(names)
    for candidate in candidates:
        # Before any of them: refused is the whole.
        if isinstance(candidate.service, Service):
            authorise_checks(ctx, candidate.service.checks)
    numbered = enumerate(candidates)
    outcomes = await asyncio.gather(*(_register(ctx.part(n), candidate) for n, candidate in numbered))
    registered: list[str] = []
    failed: list[str] = []
    errors: dict[str, str] = {}
    for candidate, problem in zip(candidates, outcomes, strict=True):
        if problem is None:
            registered.append(candidate.name)
            continue
        failed.append(candidate.name)
        errors[candidate.name] = str(problem)
    return Registered(registered, failed, errors)


@command("service.batch_deregister", needs="service:deregister", resource="names")
async def deregister_many(ctx: Context, *, names: Sequence[str]) -> None:
    """Removes up to `MAX_SERVICES` instances, those called like their service, in one entry; absent is fine.

    Raises:
        Invalid: no names or too many.
    """
    check_names(names)
    keys = [key for name in dict.fromkeys(names) if is_possible(key := instance_key(name))]
    if keys:
        ops = [entry.delete(Instance, key) for key in keys]
        await ctx.commit(entry.encode([entry.case([], ops)]))


def check_services(services: Sequence[object]) -> None:
    """Raises Invalid for no services or too many."""
    if not services:
        raise Invalid("Services array cannot be empty")
    if len(services) > MAX_SERVICES:
        raise Invalid(f"Maximum {MAX_SERVICES} services per batch request")


def check_names(names: Sequence[str]) -> None:
    """Raises Invalid for no names or too many."""
    if not names:
        raise Invalid("Names array cannot be empty")
    if len(names) > MAX_SERVICES:
        raise Invalid(f"Maximum {MAX_SERVICES} services per batch request")


async def _register(ctx: Context, candidate: Candidate) -> KonsulError | None:
    """None, or what is wrong with this one entry; what is wrong with the node is raised."""
    if isinstance(candidate.service, Invalid):
        return candidate.service
    try:
        await register.call(ctx, name=candidate.name, service=candidate.service)
    except (Invalid, TooLarge, Duplicate, LimitReached) as problem:
        return problem
    return None
