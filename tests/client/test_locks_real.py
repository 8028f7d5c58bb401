"""Locks, semaphores and elections of both clients against a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from konsul.client import AsyncClient, Client, Operation
from konsul.errors import Conflict, Invalid, NotFound, Timeout
from tests.conftest import SMALL, LiveServer
from tests.doors.metrics_page import sample
from tests.waiting import until, until_async

TTL = "10s"
"""Longer than a busy machine stands still."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that lets sessions be short."""
    settings = SMALL | {"KONSUL_SESSION_TTL_MIN": "100ms"}
    with LiveServer(tmp_path_factory.mktemp("locks") / "data", settings) as running:
        yield running


@pytest.fixture
def client(server: LiveServer) -> Iterator[Client]:
    with Client(server.base_url) as made:
        yield made


def test_a_lock_is_held_within_its_block(client: Client) -> None:
    with client.lock("one", value="mine", ttl=TTL, name="me") as held:
        row = client.kv.get("one")
        assert (row.session, row.lock_index, row.text) == (held.session, held.lock_index, "mine")
        assert client.sessions.get(held.session).name == "me"
        assert not held.lost.is_set()
        held.check()
        with pytest.raises(Conflict, match="is held by somebody else"), client.lock("one", wait="0s"):
            pass
        with pytest.raises(Timeout, match=r"was not free within 0\.2s"), client.lock("one", wait="200ms"):
            pass
    after = client.kv.get("one")
    assert (after.session, after.lock_index) == ("", held.lock_index)
    assert held.lost.is_set()
    with pytest.raises(NotFound):
        client.sessions.get(held.session)


def renewals(server: LiveServer) -> float:
    return sample(server.port, "konsul_session_operations_total", operation="renew", status="success")


def test_it_is_renewed_while_it_is_held(server: LiveServer, client: Client) -> None:
    with client.lock("renewed", ttl="6s") as held:
        before, index = renewals(server), client.kv.get("renewed").modify_index
        until(lambda: renewals(server) > before, "a renewal")
        assert not held.lost.is_set()
        assert client.kv.get("renewed").modify_index == index, "a renewal is not written"


def test_whoever_waits_gets_it_after_its_release(client: Client) -> None:
    tokens: list[int] = []

    def take(_: int) -> None:
        with client.lock("queue", ttl=TTL, wait="60s") as held:
            tokens.append(held.lock_index)
            assert client.kv.get("queue").lock_index == held.lock_index

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(8)))
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 8


def lose(client: Client, key: str, loss: str) -> None:
    """Holds a lock until it is lost."""
    with client.lock(key, ttl="60s", lock_delay="0s") as held:
        match loss:
            case "destroyed":
                client.sessions.destroy(held.session)
            case "deleted":
                client.kv.delete(key)
            case "released":
                assert client.sessions.release(key, held.session)
            case _:
                thief = client.sessions.create(ttl="1s").id
                steps = [
                    Operation("unlock", key, session=held.session),
                    Operation("lock", key, session=thief),
                ]
                client.transaction(steps)
        assert held.lost.wait(30.0)
        with pytest.raises(Conflict):
            held.check()


@pytest.mark.parametrize("loss", ["destroyed", "deleted", "released", "stolen"])
def test_a_holder_hears_of_his_loss(client: Client, loss: str) -> None:
    with pytest.raises(Conflict, match=f"the lock of 'lost-{loss}' is lost"):
        lose(client, f"lost-{loss}", loss)


def test_a_holder_without_a_server_stops_believing_at_his_ttl(server: LiveServer, client: Client) -> None:
    lock = client.lock("silent", ttl="1s", lock_delay="0s")
    held = lock.acquire()
    server.kill()
    try:
        assert held.lost.wait(30.0)
        assert held.lost.reason == "no renewal was answered within the TTL of 1s"
    finally:
        server.start()
    lock.release()
    with client.lock("silent", ttl=TTL, wait="60s", lock_delay="0s") as again:
        assert again.lock_index > held.lock_index


def test_a_lock_can_be_used_again_but_not_twice_at_once(client: Client) -> None:
    lock = client.lock("again", ttl=TTL)
    tokens = []
    for _ in range(2):
        tokens.append(lock.acquire().lock_index)
        with pytest.raises(Conflict, match="by this object already"):
            lock.acquire()
        lock.release()
        lock.release()
    assert tokens[1] == tokens[0] + 1


def test_what_cannot_be_had_is_refused_at_once(client: Client) -> None:
    with pytest.raises(Invalid, match="unknown check"), client.lock("bad", ttl=TTL, checks=["nothing"]):
        pass
    with pytest.raises(Invalid, match="needs a key"):
        client.lock("/")
    with pytest.raises(Invalid, match="at least 1"):
        client.semaphore("s", 0)
    assert client.kv.get_many(["bad"]).not_found == ("bad",)


