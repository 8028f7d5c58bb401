"""Transactions: check, set, delete and get over several keys, all or nothing.

Checks and expected indices look at the state before the transaction, gets at what earlier operations left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from konsul.engine import Row
from konsul.errors import Busy, Conflict, Invalid
from konsul.features.kv.commands import check_value, columns
from konsul.features.kv.keys import check_key
from konsul.features.kv.tables import Entry
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context

MAX_OPERATIONS: Final = 128
_ATTEMPTS: Final = 16
Kind: TypeAlias = Literal["check", "set", "delete", "get"]
NEEDS: Final[dict[Kind, str]] = {
    "check": "kv:read",
    "get": "kv:read",
    "set": "kv:write",
    "delete": "kv:delete",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step. `index` is the modify_index the key must have (0: absent).

    None asks nothing of a set or delete, and of a check only that the key exists.
    """

    kind: Kind
    key: str
    index: int | None = None
    value: bytes = b""
    flags: int | None = None
    ttl_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as a get finds it. `create_index` and `modify_index` None: the transaction's own index."""

    value: bytes
    flags: int
    expires_at_ms: int | None
    create_index: int | None
    modify_index: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation did; `seen` only for a get of a key that is there."""

    operation: Operation
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """An applied transaction: its index and a result per operation, in order."""

    index: int
    results: Sequence[Result]


def touched(operations: Sequence[Operation]) -> list[tuple[str, str]]:
    """What a transaction needs, for authorisation: `(need, key)` per operation."""
    return [(NEEDS[operation.kind], operation.key) for operation in operations]


@command("kv.transaction", needs="kv:write", resource="needs")
async def transact(
    ctx: Context, *, operations: Sequence[Operation], needs: Sequence[tuple[str, str]]
) -> Committed:
    """Applies 1 to `MAX_OPERATIONS` operations in one entry. `needs` is `touched(operations)`.

    Reads first, decides, and guards the entry with every modify_index it relied on; when one has moved
    meanwhile it decides again.

    Raises:
        Invalid, TooLarge: an operation breaks a rule; the message names its position, counting from 0.
        Conflict: a check or `index` does not hold; the message names the operation's position and the reason.
        Busy: the keys kept changing.
    """
    del needs
    if not operations:
        raise Invalid("Operations array cannot be empty")
    if len(operations) > MAX_OPERATIONS:
        raise Invalid(f"Maximum {MAX_OPERATIONS} operations per transaction")
    for position, operation in enumerate(operations):
        try:
            check_key(operation.key)
        except Invalid as error:
            raise Invalid(f"operation {position}: {error}") from None
        check_value(ctx, operation.key, operation.value)
    for _ in range(_ATTEMPTS):
        await ctx.engine.barrier("linearizable", ctx.terms.timeout_ms)
        plan = Plan(lambda key: ctx.engine.get(Entry.table_id, key), operations)
        try:
            results = plan.steps(operations)
        except Conflict:
            done = await _done_before(ctx, operations)
            if done is None:
                raise
            return done
        try:
            applied = await ctx.commit(entry.encode([plan.case()]))
        except Conflict:
            continue
        return Committed(applied.index, results)
    raise Busy("the keys of this transaction keep changing: try again")


async def _done_before(ctx: Context, operations: Sequence[Operation]) -> Committed | None:
    """What a repeated request is answered whose checks do not hold any more, because they did the first time.

    None when the request is none, or was never applied. Its gets see the keys as they are now.
    """
    if ctx.terms.write_id is None:
        return None
    first = check_key(operations[0].key)
    never = entry.case([entry.exists(Entry, first), entry.absent(Entry, first)], [])
    try:
        # An entry that cannot apply: only the memory of the same id answers it with an index.
        applied = await ctx.commit(entry.encode([never]))
    except Conflict:
        return None
    plan = Plan(lambda key: ctx.engine.get(Entry.table_id, key), operations, checking=False)
    return Committed(applied.index, plan.steps(operations))


class Plan:
    """The entry of one attempt, built operation by operation over the rows read."""

    def __init__(
        self, read: Callable[[bytes], Row | None], operations: Sequence[Operation], *, checking: bool = True
    ) -> None:
        self._read = read
        self._checking = checking
        self._before: dict[bytes, Row | None] = {}
        self._now: dict[bytes, Seen | None] = {}
        self._ops: list[entry.Op] = []
        # Only a key that is got somewhere has to be followed: a blind set must not depend on the old row.
        self._got = {operation.key for operation in operations if operation.kind == "get"}

    def steps(self, operations: Sequence[Operation]) -> list[Result]:
        """Adds every operation. Raises Conflict for the first that does not hold on what was read."""
        return [self.step(position, operation) for position, operation in enumerate(operations)]

    def step(self, position: int, operation: Operation) -> Result:
        """Adds one operation. Raises Conflict if it does not hold on what was read."""
        stored = check_key(operation.key)
        self._check(position, operation, stored)
        followed = operation.key in self._got
        if operation.kind == "get":
            return Result(operation, self._current(stored))
        if operation.kind == "set":
            cells = columns(operation.value, operation.flags, operation.ttl_ms)
            self._ops.append(entry.put(Entry, stored, cells))
            if followed:
                self._now[stored] = _written(self._current(stored), operation)
        elif operation.kind == "delete":
            self._ops.append(entry.delete(Entry, stored))
            if followed:
                self._now[stored] = None
        return Result(operation)

    def case(self) -> entry.Case:
        """The guarded entry: every row that was read must still be as read."""
        guards = [entry.at(Entry, key, row.modify_index if row else 0) for key, row in self._before.items()]
        return entry.case(guards, self._ops)

    def _row(self, stored: bytes) -> Row | None:
        if stored not in self._before:
            self._before[stored] = self._read(stored)
        return self._before[stored]

    def _check(self, position: int, operation: Operation, stored: bytes) -> None:
        if not self._checking or (operation.index is None and operation.kind != "check"):
            return
        row = self._row(stored)
        current = row.modify_index if row else 0
        if operation.index is None:
            problem = None if row else "expected it to exist, but it is absent"
        elif operation.index == current:
            problem = None
        else:
            found = f"current is {current}" if row else "it is absent"
            problem = f"expected ModifyIndex {operation.index}, but {found}"
        if problem:
            raise Conflict(
                f"operation {position} ({operation.kind}) failed for key '{operation.key}': {problem}",
                key=stored,
                current=current,
            )

    def _current(self, stored: bytes) -> Seen | None:
        if stored in self._now:
            return self._now[stored]
        row = self._row(stored)
        if row is None:
            return None
        value, flags, expires_at_ms = row.cells[:3]
        return Seen(value, flags, expires_at_ms, row.create_index, row.modify_index)


def _written(before: Seen | None, operation: Operation) -> Seen:
    """What a later get sees after a set. The expiry depends on the entry's clock: it is not known yet."""
    kept = before.flags if before else 0
    flags = kept if operation.flags is None else operation.flags
    return Seen(operation.value, flags, None, before.create_index if before else None, None)
