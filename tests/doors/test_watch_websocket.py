"""WebSockets about keys: the messages, the refusals, and what a peer must not send."""

from __future__ import annotations

import json
import os
import socket as sockets
import struct
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.ask import ask, put
from tests.conftest import SMALL, LiveServer
from tests.doors.metrics_page import sample
from tests.doors.streams import DEADLINE_S, Stream, message, socket
from tests.waiting import until

TEXT = 0x1
CLOSE = 0x8
PING = 0x9
PONG = 0xA


def index_of(port: int, key: str, value: str) -> int:
    return int(put(port, key, value).json()["modify_index"])


class RawSocket:
    """A WebSocket whose frames are made by hand."""

    def __init__(self, port: int, path: str, headers: str = "") -> None:
        self._socket = sockets.create_connection(("127.0.0.1", port), DEADLINE_S)
        head = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        )
        self._socket.sendall(head.encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, kind: int, payload: bytes, *, claims: int | None = None) -> None:
        """One masked frame; `claims`: the length in its head, if it lies."""
        size = len(payload) if claims is None else claims
        head = bytes([0x80 | kind])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", size)
        self._socket.sendall(head + bytes(4) + payload)

    def receive(self) -> tuple[int, bytes] | None:
        """The next frame; None when the connection has ended."""
        try:
            head = self._file.read(2)
            if len(head) < 2:
                return None
            size = head[1] & 0x7F
            if size == 126:
                size = struct.unpack(">H", self._file.read(2))[0]
            elif size == 127:
                size = struct.unpack(">Q", self._file.read(8))[0]
            return head[0] & 0x0F, self._file.read(size)
        except ConnectionError:
            return None

    def end(self) -> int | None:
        """Reads up to the end; the close code the server gave, None if it just hung up."""
        code = None
        while (frame := self.receive()) is not None:
            if frame[0] == CLOSE and len(frame[1]) >= 2:
                code = struct.unpack(">H", frame[1][:2])[0]
        return code


def test_a_message_is_one_text_frame_byte_for_byte(server: LiveServer, space: str) -> None:
    with socket(server.port, f"/kv/watch/{space}/*") as watch:
        index = index_of(server.port, f"{space}/cfg", "v0")
        created = watch.recv(timeout=DEADLINE_S)
        put(server.port, f"{space}/cfg", "v1")
        updated = watch.recv(timeout=DEADLINE_S)
        ask(server.port, "DELETE", f"/kv/{space}/cfg")
        deleted = watch.recv(timeout=DEADLINE_S)
    at = [json.loads(text)["timestamp"] for text in (created, updated, deleted)]
    key, old = f'"key":"{space}/cfg"', '"old_value":"v0"'
    assert created == f'{{"type":"set",{key},"value":"v0","timestamp":{at[0]},"modify_index":{index}}}\n'
    assert updated == (
        f'{{"type":"set",{key},"value":"v1",{old},"timestamp":{at[1]},"modify_index":{index + 1}}}\n'
    )
    assert deleted == (
        f'{{"type":"delete",{key},"old_value":"v1","timestamp":{at[2]},"modify_index":{index + 2}}}\n'
    )
    assert watch.subprotocol is None


def test_an_exact_key_is_told_first_with_its_value(server: LiveServer, space: str) -> None:
    index = index_of(server.port, space, "there")
    with socket(server.port, f"/kv/watch/{space}") as watch:
        text = watch.recv(timeout=DEADLINE_S)
        at = json.loads(text)["timestamp"]
        assert text == (
            f'{{"type":"set","key":"{space}","value":"there","timestamp":{at},"modify_index":{index}}}\n'
        )
        put(server.port, space, "next")
        assert message(watch)["value"] == "next"


def test_since_goes_on_behind_an_index_and_the_pattern_may_be_escaped_twice(
    server: LiveServer, space: str
) -> None:
    indices = [index_of(server.port, f"{space}/k{number}", "v") for number in range(3)]
    with socket(server.port, f"/kv/watch/{space}%252F%252A%252A?since={indices[0]}") as watch:
        assert [message(watch)["modify_index"] for _ in range(2)] == indices[1:]


def test_what_the_client_says_is_read_and_ignored(server: LiveServer, space: str) -> None:
    with socket(server.port, f"/kv/watch/{space}") as watch:
        for text in ("hello", b"bytes", "{}"):
            watch.send(text)
        watch.ping().wait(DEADLINE_S)
        put(server.port, space, "v")
        assert message(watch)["value"] == "v"


def test_progress_says_how_far_a_silent_watch_is(tmp_path: Path) -> None:
    settings = SMALL | {"KONSUL_WATCH_HEARTBEAT_INTERVAL": "100ms"}
    with (
        LiveServer(tmp_path / "data", settings) as server,
        socket(server.port, "/kv/watch/quiet/*?progress=true") as watch,
    ):
        assert watch.recv(timeout=DEADLINE_S) == '{"type":"progress","modify_index":0}\n'
        index = index_of(server.port, "loud", "1")
        while (told := message(watch)) != {"type": "progress", "modify_index": index}:
            assert told["type"] == "progress"


def test_with_progress_the_last_change_of_an_index_is_marked(server: LiveServer, space: str) -> None:
    with socket(server.port, f"/kv/watch/{space}/*?progress=true") as watch:
        assert message(watch)["type"] == "progress"
        items = {f"{space}/{name}": "v" for name in "abc"}
        ask(server.port, "POST", "/batch/kv/set", {"items": items})
        put(server.port, f"{space}/d", "v")
        told = [message(watch) for _ in range(4)]
    assert [one["key"][-1] for one in told] == ["a", "b", "c", "d"]
    assert [one.get("complete") for one in told] == [None, None, True, True]