def test_a_semaphore_has_so_many_places(client: Client) -> None:
    inside = 0
    most: list[int] = []
    guard = threading.Lock()

    def enter(_: int) -> None:
        nonlocal inside
        with client.semaphore("places", 2, ttl=TTL, wait="60s") as held:
            with guard:
                inside += 1
                most.append(inside)
            assert held.session in client.kv.get("places/.lock").text
            with guard:
                inside -= 1

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(enter, range(10)))
    assert len(most) == 10
    assert max(most) <= 2
    assert list(client.kv.keys("places/")) == ["places/.lock"]
    with pytest.raises(Conflict, match="has the limit 1, not 3"):  # noqa: SIM117 - the inner one raises
        with client.semaphore("places", 1, ttl=TTL), client.semaphore("places", 3, ttl=TTL):
            pass


def lose_place(client: Client) -> None:
    """Holds the only place until it is lost and somebody else has it."""
    with client.semaphore("single", 1, ttl="60s") as held:
        client.sessions.destroy(held.session)
        assert held.lost.wait(30.0)
        with client.semaphore("single", 1, ttl=TTL, wait="60s") as other:
            assert other.session != held.session


def test_a_place_is_lost_with_its_session_and_free_for_others(client: Client) -> None:
    with pytest.raises(Conflict, match="is lost"):
        lose_place(client)


def test_one_candidate_leads_after_the_other(client: Client) -> None:
    one = client.election("office", value="one", ttl=TTL)
    two = client.election("office", value="two", ttl=TTL)
    assert one.leader() is None
    first = one.campaign()
    leader = two.leader()
    assert leader is not None
    assert leader.text == "one"
    with pytest.raises(Timeout):
        two.campaign("100ms")
    one.resign()
    with two:
        assert two.campaign("60s").lock_index == first.lock_index + 1
    assert two.leader() is None


def test_asyncio_locks_and_observers(server: LiveServer) -> None:
    async def story() -> None:
        async with AsyncClient(server.base_url) as client:
            seen: list[str | None] = []

            async def watch() -> None:
                async for row in client.election("throne").observe():
                    seen.append(None if row is None else row.text)

            watching = asyncio.create_task(watch())

            async def seen_all(*wanted: str | None) -> None:
                await until_async(lambda: seen == list(wanted), f"the observer to see {wanted}")

            await seen_all(None)
            async with client.election("throne", value="one", ttl=TTL) as candidate:
                await candidate.campaign("60s")
                await seen_all(None, "one")
            await seen_all(None, "one", None)
            async with client.election("throne", value="two", ttl=TTL) as candidate:
                await candidate.campaign("60s")
                await seen_all(None, "one", None, "two")
            await seen_all(None, "one", None, "two", None)
            watching.cancel()
            async with client.lock("a", ttl=TTL) as held, client.semaphore("b", 1, ttl=TTL) as place:
                assert held.lock_index
                assert place.session != held.session
                assert not await held.lost.wait(0.01)
            taking = asyncio.create_task(client.lock("a", ttl=TTL).acquire())
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    asyncio.run(story())
    with Client(server.base_url) as client:
        until(lambda: not list(client.sessions.list()), "every session to be ended")


def test_nothing_is_left_behind(client: Client) -> None:
    client.health()
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(5):
        with client.lock("leak", ttl=TTL), client.semaphore("leaks", 2, ttl=TTL):
            assert threading.active_count() > threads
        with pytest.raises(Conflict):  # noqa: SIM117 - the inner one raises
            with client.lock("leak", ttl=TTL), client.lock("leak", wait="0s"):
                pass
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) <= files
    until(lambda: not list(client.sessions.list()), "every session to be ended")


WAITER = """
import sys
from konsul.client import Client
with Client(sys.argv[1]) as client:
    print("ready", flush=True)
    with client.lock("interrupted", ttl="60s", name="waiter"):
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "holding"])
def test_ctrl_c_gives_everything_back(server: LiveServer, client: Client, waits: bool) -> None:
    first = client.lock("interrupted", ttl=TTL)
    if waits:
        first.acquire()
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", WAITER, server.base_url], stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            if not waits:
                assert process.stdout.readline() == b"held\n"
            until(lambda: "waiter" in [one.name for one in client.sessions.list()], "its session")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) != 0
        finally:
            process.kill()
    first.release()
    assert [one.name for one in client.sessions.list() if one.name == "waiter"] == []
    assert client.kv.get("interrupted").session == ""
