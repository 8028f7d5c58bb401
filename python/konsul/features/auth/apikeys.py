"""Administration of API keys: shown once when made, stored as their SHA-256, never shown again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

from konsul.engine import Row
from konsul.errors import Conflict, Invalid, LimitReached
from konsul.features.auth.administrators import without_key
from konsul.features.auth.changes import Kept
from konsul.features.auth.config import AuthSettings
from konsul.features.auth.credentials import ADMIN_PERMISSION, digest, new_api_key
from konsul.features.auth.plain import PAGE_MAX, Page
from konsul.features.auth.tables import ApiKeyRow, ApiKeyUseRow
from konsul.features.auth.users import check_policies
from konsul.kernel import entry
from konsul.kernel.command import command, query
from konsul.kernel.context import Context

NAME_MAX: Final = 256
METADATA_MAX: Final = 64
METADATA_NAME_MAX: Final = 128
METADATA_VALUE_MAX: Final = 512
EXPIRES_IN_MAX_S: Final = 100 * 365 * 86_400
UNKNOWN: Final = "API key not found"
MADE_BEFORE: Final = "this request made a key when it came first, which is not shown again"
_ID_MAX: Final = 64
_LAST_USED: Final = ApiKeyUseRow.column("last_used_at_ms")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is told of a key; neither it nor its digest."""

    id: str
    name: str
    permissions: tuple[str, ...] | None
    metadata: Mapping[str, str] | None
    created_at_ms: int
    expires_at_ms: int | None
    last_used_at_ms: int | None
    enabled: bool
    created_by: str


_KEYS: Final = Kept(
    ApiKeyRow,
    lambda key_id: 0 < len(key_id) <= _ID_MAX,
    without_key,
    UNKNOWN,
    "the API key is being changed by others: try again",
)


def new_id() -> str:
    """The id of a key that is about to be made."""
    return str(uuid4())


@command("auth.apikey.create", needs="admin:write", resource="key_id")
async def create(
    ctx: Context,
    *,
    key_id: str,
    name: str,
    permissions: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
    expires_in_s: int | None = None,
) -> tuple[str, ApiKey]:
    """Makes a key; answers it, this once, and what is known of it. `permissions` name policies; `*`: all.
    `key_id`: of `new_id`, so that the audit can name what was made.

    Raises:
        Invalid: something does not fit. LimitReached: there are too many. Conflict: the request came before.
    """
    if not name:
        raise Invalid("name is required")
    _check(name, permissions, metadata)
    if expires_in_s is not None and not 1 <= expires_in_s <= EXPIRES_IN_MAX_S:
        raise Invalid(f"expires_in is {expires_in_s}: expected 1 to {EXPIRES_IN_MAX_S} seconds")
    settings = ctx.config.of(AuthSettings)
    if ctx.engine.count(ApiKeyRow.table_id) >= settings.api_keys_max:
        raise LimitReached(
            f"there are {settings.api_keys_max} API keys, KONSUL_AUTH_MAX_API_KEYS: delete some first"
        )
    secret = new_api_key(settings.apikey_prefix)
    cells = [
        name,
        digest(secret),
        None if permissions is None else sorted(set(permissions)),
        None if metadata is None else dict(metadata),
        entry.now(),
        entry.now(),
        None if expires_in_s is None else entry.now(expires_in_s * 1_000),
        True,
        ctx.identity.id,
    ]
    case = entry.case([entry.absent(ApiKeyRow, key_id)], [entry.put(ApiKeyRow, key_id, cells)])
    await ctx.commit(entry.encode([case]))
    row = _KEYS.row(ctx, key_id)
    if row is None:
        # The same Idempotency-Key: what was answered then holds, and its secret is known to nobody here.
        raise Conflict(MADE_BEFORE)
    return secret, _key(ctx, key_id, row)


@query("auth.apikey.list", needs="admin:read")
async def list_(ctx: Context, *, after: str | None = None, limit: int = PAGE_MAX) -> Page[ApiKey]:
    """Keys by id, above `after`."""
    return _KEYS.page(ctx, partial(_key, ctx), after, limit)


@query("auth.apikey.read", needs="admin:read", resource="key_id")
async def read(ctx: Context, *, key_id: str) -> ApiKey:
    """One key.

    Raises:
        NotFound.
    """
    return _key(ctx, key_id, _KEYS.known(ctx, key_id))


@command("auth.apikey.update", needs="admin:write", resource="key_id")
async def update(
    ctx: Context,
    *,
    key_id: str,
    name: str = "",
    permissions: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
    enabled: bool | None = None,
) -> None:
    """Changes what is given; holds at once, on every node.

    Raises:
        Invalid, NotFound. LimitReached: it would leave no administrator.
    """
    _check(name, permissions, metadata)
    changes: dict[str, object] = {}
    if name:
        changes["name"] = name
    if permissions is not None:
        changes["permissions"] = sorted(set(permissions))
    if metadata is not None:
        changes["metadata"] = dict(metadata)
    if enabled is not None:
        changes["enabled"] = enabled
    loses = enabled is False or (permissions is not None and ADMIN_PERMISSION not in permissions)
    await _KEYS.change(ctx, key_id, changes, loses_power=loses)


@command("auth.apikey.revoke", needs="admin:write", resource="key_id")
async def revoke(ctx: Context, *, key_id: str) -> None:
    """Makes a key useless until it is enabled again.

    Raises:
        NotFound. LimitReached: it is the last way to administer.
    """
    await _KEYS.change(ctx, key_id, {"enabled": False}, loses_power=True)


@command("auth.apikey.enable", needs="admin:write", resource="key_id")
async def enable(ctx: Context, *, key_id: str) -> None:
    """Undoes a revocation.

    Raises:
        NotFound.
    """
    await _KEYS.change(ctx, key_id, {"enabled": True})


@command("auth.apikey.delete", needs="admin:write", resource="key_id")
async def delete(ctx: Context, *, key_id: str) -> None:
    """Removes a key.

    Raises:
        NotFound. LimitReached: it is the last way to administer.
    """
    await _KEYS.delete(ctx, key_id)


def _check(name: str, permissions: Sequence[str] | None, metadata: Mapping[str, str] | None) -> None:
    if len(name) > NAME_MAX or not name.isprintable():
        raise Invalid(f"name: expected at most {NAME_MAX} printable characters")
    check_policies("permissions", permissions or (), ADMIN_PERMISSION)
    if metadata is not None and len(metadata) > METADATA_MAX:
        raise Invalid(f"metadata: expected at most {METADATA_MAX} members")
    for member, value in (metadata or {}).items():
        if not 1 <= len(member) <= METADATA_NAME_MAX or len(value) > METADATA_VALUE_MAX:
            raise Invalid(
                f"metadata: expected names of 1 to {METADATA_NAME_MAX} characters "
                f"and values of at most {METADATA_VALUE_MAX}"
            )


def _key(ctx: Context, key_id: str, row: Row) -> ApiKey:
    name, _digest, permissions, metadata, created_at_ms, _updated, expires_at_ms, enabled, made_by = row.cells
    used = ctx.engine.get(ApiKeyUseRow.table_id, key_id.encode())
    return ApiKey(
        key_id,
        name,
        None if permissions is None else tuple(permissions),
        metadata,
        created_at_ms,
        expires_at_ms,
        None if used is None else used.cells[_LAST_USED],
        enabled,
        made_by,
    )
