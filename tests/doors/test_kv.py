"""Single keys over HTTP: write, read, compare-and-set, flags, TTL, raw bytes, paths."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from tests.waiting import until

U64_MAX = 2**64 - 1
NOT_UTF8 = b"\x00\xff\xfe binary \x80"


def put(http: httpx.Client, key: str, **body: Any) -> httpx.Response:
    return http.put(f"/kv/{key}", json=body)


def index_of(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    index: int = answer.json()["modify_index"]
    return index


def metadata(http: httpx.Client, key: str) -> dict[str, Any]:
    answer = http.get(f"/kv/{key}?metadata=true")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def refused(answer: httpx.Response, status: int, error: str, message: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    body = answer.json()
    assert (body["error"], body["message"]) == (error, message)
    assert body["request_id"]
    assert body["timestamp"]
    assert body["path"].startswith("/")


def test_a_key_is_written_read_and_deleted(http: httpx.Client, space: str) -> None:
    key = f"{space}/app/db"
    written = put(http, key, value="pg")
    assert written.json() == {"key": key, "message": "key set", "modify_index": index_of(written)}
    read = http.get(f"/kv/{key}")
    assert read.headers["content-type"] == "application/json"
    assert read.json() == {"key": key, "value": "pg"}
    assert http.delete(f"/kv/{key}").json() == {"key": key, "message": "key deleted"}
    refused(http.get(f"/kv/{key}"), 404, "Not Found", "Key not found")
    assert http.delete(f"/kv/{key}").status_code == 200


def test_an_update_keeps_the_create_index_and_always_moves_the_modify_index(
    http: httpx.Client, space: str
) -> None:
    first = index_of(put(http, space, value="same"))
    second = index_of(put(http, space, value="same"))
    assert second > first
    assert metadata(http, space) == {
        "create_index": first,
        "flags": 0,
        "key": space,
        "modify_index": second,
        "value": "same",
    }
    http.delete(f"/kv/{space}")
    again = index_of(put(http, space, value="same"))
    assert metadata(http, space)["create_index"] == again


def test_only_the_exact_text_true_asks_for_metadata(http: httpx.Client, space: str) -> None:
    put(http, space, value="1")
    assert set(http.get(f"/kv/{space}?metadata=1").json()) == {"key", "value"}
    assert "modify_index" in http.get(f"/kv/{space}?metadata=true&x=y").json()


def test_compare_and_set(http: httpx.Client, space: str) -> None:
    first = index_of(put(http, space, value="a", cas=0))
    refused(
        put(http, space, value="b", cas=0),
        409,
        "CAS conflict",
        f"CAS conflict for key '{space}': expected ModifyIndex 0, but current is {first}",
    )
    second = index_of(put(http, space, value="b", cas=first))
    for stale in (first, U64_MAX):
        message = f"CAS conflict for key '{space}': expected ModifyIndex {stale}, but current is {second}"
        refused(put(http, space, value="c", cas=stale), 409, "CAS conflict", message)
    assert metadata(http, space)["value"] == "b"
    refused(put(http, f"{space}/absent", value="c", cas=7), 404, "Not Found", "Key not found")


def test_compare_and_delete(http: httpx.Client, space: str) -> None:
    refused(http.delete(f"/kv/{space}?cas=3"), 404, "Not Found", "Key not found")
    refused(http.delete(f"/kv/{space}?cas=0"), 404, "Not Found", "Key not found")
    index = index_of(put(http, space, value="a"))
    for wrong in (0, index + 1, U64_MAX):
        message = f"CAS conflict for key '{space}': expected ModifyIndex {wrong}, but current is {index}"
        refused(http.delete(f"/kv/{space}?cas={wrong}"), 409, "CAS conflict", message)
    assert http.delete(f"/kv/{space}?cas={index}").status_code == 200
    assert http.get(f"/kv/{space}").status_code == 404


@pytest.mark.parametrize("cas", ["1abc", "-1", "", "1.0", "+1", "18446744073709551616", "\u0661", "0x1"])
def test_a_query_cas_is_an_unsigned_integer_or_refused(http: httpx.Client, space: str, cas: str) -> None:
    put(http, space, value="a")
    refused(http.delete(f"/kv/{space}", params={"cas": cas}), 400, "Bad Request", "Invalid CAS parameter")
    refused(
        http.put(f"/kv/{space}", params={"raw": "true", "cas": cas}, content=b"b"),
        400,
        "Bad Request",
        "Invalid CAS parameter",
    )
    assert http.get(f"/kv/{space}").json()["value"] == "a"


def test_absent_flags_stay_and_explicit_zero_clears_them(http: httpx.Client, space: str) -> None:
    index = index_of(put(http, space, value="a", flags=U64_MAX))
    assert metadata(http, space)["flags"] == U64_MAX
    index = index_of(put(http, space, value="b", cas=index))
    assert metadata(http, space)["flags"] == U64_MAX
    index = index_of(put(http, space, value="c", cas=index, flags=42))
    assert metadata(http, space)["flags"] == 42
    put(http, space, value="d", flags=None)
    assert metadata(http, space)["flags"] == 42
    put(http, space, value="e", flags=0)
    assert metadata(http, space)["flags"] == 0


@pytest.mark.parametrize("ttl", ["100ms", "0.1s"])
def test_a_key_with_a_ttl_says_when_and_goes(http: httpx.Client, space: str, ttl: str) -> None:
    put(http, space, value="a", ttl=ttl)
    until(lambda: http.get(f"/kv/{space}").status_code == 404, "the key to expire")
    put(http, f"{space}/long", value="a", ttl="1h")
    assert metadata(http, f"{space}/long")["expires_at"].endswith("Z")


def test_a_plain_write_clears_an_old_ttl(http: httpx.Client, space: str) -> None:
    put(http, space, value="a", ttl="1h")
    put(http, space, value="b")
    assert "expires_at" not in metadata(http, space)


@pytest.mark.parametrize("ttl", ["30", "-1s", "0s", "0", "abc", "1d", "99999999999h"])
def test_a_ttl_is_a_positive_duration_or_refused(http: httpx.Client, space: str, ttl: str) -> None:
    message = "Invalid TTL: expected a positive duration such as 30s or 1h30m"
    refused(put(http, space, value="a", ttl=ttl), 400, "Bad Request", message)
    raw = http.put(f"/kv/{space}", params={"raw": "", "ttl": ttl}, content=b"a")
    refused(raw, 400, "Bad Request", message)
    assert http.get(f"/kv/{space}").status_code == 404


def test_raw_bytes_come_back_as_they_are(http: httpx.Client, space: str) -> None:
    written = http.put(
        f"/kv/{space}?raw&flags=5&cas=0", content=NOT_UTF8, headers={"content-type": "image/png"}
    )
    index = index_of(written)
    raw = http.get(f"/kv/{space}?raw")
    assert raw.content == NOT_UTF8
    assert raw.headers["content-type"] == "application/octet-stream"
    assert raw.headers["x-content-type-options"] == "nosniff"
    assert raw.headers["x-konsul-index"] == str(index)
    assert metadata(http, space)["flags"] == 5
    shown = http.get(f"/kv/{space}").json()
    assert shown == {"key": space, "value": base64.b64encode(NOT_UTF8).decode(), "encoding": "base64"}
    refused(http.get(f"/kv/{space}/absent?raw"), 404, "Not Found", "Key not found")


def test_a_raw_write_needs_no_content_type_and_may_be_empty(http: httpx.Client, space: str) -> None:
    assert http.put(f"/kv/{space}?raw=true").status_code == 200
    assert http.get(f"/kv/{space}?raw=true").content == b""
    assert http.get(f"/kv/{space}").json() == {"key": space, "value": ""}


def test_base64_in_json(http: httpx.Client, space: str) -> None:
    text = base64.b64encode(NOT_UTF8).decode()
    assert put(http, space, value=text, encoding="base64").status_code == 200
    assert http.get(f"/kv/{space}?raw").content == NOT_UTF8
    for value in ("a", "====", "a b=", "é"):
        refused(put(http, space, value=value, encoding="base64"), 400, "Bad Request", "Invalid base64 value")
    message = "Invalid encoding: expected base64"
    refused(put(http, space, value="a", encoding="gzip"), 400, "Bad Request", message)
    assert http.get(f"/kv/{space}?raw").content == NOT_UTF8


@pytest.mark.parametrize(
    "value", ["", "plain", 'quotes " and \\ backslash', "\x00\x01\x1f\x7f", "  </script>&", "é\U0001f600"]
)
def test_text_survives_json(http: httpx.Client, space: str, value: str) -> None:
    assert put(http, space, value=value).status_code == 200
    assert http.get(f"/kv/{space}").json()["value"] == value


def test_bodies_are_read_leniently(http: httpx.Client, space: str) -> None:
    body = b'{"VALUE": "last", "unknown": [1, {"x": null}], "Flags": 7, "cas": null, "ttl": null}'
    answer = http.put(
        f"/kv/{space}", content=body, headers={"content-type": "application/vnd.x+json; charset=utf-8"}
    )
    assert answer.status_code == 200
    assert metadata(http, space)["flags"] == 7
    assert metadata(http, space)["value"] == "last"
    twice = b'{"value":"a","value":"b"}'
    http.put(f"/kv/{space}", content=twice, headers={"content-type": "application/json"})
    assert http.get(f"/kv/{space}").json()["value"] == "b"
    http.put(f"/kv/{space}", content=b"null", headers={"content-type": "application/json"})
    assert http.get(f"/kv/{space}").json()["value"] == ""


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a/b//", "a/b"),
        ("a//b", "a//b"),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a%20b+c", "a b+c"),
        ("caf%C3%A9", "café"),
        ("a%0Ab", "a\nb"),
        ("a%2F", "a/"),
        ("a%3Fb%23c", "a?b#c"),
        ("query", "query"),
        (".", "."),
    ],
)
def test_paths_are_decoded_once(http: httpx.Client, space: str, path: str, key: str) -> None:
    request = http.build_request("PUT", "/", json={"value": path})
    request.url = request.url.copy_with(raw_path=f"/kv/{space}{path}".encode())
    answer = http.send(request)
    assert answer.json()["key"] == space + key, answer.text
    listed = http.get("/kv/", params={"prefix": space + key}).json()
    assert listed == [space + key]
    found = http.post("/batch/kv/get", json={"keys": [space + key]}).json()
    assert found == {"found": {space + key: path}, "not_found": []}


def test_a_leading_slash_is_part_of_the_key(http: httpx.Client, space: str) -> None:
    assert http.put(f"/kv//{space}", json={"value": "1"}).json()["key"] == f"/{space}"
    assert http.get(f"/kv/%2F{space}").json()["value"] == "1"


def test_every_route_answers_under_v1_and_in_any_case(http: httpx.Client, space: str) -> None:
    assert http.put(f"/v1/KV/{space}", json={"value": "Case"}).json()["key"] == space
    assert http.get(f"/V1/kv/{space}").json() == http.get(f"/kv/{space}").json()


def test_head_answers_as_get_without_a_body(http: httpx.Client, space: str) -> None:
    put(http, space, value="a")
    for path in (f"/kv/{space}", f"/kv/{space}?raw", f"/kv/?prefix={space}"):
        got, head = http.get(path), http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
    assert http.head(f"/kv/{space}/absent").status_code == 404


@pytest.mark.parametrize("query", ["consistent=true", "consistency=linearizable", "consistency=default"])
def test_consistent_reads_see_the_last_write(http: httpx.Client, space: str, query: str) -> None:
    for value in ("1", "2", "3"):
        put(http, space, value=value)
        assert http.get(f"/kv/{space}?{query}").json()["value"] == value
    assert http.get(f"/kv/?prefix={space}&{query}").json() == [space]


def test_an_unknown_consistency_is_refused(http: httpx.Client, space: str) -> None:
    message = "Invalid consistency parameter: expected stale, default or linearizable"
    refused(http.get(f"/kv/{space}?consistency=strong"), 400, "Bad Request", message)


def test_a_value_over_the_limit_is_refused_with_the_limit_and_the_key(http: httpx.Client, space: str) -> None:
    limit = 512 * 1024
    assert put(http, space, value="x" * limit).status_code == 200
    message = f"value too large for key '{space}': {limit + 1} bytes (max {limit})"
    refused(put(http, space, value="y" * (limit + 1)), 413, "Request Entity Too Large", message)
    raw = http.put(f"/kv/{space}?raw", content=b"y" * (limit + 1))
    refused(raw, 413, "Request Entity Too Large", message)
    assert http.get(f"/kv/{space}").json()["value"] == "x" * limit


def test_operations_and_keys_are_counted(http: httpx.Client, space: str) -> None:
    def sample(line: str) -> float:
        page = http.get("/metrics").text.splitlines()
        return next((float(text.split()[-1]) for text in page if text.startswith(line + " ")), 0.0)

    misses = 'konsul_kv_operations_total{operation="get",status="not_found"}'
    sets = 'konsul_kv_operations_total{operation="set",status="success"}'
    conflicts = 'konsul_kv_operations_total{operation="set",status="cas_conflict"}'
    before = [sample(misses), sample(sets), sample(conflicts), sample("konsul_kv_store_size")]
    http.get(f"/kv/{space}")
    put(http, space, value="1")
    put(http, space, value="1", cas=0)
    after = [sample(misses), sample(sets), sample(conflicts), sample("konsul_kv_store_size")]
    assert [now - then for then, now in zip(before, after, strict=True)] == [1, 1, 1, 1]
