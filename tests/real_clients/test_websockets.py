"""The Python library `websockets` on `/kv/watch/`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.ask import ask, put
from tests.conftest import LiveServer

WITHIN_S = 30.0


def watching(server: LiveServer, path: str, **options: Any) -> ClientConnection:
    """Opens a WebSocket; one that ends by itself says so through `recv`."""
    url = f"ws://127.0.0.1:{server.port}{path}"
    opened: ClientConnection = connect(url, proxy=None, open_timeout=WITHIN_S, **options)
    return opened


def event(socket: ClientConnection) -> dict[str, Any]:
    text = socket.recv(timeout=WITHIN_S)
    assert isinstance(text, str)
    assert text.endswith("\n")
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_key_as_it_is_and_everything_after(server: LiveServer) -> None:
    put(server.port, "ws/one", "first")
    with watching(server, "/kv/watch/ws/one") as socket:
        assert socket.subprotocol is None
        now = event(socket)
        assert (now["type"], now["key"], now["value"]) == ("set", "ws/one", "first")
        put(server.port, "ws/other", "not watched")
        put(server.port, "ws/one", "")
        emptied = event(socket)
        assert (emptied.get("value"), emptied["old_value"]) == (None, "first")
        ask(server.port, "DELETE", "/kv/ws/one")
        gone = event(socket)
        assert (gone["type"], gone["key"]) == ("delete", "ws/one")
        assert now["modify_index"] < emptied["modify_index"] < gone["modify_index"]


def test_what_it_says_is_ignored_and_its_pings_are_answered(server: LiveServer) -> None:
    with watching(server, "/kv/watch/talk/**") as socket:
        socket.send("hello?")
        socket.send(b"\x00\xff")
        assert socket.ping().wait(WITHIN_S)
        put(server.port, "talk/key", "value")
        assert event(socket)["key"] == "talk/key"


def test_since_an_index_nothing_is_missed_or_doubled(server: LiveServer) -> None:
    first = put(server.port, "since/0", "0").json()["modify_index"]
    for number in range(1, 150):
        put(server.port, f"since/{number}", "more than a buffer holds")
    with watching(server, f"/kv/watch/since/**?since={first}") as socket:
        put(server.port, "since/150", "live")
        keys = []
        while "since/150" not in keys:
            one = event(socket)
            keys += [one["key"]] if one["type"] == "set" else []
    assert keys == [f"since/{number}" for number in range(1, 151)]


def test_a_server_that_stops_says_so(server: LiveServer) -> None:
    with watching(server, "/kv/watch/stopped/**") as socket:
        stopped = server.stop()
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(timeout=WITHIN_S)
        server.start()
        assert stopped == 0
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code in (1001, 1012)
        assert "stopping" in ended.value.rcvd.reason


def test_a_page_of_another_site_is_refused(server: LiveServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        watching(server, "/kv/watch/**", origin="https://elsewhere.example")
    assert refused.value.response.status_code == 403
