"""Locks on keys: a session acquires one, holds it, and releases it.

They are advisory, as in Consul and in Burrows, "The Chubby lock service" (2006): a write that does not ask
for the lock goes through, and keeps it. What guards against a holder that does not know yet that it lost is
`lock_index`: whoever is given it together with work refuses work under a lower one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from konsul.engine import Row
from konsul.errors import Busy, Conflict, Invalid, LimitReached, NotFound
from konsul.features.kv.commands import check_value, refusal
from konsul.features.kv.keys import check_key
from konsul.features.kv.tables import Entry, lock_of
from konsul.features.sessions.config import SessionSettings
from konsul.features.sessions.documents import session_key
from konsul.features.sessions.queries import joined
from konsul.features.sessions.tables import LockDelay, Session
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context

_ATTEMPTS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is written together with taking or giving back a lock. None leaves what is there; `ttl_ms` goes
    with a value, and a value without it makes the key stay."""

    value: bytes | None = None
    flags: int | None = None
    ttl_ms: int | None = None

    def cells(self) -> dict[str, object]:
        """The cells it changes."""
        changed: dict[str, object] = {}
        if self.value is not None:
            changed["value"] = self.value
        if self.flags is not None:
            changed["flags"] = self.flags
        if self.value is not None or self.ttl_ms is not None:
            changed["expires_at_ms"] = None if self.ttl_ms is None else entry.now(self.ttl_ms)
        return changed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of asking for a lock.

    `session`: who holds it now. `index`: that of the write; of a refusal the node's, from which to watch the
    key. `retry_after_ms`: what is left of the lock-delay, if that is why.
    """

    acquired: bool
    session: str | None
    lock_index: int
    index: int
    retry_after_ms: int = 0


def known_session(text: str) -> bytes:
    """The stored key of a session. Raises Invalid for what can be none's id."""
    key = session_key(text)
    if key is None:
        raise Invalid(f"invalid session '{text[:64]}': expected a session's id")
    return key


def gone(session: str) -> Invalid:
    """The refusal of a session that is not, or not any more."""
    return Invalid(f"invalid session '{session}': it does not exist or has ended")


def taking(stored: bytes, session: str, row: Row | None, change: Change) -> entry.Case:
    """The case in which `session` takes a key that was read as `row` and that nobody held.

    The lock_index rises by one; that of a key which was never locked begins at the index of this entry. No
    key's can be above the index of its last acquisition, so one that was deleted and made anew goes on above.
    """
    guards = [
        entry.exists(Session, session),
        entry.is_(Entry, stored, "session", None),
        entry.le(LockDelay, stored, "until_ms", entry.now()),
    ]
    if row is None:
        cells = (change.value or b"", change.flags or 0, change.cells().get("expires_at_ms"))
        guards.append(entry.absent(Entry, stored))
        return entry.case(guards, [entry.put(Entry, stored, (*cells, session, entry.INDEX))])
    _, lock_index = lock_of(row)
    guards += [entry.exists(Entry, stored), entry.is_(Entry, stored, "lock_index", lock_index)]
    changed = change.cells() | {"session": session, "lock_index": next_index(lock_index)}
    return entry.case(guards, [entry.patch(Entry, stored, changed)])


def next_index(lock_index: int) -> object:
    """What the lock_index of the next holder is."""
    return lock_index + 1 if lock_index else entry.INDEX


