"""Changing rates and lists: for the whole cluster, or, what only forgets buckets, on this node."""

from __future__ import annotations

import time
from typing import Final

from konsul.engine import RateLimits
from konsul.errors import Conflict, Invalid, LimitReached, NotFound
from konsul.features.ratelimit.config import BURST_MAX, RATE_MAX, RateLimitSettings, is_rate, micros_of
from konsul.features.ratelimit.limiting import KINDS, Limiting, limiting_of
from konsul.features.ratelimit.tables import CONFIG, ListRow, RateRow, client_key, list_key
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context
from konsul.kernel.schema import Row

IDENTIFIER_MAX: Final = 256
REASON_MAX: Final = 256
DURATION_MAX_MS: Final = 3_650 * 86_400_000
OFF: Final = "rate limiting is off on this node: KONSUL_RATE_LIMIT_ENABLED turns it on"


@command("admin.ratelimit.update", needs="admin:write")
async def set_config(
    ctx: Context, *, requests_per_sec: float | None = None, burst: int | None = None
) -> dict[str, float | int]:
    """Changes everybody's rate, burst or both, on every node and in buckets that are there; answers what was
    given. Nothing given: nothing changes.

    Raises:
        Invalid: not above 0, or too large.
    """
    changes: dict[str, float | int] = {}
    if requests_per_sec is not None:
        changes["requests_per_sec"] = _rate("requests_per_sec", requests_per_sec)
    if burst is not None:
        changes["burst"] = _burst(burst)
    if not changes:
        return changes
    rate = entry.KEEP if requests_per_sec is None else micros_of(requests_per_sec)
    cells = [rate, entry.KEEP if burst is None else burst, 0, added_by(ctx), _now_ms(), None]
    await _write(ctx, RateRow, [entry.case([], [entry.put(RateRow, CONFIG, cells)])], CONFIG)
    return changes


@command("admin.ratelimit.unset", needs="admin:write")
async def unset_config(ctx: Context) -> None:
    """Forgets the configuration that was changed: every node goes by its own settings again."""
    await _write(ctx, RateRow, [entry.case([], [entry.delete(RateRow, CONFIG)])], CONFIG)


@command("admin.ratelimit.adjust", needs="admin:write", resource="id")
async def set_client(ctx: Context, *, kind: str, id: str, rate: float, burst: int, duration_ms: int) -> None:
    """Gives one client a rate of its own for a time, on every node; tokens above the new burst are lost.

    Raises:
        Invalid: kind, id, rate, burst or duration will not do. LimitReached: too many have one.
    """
    limiting = _limiting(ctx)
    id = _client_id(kind, id)
    if not (limiting.settings.by_ip if kind == "ip" else limiting.settings.by_apikey):
        raise Invalid("Rate limiting not enabled for this type")
    _rate("rate", rate)
    _burst(burst)
    expires_at_ms = _expires(duration_ms)
    key = client_key(kind, id)
    _check_room(ctx, RateRow, key, limiting.settings)
    cells = [micros_of(rate), burst, duration_ms, added_by(ctx), _now_ms(), expires_at_ms]
    await _write(ctx, RateRow, [entry.case([], [entry.put(RateRow, key, cells)])], key)


@command("admin.ratelimit.unadjust", needs="admin:write", resource="id")
async def unset_client(ctx: Context, *, kind: str, id: str) -> None:
    """Ends a client's own rate before its time.

    Raises:
        NotFound: it has none. Invalid: there is no such kind, or the id is no address.
    """
    key = client_key(kind, _client_id(kind, id))
    cases = [entry.case([entry.exists(RateRow, key)], [entry.delete(RateRow, key)])]
    try:
        await _write(ctx, RateRow, cases, key)
    except Conflict:
        raise NotFound("Client has no rate of its own") from None


@command("admin.ratelimit.list_add", needs="admin:write", resource="id")
async def list_add(
    ctx: Context, *, name: str, kind: str, id: str, reason: str, duration_ms: int | None
) -> tuple[str, ListRow]:
    """Puts somebody on the `whitelist` or the `blacklist`, until a time or, on the former, for good. Answers
    the id as it is kept, and the entry.

    Raises:
        Invalid: kind, id, reason or duration will not do. LimitReached: there are too many.
    """
    id = _list_id(kind, id)
    if len(reason) > REASON_MAX or not reason.isprintable():
        raise Invalid(f"reason must be at most {REASON_MAX} printable characters")
    expires_at_ms = None if duration_ms is None else _expires(duration_ms)
    key = list_key(name, kind, id)
    _check_room(ctx, ListRow, key, ctx.config.of(RateLimitSettings))
    row = ListRow(
        name=key,
        reason=reason,
        added_by=added_by(ctx),
        added_at_ms=_now_ms(),
        expires_at_ms=expires_at_ms,
    )
    await _write(ctx, ListRow, [entry.case([], [entry.put(ListRow, key, row.cells())])], key)
    return id, row


