"""Administration of users: who exists, what they may do by role and policies, and their passwords."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from konsul.engine import Row
from konsul.errors import Conflict, Duplicate, Forbidden, Invalid, LimitReached
from konsul.features.auth.administrators import without_user
from konsul.features.auth.changes import Kept
from konsul.features.auth.config import AuthSettings
from konsul.features.auth.credentials import USER_ID_EXPECTED, is_user_id
from konsul.features.auth.logins import ends_all
from konsul.features.auth.node import auth_of
from konsul.features.auth.plain import PAGE_MAX, Page
from konsul.features.auth.tables import UserRow
from konsul.kernel import entry
from konsul.kernel.command import command, query
from konsul.kernel.context import Context
from konsul.kernel.pipeline import ADMIN, AUTHENTICATED

USER: Final = "user"
ROLES: Final = (USER, ADMIN)
NAME_MAX: Final = 256
POLICIES_MAX: Final = 64
TAKEN: Final = "user already exists"
UNKNOWN: Final = "user not found"
WRONG_PASSWORD: Final = "the old password is wrong"  # noqa: S105 - words about one
NOT_YOURS: Final = "an API key has no password"
POLICY_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_HASH: Final = UserRow.column("password_hash")


@dataclass(frozen=True, slots=True)
class User:
    """What is told of a user; never the hash."""

    user_id: str
    username: str
    roles: tuple[str, ...]
    policies: tuple[str, ...]
    enabled: bool
    has_password: bool
    created_at_ms: int
    updated_at_ms: int


_USERS: Final = Kept(
    UserRow, is_user_id, without_user, UNKNOWN, "the user is being changed by others: try again"
)


@command("auth.user.create", needs="admin:write", resource="user_id")
async def create(
    ctx: Context,
    *,
    user_id: str,
    password: str | None,
    username: str = "",
    roles: Sequence[str] | None = None,
    policies: Sequence[str] | None = None,
) -> User:
    """Makes a user; without a password nobody can log in as it.

    Raises:
        Invalid: something does not fit. Duplicate: there is one. LimitReached. Busy: too many passwords wait.
    """
    if not is_user_id(user_id):
        raise Invalid(f"user_id: expected {USER_ID_EXPECTED}")
    _check(username, roles, policies)
    most = ctx.config.of(AuthSettings).users_max
    if ctx.engine.count(UserRow.table_id) >= most:
        raise LimitReached(f"there are {most} users, KONSUL_AUTH_MAX_USERS: delete some first")
    if _USERS.row(ctx, user_id) is not None:
        raise Duplicate(TAKEN)
    hashed = "" if password is None else await auth_of(ctx.engine).passwords.hash(password)
    cells = [
        username or user_id,
        hashed,
        _sorted(roles if roles is not None else (USER,)),
        _sorted(policies or ()),
        True,
        entry.now(),
        entry.now(),
    ]
    case = entry.case([entry.absent(UserRow, user_id)], [entry.put(UserRow, user_id, cells)])
    try:
        await ctx.commit(entry.encode([case]))
    except Conflict:
        raise Duplicate(TAKEN) from None
    return _user(user_id, _USERS.known(ctx, user_id))


@query("auth.user.list", needs="admin:read")
async def list_(ctx: Context, *, after: str | None = None, limit: int = PAGE_MAX) -> Page[User]:
    """Users by id, above `after`."""
    return _USERS.page(ctx, _user, after, limit)


@query("auth.user.read", needs="admin:read", resource="user_id")
async def read(ctx: Context, *, user_id: str) -> User:
    """One user.

    Raises:
        NotFound.
    """
    return _user(user_id, _USERS.known(ctx, user_id))


@command("auth.user.update", needs="admin:write", resource="user_id")
async def update(
    ctx: Context,
    *,
    user_id: str,
    username: str | None = None,
    roles: Sequence[str] | None = None,
    policies: Sequence[str] | None = None,
    enabled: bool | None = None,
) -> User:
    """Changes what is given; holds at once, also for tokens that are out.

    Raises:
        Invalid, NotFound. LimitReached: it would leave no administrator.
    """
    _check(username, roles, policies)
    changes: dict[str, object] = {}
    if username:
        changes["username"] = username
    if roles is not None:
        changes["roles"] = _sorted(roles)
    if policies is not None:
        changes["policies"] = _sorted(policies)
    if enabled is not None:
        changes["enabled"] = enabled
    loses = enabled is False or (roles is not None and ADMIN not in roles)
    await _USERS.change(ctx, user_id, changes, loses_power=loses)
    return _user(user_id, _USERS.known(ctx, user_id))


@command("auth.user.delete", needs="admin:write", resource="user_id")
async def delete(ctx: Context, *, user_id: str) -> None:
    """Removes a user with all logins.

    Raises:
        NotFound. LimitReached: it is the last administrator.
    """
    await _USERS.delete(ctx, user_id, ends_all(user_id))


@command("auth.user.set_password", needs="admin:write", resource="user_id")
async def set_password(ctx: Context, *, user_id: str, password: str) -> None:
    """Gives a user another password; ends all its logins.

    Raises:
        Invalid: no good password. NotFound. Busy: too many passwords wait.
    """
    _USERS.known(ctx, user_id)
    hashed = await auth_of(ctx.engine).passwords.hash(password)
    await _USERS.change(ctx, user_id, {"password_hash": hashed}, and_then=[ends_all(user_id)])


@command("auth.user.change_password", needs=AUTHENTICATED, resource="user_id")
async def change_password(ctx: Context, *, user_id: str, old_password: str, password: str) -> None:
    """Gives the caller another password; ends all logins, this one too.

    Raises:
        Forbidden: it is not the caller's own, or the old one is wrong. Invalid. RateLimited. Busy.
    """
    caller = ctx.identity
    if caller.kind != "user" or caller.id != user_id:
        raise Forbidden(NOT_YOURS, reason="not the own password")
    row = _USERS.known(ctx, user_id)
    auth = auth_of(ctx.engine)
    auth.attempts.spend(ctx.client_addr, user_id)
    if not await auth.passwords.fits(row.cells[_HASH], old_password):
        raise Forbidden(WRONG_PASSWORD, reason="wrong password")
    auth.attempts.succeeded(ctx.client_addr, user_id)
    hashed = await auth.passwords.hash(password)
    await _USERS.change(ctx, user_id, {"password_hash": hashed}, and_then=[ends_all(user_id)], at=row)


def _check(username: str | None, roles: Sequence[str] | None, policies: Sequence[str] | None) -> None:
    if username is not None and (len(username) > NAME_MAX or not username.isprintable()):
        raise Invalid(f"username: expected at most {NAME_MAX} printable characters")
    for role in roles or ():
        if role not in ROLES:
            raise Invalid(f"roles: {role[:64]!r} is none: expected {' or '.join(ROLES)}")
    check_policies("policies", policies or ())


def check_policies(member: str, names: Sequence[str], *also: str) -> None:
    """Refuses what names no policy; whether there is one of that name is asked when it counts.

    Raises:
        Invalid.
    """
    if len(names) > POLICIES_MAX:
        raise Invalid(f"{member}: expected at most {POLICIES_MAX}")
    for name in names:
        is_name = POLICY_NAME.fullmatch(name) is not None
        if name not in also and not is_name:
            raise Invalid(f"{member}: {name[:64]!r} names no policy: expected 1 to 64 of A-Z a-z 0-9 _ -")


def _sorted(names: Sequence[str]) -> list[str]:
    return sorted(set(names))


def _user(user_id: str, row: Row) -> User:
    username, hashed, roles, policies, enabled, created_at_ms, updated_at_ms = row.cells
    return User(
        user_id,
        username,
        tuple(roles or ()),
        tuple(policies or ()),
        enabled,
        bool(hashed),
        created_at_ms,
        updated_at_ms,
    )
