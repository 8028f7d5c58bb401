"""Rows of keys: by offset, by prefix, by name. For doors that choose fields."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from konsul.engine import Row
from konsul.errors import Conflict, Invalid, TooLarge
from konsul.features.kv.batch import ANSWER_MAX_BYTES, MAX_KEYS, check_keys
from konsul.features.kv.keys import check_key, check_prefix
from konsul.features.kv.queries import LIMIT_MAX, PAGE_MAX_BYTES, Steps
from konsul.features.kv.tables import Entry
from konsul.kernel import entry
from konsul.kernel.command import command, query
from konsul.kernel.context import Context
from konsul.kernel.settings import KvSettings

_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Page:
    """Keys with their rows, in byte order of the keys; `more`: there are further ones behind it."""

    rows: Sequence[tuple[str, Row]]
    more: bool


@query("kv.page", needs="kv:read", resource="prefix")
async def page(ctx: Context, *, prefix: str = "", offset: int = 0, limit: int) -> Page:
    """The keys with `prefix` after the first `offset` of them, at most `limit`.

    Raises:
        Invalid: `offset` or `limit` is negative, or the prefix cannot be one.
        TooLarge: the values pass `PAGE_MAX_BYTES`. A shorter page would make who counts in pages miss keys.
    """
    if offset < 0 or limit < 0:
        raise Invalid(f"{'offset' if offset < 0 else 'limit'} must not be negative")
    stored = check_prefix(prefix)
    if offset >= max(1, ctx.engine.count(Entry.table_id)):
        return Page([], False)
    after, skipped = await _walk(ctx, stored, offset)
    if skipped < offset or (offset and after is None):
        return Page([], False)
    steps = Steps.of_rows(ctx.config.of(KvSettings).max_value_bytes)
    rows: list[tuple[str, Row]] = []
    size = 0
    while len(rows) < limit:
        found = ctx.engine.scan(Entry.table_id, stored, (), after, min(steps.next, limit - len(rows)))
        rows += [(key.decode(), row) for key, row in found.rows]
        step_bytes = sum(len(row.cells[0]) for _, row in found.rows)
        steps.sized(step_bytes)
        size += step_bytes
        if size > PAGE_MAX_BYTES:
            raise TooLarge(f"the values of this page pass {PAGE_MAX_BYTES} bytes: ask with a smaller limit")
        after = found.after
        if after is None:
            return Page(rows, False)
    return Page(rows, bool(ctx.engine.keys_json(Entry.table_id, stored, b"", after, 1).count))


@query("kv.count", needs="kv:list", resource="prefix")
async def count(ctx: Context, *, prefix: str = "") -> int:
    """How many keys start with `prefix`. Walks them, giving the loop back between steps.

    Raises:
        Invalid: the prefix cannot be one.
    """
    stored = check_prefix(prefix)
    if not stored:
        return ctx.engine.count(Entry.table_id)
    return (await _walk(ctx, stored, None))[1]


@query("kv.rows", needs="kv:read", resource="keys")
async def rows(ctx: Context, *, keys: Sequence[str]) -> list[Row | None]:
    """The rows of up to `batch.MAX_KEYS` keys, None for an absent one, in the order asked for.

    Raises:
        Invalid: no keys, too many, or one that breaks a rule. TooLarge: the values pass the answer's limit.
    """
    check_keys(keys)
    limit = max(ANSWER_MAX_BYTES, 2 * ctx.config.of(KvSettings).max_value_bytes)
    found: list[Row | None] = []
    size = 0
    for key in keys:
        row = ctx.engine.get(Entry.table_id, check_key(key))
        found.append(row)
        size += 0 if row is None else len(row.cells[0])
        if size > limit:
            raise TooLarge(f"the values of these keys pass {limit} bytes: ask for fewer keys")
    return found


@command("kv.delete_tree", needs="kv:delete", resource="prefix")
async def delete_tree(ctx: Context, *, prefix: str) -> list[str]:
    """Deletes the keys that start with `prefix`, up to `batch.MAX_KEYS`, in one entry; returns exactly those.

    Raises:
        Invalid: the prefix is empty or breaks a rule, or more keys start with it: nothing was deleted.
        Conflict: other writers deleted some of them first, again and again.
    """
    if not prefix:
        raise Invalid("prefix is required")
    stored = check_prefix(prefix)
    for attempt in range(_ATTEMPTS):
        found, after = ctx.engine.scan_packed(Entry.table_id, stored, (), None, MAX_KEYS)
        if after is not None:
            raise Invalid(f"more than {MAX_KEYS} keys start with '{prefix}': delete them by longer prefixes")
        keys = [key for key, _ in found]
        if not keys:
            return []
        # Each must still be there, so that the answer names what this entry deleted and nothing else.
        guards = [entry.exists(Entry, key) for key in keys]
        ops = [entry.delete(Entry, key) for key in keys]
        try:
            await ctx.part(attempt).commit(entry.encode([entry.case(guards, ops)]))
        except Conflict:
            continue
        return [key.decode() for key in keys]
    raise Conflict(f"keys under '{prefix}' change faster than they can be deleted: try again")


async def _walk(ctx: Context, prefix: bytes, most: int | None) -> tuple[bytes | None, int]:
    """Passes over `most` keys, or all: the key to continue after, None at the end, and how many they were."""
    after: bytes | None = None
    passed = 0
    while most is None or passed < most:
        step = LIMIT_MAX if most is None else min(LIMIT_MAX, most - passed)
        found = ctx.engine.keys_json(Entry.table_id, prefix, b"", after, step)
        passed += found.count
        after = found.after
        if after is None:
            break
        await asyncio.sleep(0)
    return after, passed
