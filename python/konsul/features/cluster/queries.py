"""Looking at the cluster, from any of its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from konsul.errors import NotFound
from konsul.features.cluster import autopilot_config, tokens
from konsul.features.cluster.overview import HEALTHY, cluster_state, overview_of_leader, role_of
from konsul.features.cluster.tokens import JoinToken
from konsul.features.cluster.view import REMOVED, Member, View, view_of
from konsul.kernel.cluster_settings import ClusterSettings, RaftTlsSettings
from konsul.kernel.command import query
from konsul.kernel.context import Context
from konsul.kernel.duration import format_duration_ms
from konsul.kernel.settings import RaftSettings
from konsul.options import Options

PROTOCOL_VERSION: Final = 3
SNAPSHOT_VERSION_MAX: Final = 1
DIGEST_TRIES: Final = 5
_STATES: Final = {"leader": "Leader", "follower": "Follower"}


@query("cluster.status", needs="admin:read")
async def status(ctx: Context) -> dict[str, Any]:
    """This node's role and indices, and the cluster with what its leader knows of every member."""
    view, raw = view_of(ctx.engine), ctx.engine.status()
    whole = await overview_of_leader(ctx.engine, ctx.config)
    servers = whole["servers"]
    leader = view.leader
    figures = figures_of(raw, view)
    state = cluster_state(view, servers)
    return {
        "node_id": view.node_id,
        "node_name": ctx.config.of(ClusterSettings).node_name or view.node_id,
        "state": node_state(raw, view),
        "membership": view.state,
        "leader_id": leader.node_id if leader else "",
        "leader_addr": leader.address if leader else "",
        "peers": [peer(member) for member in view.members],
        "last_index": figures["last_log_index"],
        "applied_index": figures["applied_index"],
        "commit_index": figures["commit_index"],
        "stats": figures,
        "cluster_state": state,
        "cluster_id": view.cluster_id,
        "leader": {"id": leader.node_id, "address": leader.address} if leader else None,
        "nodes": [server | {"state": _role(server, view)} for server in servers],
        "quorum": view.quorum,
        "autopilot": {
            "healthy": state == HEALTHY,
            "failure_tolerance": whole.get("failure_tolerance"),
        },
    }


@query("cluster.leader", needs="admin:read")
async def leader(ctx: Context) -> dict[str, Any]:
    """Who leads.

    Raises:
        NotFound: nobody does, as far as this node knows.
    """
    view = view_of(ctx.engine)
    found = view.leader
    if found is None:
        raise NotFound("no leader")
    return {
        "is_self": view.leads,
        "leader_addr": found.address,
        "leader_id": found.node_id,
        "http_address": found.http_address,
    }


@query("cluster.peers", needs="admin:read")
async def peers(ctx: Context) -> dict[str, Any]:
    """Every member and whether it votes."""
    view = view_of(ctx.engine)
    found = [peer(member) | {"voter": member.votes, "role": role_of(member, view)} for member in view.members]
    return {"count": len(found), "peers": found}


@query("cluster.stats", needs="admin:read")
async def stats(ctx: Context) -> dict[str, Any]:
    """The Raft figures of this node."""
    return figures_of(ctx.engine.status(), view_of(ctx.engine))


@query("cluster.config", needs="admin:read")
async def config(ctx: Context) -> dict[str, Any]:
    """The Raft settings in force on this node, and the members as it knows them."""
    view, options = view_of(ctx.engine), ctx.engine.options
    raft, cluster = ctx.config.of(RaftSettings), ctx.config.of(ClusterSettings)
    return {
        "node_id": view.node_id,
        "raft_id": view.raft_id,
        "cluster_id": view.cluster_id,
        "bind_addr": options.bind_addr,
        "advertise_addr": options.advertise_addr or options.bind_addr,
        "http_address": options.http_addr,
        "zone": options.zone,
        "read_only": options.read_only,
        "profile": raft.profile,
        "heartbeat_timeout": format_duration_ms(options.heartbeat_ms),
        "election_timeout": format_duration_ms(options.election_ms),
        "leader_lease_timeout": format_duration_ms(_lease_ms(options)),
        "snapshot_interval": format_duration_ms(options.snapshot_interval_ms),
        "snapshot_threshold": options.snapshot_threshold_entries,
        "snapshot_retention": options.snapshot_retention,
        "snapshot_rate_bytes": options.snapshot_rate_bytes,
        "trailing_logs": options.trailing_entries,
        "max_append_entries": options.max_append_entries,
        "redirect_writes": cluster.redirect_writes,
        "leave_on_terminate": cluster.leave_on_terminate,
        "join_token_required": tokens.is_asked_for(
            ctx.engine,
            cluster.join_token or cluster.join_token_file,
            cluster.require_join_token,
        ),
        "tls_enabled": ctx.config.of(RaftTlsSettings).enabled,
        "servers": [member.record() | {"suffrage": suffrage(member)} for member in view.members],
    }