def test_refused_before_the_upgrade_with_a_status_and_words(server: LiveServer) -> None:
    for path, status in (("/kv/watch/a?since=x", 400), ("/kv/watch/" + "a" * 1_025, 400), ("/nothing", 403)):
        with pytest.raises(InvalidStatus) as refused:
            socket(server.port, path)
        assert refused.value.response.status_code == status, path
    with pytest.raises(InvalidStatus) as refused:
        socket(server.port, "/kv/watch/a?since=x")
    body = json.loads(refused.value.response.body)
    assert body["message"] == "Invalid since parameter: expected an unsigned 64-bit integer"


@pytest.mark.parametrize("path", ["/kv/watch/a", "/services/watch", "/health/watch", "/ws/updates"])
def test_a_page_of_another_site_gets_no_connection(server: LiveServer, path: str) -> None:
    for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{server.port}"):
        with pytest.raises(InvalidStatus) as refused:
            socket(server.port, path, origin=origin)
        assert refused.value.response.status_code == 403
        assert "KONSUL_WATCH_ALLOWED_ORIGINS" in json.loads(refused.value.response.body)["message"]
    with socket(server.port, path, origin=f"http://127.0.0.1:{server.port}"):
        pass


def test_origins_may_be_allowed_by_name_or_all(tmp_path: Path) -> None:
    allowed = {"KONSUL_WATCH_ALLOWED_ORIGINS": "https://ui.example, https://other.example"}
    with LiveServer(tmp_path / "some", SMALL | allowed) as server:
        for origin in ("https://ui.example", "https://other.example"):
            with socket(server.port, "/ws/updates", origin=origin):
                pass
        with pytest.raises(InvalidStatus):
            socket(server.port, "/ws/updates", origin="https://evil.example")
    with (
        LiveServer(tmp_path / "all", SMALL | {"KONSUL_WATCH_ALLOWED_ORIGINS": "*"}) as server,
        socket(server.port, "/ws/updates", origin="https://evil.example"),
    ):
        pass


def test_a_client_that_goes_takes_its_watch_along(server: LiveServer, space: str) -> None:
    def active() -> float:
        page = ask(server.port, "GET", "/metrics").body.decode().splitlines()
        found = [line for line in page if line.startswith('konsul_watchers_active{transport="websocket"}')]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    until(lambda: active() == 0, "no watch is left of other tests")
    watches = [RawSocket(server.port, f"/kv/watch/{space}/*") for _ in range(5)]
    until(lambda: active() == 5, "five watches")
    watches[0].send(CLOSE, struct.pack(">H", 1000))
    assert watches[0].end() == 1000
    for watch in watches:
        watch.close()
    until(lambda: active() == 0, "the watches are closed")


def test_clients_that_hang_up_at_once_are_no_defect(server: LiveServer, space: str) -> None:
    for _ in range(100):
        for upgrade in ("", "Upgrade: websocket\r\nConnection: Upgrade\r\n"):
            with sockets.create_connection(("127.0.0.1", server.port), DEADLINE_S) as client:
                version = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                head = f"GET /kv/watch/{space}/** HTTP/1.1\r\nHost: x\r\n{upgrade}{version}\r\n"
                client.sendall(head.encode())
    until(lambda: sample(server.port, "konsul_lines_open") == 0, "all of them are gone")
    for transport in ("sse", "websocket"):

        def is_unwatched(transport: str = transport) -> bool:
            return sample(server.port, "konsul_watchers_active", transport=transport) == 0

        until(is_unwatched, "no watch")
    assert "request failed" not in server.output()


def test_frames_that_break_the_protocol_end_the_connection_and_nothing_else(
    server: LiveServer, space: str
) -> None:
    with Stream(server.port, f"/kv/watch/{space}/*") as other:
        other.comment()
        for kind, payload, claims in (
            (TEXT, b"\xff\xfe not UTF-8", None),
            (TEXT, b"x", 1 << 30),
            (TEXT, b"x", 1 << 62),
            (0x3, b"an opcode that is none", None),
            (PING, b"p" * 126, None),
        ):
            watch = RawSocket(server.port, f"/kv/watch/{space}/*")
            assert watch.status == 101
            watch.send(kind, payload, claims=claims)
            assert watch.end() in (None, 1002, 1006, 1007, 1009), (kind, claims)
            watch.close()
        put(server.port, f"{space}/still", "here")
        assert other.event().data["value"] == "here"


def test_a_message_over_the_limit_is_refused(server: LiveServer, space: str) -> None:
    watch = RawSocket(server.port, f"/kv/watch/{space}/*")
    watch.send(TEXT, os.urandom(40_000).hex().encode())
    assert watch.end() in (None, 1009)
    watch.close()


def test_the_node_says_why_when_it_stops(tmp_path: Path) -> None:
    with (
        LiveServer(tmp_path / "data", SMALL) as server,
        socket(server.port, "/kv/watch/a") as watch,
        socket(server.port, "/ws/updates") as updates,
        Stream(server.port, "/kv/watch/a") as stream,
    ):
        stream.comment()
        assert server.stop() == 0
        for one in (watch, updates):
            with pytest.raises(ConnectionClosed) as closed:
                one.recv(timeout=DEADLINE_S)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the node is stopping")
        assert [block.raw for block in stream.rest()] == [
            b'event: closed\ndata: {"type":"closed","reason":"the node is stopping"}\n'
        ]
