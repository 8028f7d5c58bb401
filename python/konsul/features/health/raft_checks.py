"""How this node's part in the cluster is, check by check: pure functions of the engine's status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from konsul.kernel.node import BEHIND_MAX

ELECTIONS_MAX: Final = 3
"""Changes of the leader in `ELECTIONS_WINDOW_S` that are still nothing to worry about."""
ELECTIONS_WINDOW_S: Final = 300


class Check(NamedTuple):
    """One question and its answer."""

    name: str
    good: bool
    detail: str


def checks(status: Mapping[str, Any], elections: int) -> list[Check]:
    """Every check. `elections`: changes of the leader in the last `ELECTIONS_WINDOW_S`."""
    cluster = status["cluster"]
    return [
        _leader(cluster),
        _quorum(cluster),
        _lag(status),
        Check(
            "recent_elections",
            elections <= ELECTIONS_MAX,
            f"{elections} changes of the leader in the last {ELECTIONS_WINDOW_S // 60} minutes",
        ),
        _peers(cluster),
    ]


def document(status: Mapping[str, Any], elections: int) -> dict[str, Any]:
    """The member `cluster` of `GET /health`."""
    cluster = status["cluster"]
    found = checks(status, elections)
    return {
        "enabled": True,
        "state": status["role"],
        "leader": _leader_id(cluster),
        "healthy": all(check.good for check in found),
        "checks": {
            check.name: {"status": "passing" if check.good else "failing", "detail": check.detail}
            for check in found
        },
    }


def _leader_id(cluster: Mapping[str, Any]) -> str:
    leads = [one["node_id"] for one in cluster["members"] if one["raft_id"] == cluster["leader_raft_id"]]
    return str(leads[0]) if leads and cluster["known_leader"] else ""


def _leader(cluster: Mapping[str, Any]) -> Check:
    if cluster["known_leader"]:
        heard = f", heard of {cluster['last_contact_ms']} ms ago"
        is_self = cluster["leader_raft_id"] == cluster["raft_id"]
        return Check("leader", True, f"{_leader_id(cluster)} leads" + ("" if is_self else heard))
    what = "this node is in no cluster" if cluster["state"] != "formed" else "no leader is known"
    return Check("leader", False, what)


def _quorum(cluster: Mapping[str, Any]) -> Check:
    voters = [one for one in cluster["members"] if one["role"] == "voter"]
    reached = sum(one["connected"] or one["raft_id"] == cluster["raft_id"] for one in voters)
    detail = f"{reached} of {len(voters)} voters reachable, {cluster['quorum']} needed"
    return Check("quorum", bool(voters) and reached >= cluster["quorum"], detail)


def _lag(status: Mapping[str, Any]) -> Check:
    behind = max(0, status["raft"]["commit_index"] - status["raft"]["applied_index"])
    return Check("replication_lag", behind <= BEHIND_MAX, f"{behind} committed entries not applied here")


def _peers(cluster: Mapping[str, Any]) -> Check:
    others = [one for one in cluster["members"] if one["raft_id"] != cluster["raft_id"]]
    away = sorted(one["node_id"] for one in others if not one["connected"])
    if away:
        return Check("peers_reachable", False, f"not reachable: {', '.join(away)}")
    return Check("peers_reachable", True, f"{len(others)} of {len(others)} peers reachable")
