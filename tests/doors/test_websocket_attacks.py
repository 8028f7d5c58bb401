"""Frames that no client sends: every WebSocket door ends the connection, with a reason, and serves on."""

from __future__ import annotations

import base64
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ask import ask, put
from tests.conftest import LiveServer

DOORS = ("/kv/watch/**", "/services/watch", "/ws/updates", "/graphql")
WITHIN_S = 20.0
MEMORY_MAX_MB = 40
TEXT, BINARY, CONTINUATION, PING = 0x1, 0x2, 0x0, 0x9
FIN = 0x80
PROTOCOL_ERROR, NOT_TEXT, TOO_BIG = 1002, 1007, 1009


class Raw:
    """A WebSocket whose frames are made by hand."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.read = connection.makefile("rb")

    def upgrade(self, port: int, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self._connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
        )
        assert b" 101 " in self.read.readline()
        while self.read.readline() != b"\r\n":
            pass

    def send(self, opcode: int, payload: bytes, announced: int | None = None, masked: bool = True) -> None:
        """One frame; `announced`: the length it says it has."""
        length = len(payload) if announced is None else announced
        mask = 0x80 if masked else 0
        if length < 126:
            head = struct.pack("!BB", opcode, mask | length)
        elif length < 1 << 16:
            head = struct.pack("!BBH", opcode, mask | 126, length)
        else:
            head = struct.pack("!BBQ", opcode, mask | 127, length)
        # Masked with zeros: the bytes stay as they are.
        self._connection.sendall(head + (bytes(4) if masked else b"") + payload)

    def ended(self) -> int | None:
        """Reads to the connection's end; returns the close frame's code, None when none came."""
        code = None
        try:
            while head := self.read.read(2):
                length = head[1] & 0x7F
                if length == 126:
                    length = struct.unpack("!H", self.read.read(2))[0]
                elif length == 127:
                    length = struct.unpack("!Q", self.read.read(8))[0]
                payload = self.read.read(length)
                if head[0] & 0x0F == 0x8 and len(payload) >= 2:
                    code = struct.unpack("!H", payload[:2])[0]
                    break
        except ConnectionError:
            return code
        return code


@contextmanager
def opened(server: LiveServer, path: str) -> Iterator[Raw]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=WITHIN_S) as connection:
        raw = Raw(connection)
        with raw.read:
            raw.upgrade(server.port, path)
            yield raw


def resident_mb(server: LiveServer) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1_024


def serves(server: LiveServer) -> None:
    assert put(server.port, "attacked/still", "here").status == 200
    assert ask(server.port, "GET", "/health/ready").status == 200


@pytest.mark.parametrize("path", DOORS)
def test_a_frame_of_a_gigabyte_is_refused_by_its_head(server: LiveServer, path: str) -> None:
    with opened(server, path) as raw:
        before_mb = resident_mb(server)
        raw.send(FIN | TEXT, b"a" * 1_000, announced=1 << 30)
        assert raw.ended() == TOO_BIG
    assert resident_mb(server) - before_mb < MEMORY_MAX_MB
    serves(server)


@pytest.mark.parametrize("path", DOORS)
def test_a_message_in_endless_pieces_is_refused(server: LiveServer, path: str) -> None:
    with opened(server, path) as raw:
        before_mb = resident_mb(server)
        piece = b"a" * 16_384
        try:
            raw.send(TEXT, piece)
            for _ in range(4_096):
                raw.send(CONTINUATION, piece)
        except ConnectionError:
            # Refused while the client was still sending; the reason may be lost with what it sent too much.
            pass
        else:
            assert raw.ended() == TOO_BIG
    assert resident_mb(server) - before_mb < MEMORY_MAX_MB
    serves(server)


@pytest.mark.parametrize("path", DOORS)
def test_text_that_is_no_utf8_is_refused(server: LiveServer, path: str) -> None:
    with opened(server, path) as raw:
        raw.send(FIN | TEXT, b'{"type":"connection_init"}\xff\xc0\x80')
        assert raw.ended() == NOT_TEXT
    serves(server)


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize(
    ("opcode", "payload", "masked"),
    [
        (FIN | TEXT, b"{}", False),
        (FIN | 0x3, b"", True),
        (FIN | PING, b"a" * 126, True),
        (PING, b"in pieces", True),
        (FIN | CONTINUATION, b"of nothing", True),
        (FIN | 0x40 | TEXT, b"{}", True),
    ],
    ids=["not masked", "unknown kind", "long ping", "ping in pieces", "continues nothing", "reserved bit"],
)
def test_frames_against_the_protocol_are_refused(
    server: LiveServer, path: str, opcode: int, payload: bytes, masked: bool
) -> None:
    with opened(server, path) as raw:
        raw.send(opcode, payload, masked=masked)
        assert raw.ended() == PROTOCOL_ERROR
    serves(server)


@pytest.mark.parametrize("path", DOORS)
def test_a_client_that_vanishes_in_the_middle_of_a_frame_leaves_nothing(
    server: LiveServer, path: str
) -> None:
    for _ in range(50):
        with opened(server, path) as raw:
            raw.send(FIN | BINARY, b"half", announced=60_000)
    serves(server)
    text = ask(server.port, "GET", "/metrics").body.decode()
    assert "konsul_watchers_active" in text
