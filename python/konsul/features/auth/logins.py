"""Logins: begun with a password, carried on by refresh tokens that are good once, ended."""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from konsul.engine import Engine, Row
from konsul.errors import Conflict, Unauthenticated
from konsul.features.auth.credentials import digest
from konsul.features.auth.node import Auth
from konsul.features.auth.tables import LOGIN_SEPARATOR, LoginRow, UserRow, login_key
from konsul.kernel import entry
from konsul.kernel.logging import logger

if TYPE_CHECKING:
    from konsul.features.auth.tokens import Claims, Purpose

WRONG: Final = "invalid credentials"
"""One answer for no such user, a wrong password and a disabled user: who guesses learns nothing."""
REFRESH_EXPIRED: Final = "refresh token expired"
REFRESH_INVALID: Final = "invalid refresh token"
_LOGIN_ID_BYTES: Final = 16
_TRIES: Final = 3
_GRACE_MS: Final = 1_000
_EXCHANGED, _REPLAYED = 0, 1
_HASH, _ENABLED = UserRow.column("password_hash"), UserRow.column("enabled")
_USERNAME, _ROLES, _POLICIES = (UserRow.column(name) for name in ("username", "roles", "policies"))
_REFRESHED = LoginRow.column("refreshed_at_ms")


@dataclass(frozen=True, slots=True)
class Issued:
    """What a client gets for a login."""

    token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_s: int
    refresh_expires_in_s: int
    user_id: str
    username: str
    roles: tuple[str, ...]


async def begin(auth: Auth, engine: Engine, user_id: str, password: str, client_addr: str) -> Issued:
    """Logs a user in.

    Raises:
        Unauthenticated: no such user, a wrong password, or the user is disabled.
        Busy: too many passwords wait. NoLeader, Timeout, Stopping. Conflict: the user is being changed.
    """
    # A password that was just changed on another node must count here too.
    await engine.barrier("default")
    for _ in range(_TRIES):
        row = engine.get(UserRow.table_id, user_id.encode())
        stored = row.cells[_HASH] if row is not None else ""
        fits = await auth.passwords.fits(stored, password)
        if row is None or not fits or not row.cells[_ENABLED]:
            raise Unauthenticated(WRONG, presented=True, reason=_why(row, fits))
        try:
            return await _store(auth, engine, user_id, row, client_addr)
        except Conflict:
            # The user was changed meanwhile, perhaps the password: it is looked at again.
            continue
    raise Conflict("the user is being changed by others: try again")


async def refresh(auth: Auth, engine: Engine, token: str) -> Issued:
    """Exchanges a refresh token for new tokens. One that was exchanged before ends its login: somebody has a
    copy, and whose it is cannot be told (RFC 9700, 4.14.2).

    Raises:
        Unauthenticated: it is not good. NoLeader, Timeout, Stopping.
    """
    claims = _refresh_claims(auth, token)
    key = login_key(claims.user_id, claims.login_id)
    now_ms = _now_ms()
    next_id = auth.tokens.new_id()
    is_newest = entry.is_(LoginRow, key, "refresh_digest", digest(claims.token_id))
    exchange = entry.patch(
        LoginRow,
        key,
        {
            "refresh_digest": digest(next_id),
            "refreshed_at_ms": now_ms,
            "expires_at_ms": now_ms + _lasts_ms(auth),
        },
    )
    enabled = entry.is_(UserRow, claims.user_id, "enabled", True)
    is_older = entry.is_not(LoginRow, key, "refresh_digest", digest(claims.token_id))
    there, end = entry.exists(LoginRow, key), entry.delete(LoginRow, key)
    cases = [
        entry.case([is_newest, enabled], [exchange]),
        entry.case([there, is_older], [end]),
        entry.case([there], [end]),
    ]
    try:
        applied = await engine.commit(entry.encode(cases))
    except Conflict:
        raise Unauthenticated(REFRESH_INVALID, presented=True) from None
    if applied.case != _EXCHANGED:
        auth.forget(LoginRow.table_id, key)
        if applied.case == _REPLAYED:
            auth.counts.replays += 1
            logger().warning("a spent refresh token came again: its login is over", user_id=claims.user_id)
        reason = "spent refresh token" if applied.case == _REPLAYED else "the user is disabled"
        raise Unauthenticated(REFRESH_INVALID, presented=True, reason=f"{reason}: the login is over")
    row = engine.get(UserRow.table_id, claims.user_id.encode())
    if row is None:
        raise Unauthenticated(REFRESH_INVALID, presented=True)
    auth.counts.refreshed += 1
    return _issue(auth, claims.user_id, row, claims.login_id, next_id, applied.index)


