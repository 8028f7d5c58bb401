"""Making checks, changing them, telling what a TTL check says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from konsul.errors import Invalid, NotFound
from konsul.features.catalog.checks import also_needs, complete_one, row_of
from konsul.features.catalog.rules import is_possible
from konsul.features.catalog.status import CHECK_NOT_FOUND, clipped, put_check, remove_check, report
from konsul.features.catalog.tables import CRITICAL, PASSING, WARNING, Check, instance_key, split_key
from konsul.features.checks.config import CheckSettings
from konsul.features.checks.metrics import HELD, RESULTS
from konsul.features.checks.telling import words_of
from konsul.kernel.command import command
from konsul.kernel.context import Context
from konsul.kernel.pipeline import AUTHENTICATED

Scope: TypeAlias = "str | Sequence[tuple[str, str]]"
"""What must be allowed: of a service's check to write the service, of a node's to write the agent."""
NOT_TTL: Final = "check is not a TTL check"
OUTCOMES: Final = {"pass": PASSING, "warn": WARNING, "fail": CRITICAL}
DEFAULT_OUTPUT: Final = "TTL check passed"
"""As the first Konsul said it, of a renewal without words."""


async def stored(ctx: Context, check_id: str) -> Check | None:
    """The check. A node that is behind asks the leader before it says that there is none."""
    key = check_id.encode("utf-8", "replace")
    if not check_id or not is_possible(key):
        return None
    row = ctx.engine.get(Check.table_id, key)
    if row is None:
        if ctx.pipeline.authorise is not None:  # nobody in particular does not make us ask the leader
            ctx.pipeline.authorise(ctx.identity, AUTHENTICATED, "")
        await ctx.engine.barrier("linearizable", ctx.terms.timeout_ms)
        row = ctx.engine.get(Check.table_id, key)
    return None if row is None else Check.stored(key, row.cells)


async def scope_of(ctx: Context, check_id: str) -> Scope:
    """What writing the check asks for; "" of one that is not there, or is no business of the caller's."""
    if ctx.pipeline.authorise is None:
        return ""
    row = await stored(ctx, check_id)
    if row is None or not _is_known(ctx, row):
        return ""
    owned = _owned(row.service, row.node)
    return [*owned, ("admin:write", "")] if row.type == "script" else owned


def scope_of_new(owner: Mapping[str, Any], definition: Mapping[str, Any]) -> Scope:
    """What making a check asks for; `owner` has `service`, or `node`."""
    return [*_owned(owner["service"], owner["node"]), *also_needs(definition)]


def _is_known(ctx: Context, row: Check) -> bool:
    """False for who may neither read nor write whoever the check is of: the refusal would name it."""
    kind, owner = ("service", row.service) if row.node is None else ("agent", row.node)
    sights = (ctx.visible(f"{kind}:read"), ctx.visible(f"{kind}:write"))
    return any(sight is None or sight.sees(owner) for sight in sights)


def _owned(service: str, node: str | None) -> list[tuple[str, str]]:
    return [("agent:write", node) if node else ("service:write", service)]


@command("health.check.create", needs="service:write", resource="scope")
async def create(
    ctx: Context, *, scope: Scope, owner: Mapping[str, Any], definition: Mapping[str, Any]
) -> str:
    """Adds a check to an instance (`service` and `service_id`, without it the one called like the service) or
    to a `node`, or defines the one of that id anew; returns its id. The same definition keeps its status.

    Raises:
        NotFound: there is no such instance or node. Invalid: the definition breaks a rule, the id belongs to
            another's check, or there are too many. Busy.
    """
    del scope
    row = _row(owner, definition)
    await put_check(ctx, row)
    return row.id


@command("health.check.define", needs="service:write", resource="scope")
async def define(ctx: Context, *, id: str, scope: Scope, definition: Mapping[str, Any]) -> None:
    """Gives a check another definition; whose it is stays.

    Raises:
        NotFound: there is none. Invalid: the definition breaks a rule, or it is maintenance. Busy.
    """
    del scope
    old = await _found(ctx, id)
    _refuse_maintenance(old)
    name, instance = split_key(old.instance or "")
    owner = {"service": name, "service_id": instance, "node": old.node or ""}
    row = _row(owner, {**definition, "id": id, "name": definition.get("name") or old.name}, origin=old.origin)
    await put_check(ctx, row)


@command("health.check.delete", needs="service:write", resource="scope")
async def delete(ctx: Context, *, id: str, scope: Scope) -> None:
    """Takes a check away, also one that came with a registration.

    Raises:
        NotFound: there is none. Invalid: it is maintenance, which ends otherwise. Busy.
    """
    del scope
    _refuse_maintenance(await _found(ctx, id))
    await remove_check(ctx, id)


@command("health.check.update", needs="service:write", resource="scope")
async def update(
    ctx: Context,
    *,
    id: str,
    scope: Scope,
    status: str,
    output: str | None = None,
    service_id: str | None = None,
) -> None:
    """Tells what a TTL check says, which counts for its TTL. Without `output` that of before stays, or the
    default. What it says already is only a renewal: nothing enters the log. So is a changed output without a
    changed status, when such came too often lately (KONSUL_CHECK_OUTPUT_INTERVAL): that of before stays.

    Raises:
        NotFound: there is none, or not of the instance `service_id`. Invalid: it is not a TTL check, or
            `status` is none. Busy.
    """
    del scope
    row = await _found(ctx, id)
    if service_id is not None and split_key(row.instance or "")[1] != service_id:
        raise NotFound(CHECK_NOT_FOUND)
    if row.type != "ttl":
        raise Invalid(NOT_TTL)
    if output is None:
        is_renewal = row.status == status and status != CRITICAL
        output = row.output if is_renewal and row.output else _default_output(status)
    if row.status == status and clipped(output) != row.output:
        pause_s = ctx.config.of(CheckSettings).output_interval_ms / 1_000
        if not words_of(ctx.engine).may(id, pause_s):
            HELD.inc()
            output = row.output
    await report(ctx, id, status, output)
    RESULTS.labels("ttl", status).inc()


def _default_output(status: str) -> str:
    return DEFAULT_OUTPUT if status == PASSING else f"TTL check {status}"


def _row(owner: Mapping[str, Any], definition: Mapping[str, Any], origin: Any = "api") -> Check:
    service, node = owner["service"], owner["node"]
    if bool(service) == bool(node):
        raise Invalid("check validation failed: a check is of a service, or of a node")
    if node:
        completed = complete_one(definition, f"node/{node}", node, "")
        return row_of({**completed, "service_id": ""}, node=node, origin=origin)
    instance = owner["service_id"] or service
    key = instance_key(service, instance)
    if not is_possible(key):
        raise NotFound("Service not found")
    completed = complete_one(definition, f"{service}/{instance}/api", service, instance)
    return row_of(completed, service=service, instance=key.decode(), origin=origin)


async def _found(ctx: Context, check_id: str) -> Check:
    row = await stored(ctx, check_id)
    if row is None:
        raise NotFound(CHECK_NOT_FOUND)
    return row


def _refuse_maintenance(row: Check) -> None:
    if row.type == "maintenance":
        raise Invalid("check validation failed: this check is maintenance mode, which has routes of its own")
