"""Checks in a cluster: each runs on one node, and on another when that one dies, also when it led."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.checks.counting import Counting
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.waiting import until

CHECKS = 30
INTERVAL_S = 0.3
SOON_S = 60.0
"""How long a test waits at most; a take-over takes about the TTL of a runner, which is 5 s."""
SERVICE = {"address": "127.0.0.1", "port": 80, "ttl": "1h"}


@pytest.fixture(scope="module")
def target() -> Iterator[Counting]:
    with Counting() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, target: Counting) -> Iterator[Cluster]:
    """A cluster of its own, for its nodes are killed, with checks that run."""
    with Cluster(tmp_path_factory.mktemp("checks")) as running:
        leader = running.until_leader()
        for number in range(CHECKS):
            check = {"id": f"c{number}", "http": f"{target.url}/c{number}", "interval": f"{INTERVAL_S}s"}
            body = SERVICE | {"name": f"web-{number}", "checks": [check]}
            assert leader.ask("PUT", "/register", body).status == 200
        until_all_run(running, set(running.nodes))
        yield running


def runners(node: Node) -> Counter[str]:
    """How many checks each node runs, of those that have run, as `node` says it."""
    found: Counter[str] = Counter()
    for number in range(CHECKS):
        answer = node.asked("GET", f"/health/check/c{number}/history")
        if answer is not None and answer.status == 200 and answer.json()["results"]:
            found[answer.json()["runner"]] += 1
    return found


def until_all_run(cluster: Cluster, names: set[str]) -> None:
    """Waits until exactly these nodes share all checks, and each has run."""
    node = cluster.until_leader()

    def shared() -> bool:
        found = runners(node)
        return set(found) == names and found.total() == CHECKS

    until(shared, f"{sorted(names)} to share the checks", SOON_S)


def run_for(target: Counting, rounds: int) -> float:
    """Waits until every check has run `rounds` times from now on; returns the beginning."""
    since_s = time.monotonic()
    until(
        lambda: all(target.hits(f"/c{number}", since_s) >= rounds for number in range(CHECKS)),
        f"{rounds} runs of every check",
        SOON_S,
    )
    return since_s


def assert_one_each(target: Counting, since_s: float) -> None:
    """Nothing ran more often than one node does; two would be twice as many."""
    spent_s = time.monotonic() - since_s
    hits = {number: target.hits(f"/c{number}", since_s) for number in range(CHECKS)}
    most = spent_s / INTERVAL_S + 2
    assert {number: count for number, count in hits.items() if count > most} == {}, (most, hits)


def of(node: Node, number: int) -> dict[str, Any]:
    return dict(node.ask("GET", f"/health/check/c{number}").json())


@pytest.mark.timeout(200)
def test_every_check_runs_on_exactly_one_node_and_all_nodes_share(cluster: Cluster, target: Counting) -> None:
    since_s = run_for(target, rounds=10)
    assert_one_each(target, since_s)
    shares = runners(cluster.until_leader())
    assert set(shares) == set(cluster.nodes)
    # Whichever node is asked, it names the same runner and has its results.
    for node in cluster.nodes.values():
        assert runners(node) == shares


@pytest.mark.timeout(200)
def test_a_status_is_known_on_every_node(cluster: Cluster, target: Counting) -> None:
    nodes = list(cluster.nodes.values())

    def listed(node: Node) -> int:
        return len(node.ask("GET", "/health/state/critical?consistency=stale").json())

    until(lambda: all(listed(node) == 0 for node in nodes), "all to pass", SOON_S)
    target.status = 500
    until(lambda: all(listed(node) == CHECKS for node in nodes), "all to be critical", SOON_S)
    for node in nodes:
        assert node.ask("GET", "/services/web-0/instances?passing=true").json() == []
        assert node.ask("GET", "/lb/service/web-0").status == 404
    target.status = 200
    until(lambda: all(listed(node) == 0 for node in nodes), "all to pass again", SOON_S)
    assert all(of(node, 0)["status"] == "passing" for node in nodes)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("which", ["follower", "leader"])
def test_the_checks_of_a_killed_node_are_taken_over(
    cluster: Cluster, target: Counting, which: str, record_property: Callable[[str, object], None]
) -> None:
    cluster.heal()
    until_all_run(cluster, set(cluster.nodes))
    leader = cluster.until_leader()
    killed = leader if which == "leader" else cluster.followers()[0]
    lost = [number for number in range(CHECKS) if of(leader, number)["runner"] == killed.name]
    assert lost
    killed.kill()
    since_s = time.monotonic()
    until(lambda: all(target.hits(f"/c{number}", since_s) for number in lost), "all to run again", SOON_S)
    taken_s = time.monotonic() - since_s
    record_property("taken_over_s", round(taken_s, 1))
    print(f"{len(lost)} checks of a killed {which} were taken over within {taken_s:.1f} s")
    until_all_run(cluster, set(cluster.nodes) - {killed.name})
    assert_one_each(target, run_for(target, rounds=5))
    # When it comes back it gets its share again, and nothing runs twice.
    killed.start()
    until_all_run(cluster, set(cluster.nodes))
    assert_one_each(target, run_for(target, rounds=5))


@pytest.mark.timeout(200)
def test_a_node_that_stops_hands_its_checks_over_at_once(cluster: Cluster, target: Counting) -> None:
    cluster.heal()
    until_all_run(cluster, set(cluster.nodes))
    stopped = cluster.followers()[0]
    assert stopped.stop() == 0
    until_all_run(cluster, set(cluster.nodes) - {stopped.name})
    assert_one_each(target, run_for(target, rounds=5))
    stopped.start()
    until_all_run(cluster, set(cluster.nodes))


@pytest.mark.timeout(200)
def test_a_node_that_is_cut_off_runs_nothing_that_another_took_over(
    cluster: Cluster, target: Counting
) -> None:
    """It cannot renew its lease, so it stops before the others may begin."""
    cluster.heal()
    until_all_run(cluster, set(cluster.nodes))
    away = cluster.followers()[0]
    assert cluster.links is not None
    cluster.links.part([away.name], set(cluster.nodes) - {away.name})
    until_all_run(cluster, set(cluster.nodes) - {away.name})
    assert_one_each(target, run_for(target, rounds=8))
    cluster.heal()
    until_all_run(cluster, set(cluster.nodes))
    assert_one_each(target, run_for(target, rounds=5))
