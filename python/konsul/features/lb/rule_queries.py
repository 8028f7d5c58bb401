"""Seeing the rules of services."""

from __future__ import annotations

from typing import NamedTuple

from konsul.errors import NotFound
from konsul.features.lb.rule_commands import ABSENT
from konsul.features.lb.rulebook import row_of, rules_in
from konsul.features.lb.rules import Rules
from konsul.features.lb.tables import RuleRow
from konsul.kernel.command import query
from konsul.kernel.context import Context
from konsul.kernel.scanning import pages

_SET_BY = RuleRow.column("set_by")
_SET_AT = RuleRow.column("set_at_ms")


class Stored(NamedTuple):
    """The rules of one service, who set them, and when in ms since 1970."""

    service: str
    rules: Rules
    modify_index: int
    set_by: str
    set_at_ms: int


@query("lb.rules.get", needs="service:read", resource="service")
async def rules(ctx: Context, *, service: str) -> Stored:
    """The rules of one service.

    Raises:
        NotFound: it has none.
    """
    row = row_of(ctx.engine, service)
    if row is None:
        raise NotFound(ABSENT)
    return Stored(service, rules_in(row), row.modify_index, row.cells[_SET_BY], row.cells[_SET_AT])


@query("lb.rules.list", needs="service:list")
async def list_rules(ctx: Context) -> list[Stored]:
    """The rules of every service that the caller may see, by its name."""
    sight = ctx.visible("service:list")
    return [
        Stored(key.decode(), rules_in(row), row.modify_index, row.cells[_SET_BY], row.cells[_SET_AT])
        for page in pages(ctx.engine, RuleRow.table_id, sight=sight)
        for key, row in page
    ]
