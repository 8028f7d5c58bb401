"""Rows of keys: by offset, by prefix, by name. For doors that choose fields."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from konsul.engine import JsonPage, Row
from konsul.errors import Invalid, TooLarge
from konsul.features.kv.batch import ANSWER_MAX_BYTES, check_keys
from konsul.features.kv.keys import check_key, check_prefix
from konsul.features.kv.queries import LIMIT_MAX, PAGE_MAX_BYTES, Steps, known_next, readable
from konsul.features.kv.tables import Entry
from konsul.kernel.command import query
from konsul.kernel.context import Context
from konsul.kernel.settings import KvSettings

if TYPE_CHECKING:
    from konsul.engine import Sight


@dataclass(frozen=True, slots=True)
class Page:
    """Keys with their rows, in byte order of the keys; `more`: there are further ones behind it."""

    rows: Sequence[tuple[str, Row]]
    more: bool


@query("kv.page", needs="kv:list", resource="prefix")
async def page(ctx: Context, *, prefix: str = "", offset: int = 0, limit: int) -> Page:
    """The keys with `prefix` that the caller may read, after the first `offset` of them, at most `limit`.

    Raises:
        Invalid: `offset` or `limit` is negative, or the prefix cannot be one.
        Forbidden: there can be none that he may read.
        TooLarge: the values pass `PAGE_MAX_BYTES`. A shorter page would make who counts in pages miss keys.
    """
    if offset < 0 or limit < 0:
        raise Invalid(f"{'offset' if offset < 0 else 'limit'} must not be negative")
    stored = check_prefix(prefix)
    sight = readable(ctx, prefix)
    if offset >= max(1, ctx.engine.count(Entry.table_id)):
        return Page([], False)
    after, skipped = await _walk(ctx, stored, offset, sight)
    if skipped < offset or (offset and after is None):
        return Page([], False)
    steps = Steps.of_rows(ctx.config.of(KvSettings).max_value_bytes)
    rows: list[tuple[str, Row]] = []
    size = 0
    while len(rows) < limit:
        wanted = min(steps.next, limit - len(rows))
        found = ctx.engine.scan(Entry.table_id, stored, (), after, wanted, sight)
        rows += [(key.decode(), row) for key, row in found.rows]
        step_bytes = sum(len(row.cells[0]) for _, row in found.rows)
        steps.sized(step_bytes)
        size += step_bytes
        if size > PAGE_MAX_BYTES:
            raise TooLarge(f"the values of this page pass {PAGE_MAX_BYTES} bytes: ask with a smaller limit")
        after = found.after
        if after is None:
            return Page(rows, False)
        if len(found.rows) < wanted:
            await asyncio.sleep(0)  # the rest was looked at and not seen

    def fetch(start: bytes | None, count: int, inside: bool) -> JsonPage:
        return ctx.engine.keys_json(Entry.table_id, stored, b"", start, count, sight, inside)

    if sight is not None:
        return Page(rows, await known_next(fetch, after or b"", sight) is not None)
    return Page(rows, bool(fetch(after, 1, False).count))


@query("kv.count", needs="kv:list", resource="prefix")
async def count(ctx: Context, *, prefix: str = "") -> int:
    """How many keys start with `prefix`, of those that the caller may list or read. Walks them, giving the
    loop back between steps.

    Raises:
        Invalid: the prefix cannot be one.
    """
    stored = check_prefix(prefix)
    sight = ctx.visible("kv:list")
    if not stored and sight is None:
        return ctx.engine.count(Entry.table_id)
    return (await _walk(ctx, stored, None, sight))[1]


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


async def _walk(
    ctx: Context, prefix: bytes, most: int | None, sight: Sight | None
) -> tuple[bytes | None, int]:
    """Passes over `most` keys, or all: the key to continue after, None at the end, and how many they were."""
    after: bytes | None = None
    passed = 0
    while most is None or passed < most:
        step = LIMIT_MAX if most is None else min(LIMIT_MAX, most - passed)
        found = ctx.engine.keys_json(Entry.table_id, prefix, b"", after, step, sight)
        passed += found.count
        after = found.after
        if after is None:
            break
        await asyncio.sleep(0)
    return after, passed
