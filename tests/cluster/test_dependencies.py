"""Dependencies declared on several nodes at once: however they meet, no circle closes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node

RING = tuple(f"ring{number}" for number in range(6))
ROUNDS = 5


@pytest.fixture
def nodes(trio: Cluster) -> Iterator[list[Node]]:
    """The leader first; nothing declared before and after."""
    leader = trio.until_leader()
    found = [leader, *(node for node in trio.nodes.values() if node is not leader)]
    yield found
    for name in RING:
        assert leader.ask("DELETE", f"/services/{name}/dependencies").status == 200


def declare(node: Node, name: str, needed: str) -> int:
    return node.ask("POST", f"/services/{name}/dependencies", {"dependencies": [needed]}).status


def edges(node: Node) -> list[tuple[str, str]]:
    found = node.ask("GET", "/services/dependency-graph").json()["edges"]
    return [(edge["from"], edge["to"]) for edge in found]


def test_a_ring_declared_on_all_nodes_at_once_stays_open(nodes: list[Node]) -> None:
    pairs = list(zip(RING, [*RING[1:], RING[0]], strict=True))
    with ThreadPoolExecutor(len(pairs)) as pool:
        for turn in range(ROUNDS):
            asked = [(nodes[(turn + number) % len(nodes)], *pair) for number, pair in enumerate(pairs)]
            statuses = list(pool.map(lambda one: declare(*one), asked))
            assert sorted(statuses) == [200] * (len(RING) - 1) + [409]
            shown = [edges(node) for node in nodes]
            assert shown[0] == sorted(
                pair for pair, status in zip(pairs, statuses, strict=True) if status == 200
            )
            assert shown == [shown[0]] * len(nodes)
            for name in RING:
                assert nodes[turn % len(nodes)].ask("DELETE", f"/services/{name}/dependencies").status == 200


def test_what_was_taken_back_elsewhere_can_be_declared_again_at_once(nodes: list[Node]) -> None:
    name, needed = RING[:2]
    for turn in range(20):
        one, other = nodes[turn % len(nodes)], nodes[(turn + 1) % len(nodes)]
        assert declare(one, name, needed) == 200
        assert one.ask("DELETE", f"/services/{name}/dependencies").status == 200
        assert declare(other, name, needed) == 200
        assert edges(one) == [(name, needed)]


def test_each_node_sees_at_once_what_another_has_declared(nodes: list[Node]) -> None:
    for number, name in enumerate(RING[:-1]):
        assert declare(nodes[number % len(nodes)], name, RING[number + 1]) == 200
    answer = nodes[-1].ask("POST", f"/services/{RING[-1]}/dependencies", {"dependencies": [RING[0]]})
    assert answer.status == 409
    assert answer.json()["message"] == "dependency cycle: " + " -> ".join((RING[-1], *RING))
