"""Listing keys and rows: prefixes, separators, pages, streams; deleting by prefix."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from konsul.features.kv.routes import STREAMS_MAX
from tests.conftest import LiveServer
from tests.waiting import until

KEYS = ("a", "a/", "a/b", "a/b/c", "a/d", "a0", "b", "é/x")


def fill(http: httpx.Client, space: str, keys: tuple[str, ...] = KEYS) -> list[str]:
    stored = [f"{space}/{key}" for key in keys]
    answer = http.post("/batch/kv/set", json={"items": {key: f"value of {key}" for key in stored}})
    assert answer.status_code == 200, answer.text
    return sorted(stored, key=str.encode)


def listed(http: httpx.Client, path: str = "/kv/", **query: Any) -> Any:
    answer = http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["x-konsul-index"]) > 0
    return answer.json()


def test_keys_come_in_byte_order(http: httpx.Client, space: str) -> None:
    stored = fill(http, space)
    assert [key for key in listed(http) if key.startswith(space)] == stored
    assert listed(http, prefix=space + "/") == stored
    assert listed(http, prefix=space + "/", keys="") == stored
    assert listed(http, prefix=space + "/a/") == [key for key in stored if key.startswith(space + "/a/")]
    assert listed(http, prefix=space + "/none") == []


def test_recurse_answers_rows(http: httpx.Client, space: str) -> None:
    stored = fill(http, space)
    http.put(f"/kv/{space}/raw?raw&flags=3", content=b"\xff")
    rows = listed(http, prefix=space + "/", recurse="true")
    assert [row["key"] for row in rows] == sorted([*stored, space + "/raw"], key=str.encode)
    first = rows[0]
    assert set(first) == {"create_index", "flags", "key", "modify_index", "value"}
    assert first["value"] == f"value of {first['key']}"
    raw = next(row for row in rows if row["key"].endswith("/raw"))
    assert (raw["value"], raw["encoding"], raw["flags"]) == ("/w==", "base64", 3)


def test_a_separator_cuts_keys_into_folders(http: httpx.Client, space: str) -> None:
    fill(http, space)
    top = [f"{space}/{name}" for name in ("a", "a/", "a0", "b", "é/")]
    assert listed(http, prefix=space + "/", separator="/") == top
    assert listed(http, prefix=space + "/a/", separator="/", keys="true") == [
        f"{space}/{name}" for name in ("a/", "a/b", "a/b/", "a/d")
    ]


def test_a_key_in_the_path_is_a_prefix_too(http: httpx.Client, space: str) -> None:
    stored = fill(http, space)
    assert listed(http, f"/kv/{space}/a", keys="") == [key for key in stored if key.startswith(f"{space}/a")]
    below = [key for key in stored if key.startswith(f"{space}/a/")]
    assert listed(http, f"/kv/{space}/a/", keys="") == below
    assert [row["key"] for row in listed(http, f"/kv/{space}/a/", recurse="")] == below
    assert listed(http, f"/kv/{space}", separator="/") == [f"{space}/"]


@pytest.mark.parametrize("form", [{"keys": "true"}, {"recurse": "true"}])
@pytest.mark.parametrize("limit", [1, 3, 8, 10_000])
def test_pages_put_together_are_the_whole(
    http: httpx.Client, space: str, form: dict[str, str], limit: int
) -> None:
    stored = fill(http, space)
    gathered: list[str] = []
    after: dict[str, str] = {}
    for _ in range(len(stored) + 1):
        answer = http.get("/kv/", params={"prefix": space + "/", "limit": limit, **form, **after})
        page = answer.json()
        assert len(page) <= limit
        gathered += [item["key"] if isinstance(item, dict) else item for item in page]
        following = answer.headers.get("x-konsul-next-after")
        if following is None:
            break
        assert following.isascii()
        after = {"after": unquote(following)}
    assert gathered == stored


def test_pages_of_folders_put_together_are_the_whole(http: httpx.Client, space: str) -> None:
    fill(http, space, tuple(f"{folder}/{leaf}" for folder in "abc" for leaf in range(5)))
    gathered: list[str] = []
    after: dict[str, str] = {}
    for _ in range(4):
        query: dict[str, Any] = {"prefix": space + "/", "separator": "/", "limit": 1, **after}
        answer = http.get("/kv/", params=query)
        gathered += answer.json()
        following = answer.headers.get("x-konsul-next-after")
        if following is None:
            break
        after = {"after": unquote(following)}
    assert gathered == [f"{space}/{folder}/" for folder in "abc"]


@pytest.mark.parametrize("limit", ["0", "10001", "-1", "x", "", "1.5"])
def test_a_limit_is_from_1_to_10000(http: httpx.Client, limit: str) -> None:
    for form in ("keys", "recurse"):
        answer = http.get("/kv/", params={"limit": limit, form: "true"})
        assert answer.status_code == 400
        assert "limit" in answer.json()["message"].lower()


def test_a_listing_without_a_limit_streams_everything(http: httpx.Client, space: str) -> None:
    stored = [f"{space}/{number:05}" for number in range(11_000)]
    for start in range(0, len(stored), 1_000):
        items = dict.fromkeys(stored[start : start + 1_000], "v")
        assert http.post("/batch/kv/set", json={"items": items}).status_code == 200
    assert listed(http, prefix=space) == stored
    rows = listed(http, prefix=space, recurse="true")
    assert [row["key"] for row in rows] == stored
    assert http.delete("/kv/", params={"prefix": space + "/", "recurse": "true"}).status_code == 200
    assert listed(http, prefix=space) == []


def test_a_page_of_large_rows_ends_early_and_can_be_continued(http: httpx.Client, space: str) -> None:
    stored = [f"{space}/{number:02}" for number in range(40)]
    for key in stored:
        assert http.put(f"/kv/{key}?raw", content=b"x" * 400_000).status_code == 200
    answer = http.get("/kv/", params={"prefix": space, "recurse": "true", "limit": 40})
    first = [row["key"] for row in answer.json()]
    after = unquote(answer.headers.get("x-konsul-next-after", ""))
    if after:
        assert after == first[-1]
        query: dict[str, Any] = {"prefix": space, "recurse": "true", "limit": 40, "after": after}
        first += [row["key"] for row in http.get("/kv/", params=query).json()]
    assert first == stored


def test_large_rows_are_streamed_in_small_pieces(server: LiveServer, http: httpx.Client, space: str) -> None:
    """What a client does not read waits in memory, piece by piece: so pieces must not be large."""
    for number in range(40):
        assert http.put(f"/kv/{space}/{number:02}?raw", content=b"x" * 500_000).status_code == 200
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(b"GET /kv/%b/?recurse HTTP/1.1\r\nHost: k\r\n\r\n" % space.encode())
        lines = list(iter(stream.readline, b"\r\n"))
        assert b"transfer-encoding: chunked\r\n" in lines
        sizes, text = [], b""
        while size := int(stream.readline(), 16):
            sizes.append(size)
            text += stream.read(size)
            stream.readline()
    assert max(sizes) < 2_000_000
    assert len(json.loads(text)) == 40


def test_listings_nobody_reads_are_not_many(server: LiveServer, http: httpx.Client, space: str) -> None:
    for number in range(60):
        assert http.put(f"/kv/{space}/{number:02}?raw", content=b"x" * 500_000).status_code == 200
    request = b"GET /kv/%b/?recurse HTTP/1.1\r\nHost: k\r\n\r\n" % space.encode()
    with ExitStack() as connections:
        answers = set()
        for _ in range(STREAMS_MAX + 8):
            connection = connections.enter_context(socket.socket())
            connection.settimeout(60)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(request)
            answers.add(connection.recv(12))
    assert answers == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
    until(lambda: http.get(f"/kv/{space}/?recurse").status_code == 200, "room for a listing")


def test_delete_by_prefix_is_one_entry(http: httpx.Client, space: str) -> None:
    stored = fill(http, space)
    before = int(http.get("/kv/?limit=1").headers["x-konsul-index"])
    answer = http.delete(f"/kv/{space}/a/?recurse=true")
    assert answer.json() == {"key": f"{space}/a/", "message": "keys deleted", "modify_index": before + 1}
    kept = [key for key in stored if not key.startswith(f"{space}/a/")]
    assert listed(http, prefix=space) == kept
    assert http.delete(f"/kv/{space}/a?recurse").status_code == 200
    assert listed(http, prefix=space) == [f"{space}/b", f"{space}/é/x"]
    assert http.delete(f"/kv/{space}/a?recurse").status_code == 200


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/kv/", "key is required"),
        ("/kv/?recurse=true", "prefix is required"),
        ("/kv/?recurse=true&prefix=", "prefix is required"),
        ("/kv/never?recurse=true&cas=3", "cas cannot be combined with recurse"),
    ],
)
def test_nothing_is_deleted_by_mistake(http: httpx.Client, space: str, path: str, message: str) -> None:
    stored = fill(http, space)
    answer = http.delete(path)
    assert (answer.status_code, answer.json()["message"]) == (400, message)
    assert listed(http, prefix=space) == stored
