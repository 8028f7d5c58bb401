"""Bodies that are small to send and large to read: each is refused, by whoever it comes.

Without a credential nothing of a body is even looked at; with one, the limits of the routes hold.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from pathlib import Path

import pytest

from tests.security.guarded import Guarded, Login
from tests.security.wire import head, lines, replies, said

ROUTES = (
    ("PUT", "/kv/open/bomb"),
    ("POST", "/batch/kv/set"),
    ("POST", "/batch/kv/get"),
    ("POST", "/transaction"),
    ("PUT", "/register"),
    ("POST", "/batch/services/register"),
    ("POST", "/graphql"),
    ("POST", "/auth/login"),
    ("POST", "/auth/refresh"),
    ("POST", "/acl/policies"),
    ("POST", "/acl/validate"),
    ("POST", "/acl/test"),
    ("POST", "/auth/users"),
    ("POST", "/auth/apikeys"),
    ("PUT", "/lb/strategy"),
)
DEEP = 100_000
MEMORY_MAX_MB = 150
BOMBS = {
    "deep objects": b'{"a":' * DEEP,
    "deep lists": b"[" * DEEP,
    "deep and closed": b"[" * DEEP + b"]" * DEEP,
    "deep within a member": b'{"value":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "many digits": b'{"value":' + b"9" * 1_000_000 + b"}",
    "many digits as cas": b'{"value":"a","cas":' + b"9" * 1_000_000 + b"}",
    "a large exponent": b'{"value":"a","cas":1e999999999}',
    "a small exponent": b'{"value":"a","cas":1e-999999999}',
    "a long fraction": b'{"value":"a","cas":0.' + b"1" * 1_000_000 + b"}",
    "one long name": b'{"' + b"a" * 2_000_000 + b'":1}',
    "many members": b"{" + b",".join(b'"%d":1' % number for number in range(200_000)) + b"}",
    "one member many times": b"{" + b",".join([b'"value":"a"'] * 200_000) + b"}",
    "names that differ in case": b"{"
    + b",".join(b'"%b":"a"' % name for name in (b"VALUE", b"Value", b"vALUE") * 50_000)
    + b"}",
    "escapes": b'{"value":"' + b"\\u0041" * 400_000 + b'"',
    "lone surrogates": b'{"value":"' + b"\\ud800" * 400_000 + b'"}',
    "NUL": b"\x00" * 1_000_000,
}


def resident_mb(server: Guarded) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1_024


def sent(
    server: Guarded, method: str, path: str, body: bytes, headers: dict[str, str], *more: str
) -> int | None:
    """The status; None when the server closed while the body was still sent."""
    top = head(
        method, path, *lines(headers), "Content-Type: application/json", f"Content-Length: {len(body)}", *more
    )
    found = replies(said(server.port, top, body))
    return found[0].status if found else None


@pytest.mark.parametrize("bomb", list(BOMBS))
def test_a_body_bomb(guarded: Guarded, attacker: Login, bomb: str) -> None:
    body = BOMBS[bomb]
    before_mb = resident_mb(guarded)
    for method, path in ROUTES:
        for headers in (attacker.headers, guarded.admin):
            status = sent(guarded, method, path, body, headers, "Connection: close")
            assert status is None or 400 <= status < 500 or is_honest(status, bomb, path), (path, status)
    assert resident_mb(guarded) - before_mb < MEMORY_MAX_MB


def is_honest(status: int, bomb: str, path: str) -> bool:
    """A value of the right type that comes last is stored: the same member again, in whatever case."""
    if path == "/acl/validate":
        return status == 200  # which says what is wrong with it
    lasting = bomb in ("one member many times", "names that differ in case", "many members", "one long name")
    return (
        status == 200
        and lasting
        and path in ("/kv/open/bomb", "/batch/kv/get", "/batch/kv/set", "/transaction")
    )


@pytest.mark.parametrize("path", ["/kv/open/bomb", "/batch/kv/set", "/graphql", "/auth/users"])
def test_nobodys_bomb_is_not_even_read(guarded: Guarded, path: str) -> None:
    """The answer is there before a byte of the body is: the head alone is enough to refuse."""
    method = "PUT" if path.startswith("/kv") else "POST"
    top = head(method, path, "Content-Type: application/json", "Content-Length: 4000000")
    found = replies(said(guarded.port, top))
    assert [reply.status for reply in found] == [401]


@pytest.mark.parametrize(
    "encoding", ["gzip", "deflate", "br", "zstd", "x-gzip", "identity, gzip", "gzip, gzip", "unknown"]
)
def test_an_encoded_body_is_not_unpacked(guarded: Guarded, attacker: Login, encoding: str) -> None:
    """A thousandfold: 4 KB that would be 4 MB. Nothing here unpacks requests, so it is no JSON."""
    plain = json.dumps({"value": "a" * 4_000_000}).encode()
    packed = gzip.compress(plain) if "gzip" in encoding else zlib.compress(plain)
    before_mb = resident_mb(guarded)
    for method, path in ROUTES:
        status = sent(
            guarded,
            method,
            path,
            packed,
            attacker.headers,
            f"Content-Encoding: {encoding}",
            "Connection: close",
        )
        assert status is not None
        assert 400 <= status < 500, (path, status)
    assert resident_mb(guarded) - before_mb < MEMORY_MAX_MB


def test_msgpack_that_promises_more_than_it_brings(guarded: Guarded, attacker: Login) -> None:
    for body in (
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\xdd\x7f\xff\xff\xff" * 1_000,
        b"\xc9\xff\xff\xff\xff\x00",
        b"\xd6\xff\x00\x00\x00\x00",
    ):
        for path in ("/batch/kv/set", "/batch/kv/get", "/batch/kv/delete", "/batch/services/register"):
            top = head(
                "POST",
                path,
                *lines(attacker.headers),
                "Content-Type: application/msgpack",
                f"Content-Length: {len(body)}",
                "Connection: close",
            )
            (reply,) = replies(said(guarded.port, top + body))
            assert reply.status == 400, (path, body[:8])


def test_a_body_over_the_limit_is_refused_by_its_head(guarded: Guarded, attacker: Login) -> None:
    for length in (5_000_000, 10**15, 2**64 - 3):
        for method, path in ROUTES:
            top = head(method, path, *lines(attacker.headers), f"Content-Length: {length}")
            found = [reply.status for reply in replies(said(guarded.port, top))]
            assert found == [413], (path, length, found)
