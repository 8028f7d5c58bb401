"""`/cluster`: seeing and steering the cluster. Errors are of the shape `{"error": text}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, ParamSpec, TypeVar

from fastapi import Request, Response

from konsul.errors import Invalid, KonsulError, NoLeader
from konsul.features.cluster import commands, documents, queries
from konsul.features.cluster.tokens import JoinToken
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.command import Verb
from konsul.kernel.context import Context
from konsul.kernel.duration import moment
from konsul.kernel.parameters import positive_duration_ms
from konsul.kernel.routing import (
    MAYBE_TEXT,
    MAYBE_U64,
    TEXT,
    Ctx,
    Kind,
    Refused,
    Router,
    decode_json,
    json_response,
    members,
)

P = ParamSpec("P")
T = TypeVar("T")
NOT_ENABLED: Final = {
    "error": "clustering not enabled",
    "message": "this is a single node: KONSUL_RAFT_ENABLED makes it one of a cluster",
}
INVALID_BODY: Final = "invalid request body"
NOTHING_NEW: Final = "nothing new to snapshot"

router = Router(tags=["cluster"])


def _error(text: str, status: int) -> Response:
    response = json_response({"error": text}, status)
    if status == 503:
        response.headers["retry-after"] = "1"
    return response


async def _ask(ctx: Context, verb: Verb[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a verb where there is a cluster.

    Raises:
        Refused: with the answer. NoLeader: which has its own shape everywhere.
    """
    if not ctx.config.of(ClusterSettings).enabled:
        raise Refused(json_response(NOT_ENABLED, 503))
    try:
        return await ctx.run(verb, *args, **kwargs)
    except NoLeader:
        raise
    except KonsulError as error:
        raise Refused(_error(str(error), error.http_status)) from None


async def _document(ctx: Context, verb: Verb[[], dict[str, Any]]) -> Response:
    """Answers what a verb without arguments answers."""
    document = await _ask(ctx, verb)
    return json_response(document)


