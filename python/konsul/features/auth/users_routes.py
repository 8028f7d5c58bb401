"""`/auth/users`: administration of users, and changing the own password."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request, Response

from konsul.errors import Invalid
from konsul.features.auth import administration_schemas as schemas
from konsul.features.auth import users
from konsul.features.auth.plain import (
    INVALID_BODY,
    MAYBE_BOOL,
    After,
    AuthCtx,
    AuthReadCtx,
    Limit,
    listed,
    page_limit,
    plain_refusals,
)
from konsul.features.auth.users import User
from konsul.kernel.duration import moment
from konsul.kernel.pipeline import AUTHENTICATED
from konsul.kernel.routing import (
    MAYBE_TEXT,
    MAYBE_TEXTS,
    TEXT,
    Kind,
    Router,
    json_response,
    read_members,
)

_CHANGES: Final[dict[str, Kind]] = {
    "username": TEXT,
    "roles": MAYBE_TEXTS,
    "policies": MAYBE_TEXTS,
}

router = Router(tags=["auth"])


@router.post("/auth/users", needs="admin:write", openapi_extra=schemas.USER)
@plain_refusals
async def create_route(ctx: AuthCtx, request: Request) -> Response:
    """Makes a user; without `roles` it has the role user, without `password` it cannot log in with one."""
    kinds = {"user_id": TEXT, "password": MAYBE_TEXT, **_CHANGES}
    body = await read_members(request, kinds, message=INVALID_BODY)
    if not body["user_id"]:
        raise Invalid("user_id is required")
    return json_response({"user": _document(await ctx.run(users.create, **body))}, 201)


@router.get("/auth/users", needs="admin:read")
@plain_refusals
async def list_route(ctx: AuthReadCtx, after: After = None, limit: Limit = None) -> Response:
    """Users by id; `after` is there when there are more."""
    return listed(await ctx.run(users.list_, after=after, limit=page_limit(limit)), "users", _document)


@router.get("/auth/users/{id}", needs="admin:read")
@plain_refusals
async def read_route(ctx: AuthReadCtx, id: str) -> Response:
    """One user; 404 for none."""
    return json_response(_document(await ctx.run(users.read, user_id=id)))


@router.put("/auth/users/{id}", needs="admin:write", openapi_extra=schemas.USER_CHANGES)
@plain_refusals
async def update_route(ctx: AuthCtx, id: str, request: Request) -> Response:
    """Changes what is given; holds at once, also for tokens that are out."""
    body = await read_members(request, {**_CHANGES, "enabled": MAYBE_BOOL}, message=INVALID_BODY)
    user = await ctx.run(users.update, user_id=id, **body)
    return json_response({"message": "user updated", "user": _document(user)})


@router.delete("/auth/users/{id}", needs="admin:write")
@plain_refusals
async def delete_route(ctx: AuthCtx, id: str) -> Response:
    """Removes a user with all logins; 409 for the last administrator."""
    await ctx.run(users.delete, user_id=id)
    return json_response({"message": "user deleted", "user_id": id})


@router.post("/auth/users/{id}/passwd", needs=AUTHENTICATED, openapi_extra=schemas.PASSWORD)
@plain_refusals
async def password_route(ctx: AuthCtx, id: str, request: Request) -> Response:
    """Changes a password and ends the user's logins. One's own takes `old_password`, others' admin:write."""
    body = await read_members(request, {"password": TEXT, "old_password": TEXT}, message=INVALID_BODY)
    if not body["password"]:
        raise Invalid("password is required")
    caller = ctx.identity
    if caller.kind == "user" and caller.id == id:
        await ctx.run(users.change_password, user_id=id, **body)
    else:
        await ctx.run(users.set_password, user_id=id, password=body["password"])
    return json_response({"message": "password changed: log in again", "user_id": id})


@router.post("/auth/users/{id}/disable", needs="admin:write")
@plain_refusals
async def disable_route(ctx: AuthCtx, id: str) -> Response:
    """Ends a user's logins and lets none in until it is enabled; 409 for the last administrator."""
    await ctx.run(users.update, user_id=id, enabled=False)
    return json_response({"message": "user disabled", "user_id": id})


@router.post("/auth/users/{id}/enable", needs="admin:write")
@plain_refusals
async def enable_route(ctx: AuthCtx, id: str) -> Response:
    """Lets a disabled user log in again."""
    await ctx.run(users.update, user_id=id, enabled=True)
    return json_response({"message": "user enabled", "user_id": id})


def _document(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "username": user.username,
        "roles": list(user.roles),
        "policies": list(user.policies),
        "enabled": user.enabled,
        "has_password": user.has_password,
        "created_at": moment(user.created_at_ms),
        "updated_at": moment(user.updated_at_ms),
    }
