"""What checks say, and what follows for whoever they are checks of.

A report is acknowledged when the tables say what follows from it: the check's status, the health of its
instance or node, and of a node that of its instances. Becoming critical is law (`tables`), the rest planned.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from konsul.errors import Invalid, NotFound
from konsul.features.catalog.plans import Plan, planned
from konsul.features.catalog.rules import NOT_FOUND, is_possible
from konsul.features.catalog.spreading import spread
from konsul.features.catalog.tables import CRITICAL, STATUSES, Check, CheckLease
from konsul.kernel import entry
from konsul.kernel.duration import parse_duration_ms

if TYPE_CHECKING:
    from konsul.kernel.context import Context

CHECK_NOT_FOUND: Final = "check not found"
NODE_NOT_FOUND: Final = "Node not found"
OF_ONE_MAX: Final = 128
"""Checks of one instance or node, wherever they came from."""
RECENT: Final = 10
"""Transitions that are kept."""
RECENT_OUTPUT_CHARS: Final = 200
OUTPUT_MAX_BYTES: Final = 4_096
"""Of UTF-8: it is replicated, and listed with hundreds of others."""


async def report(
    ctx: Context, check_id: str, status: str, output: str = "", *, definition: bytes | None = None
) -> None:
    """Writes what a check said and what follows from it.

    A TTL check's lease begins anew, and ends when it is critical; one that says nothing new only has its
    lease renewed, and nothing enters the log. Another check that says nothing new is left as it is.

    Args:
        output: cut at `OUTPUT_MAX_BYTES`.
        definition: what was checked; if it is another one by now, the check is not there any more.

    Raises:
        Invalid: `status` is none. NotFound: there is no such check. Busy: everybody writes at once.
    """
    if status not in STATUSES:
        raise Invalid(f"invalid status: {status} (expected passing, warning or critical)")
    said = clipped(output)

    async def attempt(plan: Plan) -> str | None:
        check = found_check(plan, check_id)
        if definition is not None and check.definition != definition:
            raise NotFound(CHECK_NOT_FOUND)
        if (check.status, check.output) == (status, said) and await _is_renewed(ctx, check):
            return None
        changes: dict[str, object] = {"output": said}
        if status != check.status:
            recent = transitions_of(check)
            recent.append(transition(check.status, status, said))
            changes |= {"status": status, "changed_at_ms": entry.now()}
            changes["recent"] = orjson.dumps(recent[-RECENT:])
        ttl_ms = ttl_ms_of(check) if status != CRITICAL else None
        changes["lease"] = None if ttl_ms is None else check_id
        guard_check(plan, check)
        if status == CRITICAL != check.status:
            plan.breaking.add(check_id)
        plan.ops.append(entry.patch(Check, check_id, changes))
        if ttl_ms is not None:
            plan.ops.append(lease_op(check_id, ttl_ms))
        elif check.lease is not None:
            plan.ops.append(entry.delete(CheckLease, check_id))
        changed_node = None if status == check.status else _settle(plan, check, {check_id: status})
        await plan.commit(ctx)
        return changed_node

    changed_node = await planned(ctx, attempt, f"check {check_id}", owner=_owner(ctx, check_id))
    if changed_node is not None:
        await spread(ctx, changed_node)


async def put_check(ctx: Context, check: Check) -> None:
    """Adds a check to its instance or node, or gives the one of that id another definition.

    With the definition it had it keeps its status, output and past; else it begins with those of `check`.

    Raises:
        NotFound: its instance or node is not there. Invalid: the id is another's, or there are too many.
        Busy: everybody writes at once.
    """

    async def attempt(plan: Plan) -> str | None:
        old = plan.check(check.id)
        if old is None:
            plan.guards.append(entry.absent(Check, check.id))
        elif (old.instance, old.node) != (check.instance, check.node):
            raise taken(ctx, check.id, old)
        else:
            guard_check(plan, old)
        new = check if old is None else succeeding(old, check)
        put_ops(plan, new, old)
        changed_node = _settle(plan, new, {check.id: new.status}, added=check.id)
        await plan.commit(ctx)
        return changed_node

    changed_node = await planned(ctx, attempt, f"check {check.id}", owner=check.instance or check.node)
    if changed_node is not None:
        await spread(ctx, changed_node)


async def remove_check(ctx: Context, check_id: str) -> None:
    """Takes a check away; whoever it was a check of may get better by that.

    Raises:
        NotFound: there is no such check. Busy: everybody writes at once.
    """

    async def attempt(plan: Plan) -> str | None:
        check = found_check(plan, check_id)
        guard_check(plan, check)
        changed_node = _settle(plan, check, {}, removed=check_id)
        # Last: whoever still names a check that goes while critical would become so by law.
        plan.ops.append(entry.delete(Check, check_id))
        await plan.commit(ctx)
        return changed_node

    changed_node = await planned(ctx, attempt, f"check {check_id}", owner=_owner(ctx, check_id))
    if changed_node is not None:
        await spread(ctx, changed_node)


def _settle(
    plan: Plan, check: Check, known: dict[str, str], *, added: str | None = None, removed: str | None = None
) -> str | None:
    """Plans the health of whoever the check is of. Returns the node's name if that is another then."""

    def ids_of(have: list[str] | None) -> list[str] | None:
        ids = [one for one in have or () if one != removed]
        if added is not None and added not in ids:
            ids.append(added)
        if len(ids) > OF_ONE_MAX:
            raise Invalid(f"too many checks: {len(ids)} (max {OF_ONE_MAX})")
        return ids or None

    if check.node is not None:
        node = plan.node(check.node)
        if node is None:
            raise NotFound(NODE_NOT_FOUND)
        return check.node if plan.settle_node(node, ids_of(node.check_ids), known) != node.health else None
    key = (check.instance or "").encode()
    row = plan.instance(key)
    if row is None:
        raise NotFound(NOT_FOUND)
    plan.settle_instance(row, ids_of(row.check_ids), known)
    if removed is not None and row.checks is not None:
        kept = [one for one in orjson.loads(row.checks) if one["id"] != removed]
        plan.guards.append(entry.is_(type(row), key, "checks", row.checks))
        plan.ops.append(entry.patch(type(row), key, {"checks": orjson.dumps(kept) if kept else None}))
    return None


