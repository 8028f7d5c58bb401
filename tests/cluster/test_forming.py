"""How nodes come into a cluster and out of it: tokens, strangers of another cluster, leaving, empty disks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.cluster.harness.cluster import Cluster, members
from tests.cluster.harness.node import Node
from tests.cluster.harness.stories import fresh_key, put, token, until_written, value_of
from tests.waiting import until

SECRET = "a-shared-secret-of-this-test"


@pytest.fixture(scope="module")
def lasting_guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes, formed by joining the first, into which nobody comes without a token."""
    settings = {"KONSUL_RAFT_JOIN_TOKEN": SECRET}
    with Cluster(tmp_path_factory.mktemp("guarded"), 2, settings=settings, expect=False) as cluster:
        cluster.until_members("n1", "n2")
        yield cluster


@pytest.fixture
def guarded(lasting_guarded: Cluster) -> Iterator[Cluster]:
    """The same; what a test added is taken away."""
    yield lasting_guarded
    for node in [node for name, node in lasting_guarded.nodes.items() if name not in ("n1", "n2")]:
        lasting_guarded.until_leader().ask("DELETE", f"/cluster/leave/{node.name}")
        lasting_guarded.forget(node)
    lasting_guarded.heal()
    lasting_guarded.until_members("n1", "n2")


def joiner(cluster: Cluster, name: str, secret: str | None) -> Node:
    """A launched node that asks the cluster for entry."""
    settings = {"KONSUL_RAFT_JOIN": ",".join(cluster.addresses())}
    node = cluster.add(name, settings)
    node.settings.pop("KONSUL_RAFT_JOIN_TOKEN", None)
    if secret is not None:
        node.settings["KONSUL_RAFT_JOIN_TOKEN"] = secret
    node.launch()
    return node


def is_refused(node: Node) -> bool:
    """Whether its log says that it was not let in."""
    assert node.running(), node.log_tail()
    return "join token" in node.output()


def test_a_node_with_the_token_joins_and_is_promoted(guarded: Cluster) -> None:
    put(guarded.until_leader(), "before", "1")
    node = joiner(guarded, "n3", SECRET)
    guarded.until_ready(node)
    guarded.until_members("n1", "n2", "n3")
    assert value_of(node, "before") == "1"
    guarded.until_alike()


@pytest.mark.parametrize("secret", [None, "a-wrong-secret-of-this-test"])
def test_a_node_without_the_token_stays_outside(guarded: Cluster, secret: str | None) -> None:
    node = joiner(guarded, f"stranger{'' if secret is None else 'with'}", secret)
    until(lambda: is_refused(node), "the refusal in its log")
    leader = guarded.until_leader()
    assert members(leader) | members(leader, "Nonvoter") == {"n1", "n2"}
    assert node.status_of("/health/ready") == 503
    assert node.ask("PUT", "/kv/a", {"value": "1"}).status == 503
    for each in guarded.nodes.values():
        assert SECRET not in each.output()
        assert secret is None or secret not in each.output()


def test_a_single_use_token_lets_one_node_in(guarded: Cluster) -> None:
    once = token(guarded.until_leader(), uses=1)
    first = joiner(guarded, "first", once)
    guarded.until_members("n1", "n2", "first")
    second = joiner(guarded, "second", once)
    until(lambda: is_refused(second), "the refusal in its log")
    assert "second" not in members(guarded.until_leader()) | members(guarded.until_leader(), "Nonvoter")
    assert first.is_ready()


def test_a_token_that_is_over_lets_nobody_in(guarded: Cluster) -> None:
    over = token(guarded.until_leader(), ttl="1ms")
    node = joiner(guarded, "late", over)
    until(lambda: is_refused(node), "the refusal in its log")
    assert "late" not in members(guarded.until_leader()) | members(guarded.until_leader(), "Nonvoter")


def test_a_node_is_asked_in_through_the_api_and_told_to_leave(guarded: Cluster) -> None:
    node = guarded.add("n4")
    node.launch()
    until(node.is_alive, "n4 to answer")
    body = {"node_id": "n4", "address": guarded.address(node), "join_token": SECRET}
    for asked in guarded.followers()[:1]:
        answer = asked.ask("POST", "/cluster/join", body)
        assert answer.status == 200, answer
    guarded.until_members("n1", "n2", "n4")
    guarded.until_ready(node)
    assert guarded.until_leader().ask("POST", "/cluster/join", body).status == 200, "twice changes nothing"
    assert guarded.followers()[0].ask("DELETE", "/cluster/leave/n4").status == 200
    guarded.until_members("n1", "n2")
    assert guarded.until_leader().ask("DELETE", "/cluster/leave/n4").status == 404
    until(lambda: node.ask("PUT", "/kv/a", {"value": "1"}).status == 503, "the removed node to refuse writes")


def test_the_leader_leaves_and_hands_over_first(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Cluster(tmp_path_factory.mktemp("leaving")) as cluster:
        leader = cluster.until_leader()
        others = cluster.followers()
        answer = others[0].ask("DELETE", f"/cluster/leave/{leader.name}")
        assert answer.status == 200, answer
        assert cluster.until_leader(besides=leader) in others
        cluster.until_members(*(node.name for node in others))
        until_written(others[0], fresh_key(), "1")


def test_a_node_of_another_cluster_is_refused_and_disturbs_nobody(
    trio: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Cluster(tmp_path_factory.mktemp("other"), 1) as other:
        stranger = other.nodes["n1"]
        key = fresh_key()
        put(stranger, key, "theirs")
        stranger.kill()
        # It comes back with its data, and is told to join ours under the name of nobody.
        stranger.settings |= joining(trio)
        leader = trio.until_leader()
        stranger.launch()
        other.until_ready(stranger)
        body = {"node_id": "n1", "address": other.address(stranger)}
        answer = leader.ask("POST", "/cluster/join", body | {"node_id": "stranger"})
        assert answer.status in (400, 409, 502), answer
        assert members(leader) == {"n1", "n2", "n3"}
        assert value_of(leader, key) is None
        assert value_of(stranger, key) == "theirs"
        put(leader, fresh_key(), "1")


def joining(cluster: Cluster) -> Mapping[str, str]:
    return {"KONSUL_RAFT_JOIN": ",".join(cluster.addresses())}


def test_a_wiped_node_comes_back_under_its_name_with_everything(trio: Cluster) -> None:
    follower, key = trio.followers()[0], fresh_key()
    put(follower, key, "kept")
    follower.kill()
    follower.wipe()
    follower.launch()
    trio.until_ready(follower)
    trio.until_members("n1", "n2", "n3")
    trio.until_alike()
    assert value_of(follower, key, "stale") == "kept"


def test_a_second_node_under_a_living_name_is_refused(trio: Cluster) -> None:
    follower = trio.followers()[0]
    twin = trio.add("twin", {"KONSUL_RAFT_NODE_ID": follower.name, **joining(trio)})
    try:
        twin.launch()
        until(lambda: "409" in twin.output() or "contact" in twin.output(), "the refusal in its log")
        assert members(trio.until_leader()) == {"n1", "n2", "n3"}
        assert follower.is_ready()
    finally:
        trio.forget(twin)
