"""`client.checks`, both twins, against a real server."""

from __future__ import annotations

import asyncio

import pytest

from konsul.client import AsyncClient, Check, Client, Service
from konsul.errors import Invalid, NotFound
from tests.conftest import LiveServer


def test_a_check_is_made_told_read_and_deleted(server: LiveServer) -> None:
    with Client(server.base_url) as client:
        client.services.register(Service("sync-web", "127.0.0.1", 80, ttl="1h"))
        made = client.checks.create(Check(id="sync-t", name="beat", ttl="1h"), service="sync-web")
        assert made == "sync-t"
        assert client.services.instances("sync-web", health="passing") == ()
        client.checks.renew("sync-t")
        assert len(client.services.instances("sync-web", health="passing")) == 1
        client.checks.warning("sync-t", "slow")
        assert client.checks.get("sync-t")["output"] == "slow"
        client.checks.critical("sync-t")
        client.checks.passing("sync-t", "fine")
        found = client.checks.history("sync-t")
        assert [one["to"] for one in found["transitions"]] == ["passing", "warning", "critical", "passing"]
        client.checks.define("sync-t", Check(ttl="2h"))
        assert client.checks.get("sync-t")["ttl"] == 7_200 * 10**9
        listed = client.checks.list(service="sync-web", filter='Name == "beat"')
        assert [one["id"] for one in listed] == ["sync-t"]
        client.checks.delete("sync-t")
        assert client.checks.list(service="sync-web") == ()
        with pytest.raises(NotFound):
            client.checks.get("sync-t")
        with pytest.raises(NotFound):
            client.checks.delete("sync-t")
        with pytest.raises(Invalid, match="check not found"):
            client.checks.renew("sync-t")
        with pytest.raises(Invalid, match="of a service, or of a node"):
            client.checks.create(Check(ttl="1h"))


def test_the_asynchronous_twin_does_the_same(server: LiveServer) -> None:
    async def story() -> None:
        async with AsyncClient(server.base_url) as client:
            await client.services.register(Service("aio-web", "127.0.0.1", 80, ttl="1h"))
            await client.checks.create(Check(id="aio-t", ttl="1h"), service="aio-web")
            await client.checks.passing("aio-t", "fine")
            assert (await client.checks.get("aio-t"))["output"] == "fine"
            assert [one["id"] for one in await client.checks.list(status="passing")] == ["aio-t"]
            await client.checks.delete("aio-t")

    asyncio.run(story())
