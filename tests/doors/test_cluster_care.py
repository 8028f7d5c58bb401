"""What the leader does with members by itself, and how nodes go and come back: on four real nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.harness.cluster import Cluster, members
from tests.cluster.harness.node import Node
from tests.waiting import until

QUICK = {
    "KONSUL_AUTOPILOT_SERVER_STABILIZATION_TIME": "200ms",
    "KONSUL_AUTOPILOT_LAST_CONTACT_THRESHOLD": "500ms",
    "KONSUL_AUTOPILOT_DEAD_SERVER_TIMEOUT": "2s",
}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes whose leader is quick to judge."""
    folder = tmp_path_factory.mktemp("care")
    with Cluster(folder, settings=QUICK, through_links=False) as cluster:
        cluster.until_members("n1", "n2", "n3")
        yield cluster


@pytest.fixture
def fourth(three: Cluster) -> Iterator[Node]:
    """A fourth voter, gone again afterwards."""
    node = three.add("n4", {"KONSUL_RAFT_JOIN": ",".join(three.addresses())})
    node.launch()
    three.until_members("n1", "n2", "n3", "n4")
    yield node
    three.forget(node)
    three.until_leader().ask("DELETE", "/cluster/leave/n4")
    three.until_members("n1", "n2", "n3")


def decisions(cluster: Cluster) -> list[tuple[str, str]]:
    """What the leader's autopilot did, oldest first."""
    said = cluster.until_leader().ask("GET", "/cluster/autopilot").json()
    return [(one["action"], one["node_id"]) for one in said["state"]["decisions"] if one["outcome"] == "done"]


def test_a_dead_voter_is_removed_and_comes_back_by_itself(three: Cluster, fourth: Node) -> None:
    fourth.kill()
    three.until_members("n1", "n2", "n3")
    assert decisions(three)[-1] == ("remove", "n4")
    fourth.launch()
    three.until_ready(fourth)
    three.until_members("n1", "n2", "n3", "n4")
    three.until_alike()


def test_who_was_told_to_leave_stays_out_until_it_is_started_again(three: Cluster, fourth: Node) -> None:
    assert three.until_leader().ask("DELETE", "/cluster/leave/n4").status == 200

    def knows() -> bool:
        status = fourth.status()
        return status is not None and (status["membership"], status["state"]) == ("removed", "Shutdown")

    until(knows, "the removed node to know")
    assert fourth.status_of("/health/ready") == 503
    fourth.stop()
    fourth.launch()
    three.until_ready(fourth)
    three.until_members("n1", "n2", "n3", "n4")
    three.until_alike()


def test_three_voters_are_never_made_two(three: Cluster) -> None:
    follower = three.followers()[0]
    follower.kill()

    def held_back() -> bool:
        said = three.until_leader().ask("GET", "/cluster/autopilot").json()["state"]
        return [one["node_id"] for one in said["held_back"]] == [follower.name]

    until(held_back, "autopilot to hold back")
    leader = three.until_leader()
    assert members(leader) == {"n1", "n2", "n3"}
    health = leader.ask("GET", "/cluster/health").json()
    assert (health["status"], health["failure_tolerance"]) == ("degraded", 0)
    failing = leader.ask("GET", "/health").json()["cluster"]["checks"]["peers_reachable"]
    assert failing == {"status": "failing", "detail": f"not reachable: {follower.name}"}
    assert leader.output().count("autopilot holds back") <= 1, "said once, not every second"
    follower.launch()
    three.until_ready(follower)


def test_a_node_can_leave_when_it_ends(three: Cluster) -> None:
    settings = {"KONSUL_RAFT_JOIN": ",".join(three.addresses()), "KONSUL_RAFT_LEAVE_ON_TERMINATE": "true"}
    node = three.add("n5", settings)
    node.launch()
    three.until_members("n1", "n2", "n3", "n5")
    assert node.stop() == 0
    three.until_members("n1", "n2", "n3")
    three.forget(node)


def test_a_read_only_node_holds_everything_and_never_votes(three: Cluster) -> None:
    settings = {"KONSUL_RAFT_JOIN": ",".join(three.addresses()), "KONSUL_RAFT_READ_ONLY": "true"}
    node = three.add("n6", settings)
    node.launch()
    three.until_ready(node)
    three.until_members("n6", role="Nonvoter")
    three.until_alike()

    def is_well() -> bool:
        servers = three.until_leader().ask("GET", "/cluster/health").json()["servers"]
        return [one["healthy"] for one in servers if one["id"] == "n6"] == [True]

    until(is_well, "the leader to call it healthy")
    assert members(three.until_leader()) == {"n1", "n2", "n3"}
    assert three.until_leader().ask("DELETE", "/cluster/leave/n6").status == 200
    three.forget(node)
