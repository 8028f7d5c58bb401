"""Watches, waiting reads and GraphQL of both clients through a real server, also while it is killed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from konsul.client import (
    AsyncClient,
    Client,
    Compacted,
    Connected,
    Disconnected,
    KvChange,
    Policy,
    Relisted,
    Service,
    ServiceChange,
    Settings,
)
from konsul.client.pursuit import Transport
from konsul.errors import Invalid, NotFound, RateLimited
from tests.conftest import LiveServer

TRANSPORTS = pytest.mark.parametrize("transport", ["sse", "websocket"])
BOTH = pytest.mark.parametrize("both", ["sync", "async"])
BY: tuple[Transport, ...] = ("sse", "websocket")
Make = Callable[[Any], Any]
Act = Callable[[Client], object]
LISTEN = 'subscription($since: Long) { kvChanged(prefix: "gql/", since: $since) { key value } }'


def taken(
    both: str, server: LiveServer, make: Make, count: int | Callable[[list[Any]], bool], *acts: Act
) -> list[Any]:
    """Events of a watch: the first `count`, or until there are enough. Each of `acts` is done when one more
    event was taken: the first with none, so it must not depend on the watch having begun."""

    def enough(told: list[Any]) -> bool:
        return len(told) >= count if isinstance(count, int) else count(told)

    def act(number: int) -> None:
        if number < len(acts):
            with Client(server.base_url) as writer:
                acts[number](writer)

    if both == "sync":
        told: list[Any] = []
        with Client(server.base_url) as client, make(client) as watch:
            while not enough(told):
                act(len(told))
                told.append(next(watch))
        return told

    async def story() -> list[Any]:
        told: list[Any] = []
        async with AsyncClient(server.base_url) as client, make(client) as watch:
            while not enough(told):
                await asyncio.to_thread(act, len(told))
                told.append(await anext(watch))
        return told

    return asyncio.run(story())


def writes(*pairs: tuple[str, str | bytes]) -> list[Act]:
    return [lambda client, pair=pair: client.kv.set(*pair) for pair in pairs]  # type: ignore[misc]


@BOTH
@TRANSPORTS
def test_it_begins_with_what_is_there_and_tells_what_comes(
    server: LiveServer, both: str, transport: str
) -> None:
    at = f"begin/{both}/{transport}/"
    with Client(server.base_url) as client:
        client.kv.set(f"{at}a", "0")
        client.kv.set(f"{at}deep/b", b"\xff\x00")
        client.kv.set(f"{at[:-1]}-other", "0")
    told = taken(
        both,
        server,
        lambda c: c.kv.watch(f"{at}**", initial=True, transport=transport),
        4,
        lambda _: None,
        *writes((f"{at}a", "1"), (f"{at}deep/b", b"\xfe")),
        lambda client: client.kv.delete(f"{at}a"),
    )
    listing, first, second, third = told
    assert isinstance(listing, Relisted)
    assert [(row.key, row.value) for row in listing.rows] == [(f"{at}a", b"0"), (f"{at}deep/b", b"\xff\x00")]
    assert isinstance(first, KvChange)
    assert (first.value, first.old_value, first.type) == (b"1", b"0", "set")
    assert (second.value, second.old_value) == (b"\xfe", b"\xff\x00")
    assert (third.type, third.key, third.value, third.old_value) == ("delete", f"{at}a", None, b"1")
    assert listing.index < first.modify_index < second.modify_index < third.modify_index


@BOTH
@TRANSPORTS
def test_a_watch_goes_on_over_a_kill_and_its_index_over_its_own_end(
    server: LiveServer, both: str, transport: str
) -> None:
    at = f"kill/{both}/{transport}/"

    def killed(client: Client) -> None:
        server.restart()
        client.kv.set(f"{at}c", "3")

    with Client(server.base_url) as client:
        since = client.kv.set(f"{at}a", "1").modify_index - 1
    told = taken(
        both,
        server,
        lambda c: c.kv.watch(f"{at}*", since=since, transport=transport, notices=True),
        # How often it tries until the server is back depends on the machine.
        lambda told: isinstance(told[-1], KvChange) and told[-1].key == f"{at}c" if told else False,
        lambda _: None,
        lambda _: None,
        killed,
    )
    changes = [one for one in told if isinstance(one, KvChange)]
    assert [one.key for one in changes] == [f"{at}a", f"{at}c"]
    assert isinstance(told[0], Connected)
    assert any(isinstance(one, Disconnected) for one in told)
    assert not any(isinstance(one, (Compacted, Relisted)) for one in told)


@BOTH
@TRANSPORTS
def test_services_and_their_heartbeats(server: LiveServer, both: str, transport: str) -> None:
    name = f"svc-{both}-{transport}"
    one = Service(name, "10.0.0.1", 80, "i1", ("v2",), {"zone": "a"}, zone="a")
    with Client(server.base_url) as client:
        client.services.register(Service(name, "10.0.0.9", 80, "old"))
        client.services.register(one)
    told = taken(
        both,
        server,
        lambda c: c.services.watch(
            f"{name[:-1]}?", tags=["v2"], heartbeats=True, initial=True, transport=transport
        ),
        3,
        lambda _: None,
        lambda client: client.services.register(Service(name, "10.0.0.2", 81, "i2", ("v2",))),
        lambda client: client.services.heartbeat(name, instance="i1"),
    )
    listing, registered, last = told
    assert listing.rows == (one,)
    assert isinstance(registered, ServiceChange)
    assert (registered.type, registered.service.id, registered.service.port) == ("register", "i2", 81)
    assert (last.type, last.service.id) == ("heartbeat", "i1")


@BOTH
def test_a_pattern_that_is_none_is_refused(server: LiveServer, both: str) -> None:
    with pytest.raises(Invalid):
        taken(both, server, lambda c: c.kv.watch("x" * 1_025, since=0), 1)


def test_a_client_over_its_limit_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    few = {"KONSUL_WATCH_MAX_PER_CLIENT": "1"}
    with LiveServer(tmp_path_factory.mktemp("few") / "data", few) as server:
        settings = Settings(server.base_url, policy=Policy(retries=1))
        for transport in BY:
            with Client(settings) as client:
                written = client.kv.set("a", "1").modify_index
                first = client.kv.watch("a", initial=True, notices=True, transport=transport)
                assert [next(first), next(first)][1] == Connected(server.base_url, written)
                with pytest.raises(RateLimited):
                    next(client.kv.watch("b", since=0, transport=transport))


@BOTH
def test_a_read_waits_for_a_change_of_its_key(server: LiveServer, both: str) -> None:
    key = f"wait/{both}"
    with Client(server.base_url) as writer:
        writer.kv.set(key, "1")
        before = writer.kv.get(key)
        assert before.read_index >= before.modify_index
        writer.kv.set(f"{key}/other", "1")

        def wait_s(seconds: float, index: int) -> Any:
            if both == "sync":
                with Client(server.base_url) as client:
                    return client.kv.get(key, index=index, wait_s=seconds)

            async def story() -> Any:
                async with AsyncClient(server.base_url) as client:
                    return await client.kv.get(key, index=index, wait_s=seconds)

            return asyncio.run(story())

        unchanged = wait_s(0.05, before.read_index)
        assert unchanged.modify_index == before.modify_index
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(wait_s(60, unchanged.read_index)))
        thread.start()
        written = writer.kv.set(key, "2")
        thread.join(30)
        assert (found[0].text, found[0].modify_index) == ("2", written.modify_index)


def test_a_read_that_waits_has_its_time_besides_the_deadline(server: LiveServer) -> None:
    with Client(Settings(server.base_url, policy=Policy(deadline_s=0.5, retries=0))) as client:
        client.kv.set("patience", "1")
        row = client.kv.get("patience")
        assert client.kv.get("patience", index=row.read_index, wait_s=1).text == "1"
        with pytest.raises(NotFound):
            client.kv.get("impatience", index=row.read_index, wait_s=0.01)


@BOTH
@TRANSPORTS
def test_graphql_and_its_subscriptions(server: LiveServer, both: str, transport: str) -> None:
    with Client(server.base_url) as client:
        since = client.kv.set("gql/before", "0").modify_index
        answer = client.graphql("query Q($key: String!) { kv(key: $key) { value } }", {"key": "gql/before"})
    assert (answer.data, answer.errors) == ({"kv": {"value": "0"}}, ())
    told = taken(
        both,
        server,
        lambda c: c.graphql_subscribe(LISTEN, {"since": str(since)}, transport=transport),
        2,
        *writes(("gql/a", "1"), ("gql/b", "2")),
    )
    assert [one.data["kvChanged"] for one in told] == [
        {"key": "gql/a", "value": "1"},
        {"key": "gql/b", "value": "2"},
    ]
    (refused,) = taken(
        both, server, lambda c: c.graphql_subscribe("subscription { nothing }", transport=transport), 1
    )
    assert (refused.data, bool(refused.errors)) == (None, True)
