"""Writes log entries: an ordered list of cases, of which the first whose guards all hold is applied whole.

Guards and ops are plain tuples in the wire order of docs/reference/entries.md; `encode` packs them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgpack

from konsul.errors import Invalid, TooLarge
from konsul.kernel.schema import Row

Placeholder: TypeAlias = msgpack.ExtType
Key: TypeAlias = "bytes | str | Placeholder"
Guard: TypeAlias = tuple[Any, ...]
Op: TypeAlias = tuple[Any, ...]
Case: TypeAlias = tuple[Sequence[Guard], Sequence[Op]]

MAX_CASES: Final = 256
MAX_STEPS: Final = 4_096

INDEX: Final = msgpack.ExtType(1, b"")
"""The index this entry will get; as a key its 20 digits."""
KEEP: Final = msgpack.ExtType(3, b"")
"""In `put`: the old row's cell, or the default of a new row."""
SELF: Final = msgpack.ExtType(4, b"")
"""In a reaction: the key of the row that reacts."""

_pack = msgpack.Packer(autoreset=True).pack


def now(plus_ms: int = 0) -> Placeholder:
    """The entry's clock plus `plus_ms` milliseconds."""
    return msgpack.ExtType(2, struct.pack(">q", plus_ms))


def parent(column: int, *, plus_now: bool = False) -> Placeholder:
    """In a reaction: the parent row's cell, plus the clock if asked."""
    return msgpack.ExtType(5, bytes((column, plus_now)))


PARENT: Final = parent
"""`PARENT(column)`: the name the format gives the placeholder."""


def exists(table: type[Row], key: Key) -> Guard:
    """Holds when the row is there."""
    return (0, table.table_id, key)


def absent(table: type[Row], key: Key) -> Guard:
    """Holds when the row is not there."""
    return (1, table.table_id, key)


def at(table: type[Row], key: Key, modify_index: int) -> Guard:
    """Holds when the row's modify_index is this; 0 means the row is absent."""
    return (2, table.table_id, key, modify_index)


def is_(table: type[Row], key: Key, column: str, value: object) -> Guard:
    """Holds when the cell equals `value`; an absent row's cell is None."""
    return (3, table.table_id, key, table.column(column), value)


def is_not(table: type[Row], key: Key, column: str, value: object) -> Guard:
    """Holds when the cell differs from `value`."""
    return (4, table.table_id, key, table.column(column), value)


def le(table: type[Row], key: Key, column: str, value: int | Placeholder) -> Guard:
    """Holds when the cell is None, the row is absent, or the cell is at most `value`."""
    return (5, table.table_id, key, table.column(column), value)


def put(table: type[Row], key: Key, cells: Sequence[object]) -> Op:
    """Writes the whole row; missing trailing cells take their default."""
    return (0, table.table_id, key, cells)


def patch(table: type[Row], key: Key, changes: Mapping[str, object]) -> Op:
    """Changes the named cells; an absent row refuses the entry with NotFound."""
    return (1, table.table_id, key, [(table.column(name), value) for name, value in changes.items()])


def add(table: type[Row], key: Key, column: str, delta: int, ceiling: int | None = None) -> Op:
    """Adds to an integer cell, creating the row if needed; past the ceiling: refused with LimitReached."""
    return (2, table.table_id, key, table.column(column), delta, ceiling)


def delete(table: type[Row], key: Key) -> Op:
    """Removes the row if it is there."""
    return (3, table.table_id, key)


def delete_prefix(table: type[Row], prefix: bytes | str) -> Op:
    """Removes every row whose key starts with `prefix`."""
    return (4, table.table_id, prefix)


def case(guards: Sequence[Guard], ops: Sequence[Op]) -> Case:
    """Ops to apply, all or none, when all guards hold."""
    return (guards, ops)


def encode(cases: Sequence[Case]) -> bytes:
    """Packs cases for `engine.commit`. Raises Invalid for none, TooLarge beyond the format's limits."""
    if not cases:
        raise Invalid("an entry needs at least one case")
    steps = sum(len(guards) + len(ops) for guards, ops in cases)
    if len(cases) > MAX_CASES or steps > MAX_STEPS:
        raise TooLarge(f"an entry has at most {MAX_CASES} cases and {MAX_STEPS} guards and operations")
    packed: bytes = _pack(cases)
    return packed


def cells(*values: object) -> bytes:
    """Packs cells in column order, as `engine.put` takes them."""
    packed: bytes = _pack(values)
    return packed