def delay_left_ms(ctx: Context, stored: bytes) -> int | None:
    """What is left of a key's lock-delay by this node's wall clock, at least 0; None if there is none. The
    entry decides, by the clock of the log."""
    row = ctx.engine.get(LockDelay.table_id, stored)
    if row is None:
        return None
    return max(0, int(row.cells[0] or 0) - time.time_ns() // 1_000_000)


@command("kv.acquire", needs="kv:write", resource="key")
async def acquire(ctx: Context, *, key: str, session: str, change: Change, cas: int | None = None) -> Outcome:
    """Locks a key, which need not exist, for a session and writes `change`. Its holder only writes.

    Under an Idempotency-Key it is tried as without: what held then need not hold now, and who holds the lock
    is told so.

    Raises:
        Invalid: the key breaks a rule, or the session does not exist. TooLarge.
        NotFound, Conflict: `cas` and the key's modify_index differ.
        LimitReached: the session holds too many locks. Busy: the key keeps changing.
    """
    stored = check_key(key)
    check_value(ctx, key, change.value or b"")
    known_session(session)
    await joined(ctx)
    is_sure = has_failed = False
    for _ in range(_ATTEMPTS):
        # Before the row: what changes after it was read has a higher index.
        index = int(ctx.engine.status()["index"]) if is_sure else 0
        row = ctx.engine.get(Entry.table_id, stored)
        try:
            refused = _refused(ctx, stored, session, row, has_failed=has_failed)
            _check_cas(key, row, cas)
        except (Invalid, Conflict, NotFound):
            if is_sure:
                raise
            refused = Outcome(False, None, 0, 0)
        if refused is not None:
            if is_sure:
                ctx.noted["index"] = index
                return replace(refused, index=index)
            # Only who has heard of all that was written may say no.
            await ctx.engine.barrier("linearizable", ctx.terms.timeout_ms)
            is_sure = True
            continue
        guards, ops, token = _case(ctx, stored, session, row, change)
        if cas is not None:
            guards = [*guards, entry.at(Entry, stored, cas)]
        try:
            applied = await ctx.engine.commit(entry.encode([entry.case(guards, ops)]), ctx.terms.timeout_ms)
        except Conflict:
            await ctx.engine.barrier("linearizable", ctx.terms.timeout_ms)
            is_sure = has_failed = True
            continue
        ctx.noted["index"] = applied.index
        return Outcome(True, session, token or applied.index, applied.index)
    raise Busy(f"the lock of key '{key}' keeps changing: try again")


def _case(
    ctx: Context, stored: bytes, session: str, row: Row | None, change: Change
) -> tuple[Sequence[entry.Guard], Sequence[entry.Op], int]:
    """Guards, operations, and the lock_index they lead to; 0: the entry's index."""
    holder, lock_index = lock_of(row)
    if holder == session:
        return (*again(stored, session, lock_index, change), lock_index)
    _check_room(ctx, session)
    return (*taking(stored, session, row, change), lock_index + 1 if lock_index else 0)


def again(stored: bytes, session: str, lock_index: int, change: Change) -> entry.Case:
    """The case in which a key's holder writes to it; the lock_index stays."""
    guards = [
        entry.is_(Entry, stored, "session", session),
        entry.is_(Entry, stored, "lock_index", lock_index),
    ]
    return entry.case(guards, [entry.patch(Entry, stored, change.cells())])


def _refused(
    ctx: Context, stored: bytes, session: str, row: Row | None, *, has_failed: bool
) -> Outcome | None:
    """Why the lock cannot be had, as far as this node knows.

    Raises:
        Invalid: the session is gone.
    """
    if ctx.engine.get(Session.table_id, session.encode()) is None:
        raise gone(session)
    holder, lock_index = lock_of(row)
    if holder == session:
        return None
    if holder is not None:
        return Outcome(False, holder, lock_index, 0)
    left_ms = delay_left_ms(ctx, stored)
    # The log's clock may be behind this one: what it refused is not tried again and again.
    if left_ms is None or (left_ms == 0 and not has_failed):
        return None
    return Outcome(False, None, lock_index, 0, max(1, left_ms))


def _check_cas(key: str, row: Row | None, cas: int | None) -> None:
    current = 0 if row is None else row.modify_index
    if cas is not None and cas != current:
        raise refusal(key, cas, current)


def _check_room(ctx: Context, session: str) -> None:
    most = ctx.config.of(SessionSettings).locks_max
    where = ((Entry.column("session"), session.encode()),)
    held, _ = ctx.engine.scan_packed(Entry.table_id, b"", where, None, most)
    if len(held) >= most:
        raise LimitReached(f"session '{session}' holds {most} locks already (KONSUL_SESSION_MAX_LOCKS)")


@command("kv.release", needs="kv:write", resource="key")
async def release(ctx: Context, *, key: str, session: str, change: Change) -> tuple[bool, int]:
    """Gives a lock back and writes `change`; there is no lock-delay. Whether the session held it, and the
    index of the write.

    Raises:
        Invalid: the key breaks a rule, or `session` can be none's id. TooLarge.
    """
    stored = check_key(key)
    check_value(ctx, key, change.value or b"")
    known_session(session)
    case = entry.case(
        [entry.is_(Entry, stored, "session", session)],
        [entry.patch(Entry, stored, change.cells() | {"session": None})],
    )
    try:
        return True, (await ctx.commit(entry.encode([case]))).index
    except Conflict:
        return False, 0
