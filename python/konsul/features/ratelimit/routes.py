"""`/admin/ratelimit`: seeing and changing the rate limits. Errors are `{"success": false, "error": text}`."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Final, ParamSpec, TypeVar

from fastapi import Query, Request, Response

from konsul.errors import Conflict, Invalid, LimitReached, NotFound
from konsul.features.ratelimit import commands, documents, queries, tables
from konsul.features.ratelimit.config import RateLimitSettings
from konsul.kernel.command import Verb
from konsul.kernel.context import Context
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.parameters import is_on
from konsul.kernel.routing import TEXT, Ctx, Kind, Refused, Router, json_response, read_members

P = ParamSpec("P")
T = TypeVar("T")
INVALID_BODY: Final = "Invalid request body"
NOT_LOCAL: Final = "authentication is off: the rate limits are administered from this machine only"
ADJUSTED_FOR: Final = "1h"
"""How long a client keeps a rate of its own when nothing is said."""
Details = Annotated[str | None, Query(description="`true`: also how requests were answered.")]
Type = Annotated[str, Query(description="Kind of client: ip, apikey or user; or all.")]
By = Annotated[str, Query(description="violations or requests.")]
Limit = Annotated[int, Query(ge=1, le=queries.CLIENTS_MAX, description="Most items of the answer.")]
After = Annotated[int, Query(ge=0, le=2**63, description="Only refusals with a number above this.")]

router = Router(tags=["rate limit"])


class _Number:
    """A JSON number; `whole`: without a fraction."""

    empty = None

    def __init__(self, *, whole: bool) -> None:
        self._accepted = (int,) if whole else (int, float)

    def __call__(self, value: object) -> Any:
        if type(value) not in self._accepted:
            raise ValueError
        return value


_RATE: Final[Kind] = _Number(whole=False)
_BURST: Final[Kind] = _Number(whole=True)
_ENTRY: Final[Mapping[str, Kind]] = {"identifier": TEXT, "type": TEXT, "reason": TEXT, "duration": TEXT}


class _Refused(Refused):
    """An answer of the shape of these routes."""

    def __init__(self, text: str, status: int, details: str = "") -> None:
        more = {"details": details} if details else {}
        super().__init__(json_response({"success": False, "error": text, **more}, status))


def _enter(ctx: Context) -> None:
    """Raises NotFound where there is nothing to administer, _Refused for who may not.

    Without identities nobody can be asked for a permission: only who is on this machine is let in.
    """
    settings = ctx.config.of(RateLimitSettings)
    if not (settings.enabled and settings.management_enabled):
        raise NotFound(commands.OFF)
    if not ctx.config.of(GuardSettings).auth_enabled and not _is_loopback(ctx.client_addr):
        raise _Refused(NOT_LOCAL, 403)


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


async def _answer(ctx: Context, verb: Verb[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a verb. Raises _Refused with what it refused; what every route may answer passes."""
    _enter(ctx)
    try:
        return await ctx.run(verb, *args, **kwargs)
    except (Invalid, NotFound, Conflict, LimitReached) as error:
        raise _Refused(str(error), error.http_status) from None


