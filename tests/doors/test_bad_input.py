"""Whatever is sent, the answer is a clear 4xx, never a 500, and nothing is stored."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SMALL, LiveServer

JSON = {"content-type": "application/json"}
DEEP = b'{"a":' * 100_000
INVALID = "Invalid JSON body"

NOT_JSON = [
    b"",
    b" ",
    b"{",
    b'{"value":"a"} trailing',
    b'{"value":"a"}{"value":"b"}',
    b"{'value':'a'}",
    b'{"value":"a",}',
    b'{"value":"a"',
    b'{"value":\xff}',
    b'{"value":"\xff\xfe"}',
    b'{"value":"\xc0\xaf"}',
    b'{"value":"\xed\xa0\x80"}',
    b'{"value":"a\nb"}',
    b'{"value":"\\x41"}',
    b'{"value":"\\ud800"}',
    b'{"value":"\\udc00\\ud800"}',
    b'{"value":"a","flags":NaN}',
    b'{"value":"a","flags":Infinity}',
    b'{"value":"a","flags":01}',
    b'{"value":"a","x":-}',
    b"\xef\xbb\xbf" + b'{"value":"a"}',
    '{"value":"a"}'.encode("utf-16"),
    DEEP,
    b"[" * 100_000,
    b"nul",
    b"[]",
    b'"text"',
    b"5",
    b"true",
]
WRONG_MEMBERS = [
    {"value": 5},
    {"value": True},
    {"value": ["a"]},
    {"value": {"a": "b"}},
    {"value": "a", "cas": "1"},
    {"value": "a", "cas": -1},
    {"value": "a", "cas": 1.5},
    {"value": "a", "cas": 1.0},
    {"value": "a", "cas": 2**64},
    {"value": "a", "cas": 10**400},
    {"value": "a", "cas": True},
    {"value": "a", "cas": [1]},
    {"value": "a", "flags": -1},
    {"value": "a", "flags": 2**64},
    {"value": "a", "flags": "5"},
    {"value": "a", "ttl": 30},
    {"value": "a", "encoding": 1},
    {"VALUE": 5},
]


@pytest.fixture(autouse=True)
def nothing_changes(http: httpx.Client) -> Iterator[None]:
    """Compares everything stored, and the index, before and after each test."""

    def stored() -> tuple[Any, Any, str]:
        keys = http.get("/kv/", params={"recurse": "true"})
        return keys.json(), http.get("/services/").json(), keys.headers["x-konsul-index"]

    before = stored()
    yield
    assert stored() == before
    assert http.get("/health/live").status_code == 200


def refused(answer: httpx.Response, message: str | None = None, status: int = 400) -> None:
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    body = answer.json()
    assert set(body) == {"error", "message", "request_id", "timestamp", "path"}
    if message is not None:
        assert body["message"] == message


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:24]))
def test_what_is_not_a_json_object(http: httpx.Client, body: bytes) -> None:
    for method, path in (
        ("PUT", "/kv/bad"),
        ("PUT", "/register"),
        ("POST", "/register"),
        ("POST", "/transaction"),
        ("POST", "/batch/kv/set"),
        ("POST", "/batch/kv/get"),
        ("POST", "/batch/kv/set-cas"),
        ("POST", "/batch/services/register"),
    ):
        refused(http.request(method, path, content=body, headers=JSON), INVALID)


@pytest.mark.parametrize("body", WRONG_MEMBERS, ids=lambda body: json.dumps(body)[:40])
def test_members_of_the_wrong_type_or_out_of_range(http: httpx.Client, body: dict[str, Any]) -> None:
    refused(http.put("/kv/bad", content=json.dumps(body), headers=JSON), INVALID)


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "json", "application/jsonx"]
)
def test_another_content_type_is_not_json(http: httpx.Client, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    for method, path in (("PUT", "/kv/bad"), ("PUT", "/register"), ("POST", "/batch/kv/set")):
        refused(http.request(method, path, content=b'{"value":"a"}', headers=headers), INVALID)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/kv/", "key is required"),
        ("/kv", "key is required"),
        ("/kv///", "key is required"),
        ("/kv/a%00b", "key must not contain NUL"),
        ("/kv/%00", "key must not contain NUL"),
        ("/kv/" + "k" * 1025, "key too long: 1025 bytes (max 1024)"),
        ("/kv/" + "%C3%A9" * 513, "key too long: 1026 bytes (max 1024)"),
        ("/kv/%ff", None),
        ("/kv/%C3", None),
        ("/kv/%ed%a0%80", None),
        ("/kv/%", None),
        ("/kv/%2", None),
        ("/kv/%zz", None),
    ],
    ids=lambda value: str(value)[:24],
)
def test_paths_that_are_no_keys(http: httpx.Client, path: str, message: str | None) -> None:
    for method in ("PUT", "GET", "DELETE"):
        if method == "GET" and message == "key is required":
            continue  # that lists
        request = http.build_request(method, "/", json={"value": "a"} if method == "PUT" else None)
        request.url = request.url.copy_with(raw_path=path.encode())
        refused(http.send(request), message)


@pytest.mark.parametrize("key", ["", "\0", "a\0b", "k" * 1025, "é" * 513])
def test_keys_in_bodies_that_are_none(http: httpx.Client, key: str) -> None:
    refused(http.post("/batch/kv/set", json={"items": {"fine": "v", key: "v"}}))
    refused(http.post("/batch/kv/get", json={"keys": ["fine", key]}))
    refused(http.post("/batch/kv/delete", json={"keys": ["fine", key]}))
    refused(http.post("/batch/kv/set-cas", json={"items": {key: "v"}, "expected_indices": {key: 0}}))
    refused(http.post("/transaction", json={"operations": [{"type": "set", "key": key, "value": "v"}]}))


@pytest.mark.parametrize("prefix", ["a\0", "p" * 1025])
def test_prefixes_no_key_can_have(http: httpx.Client, prefix: str) -> None:
    for name in ("prefix", "after", "separator"):
        refused(http.get("/kv/", params={name: prefix}))
    refused(http.delete("/kv/", params={"prefix": prefix, "recurse": "true"}))


def test_odd_query_strings_are_harmless(http: httpx.Client) -> None:
    for query in (
        "&&&",
        "=",
        "metadata",
        "metadata=true=true",
        "%",
        "%ff=%ff",
        "a=" + "b" * 2_000,
        "cas=1&cas=2",
    ):
        assert http.get(f"/kv/absent?{query}").status_code == 404, query
        assert http.get(f"/services/absent?{query}").status_code == 404, query
    refused(http.put("/kv/bad?raw&flags=-1", content=b"a"), "Invalid flags parameter")
    refused(http.put("/kv/bad?raw&flags=18446744073709551616", content=b"a"), "Invalid flags parameter")


def raw(server: LiveServer, *parts: bytes) -> bytes:
    """What the server answers to these bytes, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        answer = b""
        try:
            for part in parts:
                connection.sendall(part)
            while chunk := connection.recv(65_536):
                answer += chunk
        except ConnectionError:
            pass  # it answered and closed while this side still sent
        return answer