async def _body(ctx: Context, request: Request, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The members of a JSON body; an empty body has none.

    Raises:
        Refused: it is no such object, or there is no cluster.
    """
    if not ctx.config.of(ClusterSettings).enabled:
        raise Refused(json_response(NOT_ENABLED, 503))
    raw = await request.body()
    try:
        value = (
            decode_json(raw, request.headers.get("content-type", ""), message=INVALID_BODY) if raw else None
        )
        return members(value, kinds, message=INVALID_BODY)
    except Invalid:
        raise Refused(_error(INVALID_BODY, 400)) from None


@router.get("/cluster/status", needs="admin:read")
async def status_route(ctx: Ctx) -> Response:
    """This node's role and indices; the members, who leads, and how the cluster is."""
    return await _document(ctx, queries.status)


@router.get("/cluster/leader", needs="admin:read")
async def leader_route(ctx: Ctx) -> Response:
    """Who leads; 404 while nobody does."""
    try:
        return await _document(ctx, queries.leader)
    except Refused as refused:
        if refused.response.status_code != 404:
            raise
        return json_response({"error": "no leader", "message": "no leader is known at the moment"}, 404)


@router.get("/cluster/peers", needs="admin:read")
async def peers_route(ctx: Ctx) -> Response:
    """Every member and whether it votes."""
    return await _document(ctx, queries.peers)


@router.get("/cluster/stats", needs="admin:read")
async def stats_route(ctx: Ctx) -> Response:
    """The Raft figures of this node."""
    return await _document(ctx, queries.stats)


@router.get("/cluster/config", needs="admin:read")
async def config_route(ctx: Ctx) -> Response:
    """The Raft settings in force on this node."""
    return await _document(ctx, queries.config)


@router.get("/cluster/health", needs="admin:read")
async def health_route(ctx: Ctx) -> Response:
    """The health of every server, as the leader sees it."""
    return await _document(ctx, queries.health)


@router.get("/cluster/digest", needs="admin:read")
async def digest_route(ctx: Ctx) -> Response:
    """A checksum over this node's tables: equal at equal indices on every node."""
    return await _document(ctx, queries.digest)


@router.post("/cluster/join", needs="admin:write", openapi_extra=documents.JOIN)
async def join_route(ctx: Ctx, request: Request) -> Response:
    """Lets a node in that listens for peers at `address`; it votes once it has caught up."""
    body = await _body(ctx, request, {"node_id": TEXT, "address": TEXT, "join_token": TEXT})
    for name in ("node_id", "address"):
        if not body[name]:
            return _error(f"{name} is required", 400)
    joined = await _ask(ctx, commands.join, **body)
    return json_response({"status": "ok", "message": "Node joined successfully", **joined})


@router.delete("/cluster/leave/{id}", needs="admin:write")
async def leave_route(ctx: Ctx, id: str) -> Response:
    """Takes a member out for good; 404 for one that is none."""
    left = await _ask(ctx, commands.leave, node_id=id)
    return json_response({"status": "ok", "message": "Node removed successfully", **left})


@router.post("/cluster/snapshot", needs="admin:write")
async def snapshot_route(ctx: Ctx) -> Response:
    """Takes a snapshot on this node and says what is in it."""
    try:
        taken = await _ask(ctx, commands.snapshot)
    except Refused as refused:
        if refused.response.status_code != 400:
            raise
        return _error(NOTHING_NEW, 500)
    return json_response({"status": "ok", "message": "Snapshot created successfully", **taken})


@router.post("/cluster/transfer-leader", needs="admin:write", openapi_extra=documents.TRANSFER)
async def transfer_route(ctx: Ctx, request: Request) -> Response:
    """Hands leadership to a voter; without `node_id` to the one that is furthest."""
    body = await _body(ctx, request, {"node_id": TEXT})
    led = await _ask(ctx, commands.transfer_leader, node_id=body["node_id"])
    return json_response({"status": "ok", "message": f"{led['leader_id']} leads", **led})


@router.get("/cluster/autopilot", needs="admin:read")
async def autopilot_route(ctx: Ctx) -> Response:
    """Autopilot's settings, and what it sees, decided and holds back."""
    return await _document(ctx, queries.autopilot)


@router.put("/cluster/autopilot", needs="admin:write", openapi_extra=documents.AUTOPILOT)
async def set_autopilot_route(ctx: Ctx, request: Request) -> Response:
    """Changes the named settings of autopilot, for the whole cluster."""
    await _body(ctx, request, {})
    raw = await request.body()
    changes = decode_json(raw, request.headers.get("content-type", "")) if raw else {}
    settings = await _ask(ctx, commands.set_autopilot, changes=changes or {})  # type: ignore[arg-type]
    return json_response({"status": "ok", "message": "Autopilot updated", "config": settings})


@router.post("/cluster/join-token", needs="admin:write", openapi_extra=documents.JOIN_TOKEN)
async def create_token_route(ctx: Ctx, request: Request) -> Response:
    """Makes a token that lets nodes join. The token is in this answer and nowhere else."""
    kinds: dict[str, Kind] = {"ttl": MAYBE_TEXT, "uses": MAYBE_U64, "description": TEXT}
    body = await _body(ctx, request, kinds)
    try:
        ttl_ms = positive_duration_ms(body["ttl"], "ttl: expected a positive duration such as 24h")
    except Invalid as error:
        return _error(str(error), 400)
    token, known = await _ask(
        ctx,
        commands.create_join_token,
        ttl_ms=ttl_ms,
        uses=body["uses"],
        description=body["description"],
    )
    return json_response({"token": token, **_token(known)})


@router.get("/cluster/join-token", needs="admin:read")
async def tokens_route(ctx: Ctx) -> Response:
    """The tokens that are not over, without their secrets."""
    found = await _ask(ctx, queries.join_tokens)
    return json_response({"count": len(found), "tokens": [_token(one) for one in found]})


@router.delete("/cluster/join-token/{id}", needs="admin:write")
async def revoke_token_route(ctx: Ctx, id: str) -> Response:
    """Makes a token useless; members that came in with it stay."""
    await _ask(ctx, commands.revoke_join_token, token_id=id)
    return json_response({"status": "ok", "message": "Join token revoked", "id": id})


def _token(token: JoinToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "uses_left": token.uses_left,
        "created_at": moment(token.created_at_ms),
        "expires_at": moment(token.expires_at_ms),
        "description": token.description,
    }
