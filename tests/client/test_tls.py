"""TLS and client certificates through a real handshake. The keys beside this file are made for it and
guard nothing."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from konsul.client import AsyncClient, Client, Policy, Settings
from konsul.client.pursuit import Transport
from konsul.errors import Unreachable
from tests.client.played_streams import HOLD, Streams
from tests.waiting import until

FILES = Path(__file__).with_name("tls")
CA = str(FILES / "ca.pem")
CERT, KEY = str(FILES / "client.pem"), str(FILES / "client.key")
ONCE = Policy(retries=0)


class Alive(BaseHTTPRequestHandler):
    """Answers every GET like a liveness probe."""

    def do_GET(self) -> None:
        body = json.dumps({"status": "alive"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
def secured(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """An https server's address, and whether it demands a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "server.pem", FILES / "server.key")
    if request.param:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(CA)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Alive)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # refused handshakes are the point
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", request.param
    server.shutdown()
    thread.join()
    server.server_close()


def alive(settings: Settings) -> bool:
    with Client(settings) as client:
        return client.live().ok


def test_a_trusted_server_and_a_known_client(secured: tuple[str, bool]) -> None:
    address, mutual = secured
    assert alive(Settings(address, ca_cert=CA, policy=ONCE, client_cert=CERT, client_key=KEY))
    if not mutual:
        assert alive(Settings(address, ca_cert=CA, policy=ONCE))
        assert alive(Settings(address, tls_verify=False, policy=ONCE))


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
def secured_streams(request: pytest.FixtureRequest) -> Iterator[Streams]:
    """An https server of streams that says one thing and stays."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "server.pem", FILES / "server.key")
    if request.param:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(CA)
    said = {"type": "set", "key": "a", "timestamp": 5, "modify_index": 11}
    with Streams([said, HOLD], tls=context) as server:
        yield server


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_streams_are_as_safe_as_calls(secured_streams: Streams, transport: Transport) -> None:
    address = secured_streams.base_url
    known = Settings(address, ca_cert=CA, policy=ONCE, client_cert=CERT, client_key=KEY)
    told: list[object] = []
    with Client(known) as client:
        watch = client.kv.watch("a", transport=transport)
        thread = threading.Thread(target=lambda: told.extend(watch))
        thread.start()
        until(lambda: told, "the first change")
        watch.close()
        thread.join(30)
        assert not thread.is_alive(), "another thread ends it"
    assert secured_streams.left.wait(30)
    stranger = Settings(address, policy=ONCE, client_cert=CERT, client_key=KEY)
    with Client(stranger) as client, pytest.raises(Unreachable, match="certificate verify failed"):
        next(client.kv.watch("a", since=1, transport=transport))

    async def story() -> object:
        async with AsyncClient(known) as client, client.kv.watch("a", since=1, transport=transport) as events:
            return await anext(events)

    assert asyncio.run(story()) == told[0]


def test_a_server_nobody_vouches_for_is_unreachable(secured: tuple[str, bool]) -> None:
    with pytest.raises(Unreachable, match="certificate verify failed"):
        alive(Settings(secured[0], policy=ONCE, client_cert=CERT, client_key=KEY))


def test_a_client_without_a_certificate_is_turned_away(secured: tuple[str, bool]) -> None:
    address, mutual = secured
    if mutual:
        with pytest.raises(Unreachable):
            alive(Settings(address, ca_cert=CA, policy=ONCE))
