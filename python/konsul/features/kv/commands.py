"""Writes of single keys. Prefixes, batches and transactions have files of their own."""

from __future__ import annotations

from konsul.errors import Conflict, KonsulError, NotFound, TooLarge
from konsul.features.kv.keys import check_key
from konsul.features.kv.tables import Entry
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context
from konsul.kernel.settings import KvSettings


@command("kv.set", needs="kv:write", resource="key")
async def set_(
    ctx: Context,
    *,
    key: str,
    value: bytes,
    cas: int | None = None,
    flags: int | None = None,
    ttl_ms: int | None = None,
) -> int:
    """Writes one key and returns its new modify_index.

    Args:
        cas: write only if the key's modify_index is this; 0: only if the key is absent.
        flags: None keeps the old ones.
        ttl_ms: the key is deleted so many milliseconds after the write; None: it stays, also if it had a TTL.

    Raises:
        Invalid: the key breaks a rule. TooLarge: the value is over the configured limit.
        NotFound: `cas` > 0 and the key is absent. Conflict: `cas` and the key's modify_index differ.
    """
    stored = check_key(key)
    check_value(ctx, key, value)
    try:
        applied = await ctx.put(Entry.table_id, stored, cells(value, flags, ttl_ms), cas)
    except Conflict as conflict:
        raise refusal(key, cas or 0, conflict.current) from None
    return applied.index


@command("kv.delete", needs="kv:delete", resource="key")
async def delete(ctx: Context, *, key: str, cas: int | None = None, existing: bool = False) -> None:
    """Deletes one key. Absent is fine without `cas` and `existing`; `cas` 0 never matches.

    Raises:
        Invalid: the key breaks a rule.
        NotFound: `cas` or `existing` is given and the key is absent.
        Conflict: `cas` and the key's modify_index differ.
    """
    stored = check_key(key)
    guards = [entry.exists(Entry, stored)] if existing or cas is not None else []
    if cas is not None:
        guards.append(entry.at(Entry, stored, cas))
    try:
        await ctx.commit(entry.encode([entry.case(guards, [entry.delete(Entry, stored)])]))
    except Conflict as conflict:
        if conflict.current == 0:
            raise NotFound("Key not found") from None
        raise refusal(key, cas or 0, conflict.current) from None


def cells(value: bytes, flags: int | None, ttl_ms: int | None) -> bytes:
    """A row's packed cells; what `commands` and `batch` write for one key."""
    return entry.cells(*columns(value, flags, ttl_ms))


def columns(value: bytes, flags: int | None = None, ttl_ms: int | None = None) -> tuple[object, ...]:
    """A row's cells in column order; flags None keeps those of the row, and a lock always stays."""
    return (
        value,
        entry.KEEP if flags is None else flags,
        None if ttl_ms is None else entry.now(ttl_ms),
        entry.KEEP,
        entry.KEEP,
    )


def check_value(ctx: Context, key: str, value: bytes) -> None:
    """Raises TooLarge, naming the limit and the key, for a value over the configured limit."""
    limit = ctx.config.of(KvSettings).max_value_bytes
    if len(value) > limit:
        raise TooLarge(f"value too large for key '{key}': {len(value)} bytes (max {limit})")


def refusal(key: str, expected: int, current: int) -> KonsulError:
    """The error of a compare-and-set that did not hold: `current` 0 means that the key is absent."""
    if current == 0:
        return NotFound("Key not found")
    return Conflict(
        f"CAS conflict for key '{key}': expected ModifyIndex {expected}, but current is {current}",
        key=key.encode(),
        current=current,
    )
