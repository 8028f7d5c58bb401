"""The network of the tests under test: what they cut, slow and break is really cut, slow and broken."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
import warnings
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from tests.cluster.harness.dialers import owner
from tests.cluster.harness.links import Links
from tests.waiting import until

DEADLINE_S = 30.0


class Echo:
    """A listener that answers every byte with itself and counts what it took."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.taken = bytearray()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while True:
                try:
                    got = connection.recv(65_536)
                except OSError:
                    return
                if not got:
                    return
                self.taken += got
                try:
                    connection.sendall(got)
                except OSError:
                    return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    started = Echo()
    yield started
    started.close()


@pytest.fixture
def links() -> Iterator[Links]:
    with Links(lambda *_: "a") as made:
        yield made


def dial(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
    connection.settimeout(DEADLINE_S)
    return connection


def read_exactly(connection: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        part = connection.recv(size - len(got))
        assert part, f"the connection ended after {len(got)} of {size} bytes"
        got += part
    return bytes(got)


def is_quiet(connection: socket.socket) -> bool:
    """Nothing arrives: looked at for a moment, as there is nothing to wait for."""
    connection.settimeout(0.1)
    try:
        return connection.recv(1) is None
    except TimeoutError:
        return True
    finally:
        connection.settimeout(DEADLINE_S)


def test_an_open_link_passes_every_byte_in_order_both_ways(links: Links, echo: Echo) -> None:
    sent = bytes(range(256)) * 8_192
    with dial(links.listen("b", echo.port)) as connection:
        threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
        assert read_exactly(connection, len(sent)) == sent
    assert links.passed_bytes("a", "b") == links.passed_bytes("b", "a") == len(sent)


def test_a_cut_holds_one_direction_and_healing_delivers_what_was_under_way(links: Links, echo: Echo) -> None:
    with dial(links.listen("b", echo.port)) as connection:
        connection.sendall(b"before")
        assert read_exactly(connection, 6) == b"before"
        links.cut("b", "a")
        connection.sendall(b"during")
        until(lambda: echo.taken.endswith(b"during"), "the other direction to pass")
        assert is_quiet(connection)
        links.heal()
        assert read_exactly(connection, 6) == b"during"


def test_while_a_way_is_cut_no_new_connection_reaches_the_other_side(links: Links, echo: Echo) -> None:
    port = links.listen("b", echo.port)
    for source, destination in (("a", "b"), ("b", "a")):
        links.cut(source, destination)
        with dial(port) as connection:
            connection.sendall(b"hello")
            assert is_quiet(connection)
            assert links.connections("a", "b") == 0
            links.heal()
            assert read_exactly(connection, 5) == b"hello"
        until(lambda: links.connections("a", "b") == 0, "the connection to be forgotten")


def test_a_slow_link_delays_and_a_narrow_one_holds_its_rate(links: Links, echo: Echo) -> None:
    with dial(links.listen("b", echo.port)) as connection:
        links.slow("a", "b", delay_s=0.3)
        begun = time.monotonic()
        connection.sendall(b"x")
        read_exactly(connection, 1)
        assert time.monotonic() - begun >= 0.3, "it came before its delay"
        links.slow("a", "b", bytes_per_s=100_000)
        begun = time.monotonic()
        connection.sendall(b"y" * 50_000)
        read_exactly(connection, 50_000)
        assert time.monotonic() - begun >= 0.4, "it came faster than its rate"


def test_a_reset_breaks_the_connections_of_two_nodes_and_new_ones_come(links: Links, echo: Echo) -> None:
    port = links.listen("b", echo.port)
    with dial(port) as connection:
        connection.sendall(b"x")
        read_exactly(connection, 1)
        assert links.reset("a", "c") == 0
        assert links.reset("b", "a") == 1
        until(lambda: links.connections("a", "b") == 0, "the connection to be forgotten")
        with pytest.raises((OSError, AssertionError)):
            read_exactly(connection, 1)
    with dial(port) as connection:
        connection.sendall(b"x")
        read_exactly(connection, 1)


def test_a_target_that_is_not_there_ends_the_connection(links: Links) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody: int = taken.getsockname()[1]
    with dial(links.listen("b", nobody)) as connection, pytest.raises((OSError, AssertionError)):
        read_exactly(connection, 1)


def test_what_is_accepted_while_it_closes_is_closed_too(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the garbage collector finds it, in the middle of whatever test runs then."""
    asked, goes_on = threading.Event(), threading.Event()

    def who_dials(_: int, __: int) -> str:
        asked.set()
        goes_on.wait(DEADLINE_S)
        return "a"

    def order(work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
        """The network's own thread stands still: it finds this and who dials at once."""
        ordered = run(work, loop)
        goes_on.set()
        return ordered

    links, run = Links(who_dials), asyncio.run_coroutine_threadsafe
    port = links.listen("b", echo.port)
    with contextlib.ExitStack() as held, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("ignore")
        gc.collect()
        warnings.simplefilter("always")
        held.enter_context(dial(port))
        assert asked.wait(DEADLINE_S)
        for _ in range(8):
            held.enter_context(dial(port))
        monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", order)
        links.close()
        gc.collect()
        assert not [each.message for each in warned if "unclosed transport" in str(each.message)]


def test_the_kernel_tells_whose_connection_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, dial(server.getsockname()[1]) as connection:
        mine, theirs = connection.getsockname()[1], server.getsockname()[1]
        assert owner(mine, theirs, [1, os.getpid()]) == os.getpid()
        assert owner(mine, theirs, []) is None
