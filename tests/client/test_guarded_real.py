"""The SDK against a guarded server: both clients, from the first login to the last policy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from konsul.client import AsyncClient, Client, Connected, KvChange, Settings
from konsul.client.pursuit import Transport
from konsul.errors import Conflict, Forbidden, NotFound, Unauthenticated
from tests.doors.guarded import PASSWORD, Guarded, guarded

DEV = {"name": "dev", "kv": [{"path": "app/**", "capabilities": ["read", "write"]}]}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("sdk")) as found:
        yield found


def test_the_blocking_client(node: Guarded) -> None:
    settings = Settings(node.server.base_url)
    with Client(replace(settings, api_key=node.key)) as root:
        root.acl.create_policy(DEV)
        with pytest.raises(Conflict):
            root.acl.create_policy(DEV)
        assert root.acl.policies() == {"dev": "api"}
        assert root.acl.update_policy(root.acl.policy("dev"))["name"] == "dev"
        assert root.acl.test(["dev"], "kv", "app/a", "read")
        assert root.acl.validate({"name": "!"})[0]["at"] == "name"
        root.auth.users.create("ann", password=PASSWORD, policies=["dev"])
        assert [one["user_id"] for one in root.auth.users.list()] == ["ann"]
        made = root.auth.api_keys.create("ci", permissions=["dev"], expires_in_s=60)
        with Client(replace(settings, api_key=made.key)) as program:
            program.kv.set("app/a", b"1")
            with pytest.raises(Forbidden):
                program.kv.get("web")
            with pytest.raises(Forbidden):
                program.acl.policies()
            assert program.acl.explain("kv", "web", "read")["decided_by"] == "default"
        with Client(settings) as stranger:
            with pytest.raises(Unauthenticated):
                stranger.kv.get("app/a")
            tokens = stranger.auth.login("ann", PASSWORD)
            renewed = stranger.auth.refresh(tokens.refresh_token)
        with Client(replace(settings, token=renewed.token)) as ann:
            assert ann.kv.get("app/a").value == b"1"
            assert ann.auth.verify()["user_id"] == "ann"
            ann.auth.logout()
            with pytest.raises(Unauthenticated, match="token revoked"):
                ann.auth.verify()
        root.acl.delete_policy("dev")
        with pytest.raises(NotFound):
            root.acl.policy("dev")


def test_the_asyncio_client(node: Guarded) -> None:
    async def story() -> None:
        settings = Settings(node.server.base_url)
        async with AsyncClient(replace(settings, api_key=node.key)) as root:
            await root.auth.users.create("ben", password=PASSWORD, roles=["admin"])
            tokens = await root.auth.login("ben", PASSWORD)
            async with AsyncClient(replace(settings, token=tokens.token)) as ben:
                await ben.acl.create_policy(DEV)
                found = await ben.acl.explain("kv", "app/a", "read", policies=["dev"])
                assert (found["allowed"], found["rule"]["rule"]) == (True, "kv[0]")
                await ben.acl.delete_policy("dev")
                made = await ben.auth.api_keys.create("ci")
                await ben.auth.api_keys.revoke(made.document["id"])
                assert not (await ben.auth.api_keys.get(made.document["id"]))["enabled"]
                await ben.auth.api_keys.delete(made.document["id"])
            with pytest.raises(Conflict, match="last enabled user"):
                await root.auth.users.delete("ben")

    asyncio.run(story())


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_watch_outlives_its_token(tmp_path_factory: pytest.TempPathFactory, transport: Transport) -> None:
    settings = {"KONSUL_JWT_EXPIRY": "1s", "KONSUL_JWT_LEEWAY": "0s", "KONSUL_LOGIN_ATTEMPTS": "1000"}
    with guarded(tmp_path_factory.mktemp("short"), **settings) as node:
        node.policy("dev", kv=DEV["kv"])  # type: ignore[arg-type]
        node.user("ann", "dev").close()
        mine = Settings(node.server.base_url, token_source=lambda: str(node.login("ann")["token"]))
        told: list[Any] = []
        with Client(mine) as client, client.kv.watch("app/**", transport=transport, notices=True) as watch:
            for number in range(3):
                while not isinstance(event := next(watch), Connected):
                    told.append(event)
                node.admin.put(f"/kv/app/{number}", json={"value": "v"}).raise_for_status()
            while len([one for one in told if isinstance(one, KvChange)]) < 3:
                told.append(next(watch))
        assert [one.key for one in told if isinstance(one, KvChange)] == ["app/0", "app/1", "app/2"]
        alone = replace(mine, token_source=None, token=node.login("ann")["token"])
        with (
            Client(alone) as client,
            client.kv.watch("app/**", transport=transport) as watch,
            pytest.raises(Unauthenticated),
        ):
            next(watch)
