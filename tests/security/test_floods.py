"""Many connections, slow ones and endless heads: the limits hold, and others are answered meanwhile.

What takes a whole server has one of its own with short patience; nothing here measures a time.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.conftest import Bystander
from tests.security.guarded import Guarded, Login
from tests.security.wire import head, lines, replies, said
from tests.waiting import until

SLOW = 400
HURRY = {"KONSUL_HTTP_BODY_TIMEOUT": "500ms"}


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A guarded server that waits half a second for a head or a body."""
    with Guarded(tmp_path_factory.mktemp("hurried"), HURRY) as server:
        server.furnish()
        yield server


@contextlib.contextmanager
def connections(server: Guarded, count: int) -> Iterator[list[socket.socket]]:
    """Open connections, as many of `count` as the server takes."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            held.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        yield held
    finally:
        for one in held:
            one.close()


def closed(one: socket.socket) -> bool:
    """True once the server has ended this connection; what it said before is read away."""
    one.settimeout(0.01)
    try:
        while one.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def answered_through(server: Guarded, other: Bystander) -> None:
    """The bystander gets further answers now, while the attack lasts."""
    seen = other.answered
    until(lambda: other.answered >= seen + 3 or other.failed, "the bystander's next answers")
    assert other.failed == []


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"G",
        b"GET /kv/open/door HTTP/1.1\r\nHost: k\r\nX-A: b",
        b"PUT /kv/open/slow?raw HTTP/1.1\r\nHost: k\r\nContent-Length: 1000\r\n\r\nhalf",
        b"PUT /kv/open/slow?raw HTTP/1.1\r\nHost: k\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nhalf",
        b"POST /auth/login HTTP/1.1\r\nHost: k\r\nContent-Length: 90\r\n\r\n{",
    ],
    ids=["nothing", "one letter", "half a head", "half a body", "half a chunk", "half a login"],
)
def test_slowloris(hurried: Guarded, beginning: bytes) -> None:
    with connections(hurried, SLOW) as held, Bystander(hurried) as other:
        for one in held:
            one.sendall(beginning)
        answered_through(hurried, other)
        if beginning:
            # Each is told or closed by itself, without anybody else doing anything.
            until(lambda: all(closed(one) for one in held), "the slow connections to be ended")
        answered_through(hurried, other)


def test_a_drip_of_header_bytes_does_not_renew_the_patience(hurried: Guarded) -> None:
    with connections(hurried, 20) as held, Bystander(hurried) as other:
        for one in held:
            one.sendall(b"GET /kv/open/door HTTP/1.1\r\nHost: k\r\n")

        def dripped() -> bool:
            for one in held:
                with contextlib.suppress(OSError):
                    one.send(b"X: y\r\n"[:1])
            return all(closed(one) for one in held)

        until(dripped, "the dripping connections to be ended")
        answered_through(hurried, other)


@pytest.mark.parametrize(
    "fields",
    [
        [f"X-{number}: y" for number in range(1_000)],
        ["X: " + "y" * 100_000],
        ["X" * 100_000 + ": y"],
        ["Cookie: " + "a=b; " * 5_000],
        ["Authorization: Bearer " + "a" * 100_000],
        ["X-API-Key: " + "a" * 100_000],
        ["X-Forwarded-For: " + "1.2.3.4, " * 5_000],
        ["A: b"] * 10_000,
    ],
    ids=[
        "many",
        "a long value",
        "a long name",
        "cookies",
        "a long token",
        "a long key",
        "many hops",
        "one often",
    ],
)
def test_a_flood_of_header_fields(hurried: Guarded, fields: list[str]) -> None:
    with Bystander(hurried) as other:
        for _ in range(20):
            found = replies(said(hurried.port, head("GET", "/kv/open/door", *fields)))
            assert [reply.status for reply in found] in ([431], [400], [])
        answered_through(hurried, other)


def test_a_head_without_an_end(hurried: Guarded) -> None:
    endless = b"GET /kv/open/door HTTP/1.1\r\nHost: k\r\n" + b"X-A: bbbbbbbbbbbbbbbb\r\n" * 100_000
    with Bystander(hurried) as other:
        for _ in range(10):
            assert all(reply.status in (400, 431) for reply in replies(said(hurried.port, endless)))
        answered_through(hurried, other)


def test_a_long_target(hurried: Guarded) -> None:
    for target in ("/kv/" + "a" * 100_000, "/kv/a?" + "b=c&" * 50_000, "/" * 100_000, "/%41" * 30_000):
        found = replies(said(hurried.port, head("GET", target)))
        assert [reply.status for reply in found] in ([431], [414], [400], []), target[:20]


def test_as_many_connections_as_the_machine_lets_one_client_open(tmp_path: Path) -> None:
    """As many as this process may have: the server's side of each counts against a limit of the same size.

    Whoever is refused is closed at once; those who are in are served; the node goes on when they are gone.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with Guarded(tmp_path / "flooded") as server:
            server.furnish()
            count = min(hard - 1_500, 18_000)
            with Bystander(server) as other:
                with connections(server, count) as held:
                    answered_through(server, other)
                    one = held[0]
                    one.sendall(head("GET", "/kv/open/door", *lines(server.admin)))
                    assert one.recv(65_536).startswith(b"HTTP/1.1 200 ")
                answered_through(server, other)
            assert other.failed == []
            assert server.get("/kv/open/door").status == 401
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connections_that_come_and_go(hurried: Guarded) -> None:
    with Bystander(hurried) as other:
        for _ in range(3_000):
            with socket.create_connection(("127.0.0.1", hurried.port), timeout=30):
                pass
        answered_through(hurried, other)


def test_who_asks_much_and_reads_nothing(hurried: Guarded, space_key: str) -> None:
    """Answers that nobody takes stop the questions, and hold neither the node nor its memory."""
    hurried.by_admin("PUT", f"/kv/{space_key}", {"value": "v" * 100_000})
    ask = head("GET", f"/kv/{space_key}", *lines(hurried.admin)) * 50
    with connections(hurried, 20) as held, Bystander(hurried) as other:
        for one in held:
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while one.send(ask):
                    pass
        answered_through(hurried, other)
    hurried.by_admin("DELETE", f"/kv/{space_key}")


@pytest.fixture
def space_key() -> str:
    return "open/large"


def test_a_login_for_the_module(hurried: Guarded) -> None:
    """After all of it the slow way in still works."""
    who: Login = hurried.login("attacker")
    assert hurried.get("/kv/open/door", who.headers).status == 200
