"""Cut and slow networks between nodes that all live."""

from __future__ import annotations

from functools import partial

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.links import Links
from tests.cluster.harness.node import Node
from tests.cluster.harness.stories import fresh_key, get, put, until_written, value_of, writing
from tests.waiting import until


def links_of(cluster: Cluster) -> Links:
    assert cluster.links is not None
    return cluster.links


def serves_writes(node: Node) -> bool:
    answer = node.asked("PUT", f"/kv/{fresh_key()}", {"value": "1"})
    return answer is not None and answer.status == 200


def test_an_isolated_leader_steps_down_and_the_others_go_on(trio: Cluster) -> None:
    leader, key = trio.until_leader(), fresh_key()
    others = trio.followers()
    put(leader, key, "old")
    links_of(trio).part([leader.name], [node.name for node in others])
    until_written(others[0], key, "new")
    for consistency in ("default", "linearizable"):
        answer = get(leader, key, consistency)
        assert answer.status == 503, f"{consistency}: {answer}"
    assert value_of(leader, key, "stale") == "old"
    until(lambda: leader.ask("PUT", f"/kv/{key}", {"value": "lost"}).status == 503, "a refusal of writes")
    links_of(trio).heal()
    trio.until_alike()
    assert value_of(leader, key) == "new"


def test_an_isolated_follower_disturbs_nobody_when_it_returns(trio: Cluster) -> None:
    def returns_in_the_same_term() -> bool:
        term, follower = trio.term(), trio.followers()[0]
        links_of(trio).part([follower.name], [name for name in trio.nodes if name != follower.name])
        until(lambda: get(follower, fresh_key()).status == 503, "the follower to miss its leader")
        until_written(trio.until_leader(), fresh_key(), "1")
        links_of(trio).heal()
        trio.until_alike()
        return trio.term() == term

    # A busy machine may elect a leader by itself; a node that returns would force one every time.
    assert any(returns_in_the_same_term() for _ in range(3)), "it forced an election"


def test_a_leader_that_nobody_hears_is_replaced(trio: Cluster) -> None:
    leader, key = trio.until_leader(), fresh_key()
    others = trio.followers()
    for node in others:
        links_of(trio).cut(leader.name, node.name)
    until_written(others[0], key, "1")
    assert trio.until_leader() is not leader
    trio.heal()
    assert value_of(leader, key) == "1"


def test_a_leader_that_hears_nobody_steps_down(trio: Cluster) -> None:
    leader, key = trio.until_leader(), fresh_key()
    others = trio.followers()
    for node in others:
        links_of(trio).cut(node.name, leader.name)
    until(lambda: not serves_writes(leader), "the deaf leader to refuse writes")
    until_written(others[0], key, "1")
    trio.heal()
    assert value_of(leader, key) == "1"


def test_two_followers_that_do_not_hear_each_other_need_not(trio: Cluster) -> None:
    leader = trio.until_leader()
    one, other = trio.followers()
    links_of(trio).part([one.name], [other.name])
    for node in trio.nodes.values():
        key = fresh_key()
        put(node, key, "1")
        assert value_of(one, key) == value_of(other, key) == "1"
    assert trio.until_leader() is leader


def test_a_follower_cut_off_from_the_leader_alone_does_not_stop_the_others(trio: Cluster) -> None:
    leader = trio.until_leader()
    cut, left = trio.followers()
    links_of(trio).part([cut.name], [leader.name])
    until(lambda: serves_writes(left), "the majority to serve")
    key = fresh_key()
    until_written(left, key, "1")
    trio.heal()
    assert value_of(cut, key) == "1"


@pytest.mark.parametrize("source", ["leader", "follower"])
def test_a_slow_link_slows_and_breaks_nothing(trio: Cluster, source: str) -> None:
    leader, follower = trio.until_leader(), trio.followers()[0]
    one, other = (leader, follower) if source == "leader" else (follower, leader)
    links_of(trio).slow(one.name, other.name, delay_s=0.05, bytes_per_s=50_000)
    with writing(list(trio.nodes.values())) as load:
        until(lambda: load.count > 60, "writes over a slow link", 60)
    links_of(trio).heal()
    trio.until_alike()
    assert load.lost(follower) == []
    assert load.wrong == []


def test_broken_connections_are_made_again(trio: Cluster) -> None:
    names = sorted(trio.nodes)
    with writing(list(trio.nodes.values())) as load:
        for number in range(5):
            before = load.count
            assert links_of(trio).reset(names[number % 3], names[(number + 1) % 3]) >= 0
            until(partial(load.has_passed, before + 20), "writes after a broken connection")
    trio.until_alike()
    assert load.lost(trio.until_leader()) == []
    assert load.wrong == []
