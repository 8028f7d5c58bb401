"""Nodes that die, hang and come back: writes go on, nothing acknowledged is lost, nothing old is read."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.stories import fresh_key, get, put, until_written, value_of, writing
from tests.waiting import until


def test_the_leader_is_killed_and_writes_go_on_through_the_others(trio: Cluster) -> None:
    leader, key = trio.until_leader(), fresh_key()
    others = trio.followers()
    put(leader, key, "before")
    leader.kill()
    assert value_of_soon(trio, others[0].name, key) == "before"
    until_written(others[1], key, "after")
    assert value_of(others[0], key, "linearizable") == "after"
    leader.launch()
    trio.until_ready(leader)
    assert value_of(leader, key) == "after"
    trio.until_alike()


def value_of_soon(cluster: Cluster, name: str, key: str) -> str | None:
    """A default read once somebody leads."""
    node = cluster.nodes[name]
    until(lambda: get(node, key).status in (200, 404), "a default read to be answered", 60)
    return value_of(node, key)


def test_a_follower_is_killed_and_nobody_notices(trio: Cluster) -> None:
    leader = trio.until_leader()
    killed, left = trio.followers()
    killed.kill()
    for node in (leader, left):
        key = fresh_key()
        put(node, key, "1")
        assert value_of(node, key, "linearizable") == "1"
    killed.launch()
    trio.until_ready(killed)
    trio.until_alike()


def test_without_a_majority_writes_are_refused_quickly_and_reads_only_stale(trio: Cluster) -> None:
    leader, key = trio.until_leader(), fresh_key()
    put(leader, key, "kept")
    one, other = trio.followers()
    one.kill()
    other.kill()
    until(lambda: trio.leader() is None, "the leader to step down")
    until(
        lambda: leader.ask("PUT", f"/kv/{fresh_key()}", {"value": "1"}).status == 503, "a refusal of writes"
    )
    refused = leader.ask("PUT", f"/kv/{key}", {"value": "lost"})
    assert (refused.status, refused.json()["error"]) == (503, "no leader")
    assert int(refused.headers["retry-after"]) >= 1
    assert leader.ask("GET", "/cluster/leader").status == 404
    assert [get(leader, key, wanted).status for wanted in ("default", "linearizable")] == [503, 503]
    stale = get(leader, key, "stale")
    assert (stale.status, stale.json()["value"]) == (200, "kept")
    assert stale.headers["x-konsul-known-leader"] == "false"
    assert leader.status_of("/health/ready") == 503
    assert leader.status_of("/health/live") == 200


def test_a_leader_that_slept_reads_nothing_old_when_it_wakes(trio: Cluster) -> None:
    leader, key = trio.until_leader(), fresh_key()
    put(leader, key, "old")
    other = trio.followers()[0]
    leader.pause()
    until_written(other, key, "new")
    leader.resume()
    begun = time.monotonic()
    answered = 0
    # The moment of waking is the dangerous one: it still believes that it leads.
    while answered < 20 and time.monotonic() < begun + 30:
        for consistency in ("default", "linearizable"):
            answer = get(leader, key, consistency)
            assert answer.status in (200, 503), answer
            if answer.status == 200:
                assert answer.json()["value"] == "new", f"a {consistency} read went back in time"
                answered += 1
    assert answered, "the woken node never served again"


def test_a_sleeping_follower_catches_up(trio: Cluster) -> None:
    follower = trio.followers()[0]
    leader, key = trio.until_leader(), fresh_key()
    follower.pause()
    for number in range(50):
        put(leader, f"{key}/{number}", "1")
    follower.resume()
    trio.until_alike()
    assert value_of(follower, f"{key}/49") == "1"


def test_a_write_under_one_request_id_survives_the_leader_and_happens_once(trio: Cluster) -> None:
    leader = trio.until_leader()
    others = trio.followers()
    for number in range(10):
        key, headers = fresh_key("once"), {"Idempotency-Key": fresh_key("request")}
        first = put(others[number % 2], key, "mine", headers)
        if number == 5:
            leader.kill()
            until_written(others[0], fresh_key(), "x")
        until_written(others[0], key, "theirs")
        answer = others[1].ask("PUT", f"/kv/{key}", {"value": "mine"}, headers)
        assert (answer.status, answer.json()["modify_index"]) == (200, first)
        assert value_of(others[0], key) == "theirs"


def test_all_nodes_are_killed_at_once_and_come_back_with_everything(trio: Cluster) -> None:
    with writing(list(trio.nodes.values())) as load:
        until(lambda: load.count > 100, "writes")
        for node in trio.nodes.values():
            node.kill()
    trio.heal()
    assert load.lost(trio.until_leader()) == []
    assert load.wrong == []


@pytest.mark.timeout(300)
def test_nodes_are_restarted_one_after_the_other_under_load_and_nothing_is_lost(trio: Cluster) -> None:
    with writing(list(trio.nodes.values())) as load:
        for node in trio.nodes.values():
            before = load.count
            assert node.stop() == 0, node.log_tail()
            until(partial(load.has_passed, before + 20), "writes while one is away")
            node.launch()
            trio.until_ready(node)
    trio.until_alike()
    assert load.lost(trio.until_leader()) == []
    assert load.wrong == []


def test_a_cluster_of_one_comes_back_by_itself(tmp_path: Path) -> None:
    with Cluster(tmp_path / "one", 1) as cluster:
        node, key = cluster.nodes["n1"], fresh_key()
        put(node, key, "kept")
        node.kill()
        node.launch()
        cluster.until_ready()
        assert value_of(node, key) == "kept"
