"""What the leader knows of every member and no other node does; and how any node gets it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from konsul.engine import Engine
from konsul.errors import KonsulError
from konsul.features.cluster import autopilot_config
from konsul.features.cluster.autopilot import autopilot_of
from konsul.features.cluster.decisions import Server, quorum, score
from konsul.features.cluster.view import Member, View, view_of
from konsul.kernel.config import Config

ASK_MS: Final = 1_000
HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
UNAVAILABLE: Final = "unavailable"


def overview(engine: Engine, config: Config) -> dict[str, Any]:
    """The servers and autopilot's state, on the leader; elsewhere `is_complete` is false."""
    view = view_of(engine)
    pilot = autopilot_of(engine) if view.leads else None
    if pilot is None:
        servers = [_server(member, view, None, config, engine) for member in view.members]
        return {"is_complete": False, "servers": servers}
    state = pilot.state()
    seen = {server.raft_id: server for server in state["servers"]}
    servers = [_server(member, view, seen.get(member.raft_id), config, engine) for member in view.members]
    return {
        "is_complete": True,
        "servers": servers,
        "failure_tolerance": state["failure_tolerance"],
        "decisions": state["decisions"],
        "held_back": state["held_back"],
    }


async def overview_of_leader(engine: Engine, config: Config) -> dict[str, Any]:
    """The leader's overview, or this node's own while the leader does not answer."""
    view = view_of(engine)
    if view.leads or not view.known_leader or view.leader_raft_id == 0:
        return overview(engine, config)
    try:
        return await engine.call(view.leader_raft_id, "overview", {}, ASK_MS)
    except KonsulError:
        return overview(engine, config)


def cluster_state(view: View, servers: list[dict[str, Any]]) -> str:
    """healthy, degraded (some voter is not healthy) or unavailable (no leader, or no quorum)."""
    if not view.known_leader:
        return UNAVAILABLE
    voters = [server for server in servers if server["voter"]]
    good = sum(bool(server["healthy"]) for server in voters)
    if good < quorum(len(voters)):
        return UNAVAILABLE
    return HEALTHY if good == len(voters) else DEGRADED


def role_of(member: Member, view: View) -> str:
    """leader, follower or learner; unknown while nobody leads."""
    if not view.known_leader:
        return "unknown" if member.votes else "learner"
    if member.raft_id == view.leader_raft_id:
        return "leader"
    return "follower" if member.votes else "learner"


def _server(
    member: Member, view: View, seen: Server | None, config: Config, engine: Engine
) -> dict[str, Any]:
    is_self = member.raft_id == view.raft_id
    document: dict[str, Any] = {
        "id": member.node_id,
        "address": member.address,
        "http_address": member.http_address,
        "state": role_of(member, view),
        "voter": member.votes,
        "read_only": member.read_only,
        "zone": member.zone,
        "version": member.version,
        "connected": member.connected or is_self,
        "healthy": member.connected or is_self,
    }
    if seen is None:
        return document
    settings = autopilot_config.in_force(engine, config)
    since = datetime.now(UTC) - timedelta(milliseconds=seen.healthy_ms)
    return document | {
        "healthy": seen.healthy,
        "score": score(seen, settings) if seen.healthy else 0,
        "lag": seen.lag,
        "last_contact_ms": 0 if seen.leader else member.last_contact_ms,
        "stable_since": since.isoformat(timespec="seconds").replace("+00:00", "Z") if seen.healthy else None,
    }