def head(path: bytes, *headers: bytes, method: bytes = b"PUT") -> bytes:
    lines = (b"%b %b HTTP/1.1" % (method, path), b"Host: k", *headers, b"", b"")
    return b"\r\n".join(lines)


def test_a_body_over_the_limit_is_refused_before_it_is_read(server: LiveServer) -> None:
    for length in (b"5000000", b"1000000000000000", b"18446744073709551613"):
        answer = raw(server, head(b"/kv/bad?raw", b"Content-Length: " + length))
        assert answer.startswith(b"HTTP/1.1 413 "), length
        assert answer.endswith(b"Request Entity Too Large")


def test_a_length_with_zeros_in_front_is_a_length(server: LiveServer) -> None:
    zeros = b"Content-Length: " + b"0" * 30 + b"1"
    answer = raw(server, head(b"/kv/bad", b"Connection: close", zeros) + b"x")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_that_never_says_its_length_is_cut_at_the_limit(server: LiveServer) -> None:
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    answer = raw(server, head(b"/kv/bad?raw", b"Transfer-Encoding: chunked"), *[chunk] * 100)
    assert not answer or answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_ends_early_stores_nothing(server: LiveServer) -> None:
    for headers, body in (
        ((b"Content-Length: 100",), b"half"),
        ((b"Transfer-Encoding: chunked",), b"a\r\nhal"),
        ((b"Transfer-Encoding: chunked",), b"4\r\nhalf\r\n"),
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(head(b"/kv/bad?raw", *headers) + body)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65_536)
        assert not answer.startswith(b"HTTP/1.1 2")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"PUT /kv/bad HTTP/1.1\r\nHost: k\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"PUT /kv/bad?raw HTTP/1.1\r\nHost: k\r\nContent-Length: -1\r\n\r\n",
        b"PUT /kv/bad?raw HTTP/1.1\r\nHost: k\r\nContent-Length: 1e1\r\n\r\n0123456789",
        b"PUT /kv/bad?raw HTTP/1.1\r\nHost: k\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PUT /kv/a b?raw HTTP/1.1\r\nHost: k\r\nContent-Length: 0\r\n\r\n",
        b"PUT /kv/bad\x00?raw HTTP/1.1\r\nHost: k\r\nContent-Length: 0\r\n\r\n",
        b"PUT /kv/\xff?raw HTTP/1.1\r\nHost: k\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
        b"PUT\r\n\r\n",
    ],
    ids=range(9),
)
def test_broken_http(server: LiveServer, request_bytes: bytes) -> None:
    answer = raw(server, request_bytes)
    assert not answer or answer.startswith(b"HTTP/1.1 400 "), answer[:200]


def test_a_body_too_slow_is_refused(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL | {"KONSUL_HTTP_BODY_TIMEOUT": "300ms"}) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(head(b"/kv/slow?raw", b"Content-Length: 10") + b"half")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 408 ")
        with httpx.Client(base_url=server.base_url, trust_env=False) as http:
            assert http.get("/kv/").json() == []


def test_wrong_methods_name_the_right_ones(http: httpx.Client) -> None:
    for method, path, allow in (
        ("POST", "/kv/a", "GET, HEAD, PUT, DELETE"),
        ("PATCH", "/kv/a", "GET, HEAD, PUT, DELETE"),
        ("GET", "/register", "POST, PUT"),
        ("POST", "/heartbeat/a", "PUT"),
        ("PUT", "/deregister/a", "DELETE"),
        ("GET", "/transaction", "POST"),
        ("GET", "/batch/kv/get", "POST"),
        ("DELETE", "/services/a", "GET, HEAD"),
    ):
        answer = http.request(method, path)
        assert (answer.status_code, answer.text) == (405, "Method Not Allowed"), path
        assert answer.headers["allow"] == allow
