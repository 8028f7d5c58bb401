"""Many keys in one call. A batch that writes is one entry: all or nothing, and one index for all its keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from konsul.errors import Busy, Conflict, Invalid, KonsulError, NotFound, TooLarge
from konsul.features.kv.commands import check_value, columns, refusal
from konsul.features.kv.keys import check_key
from konsul.features.kv.tables import Entry
from konsul.kernel import entry
from konsul.kernel.command import command, query
from konsul.kernel.context import Context
from konsul.kernel.settings import KvSettings

MAX_KEYS: Final = 1_000
ANSWER_MAX_BYTES: Final = 64 << 20
"""How many bytes of values one batch read may gather, unless a single value may be larger than half of it."""
_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Found:
    """What a batch read found, in the order asked for; an absent key is repeated as often as it was asked."""

    values: Mapping[str, bytes]
    missing: Sequence[str]


@query("kv.batch_get", needs="kv:read", resource="keys")
async def get_many(ctx: Context, *, keys: Sequence[str]) -> Found:
    """Reads up to `MAX_KEYS` keys.

    Raises:
        Invalid: no keys, too many, or one that breaks a rule. TooLarge: the values pass the answer's limit.
    """
    check_keys(keys)
    limit = max(ANSWER_MAX_BYTES, 2 * ctx.config.of(KvSettings).max_value_bytes)
    values: dict[str, bytes] = {}
    missing: list[str] = []
    size = 0
    for key in keys:
        if key in values:
            continue
        row = ctx.engine.get(Entry.table_id, check_key(key))
        if row is None:
            missing.append(key)
            continue
        value: bytes = row.cells[0]
        size += len(value)
        if size > limit:
            raise TooLarge(f"the values of these keys pass {limit} bytes: ask for fewer keys")
        values[key] = value
    return Found(values, missing)


@command("kv.batch_set", needs="kv:write", resource="items")
async def set_many(ctx: Context, *, items: Mapping[str, bytes]) -> int:
    """Writes up to `MAX_KEYS` keys, keeping their flags; returns the index they share.

    Raises:
        Invalid, TooLarge: a key or value breaks a rule; nothing was written.
    """
    ops = [_put(key, stored, items) for key, stored in _checked_items(ctx, items)]
    applied = await ctx.commit(entry.encode([entry.case([], ops)]))
    return applied.index


@command("kv.batch_delete", needs="kv:delete", resource="keys")
async def delete_many(ctx: Context, *, keys: Sequence[str]) -> int:
    """Deletes up to `MAX_KEYS` keys; absent ones count as deleted. Returns the entry's index.

    Raises:
        Invalid: a key breaks a rule; nothing was deleted.
    """
    check_keys(keys)
    ops = [entry.delete(Entry, check_key(key)) for key in sorted(set(keys))]
    applied = await ctx.commit(entry.encode([entry.case([], ops)]))
    return applied.index


@command("kv.batch_set_cas", needs="kv:write", resource="items")
async def set_many_cas(ctx: Context, *, items: Mapping[str, bytes], expected: Mapping[str, int]) -> int:
    """Writes keys if each still has its expected modify_index (0: absent); returns the index they share.

    Raises:
        Invalid: an expected index is missing, or as `set_many`.
        NotFound, Conflict: for the first key, in byte order, that is not as expected; nothing was written.
    """
    check_expected(items, expected)
    checked = _checked_items(ctx, items)
    guards = [entry.at(Entry, stored, expected[key]) for key, stored in checked]
    ops = [_put(key, stored, items) for key, stored in checked]
    return await _commit(ctx, checked, expected, entry.case(guards, ops))


@command("kv.batch_delete_cas", needs="kv:delete", resource="keys")
async def delete_many_cas(ctx: Context, *, keys: Sequence[str], expected: Mapping[str, int]) -> int:
    """Deletes keys if each still has its expected modify_index; an absent key is never as expected.

    Raises:
        Invalid, NotFound, Conflict: as `set_many_cas`; nothing was deleted.
    """
    check_keys(keys)
    check_expected(keys, expected)
    checked = _in_byte_order(set(keys))
    guards = [
        guard
        for key, stored in checked
        for guard in (entry.exists(Entry, stored), entry.at(Entry, stored, expected[key]))
    ]
    ops = [entry.delete(Entry, stored) for _, stored in checked]
    return await _commit(ctx, checked, expected, entry.case(guards, ops), must_exist=True)


def check_keys(keys: Sequence[str]) -> None:
    """Raises Invalid for no keys or too many."""
    if not keys:
        raise Invalid("Keys array cannot be empty")
    if len(keys) > MAX_KEYS:
        raise Invalid(f"Maximum {MAX_KEYS} keys per batch request")


def check_expected(keys: Iterable[str], expected: Mapping[str, int]) -> None:
    """Raises Invalid, naming the first key without an expected index."""
    for key in sorted(keys):
        if key not in expected:
            raise Invalid(f"Missing expected index for key: {key}")


def _checked_items(ctx: Context, items: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    if not items:
        raise Invalid("Items map cannot be empty")
    if len(items) > MAX_KEYS:
        raise Invalid(f"Maximum {MAX_KEYS} items per batch request")
    checked = _in_byte_order(items)
    for key, _ in checked:
        check_value(ctx, key, items[key])
    return checked


def _in_byte_order(keys: Iterable[str]) -> list[tuple[str, bytes]]:
    return sorted(((key, check_key(key)) for key in keys), key=lambda pair: pair[1])


def _put(key: str, stored: bytes, items: Mapping[str, bytes]) -> entry.Op:
    return entry.put(Entry, stored, columns(items[key]))


async def _commit(
    ctx: Context,
    checked: list[tuple[str, bytes]],
    expected: Mapping[str, int],
    case: entry.Case,
    *,
    must_exist: bool = False,
) -> int:
    """Commits the guarded entry; on a conflict finds the key to blame by reading after a barrier.

    A key may be back as expected by then (absent, created, deleted again): then the entry is tried again.
    """
    cases = entry.encode([case])
    for _ in range(_ATTEMPTS):
        try:
            return (await ctx.commit(cases)).index
        except Conflict:
            await ctx.engine.barrier("linearizable", ctx.terms.timeout_ms)
            for key, stored in checked:
                row = ctx.engine.get(Entry.table_id, stored)
                current = row.modify_index if row else 0
                if current != expected[key] or (must_exist and row is None):
                    raise _refusal(key, expected[key], current) from None
    raise Busy("the keys keep changing: try again")


def _refusal(key: str, expected: int, current: int) -> KonsulError:
    if current == 0:
        return NotFound(f"key '{key}' not found")
    return refusal(key, expected, current)
