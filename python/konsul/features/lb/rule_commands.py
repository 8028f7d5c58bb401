"""Changing the rules of a service: each change is one entry, so every request sees all of it or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from konsul.engine import Row
from konsul.errors import Busy, Conflict, Invalid, LimitReached, NotFound
from konsul.features.lb.config import LbSettings
from konsul.features.lb.rulebook import KEY_MAX_BYTES, row_of, rules_in
from konsul.features.lb.rules import NOTHING, SPLIT, Rules, check_split, packed, rules_of
from konsul.features.lb.tables import RuleRow
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context

WRITE: Final = "service:write"
ABSENT: Final = "No load balancing rules for this service"
_ATTEMPTS: Final = 16


@command("lb.rules.set", needs=WRITE, resource="service")
async def set_rules(
    ctx: Context, *, service: str, document: object, cas: int | None = None
) -> tuple[Rules, int]:
    """Replaces the rules of a service; answers them and their modify_index.

    Raises:
        Invalid: the document breaks a rule. LimitReached: too many services have rules.
        NotFound: `cas` > 0 and there are none. Conflict: `cas` and their modify_index differ.
    """
    rules = rules_of(document, ctx.config.of(LbSettings).split_max)
    _check_service(service)
    _check_room(ctx, service)
    try:
        applied = await ctx.put(RuleRow.table_id, service.encode(), _cells(ctx, rules), cas)
    except Conflict as conflict:
        raise _refusal(service, cas or 0, conflict) from None
    return rules, applied.index


@command("lb.rules.delete", needs=WRITE, resource="service")
async def delete_rules(ctx: Context, *, service: str, cas: int | None = None) -> None:
    """Takes the rules of a service away.

    Raises:
        NotFound: there are none. Conflict: `cas` and their modify_index differ.
    """
    _check_service(service)
    key = service.encode()
    guards = [entry.exists(RuleRow, key)] + ([] if cas is None else [entry.at(RuleRow, key, cas)])
    try:
        await ctx.commit(entry.encode([entry.case(guards, [entry.delete(RuleRow, key)])]))
    except Conflict as conflict:
        raise _refusal(service, cas or 0, conflict) from None


@command("lb.rules.activate", needs=WRITE, resource="service")
async def activate(ctx: Context, *, service: str, active: str) -> tuple[Rules, int]:
    """Gives every request to the named rule from now on: the switch from blue to green.

    Raises:
        NotFound: the service has no rules. Invalid: none of them has this name, or they have percentages.
    """

    def change(rules: Rules) -> Rules:
        return replace(rules, active=active)

    return await _change(ctx, service, change, must_exist=True)


@command("lb.split.set", needs=WRITE, resource="service")
async def set_split(ctx: Context, *, service: str, document: object) -> tuple[Rules, int]:
    """Replaces the named rules, which of them is active, and whether others may stand in; all else stays.

    Raises:
        Invalid: the document breaks a rule. LimitReached: too many services have rules.
    """
    if isinstance(document, dict) and (other := next((name for name in document if name not in SPLIT), None)):
        raise Invalid(f"a split: there is no {other!r}, expected {', '.join(SPLIT)}")
    split = rules_of(document, ctx.config.of(LbSettings).split_max)
    _check_service(service)
    _check_room(ctx, service)

    def change(rules: Rules) -> Rules:
        return replace(rules, shares=split.shares, active=split.active, strict=split.strict)

    return await _change(ctx, service, change)


@command("lb.split.delete", needs=WRITE, resource="service")
async def delete_split(ctx: Context, *, service: str) -> None:
    """Takes the named rules of a service away; all else stays.

    Raises:
        NotFound: it has none.
    """

    def change(rules: Rules) -> Rules:
        if not rules.shares:
            raise NotFound(ABSENT)
        return replace(rules, shares=(), active=None, strict=False)

    await _change(ctx, service, change, must_exist=True)


async def _change(
    ctx: Context, service: str, change: Callable[[Rules], Rules], *, must_exist: bool = False
) -> tuple[Rules, int]:
    """Reads, changes and writes, guarded on what was read."""
    _check_service(service)
    key = service.encode()
    for _ in range(_ATTEMPTS):
        row = row_of(ctx.engine, service)
        if row is None and must_exist:
            raise NotFound(ABSENT)
        rules = change(rules_in(row))
        check_split(rules)
        at = 0 if row is None else row.modify_index
        if rules == NOTHING:
            case = entry.case([entry.at(RuleRow, key, at)], [entry.delete(RuleRow, key)])
            written = ctx.commit(entry.encode([case]))
        else:
            written = ctx.put(RuleRow.table_id, key, _cells(ctx, rules), at)
        try:
            return rules, (await written).index
        except Conflict as conflict:
            await _catch_up(ctx, row, conflict)
    raise Busy(f"the rules of {service} are being changed by others: try again")


async def _catch_up(ctx: Context, row: Row | None, conflict: Conflict) -> None:
    """A follower may not have what the leader refused by: waits until it has."""
    if conflict.current > (0 if row is None else row.modify_index):
        await ctx.engine.wait_index(conflict.current, ctx.terms.timeout_ms)
    else:
        await ctx.engine.barrier("default", ctx.terms.timeout_ms)


def _cells(ctx: Context, rules: Rules) -> bytes:
    who = ctx.identity.name or ctx.identity.id or ""
    return entry.cells(packed(rules), who, time.time_ns() // 1_000_000)


def _check_service(service: str) -> None:
    if not service or len(service.encode()) > KEY_MAX_BYTES or not service.isprintable():
        raise Invalid(f"service: expected the name of a service or a tag, of up to {KEY_MAX_BYTES} bytes")


def _check_room(ctx: Context, service: str) -> None:
    most = ctx.config.of(LbSettings).rules_max
    if ctx.engine.count(RuleRow.table_id) >= most and row_of(ctx.engine, service) is None:
        raise LimitReached(f"{most} services have rules already: KONSUL_LB_RULES_MAX is {most}")


def _refusal(service: str, expected: int, conflict: Conflict) -> NotFound | Conflict:
    if conflict.current == 0:
        return NotFound(ABSENT)
    return Conflict(
        f"CAS conflict for the rules of '{service}': expected ModifyIndex {expected}, but current is "
        f"{conflict.current}",
        key=service.encode(),
        current=conflict.current,
    )
