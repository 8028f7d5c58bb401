"""Every method of both clients through a real server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from konsul.client import AsyncClient, Check, Client, Operation, Service, Settings
from konsul.errors import Conflict, Invalid, NotFound, TooLarge, Unreachable, Unsupported
from tests.conftest import LiveServer
from tests.process import free_port
from tests.waiting import until

ANY = bytes(range(256))
Ask = Callable[[Callable[[Any], Any]], Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, server: LiveServer) -> Ask:
    """Does something with a client of either kind and returns the result; iterators come as lists."""
    settings = Settings(server.base_url, page_size=7)

    def blocking(doing: Callable[[Any], Any]) -> Any:
        with Client(settings) as client:
            result = doing(client)
            return list(result) if inspect.isgenerator(result) else result

    async def waiting(doing: Callable[[Any], Any]) -> Any:
        async with AsyncClient(settings) as client:
            result = doing(client)
            return [one async for one in result] if inspect.isasyncgen(result) else await result

    return blocking if request.param == "sync" else lambda doing: asyncio.run(waiting(doing))


@pytest.fixture
def at(request: pytest.FixtureRequest) -> str:
    """A prefix of the test's own."""
    return f"{request.node.name}/"


def setting(key: str, value: bytes | str) -> Callable[[Any], Any]:
    """Writes one key."""
    return lambda client: client.kv.set(key, value)


def test_set_get_and_delete(ask: Ask, at: str) -> None:
    written = ask(lambda c: c.kv.set(f"{at}a", "grün", flags=2**64 - 1))
    row = ask(lambda c: c.kv.get(f"{at}a", consistency="linearizable"))
    assert (row.text, row.flags, row.modify_index) == ("grün", 2**64 - 1, written.modify_index)
    assert ask(lambda c: c.kv.set(f"{at}a", ANY)).modify_index > written.modify_index
    changed = ask(lambda c: c.kv.get(f"{at}a"))
    assert (changed.value, changed.flags, changed.create_index) == (ANY, 2**64 - 1, row.create_index)
    ask(lambda c: c.kv.delete(f"{at}a"))
    ask(lambda c: c.kv.delete(f"{at}a"))
    with pytest.raises(NotFound, match=r"Key not found \(request .+\)"):
        ask(lambda c: c.kv.get(f"{at}a"))


def test_values_of_every_size_and_kind(ask: Ask, at: str) -> None:
    for value in (b"", b"\x00", ANY * 1000, "x" * 300_000, '"\\\u2028<>&', b"\xef\xbb\xbfbom"):
        ask(setting(f"{at}v", value))
        stored = ask(lambda c: c.kv.get(f"{at}v")).value
        assert stored == (value.encode() if isinstance(value, str) else value)
    with pytest.raises(TooLarge):
        ask(lambda c: c.kv.set(f"{at}v", b"x" * (512 * 1024 + 1)))


@pytest.mark.parametrize("key", ["a b", "//x", "x/", "..", "./a", "%2F", "a?b#c", "ü", "😀", "+", "a" * 900])
def test_keys_of_every_kind(ask: Ask, at: str, key: str) -> None:
    prefix = at[:100]
    ask(lambda c: c.kv.set(prefix + key, b"here"))
    assert ask(lambda c: c.kv.get(prefix + key)).key == prefix + key
    assert prefix + key in ask(lambda c: c.kv.keys(prefix))
    ask(lambda c: c.kv.delete(prefix + key))


def test_compare_and_set(ask: Ask, at: str) -> None:
    first = ask(lambda c: c.kv.set(f"{at}a", b"1", cas=0)).modify_index
    with pytest.raises(Conflict) as caught:
        ask(lambda c: c.kv.set(f"{at}a", "2", cas=0))
    assert caught.value.current == first
    second = ask(lambda c: c.kv.set(f"{at}a", "2", cas=first)).modify_index
    with pytest.raises(Conflict):
        ask(lambda c: c.kv.delete(f"{at}a", cas=first))
    ask(lambda c: c.kv.delete(f"{at}a", cas=second))
    with pytest.raises(NotFound):
        ask(lambda c: c.kv.set(f"{at}a", "3", cas=second))


def test_a_key_that_ends(ask: Ask, at: str) -> None:
    ask(lambda c: c.kv.set(f"{at}json", "v", ttl="1h"))
    ask(lambda c: c.kv.set(f"{at}raw", b"v", ttl="50ms"))
    assert ask(lambda c: c.kv.get(f"{at}json")).expires_at is not None
    until(lambda: ask(lambda c: c.kv.keys(at)) == [f"{at}json"], "the end of a key")


