"""How services are balanced, the same on every node."""

from __future__ import annotations

from konsul.kernel.schema import Row, json_column, key, table


@table("lb_rules", id=19)
class RuleRow(Row):
    """What was said of one service, or of whatever else is asked for under this name: a tag."""

    service: str = key()
    document: bytes | None = json_column()
    """As `rules.document_of` writes it."""
    set_by: str = ""
    set_at_ms: int = 0
