"""Every cluster route, asked of every node of a cluster of three."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.waiting import until

READS = ("status", "leader", "peers", "stats", "config", "health", "autopilot", "digest", "join-token")
NAMES = ["n1", "n2", "n3"]
STATS = {
    "term",
    "last_log_index",
    "last_log_term",
    "commit_index",
    "applied_index",
    "fsm_pending",
    "last_snapshot_index",
    "last_snapshot_term",
    "num_peers",
    "protocol_version",
    "snapshot_version_max",
}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, directly connected."""
    with Cluster(tmp_path_factory.mktemp("three"), through_links=False) as cluster:
        cluster.until_members(*NAMES)
        yield cluster


@pytest.fixture(params=["leader", "follower"])
def node(three: Cluster, request: pytest.FixtureRequest) -> Node:
    """The leader, then some follower."""
    return three.until_leader() if request.param == "leader" else three.followers()[0]


def test_every_node_answers_every_read(three: Cluster) -> None:
    for each in three.nodes.values():
        for path in READS:
            answer = each.ask("GET", f"/cluster/{path}")
            assert answer.status == 200, (each.name, path, answer)


def test_status_is_of_both_shapes(three: Cluster, node: Node) -> None:
    leader = three.until_leader()
    said = node.ask("GET", "/cluster/status").json()
    assert said["node_id"] == node.name
    assert said["state"] == ("Leader" if node is leader else "Follower")
    assert (said["leader_id"], said["leader_addr"]) == (leader.name, three.address(leader))
    assert said["leader"] == {"id": leader.name, "address": three.address(leader)}
    assert [peer["id"] for peer in said["peers"]] == NAMES
    assert {peer["state"] for peer in said["peers"]} == {"Voter"}
    assert said["peers"][0].keys() == {"id", "address", "state"}
    assert (said["cluster_state"], said["quorum"]) == ("healthy", 2)
    roles = {one["id"]: one["state"] for one in said["nodes"]}
    assert roles == {name: "leader" if name == leader.name else "follower" for name in NAMES}
    assert all(one["lag"] >= 0 for one in said["nodes"]), "also a follower knows how far each is"
    assert said["stats"].keys() == STATS
    assert said["stats"]["num_peers"] == 3
    assert said["applied_index"] >= 1


def test_the_leader_is_known_everywhere(three: Cluster, node: Node) -> None:
    leader = three.until_leader()
    assert node.ask("GET", "/cluster/leader").json() == {
        "is_self": node is leader,
        "leader_id": leader.name,
        "leader_addr": three.address(leader),
        "http_address": leader.base_url,
    }


def test_health_tells_of_every_server(node: Node) -> None:
    said = node.ask("GET", "/cluster/health").json()
    assert (said["status"], said["healthy"], said["failure_tolerance"]) == ("healthy", True, 1)
    assert [one["id"] for one in said["servers"]] == NAMES
    assert all(one["healthy"] and one["score"] > 50 for one in said["servers"])
    own = node.ask("GET", "/health").json()
    assert own["status"] == "healthy", own
    assert {check["status"] for check in own["cluster"]["checks"].values()} == {"passing"}
    assert node.ask("GET", "/health/ready").status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "invalid request body"),
        (b"[]", "invalid request body"),
        ({"address": "h:7000"}, "node_id is required"),
        ({"node_id": "n9"}, "address is required"),
        ({"node_id": 9, "address": "h:7000"}, "invalid request body"),
        ({"node_id": "n9", "address": "nowhere"}, "invalid address 'nowhere': expected host:port"),
    ],
)
def test_a_join_that_cannot_be_is_refused(node: Node, body: object, said: str) -> None:
    answer = node.ask("POST", "/cluster/join", body)
    assert (answer.status, answer.json()) == (400, {"error": said})


def test_joining_again_changes_nothing(three: Cluster, node: Node) -> None:
    other = three.followers()[0]
    body = {"node_id": other.name, "address": three.address(other)}
    answer = node.ask("POST", "/cluster/join", body)
    assert answer.status == 200, answer
    assert answer.json() == body | {"status": "ok", "message": "Node joined successfully"}
    three.until_members(*NAMES)


