"""Join tokens: made once, stored as their SHA-256, spent by a commit, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import Final

from konsul.engine import Engine, Row
from konsul.errors import Conflict, Forbidden, Invalid, LimitReached, NotFound, Unsupported
from konsul.features.cluster.tables import JoinTokenRow
from konsul.kernel import entry

TOKENS_MAX: Final = 1_000
USES_MAX: Final = 1_000
TTL_MAX_MS: Final = 365 * 86_400_000
DEFAULT_TTL_MS: Final = 86_400_000
ID_CHARS: Final = 16
"""A token is named by the beginning of its hash."""
_TOKEN_CHARS_MAX: Final = 512
_SPEND_TRIES: Final = 5
_USES, _CREATED, _EXPIRES, _DESCRIPTION, _USED_BY = range(5)


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What is known of a stored token."""

    id: str
    uses_left: int | None
    created_at_ms: int
    expires_at_ms: int | None
    description: str


def digest(token: str) -> str:
    """The key of a token's row."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Compares secrets in a time that says nothing about where they differ."""
    return hmac.compare_digest(digest(one), digest(other))


async def create(
    engine: Engine, *, ttl_ms: int | None, uses: int | None, description: str
) -> tuple[str, JoinToken]:
    """Makes and stores a token; returns it, this once, and what is known of it. `uses` None: any number.

    Raises:
        Invalid: a bound is out of its range. LimitReached: there are too many tokens.
    """
    if uses is not None and not 1 <= uses <= USES_MAX:
        raise Invalid(f"uses is {uses}: expected 1 to {USES_MAX}")
    if ttl_ms is not None and not 1 <= ttl_ms <= TTL_MAX_MS:
        raise Invalid("ttl is out of its range: expected at most 8760h")
    if len(description) > 256 or not description.isprintable():
        raise Invalid("description: expected at most 256 printable characters")
    if _count(engine) >= TOKENS_MAX:
        raise LimitReached(f"there are {TOKENS_MAX} join tokens: revoke some first")
    token = secrets.token_urlsafe(32)
    now_ms = _now_ms()
    expires_at_ms = now_ms + (DEFAULT_TTL_MS if ttl_ms is None else ttl_ms)
    key = digest(token)
    cells = entry.cells(uses, now_ms, expires_at_ms, description, [])
    await engine.put(JoinTokenRow.table_id, key.encode(), cells, 0)
    return token, JoinToken(key[:ID_CHARS], uses, now_ms, expires_at_ms, description)


def listed(engine: Engine) -> list[JoinToken]:
    """Every token that is not over, by age."""
    page = engine.scan(JoinTokenRow.table_id, limit=TOKENS_MAX)
    now_ms = _now_ms()
    found = [_describe(key, row) for key, row in page.rows if not _is_over(row, now_ms)]
    return sorted(found, key=lambda token: (token.created_at_ms, token.id))


async def revoke(engine: Engine, token_id: str) -> None:
    """Makes a token useless.

    Raises:
        NotFound: there is none with this id.
    """
    prefix = token_id.encode()
    is_id = len(token_id) >= ID_CHARS and all(char in "0123456789abcdef" for char in token_id)
    rows = engine.scan(JoinTokenRow.table_id, prefix, limit=2).rows if is_id else []
    if len(rows) != 1:
        raise NotFound("join token not found")
    key = rows[0][0]
    case = entry.case([entry.exists(JoinTokenRow, key)], [entry.delete(JoinTokenRow, key)])
    try:
        await engine.commit(entry.encode([case]))
    except Conflict:
        raise NotFound("join token not found") from None


def is_asked_for(engine: Engine, static: str, always: bool) -> bool:
    """True if nobody joins without a token."""
    return always or bool(static) or _count(engine) > 0


async def admit(engine: Engine, token: str, raft_id: int, *, static: str, always: bool) -> None:
    """Lets a node in or refuses it; a counted token is spent by a commit before this returns.

    Raises:
        Forbidden: a token is needed and missing, unknown, over or used up.
    """
    if not token:
        if is_asked_for(engine, static, always):
            raise Forbidden("a join token is required")
        return
    if static and same(token, static):
        return
    if len(token) > _TOKEN_CHARS_MAX:
        raise Forbidden("invalid join token")
    for _ in range(_SPEND_TRIES):
        key = digest(token).encode()
        row = engine.get(JoinTokenRow.table_id, key)
        # One answer for every reason: who guesses learns nothing.
        if row is None or _is_over(row, _now_ms()):
            raise Forbidden("invalid join token")
        if row.cells[_USES] is None or str(raft_id) in row.cells[_USED_BY]:
            return
        if row.cells[_USES] == 0:
            raise Forbidden("invalid join token")
        changes = {"uses_left": row.cells[_USES] - 1, "used_by": [*row.cells[_USED_BY], str(raft_id)]}
        guards = [entry.at(JoinTokenRow, key, row.modify_index)]
        try:
            await engine.commit(entry.encode([entry.case(guards, [entry.patch(JoinTokenRow, key, changes)])]))
        except Conflict:
            continue
        return
    raise Conflict("the join token is being used by others: try again")


async def forget(engine: Engine, raft_id: int) -> None:
    """Before a member is removed: the use it came in with is over, so that it needs another to come back."""
    if not _count(engine):
        return
    for key, row in engine.scan(JoinTokenRow.table_id, limit=TOKENS_MAX).rows:
        used_by = row.cells[_USED_BY]
        if str(raft_id) not in used_by:
            continue
        left = {"used_by": [one for one in used_by if one != str(raft_id)]}
        guards = [entry.at(JoinTokenRow, key, row.modify_index)]
        try:
            await engine.commit(entry.encode([entry.case(guards, [entry.patch(JoinTokenRow, key, left)])]))
        except Conflict:
            # Somebody else just used or revoked it; the use of this member stays noted, which harms little.
            continue


def _count(engine: Engine) -> int:
    try:
        return engine.count(JoinTokenRow.table_id)
    except Unsupported:
        # A node has no tables before its cluster has reached it: no token was made so far.
        return 0


def _describe(key: bytes, row: Row) -> JoinToken:
    uses, created, expires, description = row.cells[:_USED_BY]
    return JoinToken(key.decode()[:ID_CHARS], uses, created, expires, description)


def _is_over(row: Row, now_ms: int) -> bool:
    expires_at_ms = row.cells[_EXPIRES]
    return expires_at_ms is not None and expires_at_ms <= now_ms


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
