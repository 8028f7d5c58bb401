"""Schemas of the model: what `Define` carries, what an entry may say, what a new schema may change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack

EXISTS, ABSENT, AT, IS, IS_NOT, LE = range(6)
PUT, PATCH, ADD, DELETE, DELETE_PREFIX = range(5)
INDEX, NOW, KEEP, SELF, PARENT = range(1, 6)
INVALID, TOO_LARGE, UNSUPPORTED = 3, 4, 12
KEY_MAX = 1024
CASES_MAX, STEPS_MAX = 256, 4096
RANGE = {"u64": (0, 2**64 - 1), "i64": (-(2**63), 2**63 - 1)}
PYTHON = {"bool": bool, "text": str, "bytes": bytes, "list": list, "map": dict, "json": bytes}


class Refused(Exception):
    """The entry may not be applied: nothing of it stays. `code` is a code of `konsul.errors`."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Column:
    """One column, and the values it puts into its index."""

    position: int
    name: str
    kind: str
    default: Any
    index: str

    def index_values(self, cells: list[Any]) -> Iterator[bytes]:
        cell = cells[self.position]
        if self.index == "none" or cell is None:
            return
        if isinstance(cell, dict):
            yield from (f"{key}={value}".encode() for key, value in cell.items())
        elif isinstance(cell, list):
            yield from (each.encode() for each in cell)
        elif isinstance(cell, (str, bytes)):
            yield cell.encode() if isinstance(cell, str) else cell

    def takes(self, cell: Any, placeholders: tuple[int, ...]) -> bool:
        """Whether a plain cell or one of `placeholders` may stand here."""
        if isinstance(cell, msgpack.ExtType):
            return cell.code in placeholders
        if cell is None:
            return True
        if self.kind in RANGE:
            low, high = RANGE[self.kind]
            return isinstance(cell, int) and not isinstance(cell, bool) and low <= cell <= high
        return isinstance(cell, PYTHON[self.kind])


@dataclass(frozen=True)
class Ref:
    """A column that points at rows of a parent table, and what happens when such a row goes or breaks."""

    column: int
    parent: int
    each: bool
    breaks_when: tuple[int, Any] | None
    choose_by: int | None
    then: tuple[tuple[Any, list[list[Any]]], ...]

    def reaction(self, parent: list[Any]) -> list[list[Any]]:
        if self.choose_by is None:
            return self.then[0][1] if self.then else []
        return next((ops for value, ops in self.then if value == parent[self.choose_by]), [])


@dataclass(frozen=True)
class Table:
    """One table as declared."""

    number: int
    name: str
    columns: tuple[Column, ...]
    expires: int | None
    keep: int | None
    refs: tuple[Ref, ...]


def decode(schema: bytes) -> dict[int, Table]:
    """The tables of a `Define` payload by id, ascending."""
    return {table["id"]: _table(table) for table in msgpack.unpackb(schema)}


def _table(raw: dict[str, Any]) -> Table:
    # A ref needs to find its rows, so its column is indexed whether declared or not.
    implied = {r["column"]: "each" if r["each"] else "single" for r in raw["refs"]}
    columns = tuple(
        Column(
            at,
            c["name"],
            c["kind"],
            c["default"],
            implied.get(at, "none") if c["index"] == "none" else c["index"],
        )
        for at, c in enumerate(raw["columns"])
    )
    refs = tuple(
        Ref(
            r["column"],
            r["parent"],
            r["each"],
            tuple(r["breaks_when"]) if r["breaks_when"] else None,
            r["choose_by"],
            tuple((value, ops) for value, ops in r["then"]),
        )
        for r in raw["refs"]
    )
    return Table(raw["id"], raw["name"], columns, raw["expires"], raw["keep"], refs)


def children(tables: dict[int, Table], parent: int) -> Iterator[tuple[int, Ref]]:
    """Every `(child table, ref)` that points at `parent`, in schema order."""
    for table in tables.values():
        for ref in table.refs:
            if ref.parent == parent:
                yield table.number, ref


def migration_problem(old: dict[int, Table], new: dict[int, Table]) -> str | None:
    """Why `new` may not follow `old`, or None."""
    for number, table in old.items():
        after = new.get(number)
        if after is None or after.name != table.name:
            return f"table {table.name} is gone"
        before = [(c.name, c.kind, c.default) for c in table.columns]
        if [(c.name, c.kind, c.default) for c in after.columns][: len(before)] != before:
            return f"columns of {table.name} changed"
    return None


def check_cases(tables: dict[int, Table], cases: Any) -> None:
    """Raises Refused for cases that may not enter the log."""
    if not isinstance(cases, list) or not 1 <= len(cases) <= CASES_MAX:
        raise Refused(INVALID, "an entry has 1 to 256 cases")
    if sum(len(guards) + len(ops) for guards, ops in cases) > STEPS_MAX:
        raise Refused(INVALID, "an entry has at most 4,096 guards and ops")
    for guards, ops in cases:
        for kind, number, key, *rest in guards:
            table = _known(tables, number, key)
            if kind not in (EXISTS, ABSENT, AT, IS, IS_NOT, LE):
                raise Refused(INVALID, "unknown guard")
            if kind in (IS, IS_NOT, LE) and not _column(table, rest[0]).takes(rest[1], (INDEX, NOW)):
                raise Refused(INVALID, "a guard's value is of another kind than its column")
        for op in ops:
            _check_op(tables, op)


def _check_op(tables: dict[int, Table], op: list[Any]) -> None:
    kind, number, key, *rest = op
    table = _known(tables, number, key)
    pairs: list[tuple[int, Any]] = []
    placeholders: tuple[int, ...] = (INDEX, NOW)
    if kind == PUT:
        if len(rest[0]) > len(table.columns):
            raise Refused(INVALID, "more cells than columns")
        pairs = list(enumerate(rest[0]))
        placeholders = (INDEX, NOW, KEEP)
    elif kind == PATCH:
        pairs = [(column, cell) for column, cell in rest[0]]
    elif kind == ADD:
        if _column(table, rest[0]).kind not in RANGE:
            raise Refused(INVALID, "only numbers can be added to")
    elif kind not in (DELETE, DELETE_PREFIX):
        raise Refused(INVALID, "unknown op")
    if not all(_column(table, column).takes(cell, placeholders) for column, cell in pairs):
        raise Refused(INVALID, "a cell is of another kind than its column")


def _known(tables: dict[int, Table], number: Any, key: Any) -> Table:
    if number not in tables:
        raise Refused(UNSUPPORTED, "unknown table")
    if isinstance(key, msgpack.ExtType):
        if key.code != INDEX:
            raise Refused(INVALID, "a key cannot be this placeholder")
    elif not isinstance(key, (str, bytes)) or not key:
        raise Refused(INVALID, "a key is text or bytes, and not empty")
    elif len(key.encode() if isinstance(key, str) else key) > KEY_MAX:
        raise Refused(TOO_LARGE, "a key has at most 1,024 bytes")
    return tables[number]


def _column(table: Table, position: Any) -> Column:
    if not isinstance(position, int) or not 0 <= position < len(table.columns):
        raise Refused(UNSUPPORTED, "unknown column")
    return table.columns[position]
