"""Reads and writes on nodes that do not lead, and on those that cannot: over HTTP, on three nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.waiting import until

SERVICE = {"name": "web", "address": "h", "port": 1, "tags": ["t"], "meta": {"k": "v"}}
WRITES: list[tuple[str, str, Any]] = [
    ("PUT", "/kv/w/a", {"value": "1"}),
    ("PUT", "/kv/w/raw?raw", b"1"),
    ("POST", "/batch/kv/set", {"items": {"w/b": "1"}}),
    ("POST", "/batch/kv/set-cas", {"items": {"w/c": "1"}, "expected_indices": {"w/c": 0}}),
    ("POST", "/batch/kv/delete", {"keys": ["w/b"]}),
    ("POST", "/transaction", {"operations": [{"type": "set", "key": "w/t", "value": "1"}]}),
    ("DELETE", "/kv/w/a", None),
    ("DELETE", "/kv/w/?recurse", None),
    ("PUT", "/register", SERVICE),
    ("PUT", "/heartbeat/web", None),
    ("POST", "/batch/services/register", {"services": [SERVICE | {"id": "two"}]}),
    ("POST", "/batch/services/deregister", {"names": ["web"]}),
    ("DELETE", "/deregister/web?all", None),
]
READS = [
    "/kv/r/a?",
    "/kv/r/a?raw&",
    "/kv/r/?keys&",
    "/services/kept?",
    "/services?",
    "/services/query?tags=t&",
    "/lb/service/kept?",
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with something to read."""
    with Cluster(tmp_path_factory.mktemp("doors"), through_links=False) as running:
        leader = running.until_leader()
        assert leader.ask("PUT", "/kv/r/a", {"value": "1"}).status == 200
        yield running


def keep(node: Node) -> None:
    """A service that is alive."""
    assert node.ask("PUT", "/register", SERVICE | {"name": "kept"}).status == 200


def test_every_write_through_a_follower_is_answered_like_the_leaders(cluster: Cluster) -> None:
    leader, follower = cluster.until_leader(), cluster.followers()[0]
    seen = 0
    for method, path, body in WRITES:
        answer = follower.ask(method, path, body)
        assert answer.status == 200, (path, answer)
        index = int(answer.headers["x-konsul-index"])
        assert index > seen or path.startswith("/heartbeat"), path
        seen = max(seen, index)
        assert (answer.headers["x-konsul-known-leader"], method) == ("true", method)
    assert int(leader.ask("GET", "/kv/none").headers["x-konsul-index"]) >= seen


def test_every_refusal_through_a_follower_is_the_leaders(cluster: Cluster) -> None:
    leader, follower = cluster.until_leader(), cluster.followers()[0]
    for method, path, body in (
        ("PUT", "/kv/r/a", {"value": "2", "cas": 999_999}),
        ("PUT", "/kv/absent", {"value": "2", "cas": 999_999}),
        ("DELETE", "/kv/r/a?cas=999999", None),
        ("POST", "/batch/kv/set-cas", {"items": {"r/a": "1"}, "expected_indices": {"r/a": 0}}),
        ("POST", "/transaction", {"operations": [{"type": "check", "key": "r/a", "index": 0}]}),
        ("PUT", "/heartbeat/absent", None),
        ("PUT", "/register", SERVICE | {"port": 0}),
        ("GET", "/kv/absent", None),
    ):
        there, here = leader.ask(method, path, body), follower.ask(method, path, body)
        assert here.status == there.status >= 400, path
        assert here.json()["message"] == there.json()["message"], path


@pytest.mark.parametrize("path", READS)
def test_every_read_on_a_follower_is_as_fresh_as_asked(cluster: Cluster, path: str) -> None:
    follower = cluster.followers()[0]
    keep(cluster.until_leader())
    for wanted in ("", "consistency=default", "consistency=linearizable", "max_stale=0"):
        index = int(
            cluster.until_leader().ask("PUT", "/kv/r/other", {"value": "x"}).headers["x-konsul-index"]
        )
        answer = follower.ask("GET", path + wanted)
        assert answer.status == 200, (path, wanted, answer)
        assert path.startswith("/kv/r/a?raw") or int(answer.headers["x-konsul-index"]) >= index
    for wanted in ("stale", "consistency=stale", "max_stale=1m"):
        assert follower.ask("GET", path + wanted).status == 200


def test_without_a_majority_only_stale_reads_are_answered(cluster: Cluster) -> None:
    leader, others = cluster.until_leader(), cluster.followers()
    keep(leader)
    cluster.until_alike()
    for node in others:
        node.kill()
    until(lambda: leader.ask("GET", "/kv/r/a").status == 503, "the leader to know that it is alone")
    until(lambda: leader.ask("GET", "/kv/r/a?stale").headers["x-konsul-known-leader"] == "false", "no leader")
    try:
        for path in READS:
            for wanted in ("", "consistency=linearizable", "consistent=true", "max_stale=0"):
                answer = leader.ask("GET", path + wanted)
                assert (answer.status, answer.headers["retry-after"]) == (503, "1"), (path, answer)
                kind = "linearizable" if "consistent" in wanted and "stale" not in wanted else "default"
                kind = "linearizable" if "linearizable" in wanted else kind
                assert answer.json()["error"] == f"{kind} read failed"
            assert leader.ask("GET", path + "stale").status == 200
        for method, path, body in WRITES:
            answer = leader.ask(method, path, body)
            assert (answer.status, answer.json()["error"]) == (503, "no leader"), (path, answer)
            assert answer.headers["retry-after"] == "1"
    finally:
        cluster.heal()
    assert leader.ask("GET", "/kv/w/a").status == 404, "nothing that was refused has happened"


def test_a_node_without_a_cluster_says_so(cluster: Cluster) -> None:
    lonely = cluster.add("n9", {"KONSUL_RAFT_JOIN": "127.0.0.1:1"})
    lonely.launch()
    try:
        until(lonely.is_alive, "the node to answer")
        for path in READS:
            for wanted in ("", "consistency=linearizable", "stale"):
                answer = lonely.ask("GET", path + wanted)
                assert (answer.status, "read failed" in answer.json()["error"]) == (503, True), (path, answer)
        for method, path, body in WRITES:
            answer = lonely.ask(method, path, body)
            assert (answer.status, answer.json()["error"]) == (503, "no leader"), (path, answer)
    finally:
        cluster.forget(lonely)
