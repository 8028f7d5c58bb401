"""Sessions and locks in a cluster: asked anywhere, kept by whoever leads, lost when nobody renews."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from konsul.client import Client
from konsul.errors import NotFound
from tests.cluster.harness.cluster import Cluster
from tests.waiting import until


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    settings = {"KONSUL_SESSION_TTL_MIN": "500ms"}
    with Cluster(tmp_path_factory.mktemp("nodes"), settings=settings, through_links=False) as cluster:
        yield cluster


def lives(client: Client, session: str) -> bool:
    try:
        client.sessions.get(session)
    except NotFound:
        return False
    return True


def test_any_node_makes_renews_and_ends_a_session_and_its_locks(trio: Cluster) -> None:
    leader = trio.until_leader()
    one, other = (Client(node.base_url) for node in trio.followers())
    with one, other, Client(leader.base_url) as led:
        made = one.sessions.create(name="anywhere", ttl="60s").id
        assert other.sessions.renew(made).id == made
        got = other.sessions.acquire("cluster/a", made, "v")
        assert got.ok
        second = led.sessions.create(ttl="60s", lock_delay="0s").id
        told = one.sessions.acquire("cluster/a", second)
        assert (told.ok, told.session, told.lock_index) == (False, made, got.lock_index)
        assert one.sessions.release("cluster/a", made)
        assert other.sessions.acquire("cluster/a", second).lock_index == got.lock_index + 1
        led.sessions.destroy(second)
        assert one.kv.get("cluster/a", consistency="linearizable").session == ""


def test_a_lock_outlives_its_leader_while_it_is_renewed(trio: Cluster) -> None:
    leader = trio.until_leader()
    addresses = ",".join(node.base_url for node in trio.nodes.values())
    with Client(addresses) as client:
        with client.lock("cluster/b", ttl="10s", lock_delay="0s") as held:
            leader.kill()
            trio.until_leader(besides=leader)
            row = client.kv.get("cluster/b", consistency="linearizable")
            assert (row.session, row.lock_index) == (held.session, held.lock_index)
            assert client.sessions.renew(held.session).id == held.session
            assert not held.lost.is_set()
        assert client.kv.get("cluster/b", consistency="linearizable").session == ""
    trio.heal()


def test_a_new_leader_ends_a_session_that_nobody_renews(trio: Cluster) -> None:
    leader = trio.until_leader()
    survivors = ",".join(node.base_url for node in trio.followers())
    with Client(survivors) as client:
        made = client.sessions.create(ttl="5s", lock_delay="0s").id
        token = client.sessions.acquire("cluster/c", made).lock_index
        leader.kill()
        trio.until_leader(besides=leader)
        until(lambda: not lives(client, made), "the session to end under the new leader")
        with client.lock("cluster/c", ttl="10s", wait="60s") as held:
            assert held.lock_index == token + 1
    trio.heal()


def test_a_renewal_by_a_leader_that_was_replaced_is_not_answered(trio: Cluster) -> None:
    leader = trio.until_leader()
    with Client(leader.base_url) as client:
        made = client.sessions.create(ttl="1s").id
    leader.pause()
    heir = trio.until_leader(besides=leader)
    with Client(heir.base_url) as client:
        until(lambda: not lives(client, made), "the session to end under the new leader")
    leader.resume()
    answer = leader.ask("PUT", f"/sessions/{made}/renew")
    assert answer.status in (404, 503, 504), answer.body
    trio.heal()
    assert trio.until_leader().ask("GET", f"/sessions/{made}").status == 404