def test_listings_go_over_pages(ask: Ask, at: str) -> None:
    items = {f"{at}{n:02}/{n % 3}": str(n).encode() for n in range(30)}
    ask(lambda c: c.kv.set_many(items))
    assert ask(lambda c: c.kv.keys(at)) == sorted(items)
    assert {row.key: row.value for row in ask(lambda c: c.kv.list(at))} == items
    assert ask(lambda c: c.kv.keys(at, separator="/")) == [f"{at}{n:02}/" for n in range(30)]
    assert ask(lambda c: c.kv.keys(f"{at}none")) == []
    ask(lambda c: c.kv.delete_prefix(f"{at}0"))
    assert len(ask(lambda c: c.kv.keys(at))) == 20


def test_batches(ask: Ask, at: str) -> None:
    items = {f"{at}{n}": bytes([n % 256]) for n in range(1_200)}
    told: list[int] = []
    assert ask(lambda c: c.kv.set_many(items, told.append)).requests == 2
    assert told == [1_000, 200]
    found = ask(lambda c: c.kv.get_many([*items, f"{at}absent"]))
    assert dict(found.found) == items
    assert found.not_found == (f"{at}absent",)
    assert ask(lambda c: c.kv.delete_many(items)).count == 1_200
    assert ask(lambda c: c.kv.keys(at)) == []


def test_guarded_batches(ask: Ask, at: str) -> None:
    a, b = f"{at}a", f"{at}b"
    indices = ask(lambda c: c.kv.set_many_cas({a: b"\xff", b: "2"}, {a: 0, b: 0}))
    assert set(indices) == {a, b}
    with pytest.raises(Conflict):
        ask(lambda c: c.kv.set_many_cas({a: "x", b: "y"}, {a: indices[a], b: 0}))
    assert ask(lambda c: c.kv.get(a)).value == b"\xff"
    assert ask(lambda c: c.kv.delete_many_cas(indices)).count == 2
    with pytest.raises(NotFound):
        ask(lambda c: c.kv.delete_many_cas(indices))


def test_transactions(ask: Ask, at: str) -> None:
    a, b = f"{at}a", f"{at}b"
    steps = [
        Operation("check", a, index=0),
        Operation("set", a, value=ANY, flags=3),
        Operation("set", b, value=b"2", ttl="1h"),
        Operation("get", a),
        Operation("get", f"{at}absent"),
    ]
    done = ask(lambda c: c.transaction(steps))
    assert [(row.key, row.value, row.flags, row.modify_index) for row in done.rows] == [
        (a, ANY, 3, done.modify_index)
    ]
    with pytest.raises(Conflict):
        ask(lambda c: c.transaction(steps))
    ask(lambda c: c.transaction([Operation("delete", a, index=done.modify_index), Operation("delete", b)]))
    assert ask(lambda c: c.kv.keys(at)) == []


def test_services(ask: Ask, request: pytest.FixtureRequest) -> None:
    name = "web." + request.node.callspec.id
    check = Check(name="up", id="up-1", ttl="1h", initial_status="passing")
    first = Service(name, "10.0.0.1", 80, "w1", ("blue", name), {"zone": "a"}, (check,))
    second = Service(name, "10.0.0.2", 81, "w2", ("green", name), {"zone": "b"}, zone="b")
    index = ask(lambda c: c.services.register(first, cas=0)).modify_index
    with pytest.raises(Conflict):
        ask(lambda c: c.services.register(first, cas=0))
    assert ask(lambda c: c.services.register_many([second, Service(name, "", 1, "bad")])).count == 1
    seen = ask(lambda c: c.services.get(name))
    assert (seen.service.instance, seen.modify_index, seen.expires_at is not None) == ("w1", index, True)
    assert seen.service.checks == (check,)
    assert (seen.health, seen.service.zone) == ("passing", "a")
    assert [one.service.instance for one in ask(lambda c: c.services.instances(name))] == ["w1", "w2"]
    assert {one.instance for one in ask(lambda c: c.services.list()) if one.name == name} == {"w1", "w2"}
    assert ask(lambda c: c.services.query(tags=[name], meta={"zone": "b"})) == (second,)
    assert ask(lambda c: c.services.query(tags=["green", name])) == (second,)
    batch = ask(lambda c: c.services.get_many([name, "absent"]))
    assert (set(batch.found), batch.not_found) == ({name}, ("absent",))
    ask(lambda c: c.services.heartbeat(name, instance="w2"))
    ask(lambda c: c.services.deregister(name, instance="w1", cas=index))
    ask(lambda c: c.services.deregister_all(name))
    with pytest.raises(NotFound):
        ask(lambda c: c.services.heartbeat(name, instance="w2"))
    plain = Service(f"{name}-plain", "h", 1)
    ask(lambda c: c.services.register(plain))
    assert ask(lambda c: c.services.get(plain.name)).service == plain
    assert ask(lambda c: c.services.deregister_many([plain.name])).count == 1
    with pytest.raises(NotFound):
        ask(lambda c: c.services.get(plain.name))


