"""A node far behind is brought up by a snapshot, while the cluster serves."""

from __future__ import annotations

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.stories import fresh_key, value_of, writing
from tests.waiting import until

SETTINGS = {
    "KONSUL_RAFT_SNAPSHOT_THRESHOLD": "50",
    "KONSUL_RAFT_SNAPSHOT_INTERVAL": "100ms",
    "KONSUL_RAFT_TRAILING_LOGS": "10",
}
VALUE = "v" * 4_000


@pytest.mark.timeout(300)
def test_an_empty_node_joins_by_snapshot_under_load_and_is_promoted(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with Cluster(tmp_path_factory.mktemp("snapshots"), settings=SETTINGS) as cluster:
        fill(cluster, 40)
        with writing(list(cluster.nodes.values())) as load:
            until(lambda: load.count > 50, "writes")
            node = cluster.add("n4", {"KONSUL_RAFT_JOIN": ",".join(cluster.addresses())})
            node.launch()
            cluster.until_members("n1", "n2", "n3", "n4")
            cluster.until_ready(node)
            before = load.count
            until(lambda: load.count > before + 20, "writes after the promotion")
        cluster.until_alike()
        assert load.lost(node) == []
        assert load.wrong == []
        assert value_of(node, "filled/39/24", "stale") == VALUE
        falls_behind(cluster)


def fill(cluster: Cluster, batches: int) -> None:
    for number in range(batches):
        items = {f"filled/{number}/{key}": VALUE for key in range(25)}
        answer = cluster.until_leader().ask("POST", "/batch/kv/set", {"items": items})
        assert answer.status == 200, answer


def falls_behind(cluster: Cluster) -> None:
    """One node misses more than the log keeps, and its first snapshot breaks off under way."""
    node = cluster.followers()[0]
    node.kill()
    fill(cluster, 60)
    assert cluster.links is not None
    leader = cluster.until_leader()
    cluster.links.slow(leader.name, node.name, bytes_per_s=100_000)
    passed = cluster.links.passed_bytes(leader.name, node.name)
    node.launch()
    until(
        lambda: (
            cluster.links is not None and cluster.links.passed_bytes(leader.name, node.name) > passed + 30_000
        ),
        "part of a snapshot to be under way",
    )
    assert cluster.links.reset(leader.name, node.name) >= 1
    cluster.links.heal()
    cluster.until_ready(node)
    cluster.until_alike()
    key = fresh_key()
    assert cluster.until_leader().ask("PUT", f"/kv/{key}", {"value": "1"}).status == 200
    assert value_of(node, key) == "1"
