"""Tokens: signed claims of who logged in (RFC 7519), written and checked. The rules of RFC 8725 are kept: one
algorithm per key, one purpose per token, every claim checked."""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from joserfc import jwt
from joserfc.errors import JoseError

from konsul.errors import Unauthenticated
from konsul.features.auth.config import AuthSettings
from konsul.features.auth.signing import Keys, SigningKey

Purpose = Literal["access", "refresh"]
TOKEN_BYTES_MAX: Final = 8_192
_ID_BYTES: Final = 16
_HEADER: Final = frozenset(("alg", "kid", "typ"))
_NUMBER_MAX: Final = 1 << 53
_INVALID: Final = "invalid token"
_EXPIRED: Final = "token expired"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says, checked. Roles and policies are those of the moment it was issued."""

    user_id: str
    username: str
    roles: tuple[str, ...]
    policies: tuple[str, ...]
    token_id: str
    """`jti`: the mark of the key that signed, a dot, a random text."""
    login_id: str
    """`sid`: the login it belongs to."""
    index: int
    """`idx`: the log's index at which that login was made."""
    expires_at_s: int
    issued_at_s: int
    cluster: str
    """`cid`: the cluster it was made in, empty for a lone node's."""


class Tokens:
    """Issues and checks tokens with the keys of the moment."""

    def __init__(
        self,
        settings: AuthSettings,
        keys: Callable[[], Keys],
        *,
        now_s: Callable[[], float] = time.time,
        cluster: Callable[[], str] = lambda: "",
    ) -> None:
        """`cluster`: the id of the cluster this node is in, empty for a lone node."""
        self._keys = keys
        self.cluster = cluster
        self._now_s = now_s
        self._issuer, self._audience = settings.jwt_issuer, settings.jwt_audience
        self.leeway_s = settings.jwt_leeway_ms / 1_000
        self._life_ms: Mapping[Purpose, int] = {
            "access": settings.jwt_expiry_ms,
            "refresh": settings.refresh_expiry_ms,
        }

    def life_s(self, purpose: Purpose) -> int:
        """How long such a token holds, in whole seconds."""
        return max(1, self._life_ms[purpose] // 1_000)

    def new_id(self) -> str:
        """An id for a token that the present key will sign."""
        return f"{self._keys().signer.mark}.{secrets.token_urlsafe(_ID_BYTES)}"

    def issue(
        self,
        purpose: Purpose,
        *,
        user_id: str,
        username: str,
        roles: Sequence[str],
        policies: Sequence[str],
        login_id: str,
        index: int,
        token_id: str = "",
    ) -> str:
        """Signs a token. `token_id` has to come from `new_id`; without one it gets one."""
        signer = self._keys().signer
        now = int(self._now_s())
        claims: dict[str, Any] = {
            "user_id": user_id,
            "username": username,
            "roles": list(roles),
            "iss": self._issuer,
            "aud": self._audience,
            "sub": user_id,
            "exp": now + self.life_s(purpose),
            "nbf": now,
            "iat": now,
            "typ": purpose,
            "jti": token_id or self.new_id(),
            "sid": login_id,
            "idx": index,
            "cid": self.cluster(),
        }
        if policies:
            claims["policies"] = list(policies)
        header = {"alg": signer.algorithm, "kid": signer.kid}
        return jwt.encode(header, claims, signer.key, registry=signer.registry)

    def read(self, token: str, purpose: Purpose) -> Claims:
        """The claims of a token of this purpose.

        Raises:
            Unauthenticated: `token expired` for one that was good once, else `invalid token`.
        """
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise Unauthenticated(_INVALID)
        key = self._key_of(token)
        try:
            claims = jwt.decode(token, key.key, registry=key.registry).claims
        except (JoseError, ValueError, TypeError, RecursionError):
            raise Unauthenticated(_INVALID) from None
        return self._checked(claims, purpose, key)

    def _key_of(self, token: str) -> SigningKey:
        """The key that a token's header names, if the header is as ours are."""
        try:
            head, _, _ = token.split(".")
            header = orjson.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        except (ValueError, binascii.Error):
            raise Unauthenticated(_INVALID) from None
        # `crit`, `jwk`, `jku`, `x5u` and the like would have us trust what the token itself brings.
        if not isinstance(header, dict) or not header.keys() <= _HEADER:
            raise Unauthenticated(_INVALID)
        kid = header.get("kid")
        key = self._keys().by_kid.get(kid) if isinstance(kid, str) else None
        if key is None or header.get("alg") != key.algorithm or header.get("typ", "JWT") != "JWT":
            raise Unauthenticated(_INVALID)
        return key

    def _checked(self, claims: Mapping[str, Any], purpose: Purpose, key: SigningKey) -> Claims:
        texts = [claims.get(name) for name in ("user_id", "username", "jti", "sid")]
        numbers = [claims.get(name) for name in ("exp", "nbf", "iat", "idx")]
        lists = [claims.get(name, []) for name in ("roles", "policies")]
        is_whole = (
            all(isinstance(text, str) and text for text in texts)
            and isinstance(claims.get("cid"), str)
            # An exact type: true is an int to Python, and a fraction may be NaN. Bounded: whoever computes
            # with it may do so as a float.
            and all(type(number) is int and abs(number) < _NUMBER_MAX for number in numbers)
            and all(isinstance(one, list) and all(isinstance(t, str) for t in one) for one in lists)
        )
        if not is_whole:
            raise Unauthenticated(_INVALID)
        user_id, username, token_id, login_id = (str(text) for text in texts)
        expires, not_before, issued, index = (int(number or 0) for number in numbers)
        now = self._now_s()
        is_ours = (
            claims.get("iss") == self._issuer
            and claims.get("aud") == self._audience
            and claims.get("sub") == user_id
            and claims.get("typ") == purpose
            and token_id.startswith(f"{key.mark}.")
            and max(not_before, issued) <= now + self.leeway_s
        )
        if not is_ours:
            raise Unauthenticated(_INVALID)
        if expires + self.leeway_s <= now:
            raise Unauthenticated(_EXPIRED)
        roles, policies = (tuple(sorted(one)) for one in lists)
        return Claims(
            user_id, username, roles, policies, token_id, login_id, index, expires, issued, claims["cid"]
        )
