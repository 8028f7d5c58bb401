"""`/lb/rules`, and `/lb/service/{tag}/split`: how one service is balanced."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request, Response

from konsul.features.lb import documents
from konsul.features.lb.rule_commands import activate, delete_rules, delete_split, set_rules, set_split
from konsul.features.lb.rule_queries import list_rules, rules
from konsul.features.lb.rules import document_of, split_of
from konsul.kernel.parameters import Cas, u64
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import TEXT, Ctx, Router, decode_json, json_response, read_members

_BAD_CAS: Final = "Invalid CAS parameter"

router = Router(tags=["load balancing"])


@router.get("/lb/rules", needs="service:list")
async def list_route(ctx: ReadCtx) -> Response:
    """Lists the rules of every service that has some, by name."""
    found = await ctx.run(list_rules)
    return json_response({"count": len(found), "rules": [documents.stored(one) for one in found]})


@router.put("/lb/rules/{service:path}/active", needs="service:write", openapi_extra=documents.ACTIVATE)
async def activate_route(ctx: Ctx, service: str, request: Request) -> Response:
    """Gives every request to one of the service's named rules: the switch from blue to green."""
    body = await read_members(request, {"active": TEXT})
    found, index = await ctx.run(activate, service=service, active=body["active"])
    return json_response(
        {"message": "rule activated", "service": service, "active": found.active, "modify_index": index}
    )


@router.get("/lb/rules/{service:path}", needs="service:read")
async def rules_route(ctx: ReadCtx, service: str) -> Response:
    """The rules of one service, or of a tag."""
    return json_response(documents.stored(await ctx.run(rules, service=service)))


@router.put("/lb/rules/{service:path}", needs="service:write", openapi_extra=documents.SET_RULES)
async def set_rules_route(ctx: Ctx, service: str, request: Request, cas: Cas = None) -> Response:
    """Replaces the rules of a service, on every node and for every request from now on."""
    document = await _document(request)
    found, index = await ctx.run(set_rules, service=service, document=document, cas=u64(cas, _BAD_CAS))
    return json_response(
        {
            "message": "rules updated",
            "service": service,
            "rules": document_of(found),
            "modify_index": index,
        }
    )


@router.delete("/lb/rules/{service:path}", needs="service:write")
async def delete_rules_route(ctx: Ctx, service: str, cas: Cas = None) -> Response:
    """Takes the rules of a service away: requests and nodes decide again."""
    await ctx.run(delete_rules, service=service, cas=u64(cas, _BAD_CAS))
    return json_response({"message": "rules deleted", "service": service})


@router.get("/lb/service/{tag:path}/split", needs="service:read")
async def split_route(ctx: ReadCtx, tag: str) -> Response:
    """Which part of its instances a request for a service is for: the named rules among its rules."""
    found = await ctx.run(rules, service=tag)
    return json_response({"service": tag, "split": split_of(found.rules), "modify_index": found.modify_index})


@router.put("/lb/service/{tag:path}/split", needs="service:write", openapi_extra=documents.SET_SPLIT)
async def set_split_route(ctx: Ctx, tag: str, request: Request) -> Response:
    """Replaces the named rules of a service; what else its rules say stays."""
    document = await _document(request)
    found, index = await ctx.run(set_split, service=tag, document=document)
    return json_response(
        {"message": "split updated", "service": tag, "split": split_of(found), "modify_index": index}
    )


@router.delete("/lb/service/{tag:path}/split", needs="service:write")
async def delete_split_route(ctx: Ctx, tag: str) -> Response:
    """Takes the named rules of a service away; what else its rules say stays."""
    await ctx.run(delete_split, service=tag)
    return json_response({"message": "split deleted", "service": tag})


async def _document(request: Request) -> Any:
    return decode_json(await request.body(), request.headers.get("content-type", ""))
