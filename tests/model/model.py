"""The table engine of docs/reference/entries.md in plain Python: small, slow, the oracle of `core/state`.

It takes and gives the same msgpack bytes as `konsul._core.Replica`, so the very same input goes to both
and the answers can be compared without a translation that might hide a difference.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, cast

import msgpack

from tests.model import shape
from tests.model.shape import Refused as Refused

APPLIED, CONFLICT, NOT_FOUND, INVALID, TOO_LARGE, LIMIT_REACHED, DUPLICATE = range(7)
UNSUPPORTED = 12
DEPTH_MAX = 8
INDEX_VALUE_MAX = 768
REQUESTS_MAX = 65_536

Cell = Any
Cells = list[Cell]
Answer = tuple[int, int, int, bytes]
Change = tuple[int, int, int, bytes, bool, bytes | None, bytes | None]
"""Index, clock, table, key, whether time did it, the packed row before and after."""


@dataclass
class Row:
    """One row: when it was made and last written, and its cells; a missing tail reads as defaults."""

    create: int
    modify: int
    cells: Cells

    def pack(self) -> bytes:
        head = self.create.to_bytes(8, "big") + self.modify.to_bytes(8, "big")
        return head + b"".join(msgpack.packb(cell) for cell in self.cells)


@dataclass
class Turn:
    """Whose turn it is: the reacting row's key, its parent's cells, how deep the cascade is."""

    depth: int = 0
    me: bytes | None = None
    parent: Cells = field(default_factory=list)


class Model:
    """One replica. `apply`, `lapse`, `pulse` and `define` are the kinds of entry."""

    def __init__(self, schema: bytes) -> None:
        self.tables = shape.decode(schema)
        self.state: dict[int, dict[bytes, Row]] = {number: {} for number in self.tables}
        self.at = 0
        self.clock = 0
        self.requests: dict[bytes | None, Answer] = {}
        self.told: list[Change] = []
        self.lapsing = False

    # What `Replica` offers too.

    def apply(self, now_ms: int, cases: bytes, request_id: bytes | None = None) -> Answer:
        """Applies the first case whose guards all hold: `(status, index, number, text)` as in `Core.reap`.

        Of a request that was applied lately it only repeats the answer.
        """
        decoded = msgpack.unpackb(cases, strict_map_key=False)
        try:
            shape.check_cases(self.tables, decoded)
        except Refused as refused:
            return refused.code, 0, 0, str(refused).encode()
        self._begin(now_ms)
        if request_id in self.requests:
            return self.requests[request_id]
        for number, (guards, ops) in enumerate(decoded):
            if all(self._holds(guard) for guard in guards):
                answer = self._apply_case(number, ops)
                if request_id is not None and answer[0] == APPLIED:
                    self._remember(request_id, answer)
                return answer
        _, table, key, *_ = next(guard for guard in decoded[-1][0] if not self._holds(guard))
        row = self.state[table].get(as_bytes(key))
        return CONFLICT, 0, row.modify if row else 0, as_bytes(key)

    def lapse(self, now_ms: int, cases: bytes) -> Answer:
        """`apply`, by a lease that ended."""
        self.lapsing = True
        answer = self.apply(now_ms, cases)
        self.lapsing = False
        return answer

    def changes(self) -> list[Change]:
        """What the last entry changed, in the order it happened."""
        return self.told

    def _begin(self, now_ms: int) -> None:
        self.clock = max(self.clock, now_ms)
        self.told = []

    def apply_once(self, now_ms: int, request_id: bytes, cases: bytes) -> Answer:
        """`apply` as the core spells it for requests."""
        return self.apply(now_ms, cases, request_id)

    def _remember(self, request_id: bytes, answer: Answer) -> None:
        self.requests[request_id] = answer
        if len(self.requests) > REQUESTS_MAX:
            del self.requests[next(iter(self.requests))]

    def pulse(self, now_ms: int, limit: int) -> int:
        """Deletes up to `limit` rows whose time has come; gives their number."""
        self._begin(now_ms)
        self.lapsing = True
        self.at += 1
        expired = 0
        for number in self.tables:
            due = self._due(number)[:limit]
            limit -= len(due)
            for time, key in due:
                # A reaction to an earlier one may have removed this row or given it more time.
                if (time, key) in self._due(number):
                    expired += self._expire(number, key)
        self.at -= not expired
        self.lapsing = False
        return expired

    def _due(self, table: int) -> list[tuple[int, bytes]]:
        column = self.tables[table].expires
        if column is None:
            return []
        times = {key: self._cells(table, row)[column] for key, row in self.state[table].items()}
        return sorted((time, key) for key, time in times.items() if time is not None and time <= self.clock)

    def _expire(self, table: int, key: bytes) -> int:
        before, told = copy.deepcopy(self.state), len(self.told)
        try:
            self._delete(table, key, Turn())
        except Refused:
            self.state = before
            del self.told[told:]
            return 0
        return 1

    def define(self, schema: bytes) -> None:
        """Takes a new schema in place of the old one; `Refused` if it is not an addition to it."""
        tables = shape.decode(schema)
        why = shape.migration_problem(self.tables, tables)
        if why is not None:
            raise Refused(INVALID, why)
        before, self.tables = self.tables, tables
        try:
            for number in tables:
                self._check_unique_all(number)
        except Refused:
            self.tables = before
            raise
        for number in tables:
            self.state.setdefault(number, {})

    def rows(self, table: int) -> list[tuple[bytes, bytes]]:
        return [(key, self.state[table][key].pack()) for key in sorted(self.state[table])]

    def index(self) -> int:
        return self.at

    def snapshot(self) -> Model:
        return copy.deepcopy(self)

    # Guards.

    def _holds(self, guard: list[Any]) -> bool:
        kind, table, key, *rest = guard
        row = self.state[table].get(as_bytes(key))
        if kind == shape.EXISTS:
            return row is not None
        if kind == shape.ABSENT:
            return row is None
        if kind == shape.AT:
            return bool((row.modify if row else 0) == rest[0])
        column, raw = rest
        cell = self._cells(table, row)[column] if row else None
        value = self._value(raw, Turn())
        if kind == shape.IS:
            return bool(cell == value)
        if kind == shape.IS_NOT:
            return bool(cell != value)
        return cell is None or bool(cell <= value)

    # Ops.

    def _apply_case(self, number: int, ops: list[list[Any]]) -> Answer:
        before = copy.deepcopy(self.state)
        self.at += 1
        try:
            for op in ops:
                self._op(op, Turn())
        except Refused as refused:
            self.state = before
            self.told = []
            self.at -= 1
            return refused.code, 0, 0, str(refused).encode()
        return APPLIED, self.at, number, b""

    def _op(self, op: list[Any], turn: Turn) -> None:
        if turn.depth > DEPTH_MAX:
            raise Refused(LIMIT_REACHED, "reactions are nested too deep")
        kind, table, raw_key, *rest = op
        key = as_bytes(self._value(raw_key, turn, as_key=True))
        if kind == shape.DELETE:
            self._delete(table, key, turn)
        elif kind == shape.DELETE_PREFIX:
            for each in sorted(k for k in self.state[table] if k.startswith(key)):
                self._delete(table, each, turn)
        elif kind == shape.PUT:
            self._put(table, key, rest[0], turn)
        elif kind == shape.PATCH:
            self._patch(table, key, rest[0], turn)
        else:
            self._add(table, key, rest, turn)

    def _put(self, table: int, key: bytes, given: Cells, turn: Turn) -> None:
        row = self.state[table].get(key)
        cells = self._defaults(table)
        for column, raw in enumerate(given):
            if is_keep(raw):
                cells[column] = self._cells(table, row)[column] if row else cells[column]
            else:
                cells[column] = self._value(raw, turn)
        self._write(table, key, row, cells, turn)

    def _patch(self, table: int, key: bytes, changes: list[tuple[int, Cell]], turn: Turn) -> None:
        row = self.state[table].get(key)
        if row is None:
            raise Refused(NOT_FOUND, "a patch needs its row")
        cells = self._cells(table, row)
        for column, raw in changes:
            cells[column] = self._value(raw, turn)
        self._write(table, key, row, cells, turn)

    def _add(self, table: int, key: bytes, rest: list[Any], turn: Turn) -> None:
        column, delta, ceiling = rest
        row = self.state[table].get(key)
        cells = self._cells(table, row) if row else self._defaults(table)
        total = (cells[column] or 0) + delta
        low, high = shape.RANGE[self.tables[table].columns[column].kind]
        if not low <= total <= high or (ceiling is not None and total > ceiling):
            raise Refused(LIMIT_REACHED, "the sum passes its limit")
        cells[column] = total
        self._write(table, key, row, cells, turn)

    def _delete(self, table: int, key: bytes, turn: Turn) -> None:
        row = self.state[table].get(key)
        if row is None:
            return
        cells = self._cells(table, row)
        del self.state[table][key]
        self._tell(table, key, row, None)
        for child, ref in shape.children(self.tables, table):
            self._react(child, ref, key, cells, turn)

    def _write(self, table: int, key: bytes, old: Row | None, cells: Cells, turn: Turn) -> None:
        for column in self.tables[table].columns:
            for value in column.index_values(cells):
                if len(value) > INDEX_VALUE_MAX:
                    raise Refused(TOO_LARGE, f"{column.name} is too long for its index")
        before = self._cells(table, old) if old else self._nothing(table)
        self.state[table][key] = Row(old.create if old else self.at, self.at, cells)
        self._check_unique(table, key, cells)
        self._tell(table, key, old, self.state[table][key])
        for child, ref in shape.children(self.tables, table):
            if ref.breaks_when is not None:
                watched, broken = ref.breaks_when
                if cells[watched] == broken and before[watched] != broken:
                    self._react(child, ref, key, cells, turn)
        keep = self.tables[table].keep
        rows = self.state[table]
        while keep is not None and len(rows) > keep:
            oldest = min(rows, key=lambda each: (rows[each].create, each))
            self._op([shape.DELETE, table, oldest], Turn(turn.depth + 1))

    def _tell(self, table: int, key: bytes, old: Row | None, new: Row | None) -> None:
        rows = old.pack() if old else None, new.pack() if new else None
        self.told.append((self.at, self.clock, table, key, self.lapsing, *rows))

    def _react(self, child: int, ref: shape.Ref, parent: bytes, cells: Cells, turn: Turn) -> None:
        """Rows that point at `parent` through `ref` react in key order, if they still do at their turn."""
        then = ref.reaction(cells)
        for key in sorted(k for k, row in self.state[child].items() if self._points(child, ref, row, parent)):
            row = self.state[child].get(key)
            if row is not None and self._points(child, ref, row, parent):
                for op in then:
                    self._op(op, Turn(turn.depth + 1, key, cells))

    def _points(self, child: int, ref: shape.Ref, row: Row, parent: bytes) -> bool:
        cell = self._cells(child, row)[ref.column]
        if cell is None:
            return False
        return any(as_bytes(each) == parent for each in (cell if ref.each else [cell]))

    # Cells.

    def _defaults(self, table: int) -> Cells:
        return [copy.deepcopy(column.default) for column in self.tables[table].columns]

    def _nothing(self, table: int) -> Cells:
        return [None for _ in self.tables[table].columns]

    def _cells(self, table: int, row: Row) -> Cells:
        """The row's cells, those of columns younger than the row filled with their defaults."""
        return row.cells + self._defaults(table)[len(row.cells) :]

    def _value(self, raw: Cell, turn: Turn, as_key: bool = False) -> Cell:
        if not isinstance(raw, msgpack.ExtType):
            return raw
        if raw.code == shape.INDEX:
            return b"%020d" % self.at if as_key else self.at
        if raw.code == shape.NOW:
            return as_time(self.clock + int.from_bytes(raw.data, "big", signed=True))
        if raw.code == shape.SELF:
            return turn.me
        column, plus_now = raw.data
        return as_time(self.clock + (turn.parent[column] or 0)) if plus_now else turn.parent[column]

    def _check_unique(self, table: int, key: bytes, cells: Cells) -> None:
        for position, column in enumerate(self.tables[table].columns):
            if column.index != "unique" or cells[position] in (None, "", b""):
                continue
            for other, row in self.state[table].items():
                if other != key and self._cells(table, row)[position] == cells[position]:
                    raise Refused(DUPLICATE, f"{column.name} is taken")

    def _check_unique_all(self, table: int) -> None:
        for key, row in self.state.get(table, {}).items():
            self._check_unique(table, key, self._cells(table, row))


def as_bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def as_time(ms: int) -> int:
    return max(0, min(ms, 2**63 - 1))


def is_keep(raw: Cell) -> bool:
    return isinstance(raw, msgpack.ExtType) and cast(int, raw.code) == shape.KEEP


def unpack_row(packed: bytes) -> tuple[int, int, Cells]:
    """A packed row as `(create_index, modify_index, cells)`; the inverse of `Row.pack`."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(packed[16:])
    return int.from_bytes(packed[:8], "big"), int.from_bytes(packed[8:16], "big"), list(unpacker)
