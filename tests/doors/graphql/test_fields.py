"""One story through two doors: what REST stores GraphQL shows, and the other way round, by the same rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conftest import SMALL, LiveServer
from tests.doors.graphql.conftest import Asks
from tests.doors.graphql.speaking import Speaker, code_of

BAD_SERVICES: list[dict[str, Any]] = [
    {"name": ""},
    {"name": "query"},
    {"name": "a b"},
    {"address": ""},
    {"port": 0},
    {"port": 70_000},
    {"tags": ["no tag"]},
    {"tags": ["a", "a"]},
    {"tags": [f"t{n}" for n in range(200)]},
    {"meta": {"konsul_x": "1"}},
    {"meta": {"k": "v" * 2_000}},
]


def test_a_key_reads_alike_through_both_doors(asks: Asks, http: httpx.Client, space: str) -> None:
    http.put(f"/kv/{space}", json={"value": "v", "flags": 2**63, "ttl": "1h"})
    rest = http.get(f"/kv/{space}?metadata=true").json()
    query = "query($k: String!) { kv(key: $k) { key value flags createIndex modifyIndex expiresAt } }"
    status, body = asks(query, {"k": space})
    pair = body["data"]["kv"]
    assert status == 200
    assert (pair["key"], pair["value"], pair["flags"]) == (space, "v", 2**63)
    assert (pair["createIndex"], pair["modifyIndex"]) == (rest["create_index"], rest["modify_index"])
    assert rest["expires_at"][:19] == pair["expiresAt"][:19]
    cas = "mutation($k: String!, $i: Long!) { kvSetCAS(key: $k, value: $k, modifyIndex: $i) { success } }"
    assert asks(cas, {"k": space, "i": str(rest["modify_index"])})[1]["data"]["kvSetCAS"]["success"]
    assert http.get(f"/kv/{space}").json()["value"] == space


def test_a_service_reads_alike_through_both_doors(asks: Asks, http: httpx.Client, space: str) -> None:
    check = {"id": "c", "name": "alive", "http": "http://h/", "interval": "90s", "timeout": "5s"}
    whole = {"name": space, "id": "one", "address": "h", "port": 1, "tags": ["b", "a"], "meta": {"k": "v"}}
    assert http.put("/register", json=whole | {"checks": [check]}).status_code == 200
    query = """query($n: String!) { service(name: $n) {
      name id address port tags meta checks { id serviceId name type interval timeout status } } }"""
    found = asks(query, {"n": space})[1]["data"]["service"]
    assert found.pop("checks") == [
        {
            "id": "c",
            "serviceId": "one",
            "name": "alive",
            "type": "HTTP",
            "interval": "1m30s",
            "timeout": "5s",
            "status": "CRITICAL",
        }
    ]
    assert found == whole
    again = "mutation($i: RegisterServiceInput!) { registerService(input: $i) { id } }"
    assert asks(again, {"i": {"name": space, "id": "two", "address": "h", "port": 2}})[0] == 200
    assert [one["id"] for one in http.get(f"/services/{space}/instances").json()] == ["one", "two"]


@pytest.mark.parametrize("change", BAD_SERVICES)
def test_both_doors_refuse_a_service_with_the_same_words(
    asks: Asks, http: httpx.Client, space: str, change: dict[str, Any]
) -> None:
    bad = {"name": space, "address": "h", "port": 1} | change
    rest = http.put("/register", json=bad)
    assert rest.status_code == 400
    meta: dict[str, str] = change.get("meta", {})
    bad.pop("meta", None)
    given = bad | {"metadata": [{"key": key, "value": value} for key, value in meta.items()]}
    status, body = asks(
        "mutation($i: RegisterServiceInput!) { registerService(input: $i) { id } }", {"i": given}
    )
    assert (status, body["data"], code_of(body)) == (200, None, "INVALID_INPUT")
    assert body["errors"][0]["message"] == f"failed to register service: {rest.json()['message']}"


def test_what_rest_writes_a_subscription_tells(
    speak: Callable[..., Speaker], asks: Asks, http: httpx.Client, space: str
) -> None:
    index = http.put(f"/kv/{space}/0", json={"value": "0"}).json()["modify_index"]
    speaker = speak().begin()
    watch = """subscription($p: String!, $s: Long!) {
      kvChanged(prefix: $p, since: $s) { type key value oldValue modifyIndex } }"""
    speaker.start("kv", watch, variables={"p": f"{space}/", "s": index - 1})
    http.put(f"/kv/{space}/0", json={"value": "1"})
    http.post("/batch/kv/set", json={"items": {f"{space}/a": "x", f"{space}/b": "y"}})
    http.delete(f"/kv/{space}/?recurse")
    seen = [speaker.hear()["payload"]["data"]["kvChanged"] for _ in range(7)]
    told = [
        (one["type"], one["key"].removeprefix(f"{space}/"), one["value"], one["oldValue"]) for one in seen
    ]
    assert told == [
        ("SET", "0", "0", None),
        ("SET", "0", "1", "0"),
        ("SET", "a", "x", None),
        ("SET", "b", "y", None),
        ("DELETE", "0", None, "1"),
        ("DELETE", "a", None, "x"),
        ("DELETE", "b", None, "y"),
    ]
    assert [one["modifyIndex"] - index for one in seen] == [0, 1, 2, 2, 3, 3, 3]


def test_after_a_restart_what_is_not_remembered_is_said(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with LiveServer(tmp_path_factory.mktemp("restart") / "data", SMALL) as server:
        with httpx.Client(base_url=server.base_url, timeout=30, trust_env=False) as http:
            index = http.put("/kv/k", json={"value": "0"}).json()["modify_index"]
            last = http.put("/kv/k", json={"value": "1"}).json()["modify_index"]
        server.restart()
        speaker = Speaker(server.port).begin()
        try:
            speaker.start("old", f"subscription {{ kvChanged(since: {index}) {{ value }} }}")
            told = speaker.hear()
            (error,) = told["payload"] if told["type"] == "error" else told["payload"]["errors"]
            assert error["extensions"] == {"code": "COMPACTED", "modifyIndex": last}
            speaker.start("new", f"subscription {{ kvChanged(since: {last}) {{ value modifyIndex }} }}")
            ask = 'mutation { kvSet(key: "k", value: "2") { modifyIndex } }'
            with httpx.Client(base_url=server.base_url, timeout=30, trust_env=False) as http:
                written = http.post("/graphql", json={"query": ask}).json()["data"]["kvSet"]["modifyIndex"]
            heard = speaker.hear()
            while heard["id"] != "new":
                heard = speaker.hear()
            assert heard["payload"]["data"] == {"kvChanged": {"value": "2", "modifyIndex": written}}
        finally:
            speaker.hang_up()


def test_what_graphql_does_is_counted_with_what_every_door_does(asks: Asks, http: httpx.Client) -> None:
    def counted(series: str) -> float:
        lines = http.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith(f"konsul_{series} ")]
        return float(found[0].split()[-1]) if found else 0.0

    batch = 'kv_operations_total{operation="batch_get",status="success"}'
    sets = 'kv_operations_total{operation="set",status="success"}'
    missed = 'kv_operations_total{operation="delete",status="not_found"}'
    tagged = 'service_query_total{query_type="tags",status="success"}'
    before = [counted(series) for series in (batch, sets, missed, tagged)]
    asks('{ a: kv(key: "counted") { key } b: kv(key: "other") { key } servicesByTags(tags: ["t"]) { id } }')
    asks('mutation { kvSet(key: "counted", value: "v") { key } kvDelete(key: "never") }')
    after = [counted(series) for series in (batch, sets, missed, tagged)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1, 1]
