"""Both clients and three real servers, of which some are taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from konsul.client import AsyncClient, Client, Operation, Policy, Service, Settings
from konsul.errors import NotFound
from tests.cluster.harness.cluster import Cluster

PATIENT = Policy(deadline_s=60, retries=60, attempt_s=2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, healed by each test that hurts them."""
    with Cluster(tmp_path_factory.mktemp("failover"), through_links=False) as running:
        yield running


def settings(cluster: Cluster, **more: object) -> Settings:
    addresses = ",".join(node.base_url for node in cluster.nodes.values())
    return Settings(addresses, policy=PATIENT, **more)  # type: ignore[arg-type]


def test_every_method_works_through_a_follower(cluster: Cluster) -> None:
    leader, follower = cluster.until_leader(), cluster.followers()[0]
    with Client(settings(cluster)) as through, Client(follower.base_url) as client:
        index = client.kv.set("every/a", "1", cas=0).modify_index
        assert client.kv.set("every/a", "2", cas=index).modify_index > index
        client.kv.set_many({"every/b": b"b", "every/c": b"\xff"})
        assert dict(client.kv.get_many(["every/b", "every/c"]).found) == {"every/b": b"b", "every/c": b"\xff"}
        assert list(client.kv.keys("every/")) == ["every/a", "every/b", "every/c"]
        indices = client.kv.set_many_cas({"every/d": "d"}, {"every/d": 0})
        assert client.kv.delete_many_cas(indices).count == 1
        assert client.transaction([Operation("check", "every/a"), Operation("get", "every/a")]).rows
        client.kv.delete_prefix("every/")
        with pytest.raises(NotFound):
            client.kv.get("every/a")
        client.services.register(Service("every", "h", 1, "i1", ("t",)))
        client.services.register_many([Service("every", "h", 2, "i2")])
        client.services.heartbeat("every", instance="i1")
        for one in client.services.instances("every"):
            assert one.expires_at is not None, "a follower asks the leader what is left of the lease"
        assert len(client.services.query(tags=["t"])) == 1
        client.services.deregister_all("every")
        assert through.cluster.leader()["leader_id"] == leader.name
        assert {peer.id for peer in client.cluster.peers()} == set(cluster.nodes)


def test_a_writer_goes_on_while_the_leader_is_killed_and_loses_nothing(cluster: Cluster) -> None:
    with Client(settings(cluster)) as client:
        written = {}
        for number in range(60):
            if number == 20:
                cluster.until_leader().kill()
            written[f"kill/{number}"] = client.kv.set(f"kill/{number}", str(number), cas=0).modify_index
        rows = {row.key: row.modify_index for row in client.kv.list("kill/", consistency="linearizable")}
    assert rows == written, "every write once, where its answer said"
    cluster.heal()


def test_a_reader_leaves_a_server_that_hangs(cluster: Cluster) -> None:
    with Client(settings(cluster)) as client:
        client.kv.set("hangs/a", "1")
        asked = next(node for node in cluster.nodes.values() if node is not cluster.until_leader())
        with Client(
            Settings(f"{asked.base_url},{cluster.until_leader().base_url}", policy=PATIENT)
        ) as reader:
            asked.pause()
            assert reader.kv.get("hangs/a").text == "1"
            asked.resume()
    cluster.heal()


def test_what_was_written_is_read_from_any_node(cluster: Cluster) -> None:
    async def story() -> None:
        one = settings(cluster, read_your_writes=True, consistency="stale")
        async with AsyncClient(one) as client:
            for number in range(50):
                await client.kv.set("own/a", str(number))
                # Another node each time: it may be behind, and waits.
                client._course.leave(client._course.address)
                assert (await client.kv.get("own/a")).text == str(number)

    asyncio.run(story())


def test_a_redirect_to_the_leader_is_followed(cluster: Cluster) -> None:
    follower = cluster.followers()[0]
    with Client(settings(cluster)) as client:
        client._http.headers["X-Konsul-Redirect"] = "true"
        while client._course.address != follower.base_url:
            client._course.leave(client._course.address)
        assert client.kv.set("redirect/a", "1").modify_index > 0
