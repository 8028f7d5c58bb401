"""`/auth/apikeys`: administration of API keys."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request, Response

from konsul.features.auth import administration_schemas as schemas
from konsul.features.auth import apikeys
from konsul.features.auth.apikeys import ApiKey
from konsul.features.auth.plain import (
    INVALID_BODY,
    MAYBE_BOOL,
    MAYBE_INT,
    After,
    AuthCtx,
    AuthReadCtx,
    Limit,
    listed,
    page_limit,
    plain_refusals,
)
from konsul.kernel.duration import moment
from konsul.kernel.routing import (
    MAYBE_TEXT_MAP,
    MAYBE_TEXTS,
    TEXT,
    Kind,
    Router,
    json_response,
    read_members,
)

_CHANGES: Final[dict[str, Kind]] = {"name": TEXT, "permissions": MAYBE_TEXTS, "metadata": MAYBE_TEXT_MAP}

router = Router(tags=["auth"])


@router.post("/auth/apikeys", needs="admin:write", openapi_extra=schemas.API_KEY)
@plain_refusals
async def create_route(ctx: AuthCtx, request: Request) -> Response:
    """Makes a key, which is in this answer and nowhere else. `permissions` name policies; `*`: all."""
    body = await read_members(request, {**_CHANGES, "expires_in": MAYBE_INT}, message=INVALID_BODY)
    expires_in_s = body.pop("expires_in")
    secret, known = await ctx.run(apikeys.create, key_id=apikeys.new_id(), expires_in_s=expires_in_s, **body)
    return json_response({"key": secret, "api_key": _document(known)}, 201)


@router.get("/auth/apikeys", needs="admin:read")
@plain_refusals
async def list_route(ctx: AuthReadCtx, after: After = None, limit: Limit = None) -> Response:
    """Keys by id, without their secrets; `after` is there when there are more."""
    return listed(await ctx.run(apikeys.list_, after=after, limit=page_limit(limit)), "keys", _document)


@router.get("/auth/apikeys/{id}", needs="admin:read")
@plain_refusals
async def read_route(ctx: AuthReadCtx, id: str) -> Response:
    """One key, without its secret; 404 for none."""
    return json_response(_document(await ctx.run(apikeys.read, key_id=id)))


@router.put("/auth/apikeys/{id}", needs="admin:write", openapi_extra=schemas.API_KEY_CHANGES)
@plain_refusals
async def update_route(ctx: AuthCtx, id: str, request: Request) -> Response:
    """Changes what is given; holds at once."""
    body = await read_members(request, {**_CHANGES, "enabled": MAYBE_BOOL}, message=INVALID_BODY)
    await ctx.run(apikeys.update, key_id=id, **body)
    return json_response({"message": "API key updated successfully"})


@router.post("/auth/apikeys/{id}/revoke", needs="admin:write")
@plain_refusals
async def revoke_route(ctx: AuthCtx, id: str) -> Response:
    """Makes a key useless until it is enabled."""
    await ctx.run(apikeys.revoke, key_id=id)
    return json_response({"message": "API key revoked successfully"})


@router.post("/auth/apikeys/{id}/enable", needs="admin:write")
@plain_refusals
async def enable_route(ctx: AuthCtx, id: str) -> Response:
    """Undoes a revocation."""
    await ctx.run(apikeys.enable, key_id=id)
    return json_response({"message": "API key enabled successfully"})


@router.delete("/auth/apikeys/{id}", needs="admin:write")
@plain_refusals
async def delete_route(ctx: AuthCtx, id: str) -> Response:
    """Removes a key."""
    await ctx.run(apikeys.delete, key_id=id)
    return json_response({"message": "API key deleted successfully"})


def _document(key: ApiKey) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": key.id,
        "name": key.name,
        "permissions": None if key.permissions is None else list(key.permissions),
        "metadata": None if key.metadata is None else dict(key.metadata),
        "created_at": moment(key.created_at_ms),
        "enabled": key.enabled,
        "created_by": key.created_by,
    }
    if key.expires_at_ms is not None:
        found["expires_at"] = moment(key.expires_at_ms)
    if key.last_used_at_ms is not None:
        found["last_used_at"] = moment(key.last_used_at_ms)
    return found
