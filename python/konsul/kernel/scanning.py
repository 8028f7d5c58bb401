"""A whole table, or all of it that matches, in pages: who reads them lets others have a turn in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from konsul.engine import Engine, Row, Sight

PAGE: Final = 1_000


def pages(
    engine: Engine,
    table: int,
    prefix: bytes = b"",
    where: Sequence[tuple[int, bytes]] = (),
    sight: Sight | None = None,
    *,
    size: int = PAGE,
) -> Iterator[list[tuple[bytes, Row]]]:
    """The rows that `Engine.scan` finds, in lists of at most `size`, each read when it is asked for.

    Raises:
        What `Engine.scan` raises.
    """
    after: bytes | None = None
    while True:
        page = engine.scan(table, prefix, where, after, size, sight)
        yield page.rows
        after = page.after
        if after is None:
            return


def packed_pages(
    engine: Engine,
    table: int,
    prefix: bytes = b"",
    where: Sequence[tuple[int, bytes]] = (),
    sight: Sight | None = None,
    *,
    size: int = PAGE,
) -> Iterator[list[tuple[bytes, bytes]]]:
    """As `pages`, the rows still packed."""
    after: bytes | None = None
    while True:
        rows, after = engine.scan_packed(table, prefix, where, after, size, sight)
        yield rows
        if after is None:
            return
