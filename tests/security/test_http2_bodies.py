"""Bodies over HTTP/2, whose end is that of their stream: they are whole without a length."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from pathlib import Path

import pytest

from tests.security.guarded import Guarded
from tests.security.wire import WITHIN_S
from tests.waiting import until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, 4.1."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header as RFC 7541, 6.2.2 has it, of less than 127 bytes each."""
    return b"\0" + b"".join(bytes((len(one),)) + one.encode() for one in (name, value))


def trusting() -> ssl.SSLContext:
    """For a server that has made its certificate itself."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def asked(server: Guarded, method: str, path: str, body: bytes, *, pieces: int) -> bytes:
    """Everything the server says to one request without a length, over HTTP/2."""
    context = trusting()
    context.set_alpn_protocols(["h2"])
    fields = {":method": method, ":scheme": "https", ":authority": "k", ":path": path}
    fields |= {"content-type": "application/json", "x-api-key": server.admin_key}
    block = b"".join(literal(name, value) for name, value in fields.items())
    size = max(1, -(-len(body) // pieces)) if pieces else 1
    parts = [body[at : at + size] for at in range(0, len(body), size)] if pieces else []
    raw = socket.create_connection(("127.0.0.1", server.port), WITHIN_S)
    with context.wrap_socket(raw) as connection:
        ends = END_HEADERS | (0 if parts else END_STREAM)
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, ends, 1, block))
        for number, part in enumerate(parts, 1):
            connection.sendall(frame(DATA, END_STREAM if number == len(parts) else 0, 1, part))
        got = b""
        while True:
            while len(got) < 9 or len(got) < 9 + int.from_bytes(got[:3], "big"):
                got += connection.recv(65_536)
            length = int.from_bytes(got[:3], "big")
            kind, flags, payload, got = got[3], got[4], got[9 : 9 + length], got[9 + length :]
            if kind == DATA and flags & END_STREAM:
                return payload
            assert kind != 3, "the stream was reset"


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_a_body_without_a_length_is_taken_whole(tmp_path: Path, pieces: int) -> None:
    settings = {"KONSUL_TLS_ENABLED": "true", "KONSUL_TLS_AUTO_CERT": "true"}
    with OverTls(tmp_path / "guarded", settings) as server:
        sent = json.dumps({"value": "whole"}).encode()
        assert b"key set" in asked(server, "PUT", "/kv/open/h2", sent, pieces=pieces)
        assert b'"whole"' in asked(server, "GET", "/kv/open/h2", b"", pieces=0)
        assert b"key set" in asked(server, "PUT", "/kv/open/raw?raw", b"0123456789", pieces=pieces)
        assert b'"0123456789"' in asked(server, "GET", "/kv/open/raw", b"", pieces=0)
        # A method that may have a body and has none.
        assert b"Service not found" in asked(server, "PUT", "/heartbeat/nobody", b"", pieces=0)


class OverTls(Guarded):
    """Guarded, over TLS with a certificate of its own making."""

    def start(self) -> None:
        self.context = trusting()
        super(Guarded, self).start()
        until(lambda: asked(self, "GET", "/kv", b"", pieces=0) == b"[]", "the admin's key from the file")
