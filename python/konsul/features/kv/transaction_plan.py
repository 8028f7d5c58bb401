"""The entry of a transaction, built operation by operation over the rows read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from konsul.engine import Row
from konsul.errors import Conflict
from konsul.features.kv.commands import columns
from konsul.features.kv.keys import check_key
from konsul.features.kv.locks import Change, delay_left_ms, next_index
from konsul.features.kv.tables import Entry, lock_of
from konsul.features.sessions.tables import LockDelay, Session
from konsul.kernel import entry
from konsul.kernel.context import Context

Kind: TypeAlias = Literal["check", "set", "delete", "get", "lock", "unlock", "check-session"]
NEEDS: Final[dict[Kind, str]] = {
    "check": "kv:read",
    "get": "kv:read",
    "set": "kv:write",
    "delete": "kv:delete",
    "lock": "kv:write",
    "unlock": "kv:write",
    "check-session": "kv:read",
}
LOCKING: Final = ("lock", "unlock", "check-session")
"""What needs a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step. `index` is the modify_index the key must have (0: absent).

    None asks nothing of a set or delete, and of a check only that the key exists. `session`: who locks,
    unlocks, or must hold the key; `value` is also what a lock or an unlock writes, None leaves what is there.
    """

    kind: Kind
    key: str
    index: int | None = None
    value: bytes | None = b""
    flags: int | None = None
    ttl_ms: int | None = None
    session: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as a get finds it. An index that is None: the transaction's own."""

    value: bytes
    flags: int
    expires_at_ms: int | None
    create_index: int | None
    modify_index: int | None
    session: str | None = None
    lock_index: int | None = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation did; `seen` for a get of a key that is there, and for a lock."""

    operation: Operation
    seen: Seen | None = None


class Plan:
    """One attempt. `is_first`: the log's clock has not refused anything yet. `checking` False: nothing is
    refused, what the operations would answer is wanted."""

    def __init__(
        self, ctx: Context, operations: Sequence[Operation], *, is_first: bool = True, checking: bool = True
    ) -> None:
        self._ctx = ctx
        self._is_first = is_first
        self._checking = checking
        self._before: dict[bytes, Row | None] = {}
        self._now: dict[bytes, Seen | None] = {}
        self._guards: list[entry.Guard] = []
        self._ops: list[entry.Op] = []
        # Only a key that is got or locked somewhere has to be followed: a blind set must not depend on the
        # old row.
        self._followed = {one.key for one in operations if one.kind == "get" or one.kind in LOCKING}

    def steps(self, operations: Sequence[Operation]) -> list[Result]:
        """Adds every operation. Raises Conflict for the first that does not hold on what was read."""
        return [self.step(position, operation) for position, operation in enumerate(operations)]

    def step(self, position: int, operation: Operation) -> Result:
        """Adds one operation. Raises Conflict if it does not hold on what was read."""
        stored = check_key(operation.key)
        self._check(position, operation, stored)
        followed = operation.key in self._followed
        if operation.kind == "get":
            return Result(operation, self._current(stored))
        if operation.kind in LOCKING:
            return Result(operation, self._lock_step(position, operation, stored))
        if operation.kind == "set":
            cells = columns(operation.value or b"", operation.flags, operation.ttl_ms)
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
        return entry.case([*guards, *self._guards], self._ops)

    def _row(self, stored: bytes) -> Row | None:
        if stored not in self._before:
            self._before[stored] = self._ctx.engine.get(Entry.table_id, stored)
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
            raise self._failed(position, operation, stored, problem)

    def _failed(self, position: int, operation: Operation, stored: bytes, problem: str) -> Conflict:
        row = self._row(stored)
        return Conflict(
            f"operation {position} ({operation.kind}) failed for key '{operation.key}': {problem}",
            key=stored,
            current=row.modify_index if row else 0,
        )

    def _lock_step(self, position: int, operation: Operation, stored: bytes) -> Seen | None:
        """Locks, unlocks, or asks who holds the key. Raises Conflict as `step`."""
        seen = self._current(stored)
        holder = None if seen is None else seen.session
        if operation.kind == "lock" and holder is None:
            return self._take(position, operation, stored, seen)
        if seen is None or holder != operation.session:
            problem = "nobody holds its lock" if holder is None else f"session '{holder}' holds its lock"
            if self._checking:
                raise self._failed(position, operation, stored, problem)
            return seen
        if operation.kind == "check-session":
            return seen
        after = _changed(seen, operation)
        changed = _change(operation).cells()
        if operation.kind == "unlock":
            changed["session"], after = None, replace(after, session=None)
        self._ops.append(entry.patch(Entry, stored, changed))
        self._now[stored] = after
        return after

    def _take(self, position: int, operation: Operation, stored: bytes, seen: Seen | None) -> Seen:
        problem = self._why_not(operation, stored)
        if problem is not None and self._checking:
            raise self._failed(position, operation, stored, problem)
        self._guards += [
            entry.exists(Session, operation.session),
            entry.le(LockDelay, stored, "until_ms", entry.now()),
        ]
        changed = _change(operation).cells()
        if seen is None:
            after = Seen(
                operation.value or b"", operation.flags or 0, None, None, None, operation.session, None
            )
            cells = (after.value, after.flags, changed.get("expires_at_ms"), operation.session, entry.INDEX)
            self._ops.append(entry.put(Entry, stored, cells))
        else:
            # None is the entry's own index: whoever took it before in this entry gave it back in this entry.
            rises = seen.lock_index is not None
            token = next_index(seen.lock_index or 0) if rises else entry.INDEX
            known = seen.lock_index + 1 if seen.lock_index else None
            after = replace(_changed(seen, operation), session=operation.session, lock_index=known)
            changed |= {"session": operation.session, "lock_index": token}
            self._ops.append(entry.patch(Entry, stored, changed))
        self._now[stored] = after
        return after

    def _why_not(self, operation: Operation, stored: bytes) -> str | None:
        if self._ctx.engine.get(Session.table_id, operation.session.encode()) is None:
            return f"session '{operation.session}' does not exist or has ended"
        left_ms = delay_left_ms(self._ctx, stored)
        # The log's clock may be behind this one: what it refused is not tried again and again.
        if left_ms is None or (left_ms == 0 and self._is_first):
            return None
        return f"its lock was lost, and nobody may take it for another {max(1, left_ms)}ms"

    def _current(self, stored: bytes) -> Seen | None:
        if stored in self._now:
            return self._now[stored]
        row = self._row(stored)
        if row is None:
            return None
        value, flags, expires_at_ms = row.cells[:3]
        return Seen(value, flags, expires_at_ms, row.create_index, row.modify_index, *lock_of(row))


def _change(operation: Operation) -> Change:
    return Change(value=operation.value, flags=operation.flags, ttl_ms=operation.ttl_ms)


def _changed(seen: Seen, operation: Operation) -> Seen:
    """What a lock or an unlock leaves of a key, its lock aside."""
    return replace(
        seen,
        value=seen.value if operation.value is None else operation.value,
        flags=seen.flags if operation.flags is None else operation.flags,
        expires_at_ms=seen.expires_at_ms if operation.value is None else None,
        modify_index=None,
    )


def _written(before: Seen | None, operation: Operation) -> Seen:
    """What a later get sees after a set. The expiry depends on the entry's clock: it is not known yet."""
    kept = before.flags if before else 0
    flags = kept if operation.flags is None else operation.flags
    lock = (before.session, before.lock_index) if before else (None, 0)
    return Seen(operation.value or b"", flags, None, before.create_index if before else None, None, *lock)
