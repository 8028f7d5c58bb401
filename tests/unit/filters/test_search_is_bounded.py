"""What one search may cost, counted: rows, looks at a row, turns of the loop. No clock."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from konsul.errors import Invalid
from konsul.features.catalog.search import Asked, Found, Source, search
from konsul.features.catalog.search_turns import STEPS
from konsul.features.catalog.tables import Instance
from konsul.kernel.context import Context
from konsul.kernel.filters.parser import TERMS_MAX
from tests.unit.filters.expressions import ROWS, Row

TABLE = 100_000
MOST = 10_000
HOSTILE = " or ".join(["Meta.k matches `(a|aa)+$`"] * 8 + ["Meta.k == x"] * (TERMS_MAX - 8))
"""As many comparisons as there can be, none of which holds."""


class Tables:
    """A table of so many rows, made as they are asked for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rows: list[Row] = []
        """Those that were handed out."""

    def scan_packed(
        self, table: int, prefix: bytes, where: object, after: bytes | None, limit: int, sight: object
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        del table, prefix, where, sight
        start = 0 if after is None else int(after) + 1
        end = min(start + limit, self.size)
        found = [(b"%06d" % number, b"") for number in range(start, end)]
        return found, found[-1][0] if found and end < self.size else None


async def searched(asked: Asked, size: int = TABLE) -> tuple[Found[Row], Tables, int]:
    """What was found, what was handed out, and how often somebody else had their turn."""
    tables, turns = Tables(size), 0

    def wrap(key: bytes, packed: bytes) -> Row:
        del packed
        tables.rows.append(Row(name=key.decode(), port=int(key), meta={"k": "a" * 512 + "b"}))
        return tables.rows[-1]

    source: Source[Row] = Source(
        Instance,
        wrap,
        ROWS,
        {"name": lambda row: row.name, "port": lambda row: row.port},
        lambda row: row.name.encode(),
    )
    settings = SimpleNamespace(rows_max=MOST, sort_max_rows=MOST)
    ctx = SimpleNamespace(engine=tables, config=SimpleNamespace(of=lambda _: settings))

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(others())
    try:
        return await search(cast(Context, ctx), source, asked), tables, turns
    finally:
        ticking.cancel()


def test_a_hostile_filter_looks_at_a_bounded_number_of_rows_and_gives_way() -> None:
    found, tables, turns = asyncio.run(searched(Asked(filter=HOSTILE)))
    assert (len(found.rows), found.after is not None) == (0, True)
    assert len(tables.rows) == MOST + 1
    assert max(row.reads for row in tables.rows) <= TERMS_MAX
    assert sum(row.reads for row in tables.rows) <= MOST * TERMS_MAX
    assert turns >= MOST * TERMS_MAX // STEPS


def test_every_row_is_looked_at_once_over_all_pages() -> None:
    size = 2 * MOST + 1

    async def walk() -> list[str]:
        seen: list[str] = []
        after: str | None = None
        for _ in range(3):
            found, _, _ = await searched(Asked(filter="Port != 7", after=after), size)
            seen += [row.name for row in found.rows]
            after = found.after
        assert after is None
        return seen

    expected = [f"{number:06}" for number in range(size) if number != 7]
    assert asyncio.run(walk()) == expected


@pytest.mark.parametrize("asked", [Asked(sort="port"), Asked(order="desc"), Asked(sort="port", limit=1)])
def test_too_many_rows_to_sort_are_refused_and_not_cut(asked: Asked) -> None:
    with pytest.raises(Invalid, match="KONSUL_QUERY_SORT_MAX_ROWS"):
        asyncio.run(searched(asked))


def test_a_page_without_a_limit_is_no_larger_than_what_is_looked_at() -> None:
    found, _, _ = asyncio.run(searched(Asked(sort="name")))
    assert (len(found.rows), found.after is not None) == (MOST, True)
