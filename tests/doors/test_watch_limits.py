"""What a watch costs at most: limits, time-outs, clients that do not read; each with a reason."""

from __future__ import annotations

import json
import socket as sockets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.ask import ask, put
from tests.conftest import SMALL, LiveServer
from tests.doors.metrics_page import sample
from tests.doors.streams import DEADLINE_S, Block, Stream, message, socket
from tests.waiting import until


def server_with(tmp_path: Path, **settings: str) -> LiveServer:
    given = {f"KONSUL_WATCH_{name.upper()}": value for name, value in settings.items()}
    return LiveServer(tmp_path / "data", SMALL | given)


def set_many(port: int, items: Mapping[str, str]) -> int:
    answer = ask(port, "POST", "/batch/kv/set", {"items": items})
    assert answer.status == 200, answer.body
    return int(answer.headers["x-konsul-index"])


def active(port: int) -> float:
    transports = ("sse", "websocket")
    return sum(sample(port, "konsul_watchers_active", transport=transport) for transport in transports)


class Stuck:
    """A client that asks for a stream and does not read it, with as small a buffer as the system allows."""

    def __init__(self, port: int, path: str, *, upgrade: bool = False) -> None:
        self._socket = sockets.socket()
        self._socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
        self._socket.settimeout(DEADLINE_S)
        self._socket.connect(("127.0.0.1", port))
        upgraded = (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n"
        )
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\n{upgraded if upgrade else ''}\r\n"
        self._socket.sendall(head.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def is_cut(self) -> bool:
        """Reads what there is; True if it ends."""
        try:
            while self._socket.recv(1 << 20):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


def test_one_client_has_so_many_watches_and_no_more(tmp_path: Path) -> None:
    setting = "KONSUL_WATCH_MAX_PER_CLIENT is 2"
    with server_with(tmp_path, max_per_client="2") as server, Stream(server.port, "/kv/watch/a") as first:
        first.comment()
        with Stream(server.port, "/services/watch") as second:
            second.comment()
            for path in ("/kv/watch/b", "/services/watch", "/health/watch", "/kv/a?index=1"):
                answer = ask(server.port, "GET", path)
                assert (answer.status, answer.json()["error"]) == (429, "Too Many Requests"), path
                assert answer.json()["message"] == f"too many watchers for this client: {setting}"
            with socket(server.port, "/kv/watch/b") as refused:
                assert refused.recv(timeout=DEADLINE_S) == (
                    '{"error":"failed to add watcher","message":"too many watchers for this client",'
                    f'"reason":"{setting}"}}'
                )
                with pytest.raises(ConnectionClosed) as closed:
                    refused.recv(timeout=DEADLINE_S)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1011
            with socket(server.port, "/ws/updates") as updates:
                updates.send('{"type":"subscribe","channels":["kv"]}')
                assert setting in message(updates)["data"]["message"]
        until(lambda: sample(server.port, "konsul_watchers_active", transport="sse") == 1, "one is left")
        with socket(server.port, "/kv/watch/b"):
            pass
        assert sample(server.port, "konsul_watch_refused_total", reason="client") == 6


def test_connections_for_channels_count_before_they_watch_anything(tmp_path: Path) -> None:
    with server_with(tmp_path, max_per_client="2") as server:
        with socket(server.port, "/ws/updates"), socket(server.port, "/ws/updates"):
            with pytest.raises(InvalidStatus) as refused:
                socket(server.port, "/ws/updates")
            assert refused.value.response.status_code == 429
            assert json.loads(refused.value.response.body)["message"] == (
                "too many connections of this client: KONSUL_WATCH_MAX_PER_CLIENT is 2"
            )
        until(lambda: sample(server.port, "konsul_lines_open") == 0, "both are closed")
        with socket(server.port, "/ws/updates"):
            pass


def test_all_clients_have_so_many_watches_and_no_more(tmp_path: Path) -> None:
    with (
        server_with(tmp_path, max_total="1", max_per_client="0") as server,
        Stream(server.port, "/kv/watch/a") as only,
    ):
        only.comment()
        answer = ask(server.port, "GET", "/kv/watch/b")
        assert answer.status == 429
        assert answer.json()["message"] == "too many watchers on this node: KONSUL_WATCH_MAX_TOTAL is 1"
        assert put(server.port, "a", "everything else goes on").status == 200


def test_switched_off_it_says_so(tmp_path: Path) -> None:
    with server_with(tmp_path, enabled="false") as server:
        for path in ("/kv/watch/a", "/services/watch", "/health/watch", "/ws/updates", "/kv/a?index=1"):
            answer = ask(server.port, "GET", path)
            assert answer.status == 400, path
            assert answer.json()["message"].endswith("off on this node: KONSUL_WATCH_ENABLED is false")
        for path in ("/kv/watch/a", "/ws/updates"):
            with pytest.raises(InvalidStatus) as refused:
                socket(server.port, path)
            assert refused.value.response.status_code == 400
            assert "KONSUL_WATCH_ENABLED" in json.loads(refused.value.response.body)["message"]


def test_a_connection_on_which_nothing_is_said_is_closed(tmp_path: Path) -> None:
    with server_with(tmp_path, timeout="150ms", heartbeat_interval="100ms") as server:
        with Stream(server.port, "/kv/watch/a") as stream:
            end = stream.rest()[-1]
            assert end.raw == b'event: closed\ndata: {"type":"closed","reason":"idle timeout"}\n'
        with socket(server.port, "/kv/watch/a") as watch:
            with pytest.raises(ConnectionClosed) as closed:
                watch.recv(timeout=DEADLINE_S)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "idle timeout")
        assert sample(server.port, "konsul_lines_closed_total", reason="idle_timeout") == 2


