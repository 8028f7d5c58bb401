"""Balancing on three nodes: what was acknowledged by one holds on each, and reports reach them all."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

import pytest

from tests.ask import Answer
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.doors.under_change import AGAIN, STEADY, UnderChange
from tests.waiting import until

CHANGES = 12
SOON_S = 30.0
"""How long a test waits at most; reports take about a second."""


def name() -> str:
    return f"s-{uuid4().hex[:10]}"


def nodes(cluster: Cluster) -> list[Node]:
    """The leader first."""
    leader = cluster.until_leader()
    return [leader, *(node for node in cluster.nodes.values() if node is not leader)]


def chosen(node: Node, service: str, more: str = "") -> str:
    answer = asked(node, "GET", f"/lb/service/{service}?{more}")
    return str(answer.json()["service"]["id"])


def asked(node: Node, method: str, path: str, body: object = None) -> Answer:
    """The answer, once the node is not without a leader."""
    answers: list[Answer] = []

    def is_done() -> bool:
        answers.append(node.ask(method, path, body))
        return answers[-1].status not in AGAIN

    until(is_done, f"{method} {path} to be done", SOON_S)
    assert answers[-1].status == 200, answers[-1].body
    return answers[-1]


def register(node: Node, service: str, instance: str, **more: object) -> None:
    body = {"name": service, "id": instance, "address": "10.0.0.1", "port": 80, **more}
    asked(node, "PUT", "/register", body)


def connections(node: Node, service: str) -> list[int]:
    """Of every instance, as the node knows them."""
    answer = node.ask("GET", f"/lb/report/{service}")
    return [one["connections"] for one in answer.json().get("instances", ())]


def is_known_to(node: Node, reporter: Node, service: str) -> bool:
    """Reports on the only instance to `reporter`, as five clients; whether `node` knows of all."""
    for number in range(5):
        report = {"id": "a", "client": f"c{number}", "connections": 1}
        if reporter.ask("PUT", f"/lb/report/{service}", report).status != 200:
            return False
    return connections(node, service) == [5]


@pytest.mark.timeout(300)
def test_who_was_said_to_be_critical_is_answered_by_no_node_any_more(trio: Cluster) -> None:
    """Default reads: the leader answers by its lease, a follower asks it first and catches up."""
    story = UnderChange({node.name: node.base_url for node in nodes(trio)}, name())
    story.run(CHANGES)
    assert {200} <= {one.status for one in story.seen} <= {200, *AGAIN}
    assert story.wrong() == []
    for node in story.urls:
        assert story.asked_while_out(node) > CHANGES
    assert {id for one in story.seen for id in one.ids} == {STEADY, *story.instances}


@pytest.mark.timeout(200)
def test_rules_hold_on_every_node_when_one_has_acknowledged_them(trio: Cluster) -> None:
    service, every = name(), nodes(trio)
    for colour in ("blue", "green"):
        register(every[0], service, colour, tags=[colour])
    rules = [{"name": colour, "tags": [colour]} for colour in ("blue", "green")]
    body = {"strategy": "random", "rules": rules, "active": "blue"}
    asked(every[1], "PUT", f"/lb/rules/{service}", body)
    for turn in range(12):
        active = ("green", "blue")[turn % 2]
        asked(every[turn % 3], "PUT", f"/lb/rules/{service}/active", {"active": active})
        assert [chosen(node, service) for node in every] == [active] * 3
    split = asked(every[2], "GET", f"/lb/service/{service}/split").json()["split"]
    assert split == {"rules": rules, "active": "blue"}
    asked(every[2], "DELETE", f"/lb/rules/{service}")
    assert {node.ask("GET", f"/lb/rules/{service}").status for node in every} == {404}


@pytest.mark.timeout(200)
def test_a_session_is_on_one_side_of_a_percentage_whichever_node_is_asked(trio: Cluster) -> None:
    service, every = name(), nodes(trio)
    for colour in ("blue", "green"):
        register(every[0], service, colour, tags=[colour])
    split = {"rules": [{"name": "canary", "percent": 50, "tags": ["green"]}]}
    asked(every[0], "PUT", f"/lb/service/{service}/split", split)
    sides = Counter[str]()
    for number in range(40):
        (side,) = {chosen(node, service, f"session=user-{number}") for node in every}
        sides[side] += 1
    assert set(sides) == {"blue", "green"}


@pytest.mark.timeout(200)
def test_reports_reach_every_node(trio: Cluster) -> None:
    service, every = name(), nodes(trio)
    leader, one, other = every
    for instance in ("a", "b"):
        register(leader, service, instance)
    busy = {"id": "a", "client": "gateway", "connections": 70, "latency_ms": 5.5}
    many = {"client": "gateway", "reports": [{"name": service, "id": "b", "connections": 90}]}

    def is_known() -> bool:
        # As clients do: a report that is lost on its way is made good by the next.
        assert one.ask("PUT", f"/lb/report/{service}", busy).status == 200
        assert other.ask("POST", "/lb/reports", many).json()["count"] == 1
        return all(connections(node, service) == [70, 90] for node in every)

    until(is_known, "every node to know", SOON_S)
    for node in every:
        assert {chosen(node, service, "strategy=least-connections") for _ in range(5)} == {"a"}
        assert asked(node, "GET", f"/lb/report/{service}").json()["instances"][0]["latency_ms"] == 5.5


@pytest.mark.timeout(200)
def test_a_node_that_is_away_misses_reports_and_nobody_minds(trio: Cluster) -> None:
    service, (leader, one, away) = name(), nodes(trio)
    register(leader, service, "a")
    away.pause()
    try:
        until(lambda: is_known_to(leader, one, service), "the node that is there to know", SOON_S)
    finally:
        away.resume()
    until(lambda: away.is_ready(), "the node to be back", SOON_S)
    assert chosen(away, service, "strategy=least-connections") == "a"
