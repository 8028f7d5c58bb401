"""Transactions: check, set, delete, get and lock over several keys, all or nothing.

Checks and expected indices look at the state before the transaction, gets and locks at what earlier
operations left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from konsul.errors import Busy, Conflict, Invalid
from konsul.features.kv.commands import check_value
from konsul.features.kv.keys import check_key
from konsul.features.kv.locks import known_session
from konsul.features.kv.tables import Entry
from konsul.features.kv.transaction_plan import LOCKING, NEEDS, Operation, Plan, Result
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context

MAX_OPERATIONS: Final = 128
_ATTEMPTS: Final = 16


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
            if operation.kind in LOCKING:
                known_session(operation.session)
        except Invalid as error:
            raise Invalid(f"operation {position}: {error}") from None
        check_value(ctx, operation.key, operation.value or b"")
    for attempt in range(_ATTEMPTS):
        await ctx.engine.barrier("linearizable", ctx.terms.timeout_ms)
        plan = Plan(ctx, operations, is_first=attempt == 0)
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
    plan = Plan(ctx, operations, checking=False)
    return Committed(applied.index, plan.steps(operations))
