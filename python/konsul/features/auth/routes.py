"""`/auth`: logging in, refreshing, verifying, logging out. Errors are of the shape `{"error": text}`."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request, Response

from konsul.errors import Invalid
from konsul.features.auth import commands, documents, logins, queries
from konsul.features.auth.credentials import is_user_id
from konsul.features.auth.logins import Issued
from konsul.features.auth.node import auth_of
from konsul.features.auth.plain import INVALID_BODY, AuthCtx, plain_refusals
from konsul.kernel.duration import moment
from konsul.kernel.pipeline import AUTHENTICATED, PUBLIC
from konsul.kernel.routing import TEXT, Router, json_response, read_members

_NOBODY: Final = "-"
"""Stands for what can be no user's id, so that no log gets what was typed there: no user has it."""

router = Router(tags=["auth"])


def _issued(issued: Issued) -> Response:
    return json_response(
        {
            "token": issued.token,
            "refresh_token": issued.refresh_token,
            "expires_in": issued.expires_in_s,
            "refresh_expires_in": issued.refresh_expires_in_s,
        }
    )


@router.post("/auth/login", needs=PUBLIC, openapi_extra=documents.LOGIN)
@plain_refusals
async def login_route(ctx: AuthCtx, request: Request) -> Response:
    """Logs a user in. What else the body says, roles and policies, is not listened to: the server knows."""
    kinds = {"user_id": TEXT, "username": TEXT, "password": TEXT}
    body = await read_members(request, kinds, message=INVALID_BODY)
    if not body["user_id"] or not body["username"]:
        raise Invalid("user_id and username are required")
    user_id = body["user_id"] if is_user_id(body["user_id"]) else _NOBODY
    return _issued(await ctx.run(commands.login, user_id=user_id, password=body["password"]))


@router.post("/auth/refresh", needs=PUBLIC, openapi_extra=documents.REFRESH)
@plain_refusals
async def refresh_route(ctx: AuthCtx, request: Request) -> Response:
    """Exchanges a refresh token, which is good once, for a new access token and a new refresh token."""
    body = await read_members(request, {"refresh_token": TEXT}, message=INVALID_BODY)
    if not body["refresh_token"]:
        raise Invalid("refresh_token is required")
    user_id = logins.whose(auth_of(ctx.engine), body["refresh_token"]) or _NOBODY
    return _issued(await ctx.run(commands.refresh, user_id=user_id, refresh_token=body["refresh_token"]))


@router.get("/auth/verify", needs=AUTHENTICATED)
@plain_refusals
async def verify_route(ctx: AuthCtx) -> Response:
    """Whose the credentials are, and until when they hold."""
    told: dict[str, Any] = await ctx.run(queries.verify)
    return json_response(told)


@router.post("/auth/logout", needs=AUTHENTICATED)
@plain_refusals
async def logout_route(ctx: AuthCtx) -> Response:
    """Ends the login of the token: on every node it holds no longer, nor does its refresh token."""
    await ctx.run(commands.logout)
    return json_response({"message": "logged out"})


@router.get("/auth/jwks", needs=PUBLIC)
@router.get("/.well-known/jwks.json", needs=PUBLIC)
@plain_refusals
async def jwks_route(ctx: AuthCtx) -> Response:
    """The public keys of tokens (RFC 7517); none while they are signed with a shared secret."""
    told: dict[str, Any] = await ctx.run(queries.jwks)
    return json_response(told)


@router.post("/auth/bootstrap", needs=PUBLIC)
@plain_refusals
async def bootstrap_route(ctx: AuthCtx) -> Response:
    """Makes the first API key of the cluster, once. It may do everything and is in this answer only."""
    made = await ctx.run(commands.bootstrap)
    told = {"token": made.token, "id": made.key_id, "created_at": moment(made.created_at_ms)}
    return json_response(told, 201)
