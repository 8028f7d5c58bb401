"""`/batch/kv/*` in JSON and msgpack."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import msgpack
import pytest

MSGPACK = "application/msgpack"
Post = Callable[[httpx.Client, str, Any], Any]


def as_json(http: httpx.Client, verb: str, body: Any) -> Any:
    answer = http.post(f"/batch/kv/{verb}", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def as_msgpack(http: httpx.Client, verb: str, body: Any) -> Any:
    headers = {"content-type": MSGPACK, "accept": MSGPACK}
    answer = http.post(f"/batch/kv/{verb}", content=msgpack.packb(body), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == MSGPACK
    return msgpack.unpackb(answer.content)


def problem(http: httpx.Client, verb: str, body: Any) -> tuple[int, str, str]:
    headers = {"content-type": "application/json"}  # httpx sends nothing at all for json=None
    answer = http.post(f"/batch/kv/{verb}", content=json.dumps(body), headers=headers)
    return answer.status_code, answer.json()["error"], answer.json()["message"]


def index_of(http: httpx.Client) -> int:
    return int(http.get("/kv/?limit=1").headers["x-konsul-index"])


@pytest.mark.parametrize("post", [as_json, as_msgpack])
def test_set_get_and_delete(http: httpx.Client, space: str, post: Post) -> None:
    one, two, three = keys = [f"{space}/{name}" for name in ("é", "b", "a")]
    value: Any = {as_json: "v", as_msgpack: b"v"}[post]  # type: ignore[index]
    before = index_of(http)
    done = post(http, "set", {"items": dict.fromkeys(keys, "v")})
    assert done == {"message": "Successfully set 3 keys", "keys": keys, "count": 3}
    assert index_of(http) == before + 1
    found = post(http, "get", {"keys": [one, "absent", two, "absent", two]})
    assert found == {"found": {one: value, two: value}, "not_found": ["absent", "absent"]}
    gone = post(http, "delete", {"keys": [one, two, "absent", one]})
    assert gone == {
        "message": "Successfully deleted 4 keys",
        "keys": [one, two, "absent", one],
        "count": 4,
    }
    assert post(http, "get", {"keys": keys}) == {"found": {three: value}, "not_found": [one, two]}


@pytest.mark.parametrize("post", [as_json, as_msgpack])
def test_all_keys_of_a_batch_share_an_index_and_keep_their_flags(
    http: httpx.Client, space: str, post: Post
) -> None:
    http.put(f"/kv/{space}/a", json={"value": "1", "flags": 77})
    post(http, "set", {"items": {f"{space}/b": "2", f"{space}/a": "2"}})
    rows = http.get("/kv/", params={"prefix": space, "recurse": "true"}).json()
    assert [(row["key"], row["flags"]) for row in rows] == [(f"{space}/a", 77), (f"{space}/b", 0)]
    assert rows[0]["modify_index"] == rows[1]["modify_index"] == index_of(http)


@pytest.mark.parametrize("post", [as_json, as_msgpack])
def test_compare_and_set_many(http: httpx.Client, space: str, post: Post) -> None:
    a, b = f"{space}/a", f"{space}/b"
    items = {b: "1", a: "1"}
    done = post(http, "set-cas", {"items": items, "expected_indices": {a: 0, b: 0, "more": 9}})
    index = done["new_indices"][a]
    assert done == {
        "message": "Successfully set 2 keys with CAS",
        "new_indices": {b: index, a: index},
        "count": 2,
    }
    http.put(f"/kv/{b}", json={"value": "2"})
    before = index_of(http)
    body = {"items": items, "expected_indices": {a: index, b: index}}
    message = f"CAS conflict for key '{b}': expected ModifyIndex {index}, but current is {before}"
    assert problem(http, "set-cas", body) == (409, "CAS conflict", message)
    body["expected_indices"] = {a: 0, b: 0}
    message = f"CAS conflict for key '{a}': expected ModifyIndex 0, but current is {index}"
    assert problem(http, "set-cas", body) == (409, "CAS conflict", message)
    absent = {"items": {f"{space}/x": "1"}, "expected_indices": {f"{space}/x": 4}}
    assert problem(http, "set-cas", absent) == (404, "Not Found", f"key '{space}/x' not found")
    assert http.get(f"/kv/{a}").json()["value"] == "1"
    assert index_of(http) == before


@pytest.mark.parametrize("post", [as_json, as_msgpack])
def test_compare_and_delete_many(http: httpx.Client, space: str, post: Post) -> None:
    a, b = f"{space}/a", f"{space}/b"
    post(http, "set", {"items": {a: "1", b: "1"}})
    index = index_of(http)
    for expected in (0, index + 1):
        body: dict[str, Any] = {"keys": [b, a], "expected_indices": {a: index, b: expected}}
        message = f"CAS conflict for key '{b}': expected ModifyIndex {expected}, but current is {index}"
        assert problem(http, "delete-cas", body) == (409, "CAS conflict", message)
    for expected in (0, 3):
        body = {"keys": [f"{space}/x"], "expected_indices": {f"{space}/x": expected}}
        assert problem(http, "delete-cas", body) == (404, "Not Found", f"key '{space}/x' not found")
    assert index_of(http) == index
    done = post(http, "delete-cas", {"keys": [b, a], "expected_indices": {a: index, b: index}})
    assert done == {"message": "Successfully deleted 2 keys with CAS", "keys": [b, a], "count": 2}
    assert http.get("/kv/", params={"prefix": space}).json() == []


@pytest.mark.parametrize(
    ("verb", "body", "message"),
    [
        ("get", {"keys": []}, "Keys array cannot be empty"),
        ("get", {}, "Keys array cannot be empty"),
        ("get", None, "Keys array cannot be empty"),
        ("set", {"items": {}}, "Items map cannot be empty"),
        ("delete", {"keys": []}, "Keys array cannot be empty"),
        ("set-cas", {"items": {}, "expected_indices": {}}, "Items map cannot be empty"),
        ("delete-cas", {"keys": []}, "Keys array cannot be empty"),
        ("get", {"keys": ["k"] * 1001}, "Maximum 1000 keys per batch request"),
        ("delete", {"keys": ["k"] * 1001}, "Maximum 1000 keys per batch request"),
        ("set", {"items": {f"k{n}": "" for n in range(1001)}}, "Maximum 1000 items per batch request"),
        ("set-cas", {"items": {"k": "", "a": ""}}, "Missing expected index for key: a"),
        ("delete-cas", {"keys": ["k"], "expected_indices": {"a": 1}}, "Missing expected index for key: k"),
        ("get", {"keys": ["k", ""]}, "key is required"),
        ("set", {"items": {"": "v"}}, "key is required"),
        ("set", {"items": {"a": "v", "b\u0000": "v"}}, "key must not contain NUL"),
        ("delete", {"keys": ["k" * 1025]}, "key too long: 1025 bytes (max 1024)"),
        ("get", {"keys": "k"}, "Invalid JSON body"),
        ("get", {"keys": [1]}, "Invalid JSON body"),
        ("set", {"items": {"k": 1}}, "Invalid JSON body"),
        ("set", {"items": ["k"]}, "Invalid JSON body"),
        ("set-cas", {"items": {"k": "v"}, "expected_indices": {"k": -1}}, "Invalid JSON body"),
        ("set-cas", {"items": {"k": "v"}, "expected_indices": {"k": 2**64}}, "Invalid JSON body"),
        ("set-cas", {"items": {"k": "v"}, "expected_indices": {"k": 1.5}}, "Invalid JSON body"),
        ("get", [], "Invalid JSON body"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_happens(
    http: httpx.Client, verb: str, body: Any, message: str
) -> None:
    before = index_of(http)
    assert problem(http, verb, body) == (400, "Bad Request", message)
    assert index_of(http) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x81\xa4keys",
        msgpack.packb({"keys": ["k"]}) + b"\x00",
        b"\x81\xa4keys\x91\xa1\xff",
        msgpack.packb({"keys": [b"k"]}),
        msgpack.packb({"keys": [msgpack.Timestamp(1)]}),
        msgpack.packb({"items": {b"k": b"v"}}),
        msgpack.packb({1: 2}),
        b"\x91" * 5_000,
        b"\xdf\xff\xff\xff\xff",
    ],
)
def test_msgpack_that_cannot_be_read_is_refused(http: httpx.Client, body: bytes) -> None:
    for verb in ("get", "set"):
        answer = http.post(f"/batch/kv/{verb}", content=body, headers={"content-type": MSGPACK})
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"] == "Bad Request"


def test_the_answer_is_in_the_form_that_is_accepted(http: httpx.Client, space: str) -> None:
    raw = b"\xff\x00"
    as_msgpack(http, "set", {"items": {f"{space}/a": raw, f"{space}/b": "text"}})
    keys = [f"{space}/a", f"{space}/b"]
    found = as_json(http, "get", {"keys": keys})
    assert found == {
        "found": {keys[0]: base64.b64encode(raw).decode(), keys[1]: "text"},
        "not_found": [],
        "encodings": {keys[0]: "base64"},
    }
    packed = {"content-type": MSGPACK, "accept": "application/json"}
    answer = http.post("/batch/kv/get", content=msgpack.packb({"keys": keys}), headers=packed)
    assert answer.json() == found
    answer = http.post(
        "/batch/kv/get", json={"keys": keys}, headers={"accept": f"text/html, {MSGPACK};q=0.9"}
    )
    assert msgpack.unpackb(answer.content) == {"found": {keys[0]: raw, keys[1]: b"text"}, "not_found": []}


def test_a_batch_with_one_value_over_the_limit_stores_nothing(http: httpx.Client, space: str) -> None:
    limit = 512 * 1024
    items = {f"{space}/a": "small", f"{space}/b": "x" * (limit + 1)}
    status, error, message = problem(http, "set", {"items": items})
    assert (status, error) == (413, "Request Entity Too Large")
    assert message == f"value too large for key '{space}/b': {limit + 1} bytes (max {limit})"
    assert http.get("/kv/", params={"prefix": space}).json() == []


def test_a_thousand_keys_fit(http: httpx.Client, space: str) -> None:
    keys = [f"{space}/{number}" for number in range(1_000)]
    done = as_json(
        http, "set-cas", {"items": dict.fromkeys(keys, "v"), "expected_indices": dict.fromkeys(keys, 0)}
    )
    index = done["new_indices"][keys[0]]
    assert as_msgpack(http, "get", {"keys": keys})["not_found"] == []
    expected = dict.fromkeys(keys, index)
    assert as_json(http, "delete-cas", {"keys": keys, "expected_indices": expected})["count"] == 1_000


def test_a_consistent_batch_read(http: httpx.Client, space: str) -> None:
    as_json(http, "set", {"items": {space: "1"}})
    answer = http.post("/batch/kv/get?consistent=true", json={"keys": [space]})
    assert answer.json()["found"] == {space: "1"}
