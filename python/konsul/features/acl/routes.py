"""`/acl`: policies, and trying them. Without the ACL there are no such routes."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request, Response
from starlette.exceptions import HTTPException

from konsul.errors import Invalid
from konsul.features.acl import commands, queries, schemas
from konsul.features.acl.book import Source
from konsul.features.acl.policy import DOCUMENT_MAX_BYTES, Policy
from konsul.kernel.context import Context
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.pipeline import AUTHENTICATED
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import (
    INVALID_BODY,
    OBJECT,
    TEXT,
    TEXTS,
    Ctx,
    Kind,
    Router,
    decode_json,
    json_response,
    members,
)

_QUESTION: Final[dict[str, Kind]] = {"resource": TEXT, "path": TEXT, "capability": TEXT}
_SUBJECT: Final[dict[str, Kind]] = {
    "token": TEXT,
    "api_key": TEXT,
    "user": TEXT,
    "policies": TEXTS,
    "document": OBJECT,
}

router = Router(tags=["acl"])


async def _served(ctx: Ctx) -> Context:
    """Raises HTTPException 404 while the ACL is off, as for any path that is none."""
    # A coroutine although it awaits nothing: FastAPI would send a plain function to a thread and back.
    if not ctx.config.of(GuardSettings).acl_enabled:
        raise HTTPException(404)
    return ctx


async def _served_read(ctx: ReadCtx) -> Context:
    """As `_served`, for what reads the tables."""
    return await _served(ctx)


AclCtx = Annotated[Context, Depends(_served)]
AclReadCtx = Annotated[Context, Depends(_served_read)]


async def _document(request: Request) -> Any:
    """The decoded body. Raises Invalid for no JSON and for more than a policy may be."""
    raw = await request.body()
    if len(raw) > DOCUMENT_MAX_BYTES:
        raise Invalid(f"Invalid policy: the document is over {DOCUMENT_MAX_BYTES} bytes")
    return decode_json(raw, request.headers.get("content-type", ""))


async def _policy_document(request: Request) -> dict[str, Any]:
    document = await _document(request)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Invalid(INVALID_BODY)
    return document


async def _body(request: Request, kinds: dict[str, Kind]) -> dict[str, Any]:
    return members(await _document(request), kinds)


def _shown(policy: Policy, source: Source) -> dict[str, Any]:
    return policy.document() | {"source": source}


@router.post("/acl/policies", needs="admin:write", openapi_extra=schemas.POLICY)
async def create_route(ctx: AclCtx, request: Request) -> Response:
    """Stores a new policy; 409 when there is one of this name."""
    document = await _policy_document(request)
    name = document.get("name")
    stored = await ctx.run(commands.create, name=name if isinstance(name, str) else "", document=document)
    return json_response({"message": "policy created", "policy": stored}, 201)


@router.get("/acl/policies", needs="admin:read")
async def list_route(ctx: AclReadCtx) -> Response:
    """Every policy's name, and where each comes from."""
    found = await ctx.run(queries.list_)
    return json_response({"count": len(found), "policies": list(found), "sources": found})


@router.get("/acl/policies/{name}", needs="admin:read")
async def read_route(ctx: AclReadCtx, name: str) -> Response:
    """A policy's document, with its `source`: api or directory."""
    policy, source = await ctx.run(queries.read, name=name)
    return json_response(_shown(policy, source))


@router.put("/acl/policies/{name}", needs="admin:write", openapi_extra=schemas.POLICY)
async def update_route(ctx: AclCtx, name: str, request: Request) -> Response:
    """Replaces a policy; 409 for one of the directory."""
    document = await _policy_document(request)
    stored = await ctx.run(commands.update, name=name, document=document)
    return json_response({"message": "policy updated", "policy": stored})


@router.delete("/acl/policies/{name}", needs="admin:write")
async def delete_route(ctx: AclCtx, name: str) -> Response:
    """Removes a policy; 409 for one of the directory."""
    await ctx.run(commands.delete, name=name)
    return json_response({"message": "policy deleted", "policy": name})


@router.post("/acl/test", needs="admin:read", openapi_extra=schemas.TEST)
async def test_route(ctx: AclReadCtx, request: Request) -> Response:
    """What these policies would decide together."""
    body = await _body(request, {"policies": TEXTS, **_QUESTION})
    allowed = await ctx.run(queries.test, **body)
    return json_response({"allowed": allowed, **body})


@router.post("/acl/validate", needs="admin:read", openapi_extra=schemas.VALIDATE)
async def validate_route(ctx: AclCtx, request: Request) -> Response:
    """All that is wrong with a policy document, each with its place; nothing is stored."""
    found = await ctx.run(queries.validate, document=await _document(request))
    return json_response({"valid": not found, "problems": [one.document() for one in found]})


@router.post("/acl/explain", needs="admin:read", openapi_extra=schemas.EXPLAIN)
async def explain_route(ctx: AclReadCtx, request: Request) -> Response:
    """Which rule of which policy decides: for a token, an API key, a user, policies, or a document."""
    body = await _body(request, _QUESTION | _SUBJECT)
    subject = {name: body.pop(name) for name in _SUBJECT}
    found = await ctx.run(queries.explain, subject=subject, **body)
    return json_response(found)


@router.get("/acl/explain", needs=AUTHENTICATED)
async def explain_own_route(
    ctx: AclReadCtx,
    resource: Annotated[str, Query(description="kv, service, health, ...")] = "",
    path: Annotated[str, Query(description="The key or name.")] = "",
    capability: Annotated[str, Query(description="read, write, ...")] = "",
) -> Response:
    """Which rule decides for the caller; needs no permission."""
    found = await ctx.run(queries.explain_own, resource=resource, path=path, capability=capability)
    return json_response(found)
