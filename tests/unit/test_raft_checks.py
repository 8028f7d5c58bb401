"""What `/health` says of a node's part in its cluster, and when such a node is ready."""

from __future__ import annotations

from typing import Any

import pytest

from konsul.features.cluster.autopilot_config import AutopilotConfig
from konsul.features.cluster.observation import Observation
from konsul.features.cluster.view import read
from konsul.features.health.raft_checks import document
from konsul.kernel.node import BEHIND_MAX, unready

CONFIG = AutopilotConfig()


def member(number: int, **more: Any) -> dict[str, Any]:
    record = {"raft_id": number, "node_id": f"n{number}", "address": f"h{number}:7000", "role": "voter"}
    return record | {"connected": True, "match_index": 100, "last_contact_ms": 20} | more


def cluster(**more: Any) -> dict[str, Any]:
    """As node 1, the leader of three, tells it."""
    return {
        "state": "formed",
        "cluster_id": "00000000000000aa",
        "node_id": "n1",
        "raft_id": 1,
        "leader_raft_id": 1,
        "known_leader": True,
        "last_contact_ms": 0,
        "quorum": 2,
        "members": [member(1), member(2), member(3)],
    } | more


def status(**more: Any) -> dict[str, Any]:
    return {
        "role": "leader",
        "stopping": False,
        "raft": {"commit_index": 7, "applied_index": 7},
        "disk": {"full": False, "stalled": False},
        "cluster": cluster(),
    } | more


def failing(told: dict[str, Any], elections: int = 0) -> set[str]:
    found = document(told, elections)
    assert found["healthy"] is all(check["status"] == "passing" for check in found["checks"].values())
    return {name for name, check in found["checks"].items() if check["status"] == "failing"}


def test_a_healthy_cluster_passes_every_check() -> None:
    found = document(status(), 1)
    assert (found["leader"], found["healthy"]) == ("n1", True)
    assert found["checks"].keys() == {
        "leader",
        "quorum",
        "replication_lag",
        "recent_elections",
        "peers_reachable",
    }
    assert found["checks"]["quorum"]["detail"] == "3 of 3 voters reachable, 2 needed"


def test_each_check_fails_for_its_reason() -> None:
    assert failing(status(cluster=cluster(known_leader=False))) == {"leader"}
    one_away = [member(1), member(2), member(3, connected=False)]
    assert failing(status(cluster=cluster(members=one_away))) == {"peers_reachable"}
    two_away = [member(1), member(2, connected=False), member(3, connected=False)]
    assert failing(status(cluster=cluster(members=two_away))) == {"peers_reachable", "quorum"}
    behind = {"commit_index": BEHIND_MAX + 8, "applied_index": 7}
    assert failing(status(raft=behind)) == {"replication_lag"}
    assert failing(status(), elections=4) == {"recent_elections"}


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (cluster(), None),
        (cluster(leader_raft_id=2), None),
        (cluster(known_leader=False), "no leader"),
        (cluster(state="unformed"), "the node has not joined a cluster yet"),
        (cluster(state="removed"), "the node is no member of its cluster any more"),
    ],
)
def test_a_node_is_ready_when_it_is_in_and_knows_a_leader(told: dict[str, Any], reason: str | None) -> None:
    assert unready(status(role="follower", cluster=told)) == reason


def test_a_node_that_just_joined_is_not_ready_before_it_has_tables() -> None:
    joined = status(role="follower", cluster=cluster()) | {"tables": {}}
    assert unready(joined) == "the cluster's tables have not reached this node yet"
    assert unready(joined | {"tables": {"kv": 0}}) is None


def test_nobody_is_dead_or_healthy_before_the_leader_has_looked_at_it() -> None:
    now = [100.0]
    watch = Observation(lambda: now[0])
    long_ago = read(cluster(members=[member(1), member(2, last_contact_ms=90_000), member(3)]))
    before = {one.raft_id: one for one in watch.servers(long_ago, 100, CONFIG)}
    assert (before[2].silent_ms, before[3].healthy_ms) == (0, 0)
    now[0] += 40.0
    after = {one.raft_id: one for one in watch.servers(long_ago, 100, CONFIG)}
    assert (after[2].silent_ms, after[2].healthy) == (40_000, False)
    assert (after[3].silent_ms, after[3].healthy_ms) == (20, 40_000)


def test_a_member_never_heard_of_is_silent_since_it_is_known() -> None:
    now = [0.0]
    watch = Observation(lambda: now[0])
    view = read(cluster(members=[member(1), member(2, last_contact_ms=None, match_index=0)]))
    assert watch.servers(view, 5, CONFIG)[1].healthy is False
    now[0] = 31.0
    assert watch.servers(view, 5, CONFIG)[1].silent_ms == 31_000


@pytest.mark.parametrize(
    ("more", "healthy"),
    [
        ({"match_index": 90, "progress": "replicate"}, True),
        ({"match_index": 0, "progress": "replicate"}, False),
        ({"match_index": 90, "progress": "snapshot"}, False),
        ({"match_index": 90, "progress": "probe"}, False),
        ({"match_index": 100, "progress": "probe"}, True),
    ],
)
def test_a_learner_is_healthy_once_it_follows_the_log(more: dict[str, Any], healthy: bool) -> None:
    view = read(cluster(members=[member(1), member(2, role="learner", **more)]))
    assert Observation().servers(view, 100, CONFIG)[1].healthy is healthy


def test_health_begins_anew_after_a_fall_behind() -> None:
    now = [0.0]
    watch = Observation(lambda: now[0])
    well, behind = read(cluster()), 100 + CONFIG.max_trailing_logs + 1
    watch.servers(well, 100, CONFIG)
    now[0] = 5.0
    assert watch.servers(well, behind, CONFIG)[1].healthy is False
    now[0] = 6.0
    again = watch.servers(well, 100, CONFIG)
    assert [(one.healthy, one.healthy_ms) for one in again] == [(True, 6_000), (True, 0), (True, 0)]