def test_nobody_listening_is_no_fault_of_the_server(node: Node) -> None:
    answer = node.ask("POST", "/cluster/join", {"node_id": "n9", "address": "127.0.0.1:1"})
    assert answer.status in (502, 504), answer
    assert "error" in answer.json()


def test_an_unknown_member_cannot_leave(node: Node) -> None:
    answer = node.ask("DELETE", "/cluster/leave/nobody")
    assert (answer.status, answer.json()) == (404, {"error": "node not found"})


def test_a_snapshot_is_taken_where_it_is_asked(node: Node) -> None:
    index = node.ask("PUT", "/kv/snapshot-me", {"value": "1"}).json()["modify_index"]
    answer = node.ask("POST", "/cluster/snapshot")
    assert answer.status == 200, answer
    said = answer.json()
    assert (said["status"], said["message"]) == ("ok", "Snapshot created successfully")
    assert (said["node_id"], said["index"] >= index) == (node.name, True)
    again = node.ask("POST", "/cluster/snapshot")
    assert (again.status, again.json()) == (500, {"error": "nothing new to snapshot"})


def test_tokens_are_shown_once_and_revoked_anywhere(three: Cluster, node: Node) -> None:
    body = {"ttl": "1h", "uses": 2, "description": "rack 7"}
    made = node.ask("POST", "/cluster/join-token", body).json()
    assert (made["uses_left"], made["description"]) == (2, "rack 7")
    leader = three.until_leader()
    listed = leader.ask("GET", "/cluster/join-token")
    assert made["token"] not in listed.body.decode()
    assert made["id"] in {one["id"] for one in listed.json()["tokens"]}
    assert leader.ask("DELETE", f"/cluster/join-token/{made['id']}").status == 200
    assert leader.ask("DELETE", f"/cluster/join-token/{made['id']}").status == 404
    for each in three.nodes.values():
        assert made["token"] not in each.output()


@pytest.mark.parametrize("body", [{"ttl": "0s"}, {"ttl": "soon"}, {"uses": 0}, {"uses": "two"}, b"7"])
def test_a_token_without_sense_is_refused(node: Node, body: object) -> None:
    assert node.ask("POST", "/cluster/join-token", body).status == 400


def test_autopilots_settings_are_of_the_whole_cluster(three: Cluster, node: Node) -> None:
    answer = node.ask("PUT", "/cluster/autopilot", {"max_trailing_logs": 700, "last_contact_threshold": "7s"})
    assert answer.status == 200, answer
    assert answer.json()["config"]["max_trailing_logs"] == 700
    for each in three.nodes.values():
        until(lambda each=each: _trailing(each) == 700, f"{each.name} to know")  # type: ignore[misc]
    refused = node.ask("PUT", "/cluster/autopilot", {"max_trailing_logs": 800, "colour": "red"})
    assert (refused.status, _trailing(node)) == (400, 700)
    assert node.ask("PUT", "/cluster/autopilot", {"max_trailing_logs": 1_000}).status == 200


def _trailing(node: Node) -> int:
    return int(node.ask("GET", "/cluster/autopilot").json()["config"]["max_trailing_logs"])


def test_an_admin_write_can_be_redirected(three: Cluster) -> None:
    leader, follower = three.until_leader(), three.followers()[0]
    answer = follower.ask("DELETE", "/cluster/leave/nobody", headers={"X-Konsul-Redirect": "true"})
    assert (answer.status, answer.json()["error"]) == (307, "not leader")
    assert answer.json()["leader_addr"] == three.address(leader)
    assert answer.headers["location"] == f"{leader.base_url}/cluster/leave/nobody"


def test_leadership_goes_to_whom_it_is_given(three: Cluster) -> None:
    follower = three.followers()[0]
    answer = follower.ask("POST", "/cluster/transfer-leader", {"node_id": follower.name})
    assert answer.status == 200, answer
    assert answer.json()["leader_id"] == follower.name
    assert three.until_leader() is follower
    assert follower.ask("POST", "/cluster/transfer-leader", {"node_id": "nobody"}).status == 404
    assert follower.ask("POST", "/cluster/transfer-leader").status == 200
    three.until_leader(besides=follower)


def test_all_nodes_hold_the_same(three: Cluster) -> None:
    index, digest = three.until_alike()
    assert index > 0
    assert len(digest) >= 16
