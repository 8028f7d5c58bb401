"""An instance and all that comes with it, in one entry: its checks, its node's row, its dependencies."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from konsul.errors import Conflict, KonsulError, LimitReached, NotFound
from konsul.features.catalog.checks import rows_of, shown_of
from konsul.features.catalog.healths import worst
from konsul.features.catalog.plans import Plan, planned
from konsul.features.catalog.rules import NOT_FOUND, ZONE_MAX_BYTES, Service
from konsul.features.catalog.status import guard_check, put_ops, succeeding, taken
from konsul.features.catalog.tables import PASSING, Check, Instance, Node, instance_key
from konsul.features.dependencies import planning
from konsul.kernel import entry
from konsul.kernel.settings import ServiceSettings

if TYPE_CHECKING:
    from konsul.kernel.context import Context

ZONE: Final = "zone"
"""The metadata pair that names the zone where nothing else does."""


class Registered(NamedTuple):
    """Where a registration landed, and the zone that the instance has by it."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    zone: str


async def register_instance(ctx: Context, service: Service, cas: int | None) -> Registered:
    """Writes an instance as its service says, its checks with it.

    Checks that came with an earlier registration and not with this one go; those that were made otherwise
    stay. A check whose definition is the same keeps what it said.

    Raises:
        NotFound, Conflict: `cas` does not hold. Invalid: a check's id is another's. Duplicate: the
            dependencies would close a cycle. LimitReached: there is no room for them. Busy: others write it
            at once.
    """
    key = instance_key(service.name, service.id)

    async def attempt(plan: Plan) -> Registered | KonsulError:
        old = plan.instance(key)
        if cas is not None:
            plan.guards.append(entry.at(Instance, key, cas))
        plan.guards.append(entry.is_(Instance, key, "check_ids", None if old is None else old.check_ids))
        plan.guards.append(entry.is_(Instance, key, "node", None if old is None else old.node))
        node_health, zone = _node(plan, service)
        dropped, ids, health = _checks(ctx, plan, service, key, old, node_health)
        own_id = service.id if service.id != service.name else None
        ttl_ms = ctx.config.of(ServiceSettings).ttl_ms if service.ttl_ms is None else service.ttl_ms
        row = Instance(
            key="",
            name=service.name,
            id=own_id or None,
            address=service.address,
            port=service.port,
            tags=list(service.tags),
            meta=dict(service.meta),
            checks=shown_of(service.checks),
            ttl_ms=ttl_ms or None,
            node=service.node,
            zone=zone,
            health=health,
            check_ids=ids or None,
        )
        plan.ops.append(entry.put(Instance, key, row.cells()))
        # Last: an instance that names a check when that goes would become critical by law.
        plan.ops += [entry.delete(Check, check_id) for check_id in dropped]
        _depend(ctx, plan, service)
        try:
            return Registered((await plan.commit(ctx)).index, zone)
        except Conflict as conflict:
            if cas is not None and conflict.key == key and conflict.current != cas:
                return refusal(service.name, cas, conflict.current)
            raise
        except LimitReached:
            raise LimitReached(planning.full(ctx)) from None

    reads = service.checks is not None or service.depends_on is not None
    async with _turn(ctx, service):
        done = await planned(ctx, attempt, f"service {service.name}", owner=key.decode(), reads=reads)
    if isinstance(done, KonsulError):
        raise done
    return done


def _node(plan: Plan, service: Service) -> tuple[str, str]:
    """The health of the service's node, guarded, and the service's zone. Makes a node that is not known."""
    zone = service.zone or _zone_of(service.meta)
    if service.node is None:
        return PASSING, zone
    node = plan.node(service.node)
    if node is None:
        plan.guards.append(entry.absent(Node, service.node))
        plan.ops.append(entry.put(Node, service.node, Node(name="", zone="").cells()))
        return PASSING, zone
    plan.guards.append(entry.is_(Node, service.node, "health", node.health))
    if not zone:
        plan.guards.append(entry.is_(Node, service.node, "zone", node.zone))
    return node.health, zone or node.zone


def _zone_of(meta: Mapping[str, str]) -> str:
    """The zone that metadata names; what could be none is only metadata."""
    zone = meta.get(ZONE, "")
    return zone if zone.isprintable() and len(zone.encode()) <= ZONE_MAX_BYTES else ""


def _checks(
    ctx: Context, plan: Plan, service: Service, key: bytes, old: Instance | None, node_health: str
) -> tuple[list[str], list[str], str]:
    """Plans the rows of the checks. Returns those to delete, those that stay or come, and the health."""
    rows = rows_of(service.checks, service.name, key.decode())
    if not rows and (old is None or old.check_ids is None):
        return [], [], node_health
    wanted = {row.id for row in rows}
    kept: list[str] = []
    dropped: list[str] = []
    for check_id in (() if old is None else old.check_ids) or ():
        if check_id in wanted:
            continue
        check = plan.check(check_id)
        is_registered = check is not None and check.origin == "registration"
        (dropped if is_registered else kept).append(check_id)
    statuses = [node_health, *plan.statuses(kept)]
    for row in rows:
        before = plan.check(row.id)
        if before is None:
            plan.guards.append(entry.absent(Check, row.id))
        elif before.instance != row.instance:
            raise taken(ctx, row.id, before)
        else:
            guard_check(plan, before)
            row = succeeding(before, row)
        put_ops(plan, row, before)
        statuses.append(row.status)
    return dropped, [*(row.id for row in rows), *kept], worst(statuses)


def _depend(ctx: Context, plan: Plan, service: Service) -> None:
    if service.depends_on is not None:
        steps = planning.replacing(ctx, service.name, service.depends_on)
        plan.guards += steps.guards
        plan.ops += steps.ops


def _turn(ctx: Context, service: Service) -> AbstractAsyncContextManager[Any]:
    """Declarations of dependencies are planned one after the other; what declares none need not wait."""
    return nullcontext() if service.depends_on is None else planning.turn(ctx)


def refusal(name: str, expected: int, current: int) -> KonsulError:
    """The error of a compare-and-set that did not hold: `current` 0 means that the instance is absent."""
    if current == 0:
        return NotFound(NOT_FOUND)
    return Conflict(
        f"CAS conflict for service '{name}': expected ModifyIndex {expected}, but current is {current}",
        key=name.encode(),
        current=current,
    )