@query("cluster.health", needs="admin:read")
async def health(ctx: Context) -> dict[str, Any]:
    """The health of every server, as the leader sees it."""
    return await _health(ctx)


@query("cluster.autopilot", needs="admin:read")
async def autopilot(ctx: Context) -> dict[str, Any]:
    """Autopilot's settings, and what the leader's sees, decided and holds back."""
    settings = autopilot_config.in_force(ctx.engine, ctx.config)
    return {"config": autopilot_config.document(settings), "state": await _health(ctx)}


@query("cluster.digest", needs="admin:read")
async def digest(ctx: Context) -> dict[str, Any]:
    """A checksum over this node's tables at an index: equal at equal indices on every node."""
    for _ in range(DIGEST_TRIES):
        before = ctx.engine.status()["index"]
        found = await asyncio.to_thread(ctx.engine.digest)
        if ctx.engine.status()["index"] == before:
            break
    # Under steady writes the index may move all the time: the digest then is of this index or a later one.
    return {"index": before, "digest": found.hex()}


@query("cluster.join_tokens", needs="admin:read")
async def join_tokens(ctx: Context) -> list[JoinToken]:
    """The tokens that are not over, without their secrets."""
    return tokens.listed(ctx.engine)


def _lease_ms(options: Options) -> int:
    """The lease in force: what was asked for, as far as followers promise it (the core's own rule)."""
    promised_ms = options.election_ms // 2 - 2 * options.tick_ms
    return min(options.lease_ms, promised_ms * 9 // 10)


async def _health(ctx: Context) -> dict[str, Any]:
    view = view_of(ctx.engine)
    whole = await overview_of_leader(ctx.engine, ctx.config)
    servers = whole["servers"]
    state = cluster_state(view, servers)
    return {
        "status": state,
        "healthy": state == HEALTHY,
        "failure_tolerance": whole.get("failure_tolerance", 0),
        "leader": view.leader.node_id if view.leader else "",
        "voters": [server["id"] for server in servers if server["voter"]],
        "servers": servers,
        "decisions": whole.get("decisions", []),
        "held_back": whole.get("held_back", []),
    }


def node_state(raw: Mapping[str, Any], view: View) -> str:
    """The role of this node in the words of the first Konsul."""
    if raw["stopping"] or view.state == REMOVED:
        return "Shutdown"
    return _STATES.get(raw["role"], "Candidate")


def suffrage(member: Member) -> str:
    """Whether a member votes, in the words of the first Konsul."""
    return "Voter" if member.votes else "Nonvoter"


def peer(member: Member) -> dict[str, Any]:
    """A member as the first Konsul showed it."""
    return {"id": member.node_id, "address": member.address, "state": suffrage(member)}


def figures_of(raw: Mapping[str, Any], view: View) -> dict[str, int]:
    """The `stats` of the first Konsul."""
    raft = raw["raft"]
    return {
        "term": raw["term"],
        "last_log_index": raft["last_index"],
        "last_log_term": raft.get("last_term", raw["term"]),
        "commit_index": raft["commit_index"],
        "applied_index": raft["applied_index"],
        "fsm_pending": max(0, raft["commit_index"] - raft["applied_index"]),
        "last_snapshot_index": raft.get("snapshot_index", raw["disk"]["snapshot_index"]),
        "last_snapshot_term": raft.get("snapshot_term", 0),
        "num_peers": len(view.members),
        "protocol_version": PROTOCOL_VERSION,
        "snapshot_version_max": SNAPSHOT_VERSION_MAX,
    }


def _role(server: Mapping[str, Any], view: View) -> str:
    """The role by this node's own view: the leader's overview may be of a moment ago."""
    member = view.by_name(server["id"])
    return role_of(member, view) if member else str(server["state"])
