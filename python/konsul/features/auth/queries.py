"""Who the caller is, and the keys by which others can tell."""

from __future__ import annotations

from typing import Any

from konsul.errors import Unauthenticated
from konsul.features.auth.node import auth_of
from konsul.kernel.command import query
from konsul.kernel.context import Context
from konsul.kernel.pipeline import AUTHENTICATED, PUBLIC


@query("auth.verify", needs=AUTHENTICATED)
async def verify(ctx: Context) -> dict[str, Any]:
    """Whose the caller's credentials are, and until when.

    Raises:
        Unauthenticated: there are none.
    """
    auth, who = auth_of(ctx.engine), ctx.identity
    if who.kind not in ("user", "api_key"):
        raise Unauthenticated("missing authorization header")
    told: dict[str, Any] = {
        "issuer": auth.settings.jwt_issuer,
        "roles": list(who.roles),
        "policies": list(who.policies),
        "user_id": who.id,
        "username": who.name,
        "type": who.kind,
        "method": who.method,
    }
    if who.expires_at_s is not None:
        leeway_s = auth.tokens.leeway_s if who.method == "jwt" else 0
        told["expires"] = int(who.expires_at_s - leeway_s)
    return told


@query("auth.jwks", needs=PUBLIC)
async def jwks(ctx: Context) -> dict[str, Any]:
    """The public keys that verify this node's tokens; empty while a shared secret signs them."""
    return auth_of(ctx.engine).keys.jwks()