async def _body(ctx: Context, request: Request, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    _enter(ctx)
    try:
        return await read_members(request, kinds, message=INVALID_BODY)
    except Invalid:
        details = "expected a JSON object with " + ", ".join(kinds)
        raise _Refused(INVALID_BODY, 400, details) from None


def _duration(text: str) -> int:
    try:
        found = parse_duration_ms(text)
    except ValueError:
        found = 0
    if not 0 < found <= commands.DURATION_MAX_MS:
        raise _Refused("Invalid duration format", 400)
    return found


@router.get("/admin/ratelimit/stats", needs="admin:read")
async def stats_route(ctx: Ctx, details: Details = None) -> Response:
    """How many clients have a bucket on this node; with `details=true` also how requests were answered."""
    found = await _answer(ctx, queries.stats, in_full=is_on(details))
    return json_response({"success": True, "data": found})


@router.get("/admin/ratelimit/config", needs="admin:read")
async def config_route(ctx: Ctx) -> Response:
    """The configuration in force on this node."""
    found = await _answer(ctx, queries.config)
    return json_response({"success": True, "config": found})


@router.get("/admin/ratelimit/clients", needs="admin:read")
async def clients_route(ctx: Ctx, type: Type = "all", limit: Limit = queries.CLIENTS_MAX) -> Response:
    """Who has a bucket on this node, by name."""
    found = await _answer(ctx, queries.clients, kind=type, limit=limit)
    return json_response({"success": True, "count": len(found), "clients": found})


@router.get("/admin/ratelimit/client/{identifier:path}", needs="admin:read")
async def client_route(ctx: Ctx, identifier: str) -> Response:
    """One client of this node: an address, else an API key, else a user."""
    found = await _answer(ctx, queries.client, identifier=identifier)
    return json_response({"success": True, "client": found})


@router.get("/admin/ratelimit/status/{type}/{id:path}", needs="admin:read")
async def status_route(ctx: Ctx, type: str, id: str) -> Response:
    """All that this node knows of one client, and whether it is on a list."""
    found = await _answer(ctx, queries.status, kind=type, id=id)
    return json_response({"success": True, "status": found})


@router.get("/admin/ratelimit/top", needs="admin:read")
async def top_route(ctx: Ctx, by: By = "violations", limit: Limit = 10) -> Response:
    """The clients of this node that were refused most, or that asked most."""
    found = await _answer(ctx, queries.top, by=by, limit=limit)
    return json_response({"success": True, "by": by, "count": len(found), "clients": found})


@router.get("/admin/ratelimit/events", needs="admin:read")
async def events_route(ctx: Ctx, after: After = 0, limit: Limit = 1_000) -> Response:
    """The newest refusals of this node, oldest first."""
    found = await _answer(ctx, queries.events, after=after, limit=limit)
    return json_response({"success": True, "count": len(found), "events": found})


@router.post("/admin/ratelimit/reset/ip/{ip:path}", needs="admin:write")
async def reset_ip_route(ctx: Ctx, ip: str) -> Response:
    """Forgets an address's bucket on this node: it starts full."""
    return await _reset(ctx, "ip", ip, "ip", "IP address is required")


@router.post("/admin/ratelimit/reset/apikey/{key_id:path}", needs="admin:write")
async def reset_key_route(ctx: Ctx, key_id: str) -> Response:
    """Forgets an API key's bucket on this node."""
    return await _reset(ctx, "apikey", key_id, "key_id", "API key ID is required")


@router.post("/admin/ratelimit/reset/user/{user_id:path}", needs="admin:write")
async def reset_user_route(ctx: Ctx, user_id: str) -> Response:
    """Forgets a user's bucket on this node."""
    return await _reset(ctx, "user", user_id, "user_id", "User ID is required")


@router.post("/admin/ratelimit/reset/all", needs="admin:write")
async def reset_all_route(ctx: Ctx, type: Type = "all") -> Response:
    """Forgets every bucket on this node, or all of a kind."""
    told = {"all": "All", "ip": "All IP", "apikey": "All API key", "user": "All user"}.get(type)
    if told is None:
        raise _Refused("Invalid type parameter. Must be: all, ip, or apikey", 400)
    await _answer(ctx, commands.reset_all, kind=type)
    return json_response({"success": True, "message": f"{told} rate limiters reset", "type": type})


@router.put("/admin/ratelimit/config", needs="admin:write", openapi_extra=documents.CONFIG)
async def set_config_route(ctx: Ctx, request: Request) -> Response:
    """Changes everybody's rate, burst or both, in the whole cluster and in buckets that are there."""
    body = await _body(ctx, request, {"requests_per_sec": _RATE, "burst": _BURST})
    changes = await _answer(ctx, commands.set_config, **body)
    if not changes:
        return json_response({"success": True, "message": "No changes applied"})
    return json_response(
        {"success": True, "message": "Configuration updated successfully", "config": changes}
    )


@router.delete("/admin/ratelimit/config", needs="admin:write")
async def unset_config_route(ctx: Ctx) -> Response:
    """Forgets what was changed: every node goes by its own settings again."""
    await _answer(ctx, commands.unset_config)
    found = await _answer(ctx, queries.config)
    return json_response({"success": True, "message": "Configuration restored successfully", "config": found})


@router.put("/admin/ratelimit/client/{type}/{id:path}", needs="admin:write", openapi_extra=documents.ADJUST)
async def adjust_route(ctx: Ctx, request: Request, type: str, id: str) -> Response:
    """Gives a client a rate of its own for a time, in the whole cluster."""
    body = await _body(ctx, request, {"rate": _RATE, "burst": _BURST, "duration": TEXT})
    duration = body["duration"] or ADJUSTED_FOR
    given = {"rate": body["rate"] or 0, "burst": body["burst"] or 0}
    duration_ms = _duration(duration)
    await _answer(ctx, commands.set_client, kind=type, id=id, **given, duration_ms=duration_ms)
    return json_response(
        {
            "success": True,
            "message": "Rate limit adjusted successfully",
            "type": type,
            "identifier": id,
            "config": {**given, "duration": duration},
        }
    )


@router.delete("/admin/ratelimit/client/{type}/{id:path}", needs="admin:write")
async def unadjust_route(ctx: Ctx, type: str, id: str) -> Response:
    """Ends a client's own rate before its time."""
    await _answer(ctx, commands.unset_client, kind=type, id=id)
    message = "Rate limit restored successfully"
    return json_response({"success": True, "message": message, "type": type, "identifier": id})


@router.get("/admin/ratelimit/whitelist", needs="admin:read")
async def whitelist_route(ctx: Ctx) -> Response:
    """Who is let through whatever they ask."""
    return await _entries(ctx, tables.WHITELIST)


@router.get("/admin/ratelimit/blacklist", needs="admin:read")
async def blacklist_route(ctx: Ctx) -> Response:
    """Who is kept out."""
    return await _entries(ctx, tables.BLACKLIST)


@router.post("/admin/ratelimit/whitelist", needs="admin:write", openapi_extra=documents.WHITELIST)
async def add_white_route(ctx: Ctx, request: Request) -> Response:
    """Lets an address, a network, a key or a user through in the whole cluster, for a time or for good."""
    return await _add(ctx, request, tables.WHITELIST)


@router.post("/admin/ratelimit/blacklist", needs="admin:write", openapi_extra=documents.BLACKLIST)
async def add_black_route(ctx: Ctx, request: Request) -> Response:
    """Keeps an address, a network, an API key or a user out of the whole cluster for a time."""
    return await _add(ctx, request, tables.BLACKLIST)


@router.delete("/admin/ratelimit/whitelist/{id:path}", needs="admin:write")
async def remove_white_route(ctx: Ctx, id: str) -> Response:
    """Takes somebody off the whitelist."""
    return await _remove(ctx, tables.WHITELIST, id)


@router.delete("/admin/ratelimit/blacklist/{id:path}", needs="admin:write")
async def remove_black_route(ctx: Ctx, id: str) -> Response:
    """Takes somebody off the blacklist."""
    return await _remove(ctx, tables.BLACKLIST, id)


async def _reset(ctx: Context, kind: str, id: str, name: str, required: str) -> Response:
    if not id.strip():
        raise _Refused(required, 400)
    await _answer(ctx, commands.reset, kind=kind, id=id)
    return json_response({"success": True, "message": "Rate limit reset successfully", name: id})


async def _entries(ctx: Context, name: str) -> Response:
    found = await _answer(ctx, queries.entries, name=name)
    return json_response({"success": True, "count": len(found), "entries": found})


async def _add(ctx: Context, request: Request, name: str) -> Response:
    body = await _body(ctx, request, _ENTRY)
    if not body["identifier"]:
        raise _Refused("identifier is required", 400)
    if not body["duration"] and name == tables.BLACKLIST:
        raise _Refused("duration is required for blacklist entries", 400)
    id, row = await _answer(
        ctx,
        commands.list_add,
        name=name,
        kind=body["type"],
        id=body["identifier"],
        reason=body["reason"],
        duration_ms=_duration(body["duration"]) if body["duration"] else None,
    )
    added = documents.list_entry(id, body["type"], row)
    return json_response({"success": True, "message": f"Added to {name} successfully", "entry": added})


async def _remove(ctx: Context, name: str, id: str) -> Response:
    await _answer(ctx, commands.list_remove, name=name, id=id)
    return json_response({"success": True, "message": f"Removed from {name} successfully", "identifier": id})
