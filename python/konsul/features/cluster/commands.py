"""Changing the cluster, from any of its nodes: what only the leader can do is relayed to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from konsul.errors import Invalid
from konsul.features.cluster import autopilot_config, tokens
from konsul.features.cluster.membership import check_address, on_leader
from konsul.features.cluster.tokens import JoinToken
from konsul.features.cluster.view import view_of
from konsul.kernel.cluster_settings import NODE_ID_EXPECTED, is_node_id
from konsul.kernel.command import command
from konsul.kernel.context import Context
from konsul.kernel.logging import rfc3339_now


@command("cluster.join", needs="admin:write", resource="node_id")
async def join(ctx: Context, *, node_id: str, address: str, join_token: str = "") -> dict[str, Any]:
    """Lets the node in that listens for peers at `address`; doing it again changes nothing.

    Raises:
        Invalid: no such id or address, or the node there is called otherwise. Forbidden: the token.
        Conflict: id or address are taken, or the node is in another cluster. Unreachable, Timeout, NoLeader.
    """
    if not is_node_id(node_id):
        raise Invalid(f"invalid node_id: expected {NODE_ID_EXPECTED}")
    check_address(address)
    body = {"op": "join", "node_id": node_id, "address": address, "token": join_token}
    return await on_leader(ctx.engine, ctx.config, body)


@command("cluster.leave", needs="admin:write", resource="node_id")
async def leave(ctx: Context, *, node_id: str) -> dict[str, Any]:
    """Takes a member out for good, a dead one as well.

    Raises:
        NotFound: there is no such member. Conflict: the rest would have no quorum. NoLeader, Timeout.
    """
    return await on_leader(ctx.engine, ctx.config, {"op": "leave", "node_id": node_id})


@command("cluster.transfer_leader", needs="admin:write", resource="node_id")
async def transfer_leader(ctx: Context, *, node_id: str = "") -> dict[str, Any]:
    """Hands leadership to a voter, without a name to the one that is furthest; answers who leads then.

    Raises:
        NotFound: there is no such member. Conflict: it does not vote. NoLeader, Timeout.
    """
    return await on_leader(ctx.engine, ctx.config, {"op": "transfer", "node_id": node_id})


@command("cluster.snapshot", needs="admin:write", local=True)
async def snapshot(ctx: Context) -> dict[str, Any]:
    """Takes a snapshot on this node, whatever its role; answers what is in it.

    Raises:
        Invalid: nothing was applied since the last one. Busy, DiskFull, Timeout.
    """
    index = await ctx.engine.snapshot()
    status = ctx.engine.status()
    view = view_of(ctx.engine)
    return {
        "index": index,
        "term": status["raft"].get("snapshot_term", status["term"]),
        "last_log_index": status["raft"].get("snapshot_index", status["disk"]["snapshot_index"]),
        "node_id": view.node_id,
        "cluster_id": view.cluster_id,
        "created_at": rfc3339_now(),
    }


@command("cluster.set_autopilot", needs="admin:write")
async def set_autopilot(ctx: Context, *, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes the named settings of autopilot for the whole cluster; answers all of them.

    Raises:
        Invalid: a name is unknown or a value does not fit; nothing is changed then.
    """
    settings = await autopilot_config.change(ctx.engine, ctx.config, changes)
    return autopilot_config.document(settings)


@command("cluster.create_join_token", needs="admin:write")
async def create_join_token(
    ctx: Context, *, ttl_ms: int | None = None, uses: int | None = None, description: str = ""
) -> tuple[str, JoinToken]:
    """Makes a token that lets nodes join; it is shown this once. Unset: a day, any number of uses.

    Raises:
        Invalid: a bound is out of its range. LimitReached: there are too many tokens.
    """
    return await tokens.create(ctx.engine, ttl_ms=ttl_ms, uses=uses, description=description)


@command("cluster.revoke_join_token", needs="admin:write", resource="token_id")
async def revoke_join_token(ctx: Context, *, token_id: str) -> None:
    """Makes a token useless; members that came in with it stay.

    Raises:
        NotFound: there is none with this id.
    """
    await tokens.revoke(ctx.engine, token_id)
