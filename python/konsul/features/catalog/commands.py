"""Registering, keeping alive and deregistering instances."""

from __future__ import annotations

from typing import Final

from konsul.errors import Conflict, NotFound
from konsul.features.catalog.checks import authorise_checks
from konsul.features.catalog.metrics import METADATA_KEYS, TAGS
from konsul.features.catalog.registering import Registered, refusal, register_instance
from konsul.features.catalog.rules import NOT_FOUND, Service, check_service, is_possible
from konsul.features.catalog.tables import Instance, instance_key, instances_prefix
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context
from konsul.kernel.settings import ServiceSettings

_TTL: Final = Instance.column("ttl_ms")


@command("service.register", needs="service:register", resource="name")
async def register(ctx: Context, *, name: str, service: Service, cas: int | None = None) -> Registered:
    """Registers one instance, replacing the one with its id, with its checks. `name`: the service's.

    Its lease begins now; without a heartbeat it is gone when its TTL is over.

    Raises:
        Invalid: the service breaks a rule, or a check's id is another's. Duplicate: a cycle of dependencies.
        NotFound: `cas` > 0 and the instance is absent. Conflict: `cas` and its modify_index differ.
        LimitReached: there is no room for dependencies. Busy: others write the same at once.
        Forbidden: `checks.also_needs`.
    """
    del name
    check_service(service, ctx.config.of(ServiceSettings))
    authorise_checks(ctx, service.checks)
    registered = await register_instance(ctx, service, cas)
    TAGS.observe(len(service.tags))
    METADATA_KEYS.observe(len(service.meta))
    return registered


@command("service.deregister", needs="service:deregister", resource="name")
async def deregister(
    ctx: Context, *, name: str, id: str | None = None, cas: int | None = None, existing: bool = False
) -> None:
    """Removes one instance; without `id` the one called like its service.

    Absent is fine without `cas` and `existing`.

    Raises:
        NotFound: `cas` or `existing` is given and the instance is absent.
        Conflict: `cas` and its modify_index differ.
    """
    key = instance_key(name, id)
    must_exist = existing or cas is not None
    if not is_possible(key):
        if must_exist:
            raise NotFound(NOT_FOUND)
        return
    guards = [entry.exists(Instance, key)] if must_exist else []
    if cas is not None:
        guards.append(entry.at(Instance, key, cas))
    try:
        await ctx.commit(entry.encode([entry.case(guards, [entry.delete(Instance, key)])]))
    except Conflict as conflict:
        raise refusal(name, cas or 0, conflict.current) from None


@command("service.deregister_all", needs="service:deregister", resource="name")
async def deregister_all(ctx: Context, *, name: str) -> None:
    """Removes every instance of a service in one entry."""
    prefix = instances_prefix(name)
    if is_possible(prefix):
        op = entry.delete_prefix(Instance, prefix)
        await ctx.commit(entry.encode([entry.case([], [op])]))


@command("service.heartbeat", needs="service:write", resource="name")
async def heartbeat(ctx: Context, *, name: str, id: str | None = None) -> None:
    """Renews the lease of one instance; nothing enters the log. One without a lease stays anyway.

    Raises:
        NotFound: there is no such instance.
    """
    key = instance_key(name, id)
    if not is_possible(key):
        raise NotFound(NOT_FOUND)
    try:
        await ctx.renew(Instance.table_id, key)
    except NotFound:
        row = ctx.engine.get(Instance.table_id, key)
        if row is None or row.cells[_TTL] is not None:
            raise NotFound(NOT_FOUND) from None
