"""Freezes table ids, column positions, kinds and defaults: rows on disk depend on them for ever.

`schema.lock.json` lists every table that was ever declared. `python -m konsul.server.schema_lock` compares it
with the declarations, `--write` adds what is new and still refuses what would break stored rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from konsul.kernel.schema import Row

LOCK_FILE: Final = Path(__file__).resolve().parent.parent / "schema.lock.json"
COMMAND: Final = "python -m konsul.server.schema_lock --write"
Locked = dict[str, dict[str, Any]]


def describe(tables: Iterable[type[Row]]) -> Locked:
    """The frozen part of the declarations, by table name."""
    found: Locked = {}
    for row in sorted(tables, key=lambda row: row.table_id):
        columns = [[column.name, column.kind, _default(column.default)] for column in row.columns]
        found[row.table_name] = {"id": row.table_id, "columns": columns}
    return found


def breaks(locked: Locked, declared: Locked) -> list[str]:
    """What the declarations changed of what is frozen. Additions are none."""
    problems: list[str] = []
    ids = {table["id"]: name for name, table in locked.items()}
    for name, old in locked.items():
        new = declared.get(name)
        if new is None:
            problems.append(
                f"table {name} is gone; its id {old['id']} can never be used again, so keep it declared"
            )
            continue
        if new["id"] != old["id"]:
            problems.append(f"table {name} had the id {old['id']}, now {new['id']}")
        if new["columns"][: len(old["columns"])] != old["columns"]:
            problems.append(
                f"table {name}: frozen columns changed, were {old['columns']}, are {new['columns']}; "
                "new columns go to the end"
            )
    for name, new in declared.items():
        if name not in locked and new["id"] in ids:
            problems.append(f"table {name} takes the id {new['id']} of {ids[new['id']]}")
    return problems


def missing(locked: Locked, declared: Locked) -> list[str]:
    """What the declarations have and the lock file does not yet."""
    return [
        f"{name} is not in the lock file as declared"
        for name in declared
        if declared[name] != locked.get(name)
    ]


def read() -> Locked:
    """The lock file's content."""
    content: Locked = json.loads(LOCK_FILE.read_text()) if LOCK_FILE.exists() else {}
    return content


def check(tables: Iterable[type[Row]]) -> list[str]:
    """Every difference between lock file and declarations, with what to do; empty when they agree."""
    locked, declared = read(), describe(tables)
    broken = breaks(locked, declared)
    if broken:
        return [f"{problem} (stored rows could not be read)" for problem in broken]
    return [f"{problem}; run `{COMMAND}`" for problem in missing(locked, declared)]


def write(tables: Iterable[type[Row]]) -> list[str]:
    """Adds what is new to the lock file. Returns what would break; then nothing is written."""
    declared = describe(tables)
    problems = breaks(read(), declared)
    if not problems:
        lines = [f"  {json.dumps(name)}: {json.dumps(table)}" for name, table in declared.items()]
        LOCK_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return problems


def _default(default: object) -> object:
    return {"bytes": default.hex()} if isinstance(default, bytes) else default
