"""The rules of services as the tables have them."""

from __future__ import annotations

from typing import Final

from konsul.engine import Engine, Row
from konsul.features.lb.rules import NOTHING, Rules, read
from konsul.features.lb.tables import RuleRow

KEY_MAX_BYTES: Final = 1_024
_DOCUMENT: Final = RuleRow.column("document")


def row_of(engine: Engine, service: str) -> Row | None:
    """The stored row, None where nothing was said of the service."""
    key = service.encode()
    return engine.get(RuleRow.table_id, key) if 0 < len(key) <= KEY_MAX_BYTES else None


def rules_in(row: Row | None) -> Rules:
    """What a row says; NOTHING without one."""
    document = None if row is None else row.cells[_DOCUMENT]
    return NOTHING if document is None else read(document)


def rules_for(engine: Engine, service: str) -> Rules | None:
    """What was said of the service, None for nothing."""
    row = row_of(engine, service)
    return None if row is None else rules_in(row)
