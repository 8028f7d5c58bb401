"""Wall clocks that jump by hours in either direction: nothing that waits or promises asks them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.stories import fresh_key, put, until_written, value_of
from tests.cluster.harness.wall_clocks import WallClock
from tests.waiting import until


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, dict[str, WallClock]]]:
    folder = tmp_path_factory.mktemp("clocks")
    cluster = Cluster(folder)
    clocks = {name: WallClock(folder, name) for name in cluster.nodes}
    for name, clock in clocks.items():
        cluster.nodes[name].settings |= clock.settings
    with cluster:
        yield cluster, clocks


def test_the_leader_stays_and_reads_stay_right(clocks: tuple[Cluster, dict[str, WallClock]]) -> None:
    # A busy machine may elect a leader by itself; clocks that matter would force one every time.
    assert any(stays(*clocks) for _ in range(3)), "a jump of wall clocks forced an election"


def stays(cluster: Cluster, jumping: dict[str, WallClock]) -> bool:
    leader, key = cluster.until_leader(), fresh_key()
    service = {"name": "steady", "address": "10.0.0.1", "port": 80}
    assert leader.ask("PUT", "/register", service).status == 200
    term = cluster.term()
    for offset_s in (3_600, -86_400, 86_400, 0):
        for name, clock in jumping.items():
            clock.jump(offset_s if name == leader.name else -offset_s)
        for node in cluster.nodes.values():
            until_written(node, key, f"{offset_s} {node.name}")
            for reader in cluster.nodes.values():
                for consistency in ("default", "linearizable"):
                    assert value_of(reader, key, consistency) == f"{offset_s} {node.name}"
        assert leader.ask("GET", "/services/steady").status == 200, "a heartbeat's time ran by the wall clock"
    return (cluster.until_leader(), cluster.term()) == (leader, term)


def test_a_node_that_starts_in_another_year_takes_part(clocks: tuple[Cluster, dict[str, WallClock]]) -> None:
    cluster, jumping = clocks
    leader, key = cluster.until_leader(), fresh_key()
    leader.kill()
    jumping[leader.name].jump(-20 * 365 * 86_400)
    until(lambda: cluster.leader() is not None, "another leader")
    leader.launch()
    cluster.until_ready(leader)
    put(leader, key, "1")
    body = {"node_id": leader.name}
    until(
        lambda: cluster.until_leader().ask("POST", "/cluster/transfer-leader", body).status == 200,
        "the leadership to be handed over",
    )
    until(lambda: cluster.leader() is leader, "it to lead")
    put(leader, key, "2")
    assert {value_of(node, key) for node in cluster.nodes.values()} == {"2"}
    cluster.until_alike()
