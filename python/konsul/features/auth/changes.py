"""Rows of administration, read in pages, changed while they are as they were read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from konsul.engine import Engine, Row
from konsul.errors import Conflict, NotFound
from konsul.features.auth.node import auth_of
from konsul.features.auth.plain import Page
from konsul.features.auth.tables import ApiKeyRow, UserRow
from konsul.kernel import entry
from konsul.kernel.context import Context

T = TypeVar("T")
_TRIES: Final = 5
Without: TypeAlias = "Callable[[Engine, str, Row], list[entry.Guard]]"


@dataclass(frozen=True, slots=True)
class Kept:
    """Users or API keys as rows. `without`: guards under which one may lose the power to administer."""

    table: type[UserRow | ApiKeyRow]
    is_id: Callable[[str], bool]
    without: Without
    unknown: str
    contended: str

    def row(self, ctx: Context, id: str) -> Row | None:
        """The row, None if there is none."""
        # A key that cannot be is no key of a row, and no defect of the table either.
        return ctx.engine.get(self.table.table_id, id.encode()) if self.is_id(id) else None

    def known(self, ctx: Context, id: str) -> Row:
        """The row. Raises NotFound."""
        row = self.row(ctx, id)
        if row is None:
            raise NotFound(self.unknown)
        return row

    def page(self, ctx: Context, shown: Callable[[str, Row], T], after: str | None, limit: int) -> Page[T]:
        """Those above `after`, by id."""
        start = None if after is None else after.encode()
        page = ctx.engine.scan(self.table.table_id, after=start, limit=limit)
        items = tuple(shown(key.decode(), row) for key, row in page.rows)
        return Page(items, None if page.after is None else page.after.decode())

    async def change(
        self,
        ctx: Context,
        id: str,
        changes: Mapping[str, object],
        *,
        loses_power: bool = False,
        and_then: Sequence[entry.Op] = (),
        at: Row | None = None,
    ) -> None:
        """Patches the row. With `at` only while it is as read then; else again if others change it meanwhile.

        Raises:
            NotFound, Conflict. LimitReached: it would leave no administrator.
        """
        patch = entry.patch(self.table, id, {**changes, "updated_at_ms": entry.now()})
        await self._apply(ctx, id, [patch, *and_then], loses_power=loses_power, at=at)

    async def delete(self, ctx: Context, id: str, *and_then: entry.Op) -> None:
        """Removes the row. Raises as `change`."""
        await self._apply(ctx, id, [entry.delete(self.table, id), *and_then], loses_power=True)

    async def _apply(
        self, ctx: Context, id: str, ops: Sequence[entry.Op], *, loses_power: bool, at: Row | None = None
    ) -> None:
        for _ in range(_TRIES if at is None else 1):
            row = at or self.known(ctx, id)
            guards = [entry.at(self.table, id, row.modify_index)]
            if loses_power:
                guards += self.without(ctx.engine, id, row)
            try:
                await ctx.commit(entry.encode([entry.case(guards, ops)]))
            except Conflict:
                continue
            auth_of(ctx.engine).forget(self.table.table_id, id.encode())
            return
        raise Conflict(self.contended)