def test_refusals_carry_the_servers_words(ask: Ask) -> None:
    with pytest.raises(Invalid, match="service address is required"):
        ask(lambda c: c.services.register(Service("web", "", 80)))
    with pytest.raises(Invalid, match="Invalid TTL"):
        ask(lambda c: c.kv.set("a", "b", ttl="soon"))
    with pytest.raises(Invalid, match="1024"):
        ask(lambda c: c.kv.get("k" * 1025))


def test_probes(ask: Ask) -> None:
    assert ask(lambda c: c.live()).ok
    assert ask(lambda c: c.ready()).ok
    report = ask(lambda c: c.health())
    assert (report.ok, report.status) == (True, "healthy")
    assert ask(lambda c: c.version()).server == report.version != ""


def test_a_client_outlives_a_restart(server: LiveServer) -> None:
    with Client(server.base_url) as client:
        client.kv.set("restart/a", b"1")
        server.restart()
        assert client.kv.get("restart/a").value == b"1"


def test_threads_share_a_client(server: LiveServer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with Client(server.base_url) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: client.kv.set(f"threads/{n}", str(n)), range(100)))
        found = {row.key: row.text for row in client.kv.list("threads/")}
    assert found == {f"threads/{n}": str(n) for n in range(100)}


def test_freshness_and_the_index_seen(server: LiveServer, at: str) -> None:
    with Client(Settings(server.base_url, read_your_writes=True)) as client:
        written = client.kv.set(f"{at}a", "1")
        assert client.last_index >= written.modify_index
        for consistency in (None, "stale", "default", "linearizable"):
            assert client.kv.get(f"{at}a", consistency=consistency).text == "1"
            assert list(client.kv.keys(at, consistency=consistency)) == [f"{at}a"]
            assert [row.text for row in client.kv.list(at, consistency=consistency)] == ["1"]
            assert client.kv.get_many([f"{at}a"], consistency=consistency).found == {f"{at}a": b"1"}
            assert client.services.get_many(["absent"], consistency=consistency).not_found == ("absent",)
        deleted = client.last_index
        client.kv.delete(f"{at}a")
        assert client.last_index > deleted, "a delete is seen too"
    with pytest.raises(Invalid, match="consistency"), Client(server.base_url) as client:
        client.kv.get("a", consistency="never")


def test_the_next_of_several_servers_answers(server: LiveServer, at: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with Client(Settings(f"{nobody},{server.base_url}")) as client:
        client.kv.set(f"{at}a", b"1")
        assert client.kv.get(f"{at}a").value == b"1"


def test_a_write_whose_answer_was_lost_is_done_once(server: LiveServer, at: str) -> None:
    """The first answer never arrives: the repeated compare-and-set is no conflict with itself."""
    lost: list[httpx.Request] = []

    class Losing(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = super().handle_request(request)
            if request.method != "GET" and not lost:
                lost.append(request)
                answer.read()
                raise httpx.ReadError("the connection was reset")
            return answer

    def guarded(client: Client) -> Any:
        return client.kv.set(f"{at}cas", "1", cas=0)

    def transaction(client: Client) -> Any:
        return client.transaction([Operation("set", f"{at}lock", value=b"mine", index=0)])

    for doing in (guarded, transaction):
        lost.clear()
        with Client(server.base_url, transport=Losing()) as client:
            index = doing(client).modify_index
            assert len(lost) == 1
            assert index == client.last_index
    with Client(Settings(server.base_url, idempotent=False), transport=Losing()) as client:
        lost.clear()
        with pytest.raises(Unreachable, match="may be applied"):
            client.kv.set(f"{at}other", "1", cas=0)


def test_a_single_node_has_no_cluster(ask: Ask) -> None:
    for doing in (lambda c: c.cluster.status(), lambda c: c.cluster.join("n2", "h:7000")):
        with pytest.raises(Unsupported, match="single node"):
            ask(doing)
