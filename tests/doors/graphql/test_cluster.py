"""GraphQL on nodes that do not lead, and on those that cannot: three real nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.doors.graphql.speaking import Speaker, code_of
from tests.waiting import until

SET = "mutation($k: String!, $v: String!) { kvSet(key: $k, value: $v) { modifyIndex createIndex flags } }"
REGISTER = """mutation($n: String!) {
  registerService(input: {name: $n, address: "h", port: 1}) { name status expiresAt } }"""
CAS = "mutation($k: String!, $i: Int!) { kvCAS(key: $k, value: $k, index: $i) { modifyIndex } }"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes."""
    folder = tmp_path_factory.mktemp("graphql-cluster")
    with Cluster(folder, through_links=False, settings={"KONSUL_SERVICE_TTL": "1h"}) as running:
        running.until_leader()
        yield running


def both(node: Node, query: str, path: str = "/graphql", headers: Any = None, **variables: Any) -> Any:
    """The whole answer."""
    asked = {"query": query, "variables": variables}
    answer = node.ask("POST", path, asked, headers={"content-type": "application/json"} | (headers or {}))
    assert answer.status == 200, answer
    return answer.json()


def data(node: Node, query: str, path: str = "/graphql", **variables: Any) -> Any:
    """The data of an operation without errors."""
    answer = both(node, query, path, **variables)
    assert "errors" not in answer, answer
    return answer["data"]


def test_every_mutation_through_a_follower_is_answered_as_by_the_leader(cluster: Cluster) -> None:
    leader, follower = cluster.until_leader(), cluster.followers()[0]
    first = data(follower, SET, k="a", v="1")["kvSet"]
    assert first == {"modifyIndex": first["modifyIndex"], "createIndex": first["modifyIndex"], "flags": 0}
    index = first["modifyIndex"]
    assert data(follower, CAS, k="a", i=index + 1) == {"kvCAS": None}
    assert data(follower, CAS, k="none", i=index) == {"kvCAS": None}
    assert data(follower, CAS, k="a", i=0) == {"kvCAS": None}
    changed = data(follower, CAS, k="a", i=index)["kvCAS"]["modifyIndex"]
    assert changed > index
    wide = 'mutation($i: Long!) { kvDeleteCAS(key: "a", modifyIndex: $i) }'
    assert data(follower, wide, i=index) == {"kvDeleteCAS": False}
    assert data(follower, wide, i=changed) == {"kvDeleteCAS": True}
    data(follower, SET, k="t/1", v="1")
    tree = 'mutation { kvDeleteTree(prefix: "t/") { keys } kvDelete(key: "t/1") }'
    assert data(follower, tree) == {"kvDeleteTree": {"keys": ["t/1"]}, "kvDelete": False}
    assert data(leader, '{ kv(key: "a") { key } kvList { total } }') == {"kv": None, "kvList": {"total": 0}}


def test_a_follower_knows_leases_and_renews_them(cluster: Cluster) -> None:
    leader, follower = cluster.until_leader(), cluster.followers()[0]
    service = data(follower, REGISTER, n="web")["registerService"]
    assert (service["name"], service["status"]) == ("web", "ACTIVE")
    beat = "mutation($n: String!) { updateHeartbeat(name: $n) { name status expiresAt } }"
    assert data(follower, beat, n="web")["updateHeartbeat"]["status"] == "ACTIVE"
    refused = both(follower, beat, n="none")
    assert (refused["data"], code_of(refused)) == (None, "NOT_FOUND")
    assert refused["errors"][0]["message"] == "service not found: none"
    everything = "{ services { name status expiresAt } servicesCount }"
    for node in (leader, follower):
        found = data(node, everything)
        assert [(one["name"], one["status"]) for one in found["services"]] == [("web", "ACTIVE")]
        assert found["services"][0]["expiresAt"] >= service["expiresAt"]
        assert found["servicesCount"] == 1
    assert data(follower, 'mutation { deregisterService(name: "web") }') == {"deregisterService": True}
    assert data(leader, everything) == {"services": [], "servicesCount": 0}


def test_reads_on_a_follower_are_as_fresh_as_asked(cluster: Cluster) -> None:
    leader, follower = cluster.until_leader(), cluster.followers()[0]
    for wanted in ("", "?consistency=default", "?consistency=linearizable", "?max_stale=0"):
        index = data(leader, SET, k="f", v=wanted)["kvSet"]["modifyIndex"]
        read = '{ kv(key: "f") { value modifyIndex } }'
        found = data(follower, read, f"/graphql{wanted}")["kv"]
        assert found == {"value": wanted, "modifyIndex": index}


def test_a_client_may_want_to_be_sent_to_the_leader(cluster: Cluster) -> None:
    follower = cluster.followers()[0]
    sent = both(follower, SET, headers={"x-konsul-redirect": "true"}, k="r", v="1")
    assert (sent["data"], code_of(sent)) == (None, "NOT_LEADER")
    assert "leader" in sent["errors"][0]["extensions"]
    assert both(cluster.until_leader(), SET, headers={"x-konsul-redirect": "true"}, k="r", v="1")["data"]


def test_a_subscription_on_a_follower_sees_what_is_written_elsewhere(cluster: Cluster) -> None:
    leader, follower = cluster.until_leader(), cluster.followers()[0]
    speaker = Speaker(follower.port).begin()
    try:
        index = data(leader, SET, k="s/0", v="0")["kvSet"]["modifyIndex"]
        # From an index: whether the subscription is open before or after the writes makes no difference.
        text = f'subscription {{ kvChanged(prefix: "s/", since: {index - 1}) {{ key value modifyIndex }} }}'
        speaker.start("1", text)
        for number in range(1, 20):
            data(leader, SET, k=f"s/{number}", v=str(number))
        seen = [speaker.hear()["payload"]["data"]["kvChanged"] for _ in range(20)]
        assert [(one["key"], one["value"]) for one in seen] == [(f"s/{n}", str(n)) for n in range(20)]
        assert [one["modifyIndex"] for one in seen] == sorted({one["modifyIndex"] for one in seen})
    finally:
        speaker.hang_up()


def test_without_a_majority_only_stale_reads_are_answered(cluster: Cluster) -> None:
    leader, others = cluster.until_leader(), cluster.followers()
    data(leader, SET, k="kept", v="1")
    cluster.until_alike()
    for node in others:
        node.kill()
    until(lambda: leader.ask("GET", "/kv/kept").status == 503, "the leader to know that it is alone")
    try:
        read = '{ kv(key: "kept") { value } }'
        for wanted in ("", "?consistency=linearizable"):
            refused = both(leader, read, f"/graphql{wanted}")
            assert (refused["data"], code_of(refused)) == ({"kv": None}, "NO_LEADER")
        assert data(leader, read, "/graphql?stale") == {"kv": {"value": "1"}}
        for write in (
            'mutation { kvSet(key: "lost", value: "1") { key } }',
            'mutation { kvDelete(key: "kept") }',
        ):
            refused = both(leader, write)
            assert (refused["data"], code_of(refused)) == (None, "NO_LEADER")
    finally:
        cluster.heal()
    assert data(leader, '{ kv(key: "lost") { key } kept: kv(key: "kept") { value } }') == {
        "kv": None,
        "kept": {"value": "1"},
    }
