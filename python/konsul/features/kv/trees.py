"""Deletes of all that begins alike."""

from __future__ import annotations

from typing import Final

from konsul.errors import Conflict, Forbidden, Invalid
from konsul.features.kv.batch import MAX_KEYS
from konsul.features.kv.keys import check_key, check_prefix
from konsul.features.kv.tables import Entry
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context

_ATTEMPTS: Final = 8


@command("kv.delete_prefix", needs="kv:delete", resource="prefix")
async def delete_prefix(ctx: Context, *, prefix: str) -> int:
    """Deletes every key that starts with `prefix`, in one entry; returns the entry's index.

    Raises:
        Invalid: the prefix is empty, for that would delete everything, or breaks a rule of keys.
        Also as `delete_tree`, for whom rules let delete only some keys.
    """
    if not prefix:
        raise Invalid("prefix is required")
    if ctx.visible("kv:delete") is not None:
        # Below a prefix that may be deleted there may be keys that may not: only what was looked at goes.
        await delete_tree.call(ctx, prefix=prefix)
        return int(ctx.noted.get("index") or ctx.engine.contact()[2])
    op = entry.delete_prefix(Entry, check_key(prefix))
    applied = await ctx.commit(entry.encode([entry.case([], [op])]))
    return applied.index


@command("kv.delete_tree", needs="kv:delete", resource="prefix")
async def delete_tree(ctx: Context, *, prefix: str) -> list[str]:
    """Deletes the keys that start with `prefix`, up to `batch.MAX_KEYS`, in one entry; returns exactly those.

    Raises:
        Forbidden: the caller may not delete one of them: nothing was deleted.
        Invalid: the prefix is empty or breaks a rule, or more keys start with it: nothing was deleted.
        Conflict: other writers deleted some of them first, again and again.
    """
    if not prefix:
        raise Invalid("prefix is required")
    stored = check_prefix(prefix)
    sight = ctx.visible("kv:delete")
    for attempt in range(_ATTEMPTS):
        found, after = ctx.engine.scan_packed(Entry.table_id, stored, (), None, MAX_KEYS)
        if after is not None:
            raise Invalid(f"more than {MAX_KEYS} keys start with '{prefix}': delete them by longer prefixes")
        keys = [key for key, _ in found]
        if not keys:
            return []
        if sight is not None and not all(map(sight.sees, keys)):
            # Not which: he might not know that it exists.
            raise Forbidden(needs="kv:delete", resource=prefix, reason="not all that begins so")
        # Each must still be there, so that the answer names what this entry deleted and nothing else.
        guards = [entry.exists(Entry, key) for key in keys]
        ops = [entry.delete(Entry, key) for key in keys]
        try:
            await ctx.part(attempt).commit(entry.encode([entry.case(guards, ops)]))
        except Conflict:
            continue
        return [key.decode() for key in keys]
    raise Conflict(f"keys under '{prefix}' change faster than they can be deleted: try again")
