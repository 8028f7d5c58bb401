"""Paths, bodies and answers of the calls, against played answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import msgpack
import pytest

from konsul.client import Check, KeyValue, Operation, Service
from konsul.client.kv_calls import BATCH_BYTES_MAX
from konsul.client.request import key_path
from konsul.errors import Invalid
from tests.client.played import Played, ok, run

BOTH = pytest.mark.parametrize("both", ["sync", "async"])


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a", "/kv/a"),
        ("a/b/c", "/kv/a/b/c"),
        ("/x//y", "/kv//x//y"),
        ("a/b//", "/kv/a/b%2F%2F"),
        ("/", "/kv/%2F"),
        ("a b?c#d%", "/kv/a%20b%3Fc%23d%25"),
        ("ü", "/kv/%C3%BC"),
        ("a/../b/.", "/kv/a/%2E%2E/b/%2E"),
    ],
)
def test_a_key_reaches_the_wire_as_it_is(key: str, path: str) -> None:
    assert key_path(key) == path
    played = Played(ok({"key": key, "value": ""}))
    with played.client() as client:
        client.kv.get(key)
    assert played.seen[0].url.raw_path.partition(b"?")[0] == path.encode()


def test_the_empty_key_is_refused_here_for_its_path_is_the_listing() -> None:
    played = Played(ok())
    with played.client() as client:
        for call in (
            client.kv.get,
            client.kv.delete,
            lambda key: client.kv.set(key, "v"),
            client.kv.delete_prefix,
        ):
            with pytest.raises(Invalid):
                call("")
    assert played.seen == []


@BOTH
def test_get_reads_value_indices_flags_and_expiry(both: str) -> None:
    row = {
        "key": "a",
        "value": "/wA=",
        "encoding": "base64",
        "flags": 2**64 - 1,
        "create_index": 4,
        "modify_index": 9,
        "expires_at": "2026-01-02T03:04:05.123Z",
    }
    found = run(Played(ok(row)), lambda c: c.kv.get("a", consistency="stale"), both=both)
    expires = datetime(2026, 1, 2, 3, 4, 5, 123000, tzinfo=UTC)
    assert found == KeyValue("a", b"\xff\x00", 2**64 - 1, 4, 9, expires)


@BOTH
def test_text_goes_as_json_and_bytes_go_as_they_are(both: str) -> None:
    played = Played(ok({"modify_index": 5}))
    run(played, lambda c: c.kv.set("a", "grün", cas=0, flags=7, ttl="30s"), both=both)
    run(played, lambda c: c.kv.set("a", b"\x00\xff", cas=0, flags=7, ttl="30s"), both=both)
    run(played, lambda c: c.kv.set("a", ""), both=both)
    text, raw, empty = played.seen
    assert json.loads(text.content) == {"value": "grün", "cas": 0, "flags": 7, "ttl": "30s"}
    assert dict(text.url.params) == {}
    assert raw.content == b"\x00\xff"
    assert dict(raw.url.params) == {"raw": "true", "cas": "0", "flags": "7", "ttl": "30s"}
    assert raw.headers["Content-Type"] == "application/octet-stream"
    assert json.loads(empty.content) == {"value": ""}


@BOTH
def test_a_listing_goes_on_while_the_server_names_a_next_page(both: str) -> None:
    def pages() -> Played:
        return Played(
            ok(["a", "b ü"], **{"X-Konsul-Next-After": "b%20%C3%BC"}),
            ok([], **{"X-Konsul-Next-After": "c"}),
            ok(["d"]),
        )

    played = pages()
    if both == "sync":
        with played.client(page_size=2) as client:
            found = list(client.kv.keys("p/", separator="/"))
    else:

        async def gather(client: Any) -> list[str]:
            return [key async for key in client.kv.keys("p/", separator="/")]

        found = run(played, gather, both="async", page_size=2)
    assert found == ["a", "b ü", "d"]
    shared = {"prefix": "p/", "keys": "true", "separator": "/", "limit": "2"}
    assert [dict(one.url.params) for one in played.seen] == [
        shared,
        {**shared, "after": "b ü"},
        {**shared, "after": "c"},
    ]


@BOTH
def test_bulk_work_is_split_by_count_and_by_size(both: str) -> None:
    def sizes(items: dict[str, bytes]) -> list[int]:
        played = Played(ok({"count": 0}))
        told: list[int] = []
        result = run(played, lambda c: c.kv.set_many(items.items(), told.append), both=both)
        parts = [len(msgpack.unpackb(one.content)["items"]) for one in played.seen]
        assert (result.count, result.requests, sum(told)) == (len(items), len(parts), len(items))
        assert all(one.headers["Content-Type"] == "application/msgpack" for one in played.seen)
        return parts

    assert sizes({}) == []
    assert sizes({f"k{n}": b"v" for n in range(2001)}) == [1000, 1000, 1]
    third = b"x" * (BATCH_BYTES_MAX // 3)
    assert sizes({f"k{n}": third for n in range(5)}) == [2, 2, 1]
    assert sizes({"a": b"1", "b": b"x" * (2 * BATCH_BYTES_MAX), "c": b"1"}) == [1, 1, 1]


@BOTH
def test_bulk_reads_and_deletes_are_split_and_joined(both: str) -> None:
    first = httpx.Response(
        200,
        content=msgpack.packb({"found": {"k1": b"\xff", "k2": "text"}, "not_found": ["k3", "k3"]}),
        headers={"Content-Type": "application/msgpack"},
    )
    played = Played(first, ok({"found": {}, "not_found": ["k4"]}))
    values = run(played, lambda c: c.kv.get_many(f"k{n}" for n in range(1500)), both=both)
    assert dict(values.found) == {"k1": b"\xff", "k2": b"text"}
    assert values.not_found == ("k3", "k4")
    played = Played(ok({"count": 1000}))
    assert run(played, lambda c: c.kv.delete_many(f"k{n}" for n in range(1500)), both=both).requests == 2


@BOTH
def test_a_transaction_carries_its_operations_and_returns_what_its_gets_saw(both: str) -> None:
    answer = {
        "modify_index": 12,
        "results": [
            {"type": "check", "key": "a"},
            {"type": "get", "key": "b", "found": True, "value": "1", "modify_index": 3, "flags": 1},
            {"type": "get", "key": "c", "found": False},
        ],
    }
    played = Played(ok(answer))
    operations = [
        Operation("check", "a", index=0),
        Operation("set", "b", value=b"\xff", flags=1, ttl="1m"),
        Operation("get", "b"),
    ]
    result = run(played, lambda c: c.transaction(operations), both=both)
    assert result.modify_index == 12
    assert result.rows == (KeyValue("b", b"1", 1, 0, 3),)
    assert json.loads(played.seen[0].content)["operations"] == [
        {"type": "check", "key": "a", "index": 0},
        {"type": "set", "key": "b", "value": "/w==", "encoding": "base64", "flags": 1, "ttl": "1m"},
        {"type": "get", "key": "b"},
    ]


@BOTH
def test_a_service_goes_out_and_comes_back_whole(both: str) -> None:
    web = Service("web", "10.0.0.1", 80, "w-1", ("a", "b"), {"team": "x"}, (Check("c", http="http://h/"),))
    played = Played(ok({"modify_index": 3}), ok({"service": {}, "modify_index": 3}))
    assert run(played, lambda c: c.services.register(web, cas=0), both=both).modify_index == 3
    sent = json.loads(played.seen[0].content)
    assert sent.pop("cas") == 0
    detailed = {"service": sent, "create_index": 1, "modify_index": 3, "expires_at": "2026-01-02T03:04:05Z"}
    found = run(Played(ok(detailed)), lambda c: c.services.get("web"), both=both)
    assert found.service == web
    assert found.expires_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@BOTH
def test_the_instance_travels_as_a_parameter(both: str) -> None:
    played = Played(ok())
    run(played, lambda c: c.services.heartbeat("web", instance="w 1"), both=both)
    run(played, lambda c: c.services.deregister("web", instance="w 1", cas=4), both=both)
    beat, gone = played.seen
    assert (beat.method, beat.url.path, dict(beat.url.params)) == ("PUT", "/heartbeat/web", {"id": "w 1"})
    assert dict(gone.url.params) == {"id": "w 1", "cas": "4"}


@BOTH
def test_queries_name_tags_and_metadata(both: str) -> None:
    played = Played(ok({"count": 1, "query": {}, "services": [{"name": "web", "address": "h", "port": 80}]}))
    found = run(played, lambda c: c.services.query(tags=["a", "b"], meta={"team": "x"}), both=both)
    assert found == (Service("web", "h", 80),)
    assert played.seen[0].url.params.multi_items() == [("tags", "a"), ("tags", "b"), ("meta.team", "x")]
    with pytest.raises(Invalid):
        run(played, lambda c: c.services.query(), both=both)


@BOTH
def test_bulk_registration_tells_who_failed_and_why(both: str) -> None:
    partly = {
        "registered": ["s0"],
        "failed": ["s1"],
        "count": 1,
        "errors": {"s1": "service port is required"},
    }
    played = Played(ok(partly), ok({"registered": [], "count": 50, "failed": ["t"]}))
    services = [Service(f"s{n}", "h", 1) for n in range(150)]
    result = run(played, lambda c: c.services.register_many(services), both=both)
    assert (result.count, result.requests) == (51, 2)
    assert dict(result.failed) == {"s1": "service port is required", "t": "refused"}


@BOTH
def test_a_probe_that_says_no_is_an_answer(both: str) -> None:
    no = httpx.Response(503, json={"status": "not_ready", "timestamp": "t"})
    assert run(Played(no), lambda c: c.ready(), both=both).ok is False
    yes = ok({"status": "healthy", "version": "9.9", "uptime": "1s"})
    assert run(Played(yes), lambda c: c.health(), both=both).ok is True
    assert run(Played(yes), lambda c: c.version(), both=both).server == "9.9"
