"""From credentials to who calls: verified once, remembered by a digest, forgotten when they no longer hold.

What is remembered is exact: watches of the tables behind it forget whom a change concerns, and while those
watches do not stand nothing is remembered. Roles and policies are read from the tables, never from a token.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from konsul.engine import Engine, Row
from konsul.errors import KonsulError, NoLeader, Unauthenticated, Unsupported
from konsul.features.auth import certificates
from konsul.features.auth.credentials import ADMIN_PERMISSION, digest
from konsul.features.auth.presented import WRONG_FORM, presented
from konsul.features.auth.tables import ApiKeyRow, LoginRow, UserRow, login_key
from konsul.features.auth.tokens import Claims, Tokens
from konsul.kernel.pipeline import ADMIN, ANONYMOUS, Identity

if TYPE_CHECKING:
    from konsul.engine import Grant

GrantOf: TypeAlias = "Callable[[Sequence[str]], Grant | None]"
_Cache: TypeAlias = "dict[bytes, Identity]"
_RowKey: TypeAlias = "tuple[int, bytes]"
TOKEN_REVOKED: Final = "token revoked"  # noqa: S105 - what is said of one
_KEY_INVALID: Final = "invalid API key"
_KEY_DISABLED: Final = "API key disabled"
_KEY_EXPIRED: Final = "API key expired"
_MARK_CHARS: Final = 16
_AHEAD_MAX: Final = 1_000
_AHEAD_S: Final = 10.0
"""How far a node may be behind the others and still take their newest tokens."""
_sha256 = hashlib.sha256
_now_s = time.time
_NAME, _DIGEST, _PERMISSIONS = (ApiKeyRow.column(name) for name in ("name", "digest", "permissions"))
_KEY_EXPIRES, _KEY_ENABLED = ApiKeyRow.column("expires_at_ms"), ApiKeyRow.column("enabled")
_USERNAME, _ROLES, _POLICIES, _ENABLED = (
    UserRow.column(name) for name in ("username", "roles", "policies", "enabled")
)


class Identities:
    """The slots `identify` and `renew`. For any thread; a known credential costs about a microsecond."""

    def __init__(
        self,
        engine: Engine,
        tokens: Tokens,
        marks: Callable[[], frozenset[str]],
        *,
        entries_max: int,
        key_prefix: str,
        maps_certificates: bool = False,
        grant_of: GrantOf = lambda names: None,  # noqa: ARG005 - the open slot
    ) -> None:
        """`marks`: of the keys whose tokens still hold. `maps_certificates`: a certificate's common name is a
        user id. `grant_of`: what policies add up to."""
        self._engine, self._tokens, self._marks = engine, tokens, marks
        self._entries_max = entries_max
        self._key_prefix = f"{key_prefix}_".encode()
        self._maps_certificates = maps_certificates
        self._grant_of = grant_of
        self._headers: _Cache = {}
        self._keys: _Cache = {}
        self._certificates: _Cache = {}
        self._concerned: dict[_RowKey, set[tuple[int, bytes]]] = {}
        """By row: what is remembered because of it, as `(which cache, digest)`."""
        self._caches = (self._headers, self._keys, self._certificates)
        self._lock = threading.Lock()
        self._changes = 0
        self._ahead: dict[bytes, int] = {}
        """Logins that this node has not heard of yet, made at an index it has not reached."""
        self.remembers = False
        """True while the watches stand that make remembering exact."""
        self.used: dict[str, float] = {}
        """API keys used since this was last taken, and when (Unix time in s)."""
        self.misses = 0
        self.failures: dict[str, int] = {}

    def identify(
        self, authorization: bytes | None, api_key: bytes | None, certificate: bytes | None
    ) -> Identity:
        """Who calls, see `konsul.kernel.pipeline.Identify`."""
        if authorization is not None:
            if api_key is not None:
                return self._both(authorization, api_key)
            known = self._headers.get(_sha256(authorization).digest())
        elif api_key is not None:
            known = self._keys.get(_sha256(api_key).digest())
        elif certificate is not None and self._maps_certificates:
            known = self._certificates.get(_sha256(certificate).digest())
        else:
            return ANONYMOUS
        if known is not None:
            now_s = _now_s()
            if known.expires_at_s is None or now_s < known.expires_at_s:
                if known.kind == "api_key":
                    self.used[known.id] = now_s
                return known
        return self._verify(authorization, api_key, certificate)

    def renew(self, identity: Identity) -> Identity:
        """The same caller as of now, see `konsul.kernel.pipeline.Renew`."""
        if identity.kind not in ("user", "api_key"):
            return identity
        is_key = identity.kind == "api_key"
        if identity.expires_at_s is not None and identity.expires_at_s <= _now_s():
            raise Unauthenticated(_KEY_EXPIRED if is_key else "token expired")
        if is_key:
            row = self._row(ApiKeyRow.table_id, identity.id.encode())
            if row is None:
                raise Unauthenticated(_KEY_INVALID)
            now = self._of_key(identity.id, row)
            if now.mark != identity.mark:
                # Another secret has taken its place, as that of the bootstrap file does.
                raise Unauthenticated(_KEY_INVALID)
        else:
            now = self._of_user(identity)
        return identity if now == identity else now

    def forget(self, table: int, key: bytes) -> None:
        """A row has changed: what was known because of it is verified anew."""
        with self._lock:
            self._changes += 1
            for which, digested in self._concerned.pop((table, key), ()):
                gone = self._caches[which].pop(digested, None)
                if gone is not None:
                    self._unlink(gone, which, digested, but=(table, key))

    def clear(self) -> None:
        """Anything may have changed: everybody is verified anew."""
        with self._lock:
            self._changes += 1
            self._concerned.clear()
            for cache in self._caches:
                cache.clear()

    def entries(self) -> int:
        """How many credentials are remembered."""
        return sum(len(cache) for cache in self._caches)

    def take_used(self) -> dict[str, float]:
        """The API keys used since the last time, with the moment of their last use."""
        used, self.used = self.used, {}
        return dict(used)

    def _verify(
        self, authorization: bytes | None, api_key: bytes | None, certificate: bytes | None
    ) -> Identity:
        changes = self._changes
        self.misses += 1
        try:
            if authorization is not None:
                which, text, found = 0, authorization, self._by_header(authorization)
            elif api_key is not None:
                which, text, found = 1, api_key, self._by_key(api_key)
            else:
                assert certificate is not None  # noqa: S101 - narrows for mypy
                which, text, found = 2, certificate, self._by_certificate(certificate)
        except Unauthenticated as error:
            if self._knows_nobody():
                # Not the caller's fault, and another node can tell: a client goes on there.
                raise NoLeader("this node has no tables yet: who calls cannot be checked") from None
            reason = str(error)
            self.failures[reason] = self.failures.get(reason, 0) + 1
            raise
        self._remember(which, _sha256(text).digest(), found, changes)
        return found

    def _both(self, authorization: bytes, api_key: bytes) -> Identity:
        """Two credentials have to be of one caller: who of two is meant is not for the server to choose."""
        one, other = self.identify(authorization, None, None), self.identify(None, api_key, None)
        if (one.kind, one.id) != (other.kind, other.id):
            raise Unauthenticated(WRONG_FORM)
        return one

    def _by_header(self, authorization: bytes) -> Identity:
        kind, text = presented(authorization)
        if kind == "token":
            return self._by_token(text)
        is_bearer = authorization.startswith(b"Bearer ")
        if is_bearer and not text.startswith(self._key_prefix):
            try:
                return self._by_key(text)
            except Unauthenticated as error:
                # Neither a token nor a key of ours: it was meant for a token.
                raise Unauthenticated("invalid token" if str(error) == _KEY_INVALID else str(error)) from None
        return self._by_key(text)

    def _by_token(self, text: bytes) -> Identity:
        claims = self._tokens.read(text.decode("latin-1"), "access")
        expires_at_s = claims.expires_at_s + self._tokens.leeway_s
        key = login_key(claims.user_id, claims.login_id)
        claimed = Identity(
            "user",
            claims.user_id,
            claims.username,
            claims.roles,
            claims.policies,
            "jwt",
            claims.token_id,
            claims.login_id,
            expires_at_s,
            self._grant_of(claims.policies),
        )
        if self._row(LoginRow.table_id, key) is None and self._is_ahead(claims):
            # Made on another node a moment ago: this one has not heard of the login yet, nor of its end.
            with self._lock:
                if len(self._ahead) >= _AHEAD_MAX:
                    del self._ahead[next(iter(self._ahead))]
                self._ahead[key] = claims.index
            return claimed
        return self._of_user(claimed)

    def _by_key(self, text: bytes) -> Identity:
        if not text:
            raise Unauthenticated("missing API key")
        where = [(_DIGEST, digest(text).encode())]
        try:
            rows = self._engine.scan(ApiKeyRow.table_id, where=where, limit=1).rows
        except KonsulError:
            raise Unauthenticated("API key validation failed") from None
        if not rows:
            raise Unauthenticated(_KEY_INVALID)
        key, row = rows[0]
        found = self._of_key(key.decode(), row)
        self.used[found.id] = _now_s()
        return found

    def _by_certificate(self, certificate: bytes) -> Identity:
        subject = certificates.read(certificate)
        user = Identity(
            "user",
            subject.name,
            method="certificate",
            token_id=subject.fingerprint,
            expires_at_s=subject.expires_at_s,
        )
        if subject.expires_at_s <= _now_s():
            raise Unauthenticated("certificate expired")
        return self._of_user(user)

    def _of_key(self, key_id: str, row: Row) -> Identity:
        """The identity of an API key by its row."""
        cells = row.cells
        if not cells[_KEY_ENABLED]:
            raise Unauthenticated(_KEY_DISABLED)
        expires_at_s = None if cells[_KEY_EXPIRES] is None else cells[_KEY_EXPIRES] / 1_000
        if expires_at_s is not None and expires_at_s <= _now_s():
            raise Unauthenticated(_KEY_EXPIRED)
        permissions = cells[_PERMISSIONS] or ()
        policies = tuple(sorted({name for name in permissions if name != ADMIN_PERMISSION}))
        roles = (ADMIN,) if ADMIN_PERMISSION in permissions else ()
        grant = self._grant_of(policies)
        mark = cells[_DIGEST][:_MARK_CHARS]
        return Identity(
            "api_key", key_id, cells[_NAME], roles, policies, "api_key", key_id, "", expires_at_s, grant, mark
        )

    def _of_user(self, identity: Identity) -> Identity:
        """A user's identity with what the tables say now."""
        is_login = identity.method == "jwt"
        if is_login:
            key = login_key(identity.id, identity.login_id)
            if identity.token_id.partition(".")[0] not in self._marks():
                raise Unauthenticated(TOKEN_REVOKED)
            if self._row(LoginRow.table_id, key) is None:
                if self._ahead.get(key, 0) > self._index():
                    return identity
                raise Unauthenticated(TOKEN_REVOKED)
            with self._lock:
                self._ahead.pop(key, None)
        row = self._row(UserRow.table_id, identity.id.encode())
        if row is None or not row.cells[_ENABLED]:
            raise Unauthenticated(TOKEN_REVOKED if is_login else "certificate names no user")
        cells = row.cells
        roles = tuple(sorted(cells[_ROLES] or ()))
        policies = tuple(sorted(cells[_POLICIES] or ()))
        grant = self._grant_of(policies)
        return replace(identity, name=cells[_USERNAME], roles=roles, policies=policies, grant=grant)

    def _knows_nobody(self) -> bool:
        """True before the tables of its cluster have reached this node."""
        try:
            self._engine.get(UserRow.table_id, b"-")
        except (NoLeader, Unsupported):
            return True
        except KonsulError:
            return False
        return False

    def _row(self, table: int, key: bytes) -> Row | None:
        try:
            return self._engine.get(table, key)
        except KonsulError:
            # Before its cluster has reached it a node has no tables, and so knows nobody.
            return None

    def _is_ahead(self, claims: Claims) -> bool:
        """True for a token of this cluster that is newer than all this node knows.

        One of another cluster with the same secret, or of this one before its data was wiped, is no such one.
        """
        age_s = _now_s() - claims.issued_at_s
        is_ours = bool(claims.cluster) and claims.cluster == self._tokens.cluster()
        return is_ours and age_s <= _AHEAD_S + self._tokens.leeway_s and claims.index > self._index()

    def _index(self) -> int:
        try:
            return self._engine.contact()[2]
        except KonsulError:
            return 0

    def _remember(self, which: int, digested: bytes, found: Identity, changes: int) -> None:
        if not self.remembers:
            return
        rows = _rows_of(found)
        with self._lock:
            # A change that came while this was being read may not be in what was read.
            if changes != self._changes or not self.remembers:
                return
            if found.login_id and rows[1][1] in self._ahead:
                return
            cache = self._caches[which]
            if len(cache) >= self._entries_max and digested not in cache:
                oldest = next(iter(cache))
                self._unlink(cache.pop(oldest), which, oldest)
            cache[digested] = found
            for row in rows:
                self._concerned.setdefault(row, set()).add((which, digested))

    def _unlink(self, gone: Identity, which: int, digested: bytes, but: _RowKey | None = None) -> None:
        """Takes what is not remembered any more out of `_concerned`."""
        for row in _rows_of(gone):
            links = self._concerned.get(row)
            if links is None or row == but:
                continue
            links.discard((which, digested))
            if not links:
                del self._concerned[row]


def _rows_of(identity: Identity) -> list[_RowKey]:
    """The rows that an identity rests on."""
    if identity.kind == "api_key":
        return [(ApiKeyRow.table_id, identity.id.encode())]
    rows = [(UserRow.table_id, identity.id.encode())]
    if identity.login_id:
        rows.append((LoginRow.table_id, login_key(identity.id, identity.login_id)))
    return rows
