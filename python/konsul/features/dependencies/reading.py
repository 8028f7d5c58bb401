"""Reads what is declared: of one service through its row, who needs it through the index, all by a scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from konsul.engine import Engine, Row
from konsul.features.dependencies.tables import GRAPH, Dependencies

_PAGE: Final = 1_000
_DEPENDS_ON: Final = Dependencies.column("depends_on")
_EDGES: Final = Dependencies.column("edges")


def row_of(engine: Engine, name: str) -> Row | None:
    """What is stored of one service."""
    return engine.get(Dependencies.table_id, name.encode())


def dependencies_of(engine: Engine, name: str) -> Sequence[str]:
    """What a service declares to need, by name."""
    row = row_of(engine, name)
    found: Sequence[str] = () if row is None else row.cells[_DEPENDS_ON]
    return found


def dependents_of(engine: Engine, name: str) -> list[str]:
    """Which services declare to need it, by name."""
    where = [(_DEPENDS_ON, name.encode())]
    found: list[str] = []
    after: bytes | None = None
    while True:
        rows, after = engine.scan_packed(Dependencies.table_id, b"", where, after, _PAGE)
        found += [key.decode() for key, _ in rows]
        if after is None:
            return found


def all_edges(engine: Engine) -> dict[str, Sequence[str]]:
    """Service -> what it needs, of every service that needs something."""
    found: dict[str, Sequence[str]] = {}
    after: bytes | None = None
    while True:
        page = engine.scan(Dependencies.table_id, b"", (), after, _PAGE)
        for key, row in page.rows:
            name = key.decode()
            if name != GRAPH:
                found[name] = row.cells[_DEPENDS_ON]
        after = page.after
        if after is None:
            return found


def edge_count(engine: Engine) -> int:
    """How many dependencies are declared in all."""
    row = row_of(engine, GRAPH)
    return 0 if row is None else int(row.cells[_EDGES])
