"""Reads what is declared: of one service through its row, who needs it through the index, all by a scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from konsul.engine import Engine, Row
from konsul.features.dependencies.tables import GRAPH, Dependencies
from konsul.kernel.scanning import packed_pages, pages

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
    return [
        key.decode() for page in packed_pages(engine, Dependencies.table_id, b"", where) for key, _ in page
    ]


def all_edges(engine: Engine) -> dict[str, Sequence[str]]:
    """Service -> what it needs, of every service that needs something."""
    return {
        key.decode(): row.cells[_DEPENDS_ON]
        for page in pages(engine, Dependencies.table_id)
        for key, row in page
        if key != GRAPH.encode()
    }


def edge_count(engine: Engine) -> int:
    """How many dependencies are declared in all."""
    row = row_of(engine, GRAPH)
    return 0 if row is None else int(row.cells[_EDGES])
