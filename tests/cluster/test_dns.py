"""DNS in a cluster: every node answers from its own tables, and knows at once what it acknowledged itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dns.message
import dns.query
import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.waiting import until

SETTINGS = {"KONSUL_DNS_ENABLED": "true", "KONSUL_DNS_PORT": "0", "KONSUL_SERVICE_TTL": "1h"}
ANSWER_S = 30.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder: Path = tmp_path_factory.mktemp("dns")
    with Cluster(folder / "nodes", settings=SETTINGS, through_links=False) as running:
        yield running


def asked(node: Node, name: str) -> list[str]:
    """The addresses that a node answers."""
    said = [json.loads(line) for line in node.output().splitlines() if line.startswith("{")]
    port = [line["port"] for line in said if line["msg"] == "dns"][-1]
    query = dns.message.make_query(f"{name}.service.consul", "A")
    found = dns.query.udp(query, "127.0.0.1", ANSWER_S, port)
    return sorted(one.to_text() for records in found.answer for one in records)


def has(node: Node, name: str, address: str) -> bool:
    return asked(node, name) == [address]


def test_what_a_node_acknowledged_it_tells_from_then_on(cluster: Cluster) -> None:
    for number, node in enumerate(cluster.nodes.values()):
        name = f"own-{number}"
        for address in ("10.0.0.1", "10.0.0.2"):
            body = {"name": name, "address": address, "port": 80}
            assert node.ask("PUT", "/register", body).status == 200
            assert asked(node, name) == [address]
            assert asked(node, name) == [address]
        assert node.ask("DELETE", f"/deregister/{name}").status == 200
        assert asked(node, name) == []


def test_every_node_answers_also_without_a_leader(cluster: Cluster) -> None:
    leader = cluster.until_leader()
    assert leader.ask("PUT", "/register", {"name": "web", "address": "10.0.0.9", "port": 80}).status == 200
    for node in cluster.nodes.values():
        until(partial(has, node, "web", "10.0.0.9"), f"{node.name} to have it")
    survivor, *others = cluster.nodes.values()
    for node in others:
        node.kill()
    assert asked(survivor, "web") == ["10.0.0.9"]
    assert asked(survivor, "other") == []
