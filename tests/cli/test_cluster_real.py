"""`konsulctl cluster` against three real nodes: every action, on any node, and when nobody leads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.console import Console
from tests.cluster.harness.cluster import Cluster
from tests.waiting import until


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("nodes"), through_links=False) as cluster:
        cluster.until_members("n1", "n2", "n3")
        yield cluster


@pytest.fixture
def ctl(trio: Cluster, console: Console, monkeypatch: pytest.MonkeyPatch) -> Console:
    """konsulctl that asks a follower."""
    monkeypatch.setenv("KONSUL_SERVER", trio.followers()[0].base_url)
    return console


def test_every_node_shows_the_same_cluster(trio: Cluster, console: Console) -> None:
    leader = trio.until_leader()
    for node in trio.nodes.values():
        text = console.ok("cluster", "status", "--server", node.base_url).text
        assert f"Node ID:       {node.name}\n" in text
        assert f"Leader ID:     {leader.name}\n" in text
        assert "Cluster:       healthy, quorum 2 of 3\n" in text
        assert len(re.findall(r"^- n\d .*\[Voter\].* lag \d+ ", text, re.MULTILINE)) == 3
        told = console.ok("cluster", "leader", "--server", node.base_url).text
        assert ("The server asked is the leader." in told) is (node is leader)


def test_peers_stats_and_health(ctl: Console) -> None:
    assert len(re.findall(r"\[Voter\]", ctl.ok("cluster", "peers").text)) == 3
    assert ctl.ok("cluster", "stats", "--output", "json").json()["num_peers"] == 3
    assert "Term: " in ctl.ok("cluster", "stats").text
    text = ctl.ok("cluster", "health").text
    assert "May fail:  1\n" in text
    assert len(re.findall(r"^  n\d .* healthy ", text, re.MULTILINE)) == 3


def test_leadership_goes_where_it_is_sent(trio: Cluster, ctl: Console) -> None:
    heir = trio.followers()[-1]
    assert "Leadership transferred" in ctl.ok("cluster", "transfer", "--to", heir.name).text
    until(lambda: trio.leader() is heir, f"{heir.name} to lead")
    said = ctl("cluster", "transfer", "--to", "n9")
    assert (said.code, said.errors) == (3, "Error transferring leadership: node not found\n")


def test_a_snapshot_is_taken_once(ctl: Console) -> None:
    ctl.ok("kv", "set", "a", "1")
    assert ctl.ok("cluster", "snapshot").text == "Snapshot triggered: Snapshot created successfully\n"
    said = ctl("cluster", "snapshot")
    assert (said.code, "nothing new to snapshot" in said.errors) == (1, True)


def test_autopilot_is_told_and_remembers(ctl: Console) -> None:
    assert "dead_server_timeout=30s" in ctl.ok("cluster", "autopilot", "get").text
    ctl.ok("cluster", "autopilot", "set", "dead_server_timeout=45s", "cleanup_dead_servers=false")
    settings = ctl.ok("cluster", "autopilot", "get", "--output", "json").json()
    assert (settings["dead_server_timeout"], settings["cleanup_dead_servers"]) == ("45s", False)
    assert "healthy" in ctl.ok("cluster", "autopilot", "state").text
    said = ctl("cluster", "autopilot", "set", "colour=blue")
    assert (said.code, "colour is not a setting of autopilot" in said.errors) == (2, True)


def test_a_node_joins_with_a_token_and_leaves(trio: Cluster, ctl: Console, tmp_path: Path) -> None:
    made = ctl("cluster", "token", "create", "--uses", "1", "--ttl", "1h", "--description", "n4")
    (tmp_path / "token").write_bytes(made.output)
    listed = ctl.ok("cluster", "token", "list").text
    token_id = listed.splitlines()[1].split()[0]
    assert listed.rstrip().endswith("1 use left  n4")
    assert made.text.strip() not in listed
    node = trio.add("n4")
    try:
        node.launch()
        until(node.is_alive, "n4 to answer")
        address = trio.address(node)
        said = ctl("cluster", "join", "n4", address)
        assert (said.code, "a join token is required" in said.errors) == (1, True)
        joined = ctl.ok("cluster", "join", "n4", address, "--token-file", str(tmp_path / "token"))
        assert joined.text == f"n4 ({address}) joined successfully\nNode joined successfully\n"
        until(lambda: "n4" in ctl.ok("cluster", "peers").text, "n4 to be a member")
        until(node.is_ready, "n4 to be ready")
        left = ctl.ok("cluster", "leave", "n4", "--yes").text
        assert left.startswith('Node "n4" removed from cluster\n')
        assert ctl("cluster", "leave", "n4", "--yes").code == 3
    finally:
        trio.forget(node)
    ctl.ok("cluster", "token", "revoke", token_id)
    assert ctl.ok("cluster", "token", "list").text == "No join tokens found\n"
    assert ctl("cluster", "token", "revoke", token_id).code == 3


def test_the_last_one_standing_still_shows_what_it_knows(trio: Cluster, console: Console) -> None:
    last, *others = trio.nodes.values()
    for node in others:
        node.kill()
    try:
        leader = ("cluster", "leader", "--server", last.base_url)
        until(lambda: console(*leader).code == 3, "nobody to lead")
        text = console.ok("cluster", "status", "--server", last.base_url).text
        assert "Leader ID:     none\n" in text
        assert "Cluster:       unavailable, quorum 2 of 3\n" in text
        assert len(re.findall(r"^- n\d .* unknown +silent", text, re.MULTILINE)) == 2
        health = console("cluster", "health", "--server", last.base_url)
        assert (health.code, health.text.splitlines()[0]) == (1, "Cluster:   unavailable")
    finally:
        trio.heal()