@command("admin.ratelimit.list_remove", needs="admin:write", resource="id")
async def list_remove(ctx: Context, *, name: str, id: str) -> None:
    """Takes whoever has this id off a list, of whatever kind.

    Raises:
        NotFound: nobody on it has.
    """
    keys = [list_key(name, "ip", RateLimits.network_of(id) or id)]
    keys += [list_key(name, kind, id) for kind in KINDS[1:]]
    gone = [entry.delete(ListRow, key) for key in keys]
    try:
        await _write(ctx, ListRow, [entry.case([entry.exists(ListRow, key)], gone) for key in keys], *keys)
    except Conflict:
        raise NotFound(f"Identifier not found in {name}") from None


@command("admin.ratelimit.reset", needs="admin:write", resource="id", local=True)
async def reset(ctx: Context, *, kind: str, id: str) -> None:
    """Forgets one client's bucket on this node: it starts full. Unknown ones are no error."""
    _limiting(ctx).native.forget(_kind(kind), id)


@command("admin.ratelimit.reset_all", needs="admin:write", local=True)
async def reset_all(ctx: Context, *, kind: str) -> None:
    """Forgets every bucket of a kind, or with `all` every one, on this node.

    Raises:
        Invalid: there is no such kind.
    """
    kinds = KINDS if kind == "all" else (kind,)
    for one in kinds:
        _limiting(ctx).native.forget_all(_kind(one))


def added_by(ctx: Context) -> str:
    """Who is noted beside a change."""
    return ctx.identity.name or ctx.identity.id or "unknown"


def _limiting(ctx: Context) -> Limiting:
    found = limiting_of(ctx.engine)
    if found is None:
        raise NotFound(OFF)
    return found


async def _write(ctx: Context, table: type[Row], cases: list[entry.Case], *keys: str) -> None:
    """Commits a change of rows; then this node, too, has it in force before the caller is answered."""
    await ctx.commit(entry.encode(cases))
    found = limiting_of(ctx.engine)
    if found is None:
        return
    for key in keys:
        found.follow(ctx.engine, table, key.encode())
    found.put_in_force()


def _kind(kind: str) -> int:
    if kind not in KINDS:
        raise Invalid("Invalid type. Must be 'ip' or 'apikey'")
    return KINDS.index(kind)


def _client_id(kind: str, id: str) -> str:
    if _kind(kind):
        return _named(id)
    found = RateLimits.client_of(id)
    if found is None:
        raise Invalid("identifier is not an IP address")
    return found


def _list_id(kind: str, id: str) -> str:
    if not id:
        raise Invalid("identifier is required")
    if kind not in KINDS:
        raise Invalid("type must be 'ip' or 'apikey'")
    if kind != "ip":
        return _named(id)
    found = RateLimits.network_of(id)
    if found is None:
        raise Invalid("identifier is not an IP address or a network such as 10.0.0.0/8")
    return found


def _named(id: str) -> str:
    if not id:
        raise Invalid("identifier is required")
    if len(id) > IDENTIFIER_MAX or not id.isprintable():
        raise Invalid(f"identifier must be at most {IDENTIFIER_MAX} printable characters")
    return id


def _rate(name: str, value: float) -> float:
    if not value > 0:
        raise Invalid(f"{name} must be greater than 0")
    if not is_rate(value):
        raise Invalid(f"{name} must be from 0.000001 to {RATE_MAX:.0f}")
    return value


def _burst(value: int) -> int:
    if value <= 0:
        raise Invalid("burst must be greater than 0")
    if value > BURST_MAX:
        raise Invalid(f"burst must be at most {BURST_MAX}")
    return value


def _expires(duration_ms: int) -> int:
    if not 0 < duration_ms <= DURATION_MAX_MS:
        raise Invalid("Invalid duration format")
    return _now_ms() + duration_ms


def _check_room(ctx: Context, row: type[Row], key: str, settings: RateLimitSettings) -> None:
    most = settings.entries_max
    if ctx.engine.count(row.table_id) >= most and ctx.engine.get(row.table_id, key.encode()) is None:
        raise LimitReached(f"there are {most} entries already: KONSUL_RATE_LIMIT_MAX_ENTRIES is {most}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
