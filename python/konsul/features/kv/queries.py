"""Reads of single keys and listings. The core writes a listing; it passes through here page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from konsul.engine import JsonPage, Row
from konsul.errors import Forbidden, Invalid, NotFound
from konsul.features.kv.keys import check_key, check_prefix
from konsul.features.kv.tables import METADATA, PLAIN, Entry
from konsul.kernel.command import query
from konsul.kernel.context import Context
from konsul.kernel.settings import KvSettings

if TYPE_CHECKING:
    from konsul.engine import Sight

READ: Final = "kv:read"
LIMIT_MAX: Final = 10_000
"""Most items a listing with `limit` answers; without one it streams them all."""
PAGE_MAX_BYTES: Final = 8 << 20
"""A page of rows ends before its limit once it has reached this."""
_FETCH_AIM_BYTES: Final = 256 << 10
_FETCH_MAX_BYTES: Final = 64 << 20

Fetch: TypeAlias = Callable[[bytes | None, int, bool], JsonPage]
"""(after, limit, inside) -> one page of the core. Of what its reader does not see whole it may come short of
the limit: the next page begins `inside`, at a key that is not for the reader's eyes."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A JSON array of keys or rows, in byte order of the keys.

    `index` is the index of the state before the first page was read: nothing at or before it is missing.
    `after` is the key to continue after, when a limit cut the listing.
    """

    index: int
    first: bytes
    after: bytes | None
    rest: AsyncIterator[bytes] | None
    """The chunks that follow `first`, or None if it is the whole text."""


@dataclass(slots=True)
class Steps:
    """How many items to fetch at once. The core gathers a page whole, and a page waits whole for a client
    that does not read: so it should hold about `_FETCH_AIM_BYTES`, whatever the size of the values."""

    next: int
    most: int

    @classmethod
    def of_rows(cls, max_value_bytes: int) -> Steps:
        """Of rows with values up to this size: carefully at first, and never more than `_FETCH_MAX_BYTES`."""
        most = max(1, min(1_000, _FETCH_MAX_BYTES // max_value_bytes))
        return cls(max(1, min(most, _FETCH_AIM_BYTES // max_value_bytes)), most)

    def saw(self, page: JsonPage) -> None:
        """Learns from the size of a page."""
        self.sized(len(page.json))

    def sized(self, size_bytes: int) -> None:
        """Learns from a page of this size."""
        if size_bytes > _FETCH_AIM_BYTES:
            self.next = max(1, self.next // 2)
        elif size_bytes < _FETCH_AIM_BYTES // 4:
            self.next = min(self.most, self.next * 2)


@query("kv.get", needs="kv:read", resource="key")
async def get(ctx: Context, *, key: str) -> Row:
    """The row of one key, its cells in the order of `tables.Entry`.

    Raises:
        Invalid: the key breaks a rule. NotFound: it is absent.
    """
    row = ctx.engine.get(Entry.table_id, check_key(key))
    if row is None:
        raise NotFound("Key not found")
    return row


@query("kv.get_json", needs="kv:read", resource="key")
async def get_json(ctx: Context, *, key: str, metadata: bool = False) -> bytes:
    """One key as JSON text, as `get`."""
    text = ctx.engine.get_json(METADATA if metadata else PLAIN, check_key(key))
    if text is None:
        raise NotFound("Key not found")
    return text


@query("kv.list", needs="kv:list", resource="prefix")
async def list_keys(
    ctx: Context, *, prefix: str = "", separator: str = "", after: str | None = None, limit: int | None = None
) -> Listing:
    """The keys with `prefix` that come after `after`; with a `separator` cut as `Core.keys_json` says. Those
    that the caller may list or read.

    Raises:
        Invalid: `limit` is not in 1..`LIMIT_MAX`, or a text cannot be part of a key.
    """
    stored, cut = check_prefix(prefix), check_prefix(separator)
    sight = ctx.visible("kv:list")

    def fetch(start: bytes | None, count: int, inside: bool) -> JsonPage:
        return ctx.engine.keys_json(Entry.table_id, stored, cut, start, count, sight, inside)

    index = _index(ctx)
    start = None if after is None else check_prefix(after)
    if limit is None:
        return await _everything(ctx, index, fetch, start, Steps(LIMIT_MAX, LIMIT_MAX))
    text, start = await _gather(fetch, start, Steps(LIMIT_MAX, LIMIT_MAX), _checked(limit), None)
    return Listing(index, b"[%b]" % text, await known_next(fetch, start, sight), None)


@query("kv.list_rows", needs="kv:list", resource="prefix")
async def list_rows(
    ctx: Context, *, prefix: str = "", after: str | None = None, limit: int | None = None
) -> Listing:
    """The keys with `prefix` with their values and metadata; with a limit, as many as fit `PAGE_MAX_BYTES`.
    Those that the caller may read.

    Raises:
        Invalid: as `list_keys`. Forbidden: there can be none that he may read.
    """
    stored = check_prefix(prefix)
    sight = readable(ctx, prefix)

    def fetch(start: bytes | None, count: int, inside: bool) -> JsonPage:  # noqa: ARG001 - nothing is folded
        return ctx.engine.scan_json(METADATA, stored, (), start, count, sight)

    index = _index(ctx)
    start = None if after is None else check_prefix(after)
    steps = Steps.of_rows(ctx.config.of(KvSettings).max_value_bytes)
    if limit is None:
        return await _everything(ctx, index, fetch, start, steps)
    text, start = await _gather(fetch, start, steps, _checked(limit), PAGE_MAX_BYTES)
    return Listing(index, b"[%b]" % text, await known_next(fetch, start, sight), None)


def readable(ctx: Context, prefix: str) -> Sight | None:
    """What of the keys with `prefix` the caller may read, values and all; None: everything.

    Raises:
        Forbidden: nothing that begins so.
    """
    sight = ctx.visible(READ)
    if sight is not None and not sight.could_see(prefix):
        raise Forbidden(needs=READ, resource=prefix, reason="no rule lets any of it be read")
    return sight


async def known_next(fetch: Fetch, after: bytes | None, sight: Sight | None) -> bytes | None:
    """`after`, if something its reader sees comes after it: that something else does is not told."""
    start, inside = after, False
    while sight is not None and start is not None:
        page = fetch(start, 1, inside)
        if page.count:
            return after
        start, inside = page.after, True
        await asyncio.sleep(0)
    return after if sight is None else None


def _index(ctx: Context) -> int:
    return int(ctx.engine.status()["index"])


def _checked(limit: int) -> int:
    if not 1 <= limit <= LIMIT_MAX:
        raise Invalid(f"limit must be between 1 and {LIMIT_MAX}")
    return limit


async def _gather(
    fetch: Fetch, after: bytes | None, steps: Steps, items: int | None, stop_bytes: int | None
) -> tuple[bytes, bytes | None]:
    """Items joined by commas until there are so many, or so many bytes; and the key to continue after, which
    is that of the last item."""
    parts: list[bytes] = []
    size = count = 0
    inside = False
    while True:
        is_enough = stop_bytes is not None and size >= stop_bytes
        # Only the last item's key may be shown, so one more has to be found after what is not seen.
        wanted = 1 if is_enough else steps.next if items is None else min(steps.next, items - count)
        page = fetch(after, wanted, inside)
        steps.saw(page)
        if page.count:
            parts.append(page.json[1:-1])
        after, count, size = page.after, count + page.count, size + len(page.json)
        inside = page.count < wanted
        if after is None or count == items or (stop_bytes is not None and size >= stop_bytes and not inside):
            return b",".join(parts), after
        if inside:
            await asyncio.sleep(0)


async def _everything(ctx: Context, index: int, fetch: Fetch, after: bytes | None, steps: Steps) -> Listing:
    text, after = await _gather(fetch, after, steps, None, _FETCH_AIM_BYTES)
    if after is None:
        return Listing(index, b"[%b]" % text, None, None)
    return Listing(index, b"[" + text, None, _following(ctx, fetch, after, steps))


async def _following(ctx: Context, fetch: Fetch, after: bytes | None, steps: Steps) -> AsyncIterator[bytes]:
    """The chunks after the first page, up to and with the closing bracket.

    Raises:
        Unauthenticated, Forbidden: the reader took its time, and is not by now who it was.
    """
    inside = False
    while after is not None:
        await asyncio.sleep(0)  # a long listing gives the loop back between pages
        if ctx.renewed() is not ctx:
            raise Forbidden(needs=READ, reason="roles or policies changed during the listing")
        wanted = steps.next
        page = fetch(after, wanted, inside)
        steps.saw(page)
        after, inside = page.after, page.count < wanted
        if page.count:
            yield b"," + page.json[1:-1]
    yield b"]"
