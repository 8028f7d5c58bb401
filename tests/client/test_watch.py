"""Watches of both clients over real sockets, before a server that plays a script."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from konsul.client import (
    AsyncClient,
    Client,
    ClusterChange,
    Connected,
    KeyValue,
    KvChange,
    Policy,
    Relisted,
    Service,
    ServiceChange,
    Settings,
)
from konsul.client.pursuit import Transport
from konsul.errors import Forbidden, Unreachable
from tests.client.played_streams import CUT, HOLD, Event, Farewell, Refusal, Streams
from tests.process import free_port
from tests.waiting import until, until_async

TRANSPORTS = pytest.mark.parametrize("transport", ["sse", "websocket"])
BOTH = pytest.mark.parametrize("both", ["sync", "async"])
QUICK = Policy(retries=1, pause_first_s=0.001, pause_max_s=0.01)
TOKEN = {"token": "t"}
Make = Callable[[Any], Any]


def said(key: str, index: int, **more: Any) -> dict[str, Any]:
    return {"type": "set", "key": key, "value": "v", "timestamp": 5, "modify_index": index, **more}


def change(key: str, index: int) -> KvChange:
    return KvChange("set", key, b"v", None, index, 5)


def taken(both: str, address: str, make: Make, count: int, **changes: Any) -> list[Any]:
    """The first `count` events of a watch; it is closed then."""
    settings = Settings(address, policy=QUICK, **changes)
    if both == "sync":
        with Client(settings) as client, make(client) as watch:
            return [next(watch) for _ in range(count)]

    async def story() -> list[Any]:
        async with AsyncClient(settings) as client, make(client) as watch:
            return [await anext(watch) for _ in range(count)]

    return asyncio.run(story())


@BOTH
@TRANSPORTS
def test_changes_come_typed_and_a_cut_is_mended(both: str, transport: Transport) -> None:
    base64 = {"value": "AP8=", "encoding": "base64", "old_value": "/w==", "old_value_encoding": "base64"}
    gone = {"type": "delete", "key": "a", "old_value": "v", "timestamp": 6, "modify_index": 13}
    first = [said("a", 11), said("b", 11), CUT]
    second = [said("a", 11), said("b", 11), said("c", 12, **base64), gone, HOLD]
    with Streams(first, second) as server:
        told = taken(both, server.base_url, lambda c: c.kv.watch("**", transport=transport), 4, **TOKEN)
    assert told == [
        change("a", 11),
        change("b", 11),
        KvChange("set", "c", b"\x00\xff", b"\xff", 12, 5),
        KvChange("delete", "a", None, b"v", 13, 6),
    ]
    assert told[0].text == "v"
    assert server.streams[1].line == "GET /kv/watch/**?since=10&progress=true HTTP/1.1"
    assert server.streams[0].headers["authorization"] == "Bearer t"


@BOTH
@TRANSPORTS
def test_a_bookmark_is_where_it_goes_on(both: str, transport: Transport) -> None:
    with Streams([said("a", 11), 40, CUT], [said("a", 41), HOLD]) as server:
        taken(both, server.base_url, lambda c: c.kv.watch("a", since=3, transport=transport), 2)
    assert [one.line.split()[1] for one in server.streams] == [
        "/kv/watch/a?since=3&progress=true",
        "/kv/watch/a?since=40&progress=true",
    ]
    assert server.calls == []


@BOTH
@TRANSPORTS
def test_compacted_is_a_listing(both: str, transport: Transport) -> None:
    rows = [{"key": f"app/{n}", "value": "v", "modify_index": n} for n in (3, 61)]
    compacted = {"type": "compacted", "modify_index": 50, "message": "list again"}
    turn = [Event("compacted", compacted) if transport == "sse" else compacted, said("app/61", 61), HOLD]
    with Streams([*turn[:2], said("app/3", 62), HOLD], index=60, listing=rows) as server:
        told = taken(both, server.base_url, lambda c: c.kv.watch("app/*", since=1, transport=transport), 2)
    listed = (KeyValue("app/3", b"v", modify_index=3), KeyValue("app/61", b"v", modify_index=61))
    assert told == [Relisted("compacted", 60, listed), change("app/3", 62)]
    (call,) = server.calls
    assert call.line.startswith("GET /kv/?prefix=app%2F&recurse=true&limit=1000 ")
    assert call.headers["x-konsul-min-index"] == "50"


@BOTH
@TRANSPORTS
def test_services_with_their_filters(both: str, transport: Transport) -> None:
    web = {"name": "web", "address": "h", "port": 1, "tags": ["v2"]}
    events: list[dict[str, Any]] = [
        {"type": kind, "service": web, "timestamp": 5, "modify_index": index}
        for kind, index in (("register", 11), ("heartbeat", 11), ("heartbeat", 11), ("expired", 12))
    ]
    listing = [web, {**web, "name": "web-2", "tags": []}, {**web, "name": "api"}]

    def make(client: Any) -> Any:
        return client.services.watch("web*", tags=["v2"], heartbeats=True, initial=True, transport=transport)

    with Streams([*events, HOLD], listing=listing) as server:
        told = taken(both, server.base_url, make, 5)
    service = Service("web", "h", 1, tags=("v2",))
    assert told == [
        Relisted("initial", 10, (service,)),
        *(ServiceChange(one["type"], service, one["modify_index"], 5) for one in events),
    ]
    path = server.streams[0].line.split()[1]
    assert path == "/services/watch?service=web%2A&tag=v2&heartbeats=true&since=10&progress=true"


@BOTH
@TRANSPORTS
def test_the_cluster(both: str, transport: Transport) -> None:
    leader = {"type": "leader", "leader": "n2", "term": 3}
    with Streams([leader, HOLD]) as server:
        told = taken(both, server.base_url, lambda c: c.cluster.watch(transport=transport, notices=True), 2)
    assert told == [Connected(server.base_url, 0), ClusterChange("leader", leader)]
    assert server.streams[0].line == "GET /cluster/watch HTTP/1.1"


@BOTH
@TRANSPORTS
@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a b/ü?[c]", "/kv/watch/a%20b/%C3%BC%3F%5Bc%5D?"),
        ("trail//", "/kv/watch/trail%2F%2F?"),
        ("../a", "/kv/watch/%2E%2E/a?"),
        ("50%25", "/kv/watch/?key=50%2525&"),
    ],
)
def test_awkward_patterns_arrive(both: str, transport: Transport, pattern: str, path: str) -> None:
    with Streams([said("a", 11), HOLD]) as server:
        taken(both, server.base_url, lambda c: c.kv.watch(pattern, since=1, transport=transport), 1)
    assert server.streams[0].line.split()[1].startswith(path)


@BOTH
@TRANSPORTS
def test_a_refusal_is_its_error(both: str, transport: Transport) -> None:
    refused = Refusal(403, {"error": "forbidden", "message": "not yours"})
    with Streams(refused) as server, pytest.raises(Forbidden, match="not yours"):
        taken(both, server.base_url, lambda c: c.kv.watch("a", transport=transport), 1)


@BOTH
def test_a_farewell_has_its_words(both: str) -> None:
    with (
        Streams([Farewell(1012, "the node is stopping")]) as server,
        pytest.raises(Unreachable, match=r"1012: the node is stopping"),
    ):
        taken(both, server.base_url, lambda c: c.kv.watch("a", transport="websocket", reconnect=False), 1)


@BOTH
@TRANSPORTS
def test_another_server_is_asked_when_one_is_not_there(both: str, transport: Transport) -> None:
    with Streams([said("a", 11), HOLD]) as server:
        address = f"http://127.0.0.1:{free_port()},{server.base_url}"
        assert taken(both, address, lambda c: c.kv.watch("a", since=1, transport=transport), 1) == [
            change("a", 11)
        ]


@BOTH
@TRANSPORTS
def test_nobody_there_is_an_error(both: str, transport: Transport) -> None:
    with pytest.raises(Unreachable, match="cannot connect"):
        taken(
            both,
            f"http://127.0.0.1:{free_port()}",
            lambda c: c.kv.watch("a", since=1, transport=transport),
            1,
        )


@BOTH
def test_silence_is_a_dead_connection(both: str) -> None:
    with Streams([HOLD], [said("a", 11), HOLD]) as server:
        told = taken(both, server.base_url, lambda c: c.kv.watch("a"), 1, watch_silence_s=0.05)
    assert told == [change("a", 11)]


@TRANSPORTS
@pytest.mark.parametrize("closed_by", ["watch", "client"])
def test_another_thread_ends_it(transport: Transport, closed_by: str) -> None:
    told: list[Any] = []
    with Streams([said("a", 11), HOLD]) as server:
        client = Client(server.base_url)
        watch = client.kv.watch("a", transport=transport)
        thread = threading.Thread(target=lambda: told.extend(watch))
        thread.start()
        until(lambda: told, "the first change")
        (watch if closed_by == "watch" else client).close()
        thread.join(30)
        assert not thread.is_alive()
        assert server.left.wait(30), "the connection stayed"
        assert list(watch) == []
        client.close()
    assert told == [change("a", 11)]


def test_another_thread_ends_a_pause() -> None:
    slow = Policy(retries=5, pause_first_s=3600, pause_max_s=3600)
    with Client(Settings(f"http://127.0.0.1:{free_port()}", policy=slow), jitter=lambda: 1.0) as client:
        watch = client.kv.watch("a", since=1)
        thread = threading.Thread(target=lambda: list(watch))
        thread.start()
        watch.close()
        thread.join(30)
        assert not thread.is_alive()


@TRANSPORTS
def test_another_task_ends_it(transport: Transport) -> None:
    async def story(address: str) -> list[Any]:
        async with AsyncClient(address) as client:
            told: list[Any] = []
            watch = client.kv.watch("a", transport=transport)

            async def reader() -> None:
                async for one in watch:
                    told.append(one)

            async with asyncio.timeout(30):
                task = asyncio.create_task(reader())
                await until_async(lambda: told, "the first change")
                await watch.close()
                await task
            return told

    with Streams([said("a", 11), 11, HOLD]) as server:
        assert asyncio.run(story(server.base_url)) == [change("a", 11)]
        assert server.left.wait(30), "the connection stayed"


@TRANSPORTS
def test_who_stops_waiting_loses_nothing(transport: Transport) -> None:
    go_on = threading.Event()

    async def story(client: AsyncClient) -> Any:
        async with client, client.kv.watch("a", since=1, transport=transport) as watch:
            first = await anext(watch)
            for _ in range(3):
                waiting = asyncio.create_task(watch.__anext__())
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
            go_on.set()
            return first, await anext(watch)

    with Streams([said("a", 11), go_on, said("a", 12), HOLD]) as server:
        assert asyncio.run(story(AsyncClient(server.base_url))) == (change("a", 11), change("a", 12))


def test_a_watch_takes_no_place_in_the_pool() -> None:
    settings = Settings(policy=QUICK, connections_max=1)
    with (
        Streams([said("a", 11), HOLD]) as server,
        Client(Settings(server.base_url, policy=QUICK, connections_max=settings.connections_max)) as client,
    ):
        watches = [client.kv.watch("a") for _ in range(3)]
        assert [next(watch) for watch in watches] == [change("a", 11)] * 3
        assert list(client.kv.keys()) == []