def test_a_connection_on_which_something_is_said_stays(tmp_path: Path) -> None:
    with (
        server_with(tmp_path, timeout="2s", heartbeat_interval="100ms") as server,
        Stream(server.port, "/kv/watch/idle") as idle,
        Stream(server.port, "/kv/watch/busy") as busy,
    ):
        told = 0
        while (block := idle.block()) is not None and block.event is None:
            put(server.port, "busy", str(told))
            assert busy.event().data["value"] == str(told)
            told += 1
        assert told >= 3, "the idle one ended, and the busy one was told all the while"


@pytest.mark.parametrize("upgrade", [False, True], ids=["sse", "websocket"])
def test_who_does_not_read_is_closed_and_the_others_are_told_all(tmp_path: Path, upgrade: bool) -> None:
    with (
        server_with(tmp_path, write_timeout="300ms") as server,
        Stuck(server.port, "/kv/watch/big/*", upgrade=upgrade) as stuck,
    ):
        with Stream(server.port, "/kv/watch/big/*") as other, socket(server.port, "/kv/watch/big/*") as third:
            other.comment()
            value = "v" * 400_000
            told = 0
            while sample(server.port, "konsul_lines_closed_total", reason="write_timeout") == 0:
                put(server.port, f"big/{told}", value)
                assert other.event("kv-change").data["key"] == f"big/{told}"
                assert message(third)["key"] == f"big/{told}"
                told += 1
                assert told < 500, "it holds more and more for who does not read"
            put(server.port, "big/last", "v")
            assert other.event("kv-change").data["key"] == "big/last"
        assert stuck.is_cut()
        until(lambda: active(server.port) == 0, "its watch is closed")


def test_who_reads_slowly_is_told_that_it_is_behind_and_then_everything(tmp_path: Path) -> None:
    with (
        server_with(tmp_path, buffer_size="10", write_timeout="1h", ring_bytes="1GiB") as server,
        Stream(server.port, "/kv/watch/s/*") as slow,
    ):
        slow.comment()
        # 40 MB: far more than the buffers of both sockets hold.
        for number in range(100):
            set_many(server.port, {f"s/{number:03}-{part:02}": "v" * 20_000 for part in range(20)})
        last = set_many(server.port, {"s/last": "v"})
        told: list[Block] = []
        notices: list[Block] = []
        while not told or told[-1].data["key"] != "s/last":
            event = slow.event()
            (told if event.event == "kv-change" else notices).append(event)
        assert {event.event for event in notices} == {"behind"}
        at = notices[0].data["resume_index"]
        assert notices[0].raw == b'event: behind\ndata: {"type":"behind","resume_index":%d}\n' % at
        keys = [event.data["key"] for event in told]
        assert keys == sorted(keys), "in order"
        assert len(keys) == len(set(keys)) == 2_001, "each once"
        assert told[-1].id == last
        assert sample(server.port, "konsul_watch_behind_total") == len(notices)


def test_who_is_behind_the_ring_is_told_to_list_again(tmp_path: Path) -> None:
    with (
        server_with(tmp_path, buffer_size="10", ring_entries="20", write_timeout="1h") as server,
        Stream(server.port, "/kv/watch/s/*") as slow,
    ):
        slow.comment()
        for number in range(200):
            set_many(server.port, {f"s/{number:03}-{part}": "v" * 20_000 for part in range(10)})
        last = set_many(server.port, {"s/last": "v"})
        seen = [slow.event()]
        while seen[-1].event == "compacted" or seen[-1].id != last:
            seen.append(slow.event())
            if seen[-1].event == "compacted" and seen[-1].id == last:
                break
        compacted = [event for event in seen if event.event == "compacted"]
        assert compacted, "what the ring no longer has is not passed over in silence"
        told = [event.data["modify_index"] for event in seen if event.event == "kv-change"]
        assert told == sorted(told)
        assert not [index for index in told if compacted[0].id < index <= compacted[-1].id]


def test_the_limits_must_make_sense(tmp_path: Path) -> None:
    for name, value in (
        ("buffer_size", "0"),
        ("max_per_client", "-1"),
        ("max_total", "0"),
        ("timeout", "soon"),
        ("heartbeat_interval", "1ms"),
        ("write_timeout", "0"),
        ("ring_entries", "0"),
        ("ring_bytes", "1"),
    ):
        server = server_with(tmp_path, **{name: value})
        assert server.refused() == 1, name
        assert f"KONSUL_WATCH_{name.upper()} is '{value}'" in server.output()
