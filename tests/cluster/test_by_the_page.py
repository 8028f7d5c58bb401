"""What docs/operate/cluster.md tells an operator to do when much is lost, done as it is written there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.cluster.harness.stories import put, value_of


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "nodes", through_links=False) as cluster:
        cluster.until_members("n1", "n2", "n3")
        yield cluster


def without_quorum(cluster: Cluster) -> Node:
    """Two of three nodes and their disks are gone; the third is stopped."""
    survivor, *lost = cluster.nodes.values()
    for node in cluster.nodes.values():
        node.kill()
    for node in lost:
        node.wipe()
        del cluster.nodes[node.name]
    return survivor


def test_a_lost_quorum_is_replaced_by_hand_and_the_cluster_grows_again(cluster: Cluster) -> None:
    put(cluster.until_leader(), "kept", "yes")
    cluster.until_alike()
    survivor = without_quorum(cluster)
    peers = survivor.data_dir / "peers.json"
    peers.write_text(json.dumps([{"id": "n7", "address": "127.0.0.1:7000"}]))
    assert survivor.refused() == 1
    assert 'id "n7" is not known to this node; it knows n' in survivor.output().replace("\\", "")
    listed = [{"id": survivor.name, "address": cluster.address(survivor), "non_voter": False}]
    peers.write_text(json.dumps(listed))
    survivor.launch()
    cluster.until_ready()
    assert (survivor.data_dir / "peers.json.applied").exists()
    assert value_of(survivor, "kept", "linearizable") == "yes"
    cluster.until_members(survivor.name)
    put(survivor, "after", "yes")
    fresh = cluster.add("n4", {"KONSUL_RAFT_JOIN": cluster.address(survivor)})
    fresh.launch()
    cluster.until_members(survivor.name, "n4")
    assert value_of(fresh, "after", "linearizable") == "yes"
    cluster.until_alike()


def test_a_whole_cluster_comes_back_from_one_snapshot(cluster: Cluster, tmp_path: Path) -> None:
    put(cluster.until_leader(), "kept", "yes")
    cluster.until_alike()
    follower = cluster.followers()[0]
    assert follower.ask("POST", "/cluster/snapshot").status == 200
    newest = max((follower.data_dir / "snapshots").glob("*.snapshot"))
    saved = tmp_path / newest.name
    shutil.copy(newest, saved)
    first, *others = cluster.nodes.values()
    for node in cluster.nodes.values():
        node.kill()
        node.wipe()
        node.settings.pop("KONSUL_RAFT_BOOTSTRAP_EXPECT")
        node.settings["KONSUL_RAFT_JOIN"] = cluster.address(first)
    (first.data_dir / "snapshots").mkdir(parents=True)
    shutil.copy(saved, first.data_dir / "snapshots" / saved.name)
    del first.settings["KONSUL_RAFT_JOIN"]
    first.settings["KONSUL_RAFT_BOOTSTRAP"] = "true"
    first.launch()
    cluster.until_ready(first)
    assert value_of(first, "kept", "linearizable") == "yes"
    for node in others:
        node.launch()
    cluster.until_members("n1", "n2", "n3")
    cluster.until_alike()
    for node in cluster.nodes.values():
        assert value_of(node, "kept", "linearizable") == "yes"
