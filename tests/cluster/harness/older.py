"""`python -m tests.cluster.harness.older`: a server whose schema is that of the version before discovery.

As a leader it keeps that in force, whatever its followers know. It is asked nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack

from konsul.kernel import node
from konsul.kernel.schema import Row, compile_schema
from konsul.server.main import main

COLUMNS = {"kv": 3, "services": 8}
"""How many columns these had."""
LAST_TABLE = 12


def older(tables: Iterable[type[Row]]) -> bytes:
    """The schema without what came afterwards."""
    declared: list[dict[str, Any]] = msgpack.unpackb(compile_schema(tables))
    kept = [table for table in declared if table["id"] <= LAST_TABLE]
    for table in kept:
        most = COLUMNS.get(table["name"], len(table["columns"]))
        table["columns"] = table["columns"][:most]
        table["refs"] = [ref for ref in table["refs"] if ref["column"] < most]
    packed: bytes = msgpack.packb(kept)
    return packed


if __name__ == "__main__":
    node.compile_schema = older  # type: ignore[attr-defined]
    main()
