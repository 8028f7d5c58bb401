"""What a healthy cluster promises its clients, on every node."""

from __future__ import annotations

import pytest

from tests.cluster.harness.cluster import Cluster, members
from tests.cluster.harness.stories import fresh_key, get, put, value_of

READS = ("default", "linearizable")


def test_three_nodes_form_one_cluster_and_agree_who_leads(trio: Cluster) -> None:
    leader = trio.until_leader()
    for node in trio.nodes.values():
        status = node.status()
        assert status is not None
        assert members(node) == {"n1", "n2", "n3"}
        assert status["leader_id"] == leader.name
        assert status["leader_addr"] == trio.address(leader)
        assert status["state"] == ("Leader" if node is leader else "Follower")
        assert (status["cluster_state"], status["quorum"]) == ("healthy", 2)


@pytest.mark.parametrize("consistency", READS)
def test_a_write_through_any_node_is_read_through_any_other_at_once(trio: Cluster, consistency: str) -> None:
    for writer in trio.nodes.values():
        for reader in trio.nodes.values():
            key = fresh_key()
            put(writer, key, "new")
            assert value_of(reader, key, consistency) == "new"


def test_a_batch_a_transaction_and_a_service_go_through_a_follower(trio: Cluster) -> None:
    follower, other = trio.followers()[:2]
    key = fresh_key("batch")
    assert follower.ask("POST", "/batch/kv/set", {"items": {key: "1"}}).status == 200
    operations = [{"type": "set", "key": f"{key}-t", "value": "2"}]
    assert follower.ask("POST", "/transaction", {"operations": operations}).status == 200
    service = {"name": fresh_key("service"), "address": "10.0.0.1", "port": 80}
    assert follower.ask("PUT", "/register", service).status == 200
    assert (value_of(other, key), value_of(other, f"{key}-t")) == ("1", "2")
    assert other.ask("GET", f"/services/{service['name']}").status == 200
    assert follower.ask("PUT", f"/heartbeat/{service['name']}").status == 200
    assert follower.ask("DELETE", f"/deregister/{service['name']}").status == 200
    assert other.ask("GET", f"/services/{service['name']}").status == 404


def test_compare_and_set_through_followers_lets_one_of_two_win(trio: Cluster) -> None:
    one, other = trio.followers()[:2]
    key = fresh_key()
    index = put(one, key, "first")
    assert one.ask("PUT", f"/kv/{key}", {"value": "second", "cas": index}).status == 200
    refused = other.ask("PUT", f"/kv/{key}", {"value": "third", "cas": index})
    assert refused.status == 409
    assert value_of(other, key) == "second"


def test_every_answer_says_how_fresh_it_is(trio: Cluster) -> None:
    key = fresh_key()
    index = put(trio.until_leader(), key, "1")
    for node in trio.nodes.values():
        for consistency in ("stale", *READS):
            headers = get(node, key, consistency).headers
            assert headers["x-konsul-known-leader"] == "true"
            assert int(headers["x-konsul-last-contact"]) >= 0
            if consistency != "stale":
                assert int(headers["x-konsul-index"]) >= index


def test_a_stale_read_that_must_have_seen_an_index_sees_it(trio: Cluster) -> None:
    follower = trio.followers()[0]
    for round_number in range(20):
        key = fresh_key()
        index = put(trio.until_leader(), key, str(round_number))
        headers = {"X-Konsul-Min-Index": str(index)}
        answer = follower.ask("GET", f"/kv/{key}?consistency=stale", headers=headers)
        assert (answer.status, answer.json()["value"]) == (200, str(round_number))


def test_a_redirect_is_given_on_request_and_leads_to_the_leader(trio: Cluster) -> None:
    follower, leader, key = trio.followers()[0], trio.until_leader(), fresh_key()
    answer = follower.ask("PUT", f"/kv/{key}", {"value": "1"}, {"X-Konsul-Redirect": "true"})
    assert answer.status == 307, answer
    assert answer.headers["location"] == f"{leader.base_url}/kv/{key}"
    assert answer.json()["leader_addr"] == trio.address(leader)
    assert value_of(follower, key) is None


def test_a_repeated_request_id_writes_once_through_any_node(trio: Cluster) -> None:
    key, headers = fresh_key(), {"Idempotency-Key": fresh_key("request")}
    indexes = {put(node, key, "once", headers) for node in trio.nodes.values()}
    assert len(indexes) == 1
    put(trio.until_leader(), key, "later")
    assert {put(node, key, "once", headers) for node in trio.nodes.values()} == indexes
    assert value_of(trio.followers()[0], key) == "later"


def test_the_leadership_is_handed_over_and_no_write_is_refused_for_long(trio: Cluster) -> None:
    leader, key = trio.until_leader(), fresh_key()
    target = trio.followers()[0]
    answer = leader.ask("POST", "/cluster/transfer-leader", {"node_id": target.name})
    assert answer.status == 200, answer
    assert trio.until_leader(besides=leader) is target
    put(target, key, "1")
    assert value_of(leader, key) == "1"
    assert leader.status() is not None


def test_all_nodes_hold_the_same_at_the_end(trio: Cluster) -> None:
    put(trio.followers()[0], fresh_key(), "last")
    index, digest = trio.until_alike()
    assert index > 0
    assert digest
