"""The listener as the node runs it: connections that stay, their lines in the log, refusals, the stop."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
from websockets.sync.client import connect

from tests.conftest import LiveServer
from tests.waiting import until

DEADLINE_S = 20.0
UPGRADE = (
    "GET /kv/watch/a HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: {version}\r\nsec-websocket-key: {key}\r\n\r\n"
)


def said(server: LiveServer, request: str) -> bytes:
    """Everything the server answers until it has said a whole head."""
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as client:
        client.sendall(request.encode())
        got = b""
        while b"\r\n\r\n" not in got and (piece := client.recv(65_536)):
            got += piece
        return got


def logged(server: LiveServer, request_id: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.output().splitlines() if request_id in line]
    return [line for line in lines if line["msg"] == "Request completed"]


def test_a_watch_is_logged_when_it_ends(server: LiveServer, http: httpx.Client) -> None:
    headers = {"x-request-id": "the-stream"}
    with http.stream("GET", "/kv/watch/a?token=secret", headers=headers) as stream:
        assert stream.headers["x-request-id"] == "the-stream"
        assert logged(server, "the-stream") == []
    until(lambda: bool(logged(server, "the-stream")), "the stream's line in the log")
    url = f"ws://127.0.0.1:{server.port}/kv/watch/a"
    with connect(url, additional_headers={"x-request-id": "the-socket"}, compression=None) as client:
        assert client.response is not None
        assert client.response.headers["x-request-id"] == "the-socket"
    until(lambda: bool(logged(server, "the-socket")), "the WebSocket's line in the log")
    lines = logged(server, "the-stream") + logged(server, "the-socket")
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/kv/watch/a", 200),
        ("GET", "/kv/watch/a", 101),
    ]
    assert all(line["response_size"] > 100 for line in lines)
    assert "secret" not in server.output()


def test_unsound_upgrades_are_refused(server: LiveServer) -> None:
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    assert said(server, UPGRADE.format(version=13, key=key)).startswith(b"HTTP/1.1 101 ")
    assert said(server, UPGRADE.format(version=8, key=key)).startswith(b"HTTP/1.1 426 ")
    assert said(server, UPGRADE.format(version=13, key="x")).startswith(b"HTTP/1.1 400 ")


def test_compression_is_not_offered(server: LiveServer) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/kv/watch/a", compression="deflate") as client:
        assert client.response is not None
        assert "sec-websocket-extensions" not in client.response.headers


def test_connections_are_counted(server: LiveServer, http: httpx.Client) -> None:
    def value(name: str) -> float:
        page = http.get("/metrics").text
        (line,) = [line for line in page.splitlines() if line.startswith(f"konsul_http_{name} ")]
        return float(line.rpartition(" ")[2])

    before, accepted = value("connections"), value("accepted_total")
    with http.stream("GET", "/kv/watch/a"):
        assert value("connections") == before + 1
        assert value("accepted_total") == accepted + 1
    until(lambda: value("connections") == before, "the stream to end")
    assert value("refused_full_total") == value("lines_overrun_total") == 0
