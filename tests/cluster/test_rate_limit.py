"""Rates and lists: what is asked of one node is in force on all, also on one that comes back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.ask import Answer
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.waiting import until

ADMIN = "/admin/ratelimit"
SOON_S = 30.0
"""How long a test waits at most; the nodes take milliseconds."""
_hosts = count(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for the tests of this file; the machine itself is on its white list."""
    settings = {
        "KONSUL_RATE_LIMIT_ENABLED": "true",
        "KONSUL_RATE_LIMIT_REQUESTS_PER_SEC": "0.001",
        "KONSUL_RATE_LIMIT_BURST": "1000",
        "KONSUL_TRUSTED_PROXIES": "127.0.0.1",
    }
    with Cluster(tmp_path_factory.mktemp("rates"), settings=settings) as running:
        entry = {"identifier": "127.0.0.1", "type": "ip"}
        assert running.until_leader().ask("POST", f"{ADMIN}/whitelist", entry).status == 200
        yield running


def nodes(cluster: Cluster) -> list[Node]:
    """The leader first."""
    leader = cluster.until_leader()
    return [leader, *(node for node in cluster.nodes.values() if node is not leader)]


def address() -> str:
    """An address that no other test asks from."""
    return f"198.18.0.{next(_hosts)}"


def seen(node: Node, client: str) -> Answer:
    return node.ask("GET", "/kv/nothing", None, {"X-Forwarded-For": client})


def limit(node: Node, client: str) -> str | None:
    """The burst that the client is told, None where nothing is counted."""
    return seen(node, client).headers.get("x-ratelimit-limit")


@pytest.mark.timeout(200)
def test_a_change_asked_of_a_follower_holds_on_every_node(cluster: Cluster) -> None:
    _, follower, _ = nodes(cluster)
    known = address()
    assert {limit(node, known) for node in nodes(cluster)} == {"1000"}
    assert follower.ask("PUT", f"{ADMIN}/config", {"burst": 77}).status == 200
    # The node that was asked has it when it answers, the others a moment later.
    assert limit(follower, known) == "77"
    until(lambda: {limit(node, known) for node in nodes(cluster)} == {"77"}, "every node to know", SOON_S)
    assert follower.ask("PUT", f"{ADMIN}/config", {"burst": 1000}).status == 200


@pytest.mark.timeout(200)
def test_lists_and_own_rates_hold_on_every_node(cluster: Cluster) -> None:
    leader, one, other = nodes(cluster)
    foe, friend, slow = address(), address(), address()
    entry = {"type": "ip", "reason": "the test", "duration": "1h"}
    assert one.ask("POST", f"{ADMIN}/blacklist", entry | {"identifier": f"{foe}/32"}).status == 200
    assert other.ask("POST", f"{ADMIN}/whitelist", entry | {"identifier": friend}).status == 200
    own = {"rate": 1, "burst": 5, "duration": "1h"}
    assert leader.ask("PUT", f"{ADMIN}/client/ip/{slow}", own).status == 200
    every = (leader, one, other)
    until(lambda: {seen(node, foe).status for node in every} == {403}, "every node to keep out", SOON_S)
    until(lambda: {limit(node, friend) for node in every} == {None}, "every node to let through", SOON_S)
    until(lambda: {limit(node, slow) for node in every} == {"5"}, "every node to slow down", SOON_S)
    assert leader.ask("DELETE", f"{ADMIN}/blacklist/{foe}").status == 200
    until(lambda: {seen(node, foe).status for node in every} == {404}, "every node to forgive", SOON_S)


@pytest.mark.timeout(200)
def test_buckets_are_each_nodes_own(cluster: Cluster) -> None:
    leader, one, other = nodes(cluster)
    client = address()
    own = {"rate": 0.001, "burst": 2, "duration": "1h"}
    assert one.ask("PUT", f"{ADMIN}/client/ip/{client}", own).status == 200
    every = (leader, one, other)
    until(lambda: {limit(node, client) for node in every} == {"2"}, "every node to slow down", SOON_S)
    until(lambda: {seen(node, client).status for node in every} == {429}, "every node to refuse", SOON_S)
    assert one.ask("POST", f"{ADMIN}/reset/ip/{client}").status == 200
    assert (seen(one, client).status, seen(other, client).status) == (404, 429)


@pytest.mark.timeout(200)
def test_a_node_that_was_away_knows_what_changed(cluster: Cluster) -> None:
    leader, away, _ = nodes(cluster)
    client = address()
    away.kill()
    entry = {"identifier": client, "type": "ip", "duration": "1h"}
    until(
        lambda: leader.ask("POST", f"{ADMIN}/blacklist", entry).status == 200, "the others to agree", SOON_S
    )
    away.start()
    until(lambda: seen(away, client).status == 403, "the node to know", SOON_S)
