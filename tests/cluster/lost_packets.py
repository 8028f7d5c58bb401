"""A story of lost packets: told in networks of the kernel's own by `python -m`, under `unshare -rn`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.namespaces import Namespaces
from tests.cluster.harness.stories import fresh_key, get, put, until_written, value_of
from tests.waiting import until


class Network(Protocol):
    """What loses packets."""

    def cut(self, source: str, destination: str) -> None: ...
    def part(self, one_side: Iterable[str], other_side: Iterable[str]) -> None: ...
    def heal(self) -> None: ...


def tell(cluster: Cluster, network: Network) -> None:
    """An isolated leader, one that nobody hears, one that hears nobody; each time the others go on."""
    for way in ("both", "out", "in"):
        leader, key = cluster.until_leader(), fresh_key()
        others = [node for node in cluster.nodes.values() if node is not leader]
        put(leader, key, "old")
        for node in others:
            if way in ("both", "out"):
                network.cut(leader.name, node.name)
            if way in ("both", "in"):
                network.cut(node.name, leader.name)
        until_written(others[0], key, "new")
        for consistency in ("default", "linearizable"):
            answer = get(leader, key, consistency)
            is_new = answer.status == 200 and answer.json()["value"] == "new"
            assert is_new or answer.status == 503, f"{way}, {consistency}: {answer}"
        network.heal()
        cluster.until_ready()
        cluster.until_alike()
        assert {value_of(node, key) for node in cluster.nodes.values()} == {"new"}


def unplugged(cluster: Cluster, network: Namespaces) -> None:
    """A leader whose cable is out knows nothing of it, and nobody else hears of its connections."""
    leader, key = cluster.until_leader(), fresh_key()
    others = [node for node in cluster.nodes.values() if node is not leader]
    network.unplug(leader.name)
    until_written(others[0], key, "1")
    network.heal()
    cluster.until_ready()
    until(lambda: value_of(leader, key, "stale") == "1", "it to catch up")
    cluster.until_alike()


def main() -> None:
    cluster = Cluster(Path(sys.argv[1]), through_links=False)
    with Namespaces(cluster) as network, cluster:
        tell(cluster, network)
        unplugged(cluster, network)


if __name__ == "__main__":
    main()