async def _is_renewed(ctx: Context, check: Check) -> bool:
    """True if there was nothing to write. False also when the end of its lease is on its way: what is written
    then is in the log before that, and is what counts, or after it, and is planned anew."""
    if check.lease is None:
        return check.status == CRITICAL or ttl_ms_of(check) is None
    try:
        await ctx.renew(CheckLease.table_id, check.id.encode())
    except NotFound:
        return False
    return True


def _owner(ctx: Context, check_id: str) -> str | None:
    """Whose turn a plan about a check takes: its instance's or node's. None when there is no such check."""
    check = Plan(ctx.engine).check(check_id) if check_id and is_possible(check_id.encode()) else None
    return None if check is None else check.instance or check.node


def found_check(plan: Plan, check_id: str) -> Check:
    """The check. Raises NotFound."""
    check = plan.check(check_id) if check_id and is_possible(check_id.encode()) else None
    if check is None:
        raise NotFound(CHECK_NOT_FOUND)
    return check


def guard_check(plan: Plan, check: Check) -> None:
    """Holds while the check is the same, of the same, and as healthy."""
    for name in ("status", "instance", "node", "definition"):
        plan.guards.append(entry.is_(Check, check.id, name, getattr(check, name)))


def put_ops(plan: Plan, new: Check, old: Check | None) -> None:
    """Writes a check and what holds its status, unless it is so already. Before the ops of whoever it is a
    check of."""
    if old is not None and replace(new, lease=old.lease) == old:
        return
    ttl_ms = ttl_ms_of(new) if new.status != CRITICAL else None
    cells = new.cells()
    cells[Check.column("lease")] = None if ttl_ms is None else new.id
    if old is None or old.status != new.status:
        cells[Check.column("changed_at_ms")] = entry.now()
    if old is not None and new.status == CRITICAL != old.status:
        plan.breaking.add(new.id)
    plan.ops.append(entry.put(Check, new.id, cells))
    if ttl_ms is not None and (old is None or old.lease is None or ttl_ms_of(old) != ttl_ms):
        plan.ops.append(lease_op(new.id, ttl_ms))
    elif ttl_ms is None and old is not None and old.lease is not None:
        plan.ops.append(entry.delete(CheckLease, new.id))


def lease_op(check_id: str, ttl_ms: int) -> entry.Op:
    """Begins the lease of a TTL check."""
    return entry.put(CheckLease, check_id, CheckLease(id=check_id, of=check_id, ttl_ms=ttl_ms).cells())


def succeeding(old: Check, new: Check) -> Check:
    """The check after it was defined again: the same definition keeps what it said."""
    if old.definition == new.definition and old.type == new.type:
        return replace(
            new, status=old.status, output=old.output, changed_at_ms=old.changed_at_ms, recent=old.recent
        )
    recent = transitions_of(old)
    if old.status != new.status:
        recent.append(transition(old.status, new.status, new.output))
    return replace(
        new, changed_at_ms=old.changed_at_ms, recent=orjson.dumps(recent[-RECENT:]) if recent else None
    )


def taken(ctx: Context, check_id: str, owner: Check) -> Invalid:
    """The refusal of an id that another's check has; whose it is, is for those who may see that one."""
    is_of_node = owner.node is not None
    sight = ctx.visible("agent:read" if is_of_node else "service:read")
    of = f"node {owner.node}" if is_of_node else f"service {owner.instance}"
    if sight is not None and not sight.sees((owner.node if is_of_node else owner.service) or ""):
        of = "another"
    return Invalid(f"check validation failed: check id {check_id} belongs to {of}")


def transitions_of(check: Check) -> list[dict[str, Any]]:
    """The last transitions of a check, oldest first, each `at` (ms since 1970), `from`, `to`, `output`.

    One that no plan made, since a lease ended, is not stored: it is what the row says beyond the last one.
    """
    found: list[dict[str, Any]] = orjson.loads(check.recent) if check.recent else []
    before = found[-1]["to"] if found else None
    if before is not None and before != check.status:
        found.append(transition(before, check.status, check.output, check.changed_at_ms))
    return found[-RECENT:]


def transition(was: str, status: str, output: str, at_ms: int | None = None) -> dict[str, Any]:
    """One of `transitions_of`; without `at_ms` it happens now."""
    at = round(time.time() * 1_000) if at_ms is None else at_ms
    return {"at": at, "from": was, "to": status, "output": output[:RECENT_OUTPUT_CHARS]}


def ttl_ms_of(check: Check) -> int | None:
    """How long a report of a TTL check counts, in ms; None of other checks."""
    if check.type != "ttl" or check.definition is None:
        return None
    ttl: str | None = orjson.loads(check.definition).get("ttl")
    return parse_duration_ms(ttl) if ttl else None


def clipped(output: str) -> str:
    """At most `OUTPUT_MAX_BYTES` of UTF-8."""
    encoded = output.encode("utf-8", "replace")
    if len(encoded) <= OUTPUT_MAX_BYTES:
        return encoded.decode()
    return encoded[:OUTPUT_MAX_BYTES].decode("utf-8", "ignore")