def whose(auth: Auth, token: str) -> str:
    """The user of a refresh token; empty if it is none that is signed here and not over."""
    try:
        return _refresh_claims(auth, token).user_id
    except Unauthenticated:
        return ""


async def end(auth: Auth, engine: Engine, user_id: str, login_id: str) -> None:
    """Ends a login with all its tokens; does nothing if it is over.

    Raises:
        NoLeader, Timeout, Stopping.
    """
    key = login_key(user_id, login_id)
    case = entry.case([entry.exists(LoginRow, key)], [entry.delete(LoginRow, key)])
    with contextlib.suppress(Conflict):
        await engine.commit(entry.encode([case]))
    auth.forget(LoginRow.table_id, key)


def ends_all(user_id: str) -> entry.Op:
    """What ends every login of a user, for the entry that changes the password. A disabled or deleted user's
    end by themselves."""
    return entry.delete_prefix(LoginRow, f"{user_id}{LOGIN_SEPARATOR}")


async def _store(auth: Auth, engine: Engine, user_id: str, row: Row, client_addr: str) -> Issued:
    login_id = secrets.token_urlsafe(_LOGIN_ID_BYTES)
    refresh_id = auth.tokens.new_id()
    now_ms = _now_ms()
    login = LoginRow(
        login=login_key(user_id, login_id).decode(),
        user_id=user_id,
        refresh_digest=digest(refresh_id),
        created_at_ms=now_ms,
        refreshed_at_ms=now_ms,
        expires_at_ms=now_ms + _lasts_ms(auth),
        client_addr=client_addr,
    )
    ops = [entry.delete(LoginRow, key) for key in _in_excess(auth, engine, user_id)]
    ops.append(entry.put(LoginRow, login.login, login.cells()))
    # Only if the user is still the one whose password was looked at.
    guards = [entry.at(UserRow, user_id, row.modify_index)]
    applied = await engine.commit(entry.encode([entry.case(guards, ops)]))
    return _issue(auth, user_id, row, login_id, refresh_id, applied.index)


def _issue(auth: Auth, user_id: str, row: Row, login_id: str, refresh_id: str, index: int) -> Issued:
    username, roles = row.cells[_USERNAME] or user_id, tuple(row.cells[_ROLES] or ())
    policies = tuple(row.cells[_POLICIES] or ())

    def sign(purpose: Purpose, token_id: str) -> str:
        auth.counts.add(auth.counts.issued, purpose)
        return auth.tokens.issue(
            purpose,
            user_id=user_id,
            username=username,
            roles=roles,
            policies=policies,
            login_id=login_id,
            index=index,
            token_id=token_id,
        )

    access, refreshing = sign("access", ""), sign("refresh", refresh_id)
    lives = auth.tokens.life_s("access"), auth.tokens.life_s("refresh")
    return Issued(access, refreshing, *lives, user_id, username, roles)


def _in_excess(auth: Auth, engine: Engine, user_id: str) -> list[bytes]:
    """The logins of a user that have to go before another one fits."""
    most = auth.settings.logins_max
    rows = engine.scan(LoginRow.table_id, f"{user_id}{LOGIN_SEPARATOR}".encode(), limit=2 * most).rows
    by_age = sorted(rows, key=lambda item: (item[1].cells[_REFRESHED], item[0]))
    return [key for key, _ in by_age[: max(0, len(rows) - most + 1)]]


def _why(row: Row | None, fits: bool) -> str:
    """Why somebody was not let in, for the audit alone."""
    if row is None:
        return "no such user"
    return "the user is disabled" if fits else "wrong password"


def _refresh_claims(auth: Auth, token: str) -> Claims:
    try:
        return auth.tokens.read(token, "refresh")
    except Unauthenticated as error:
        told = REFRESH_EXPIRED if str(error) == "token expired" else REFRESH_INVALID
        raise Unauthenticated(told, presented=True) from None


def _lasts_ms(auth: Auth) -> int:
    """How long a login's row stays: as long as its refresh token, read by the slowest clock."""
    return auth.settings.refresh_expiry_ms + auth.settings.jwt_leeway_ms + _GRACE_MS


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
