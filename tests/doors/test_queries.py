"""Prepared queries over HTTP: kept, found by name or template, executed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.conftest import LiveServer

SERVICES: tuple[dict[str, Any], ...] = (
    {"id": "one", "port": 1, "tags": ["eu", "v1"], "meta": {"env": "prod"}, "node": "n1", "zone": "a"},
    {"id": "two", "port": 2, "tags": ["eu", "old"], "meta": {"env": "prod"}, "node": "n2", "zone": "a"},
    {"id": "three", "port": 3, "tags": ["us"], "meta": {"env": "test"}, "node": "n3", "zone": "b"},
)


@pytest.fixture
def shop(http: httpx.Client, space: str) -> str:
    """A service of three instances on three nodes of two zones; returns its name."""
    for one in SERVICES:
        body = one | {"name": space, "address": "10.0.0.1", "ttl": "0", "node": f"{space}-{one['node']}"}
        body["zone"] = f"{space}-{one['zone']}"
        answer = http.put("/register", json=body)
        assert answer.status_code == 200, answer.text
    return space


@pytest.fixture
def made(http: httpx.Client) -> Iterator[list[str]]:
    """Ids of queries that are removed behind the test."""
    ids: list[str] = []
    yield ids
    for id in ids:
        http.delete(f"/query/{id}")


def make(http: httpx.Client, made: list[str], document: dict[str, Any]) -> str:
    answer = http.post("/query", json=document)
    assert answer.status_code == 201, answer.text
    made.append(answer.json()["id"])
    return made[-1]


def run(http: httpx.Client, which: str, **params: str) -> dict[str, Any]:
    answer = http.get(f"/query/{which}/execute", params=params)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert document["count"] == len(document["instances"])
    return document


def ids(document: dict[str, Any]) -> list[str]:
    return [one["id"] for one in document["instances"]]


def test_a_query_is_made_read_replaced_and_deleted(http: httpx.Client, shop: str) -> None:
    answer = http.post("/query", json={"name": f"{shop}.All", "service": {"service": shop, "tags": []}})
    assert answer.status_code == 201
    id, index = answer.json()["id"], answer.json()["modify_index"]
    shown = {
        "id": id,
        "name": f"{shop}.All",
        "service": {"service": shop},
        "create_index": index,
        "modify_index": index,
    }
    assert http.get(f"/query/{id}").json() == shown
    assert http.get(f"/query/{shop}.aLL").json() == shown
    assert shown in http.get("/query").json()
    # What was read can be sent back.
    changed = shown | {"name": f"{shop}-b", "limit": 2, "dns": {"ttl": "10s"}}
    assert http.put(f"/query/{shop}.all?cas={index + 1}", json=changed).status_code == 409
    answer = http.put(f"/query/{shop}.all?cas={index}", json=changed)
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == id
    assert http.get(f"/query/{shop}.All").status_code == 404
    document = http.get(f"/query/{shop}-b").json()
    assert (document["limit"], document["dns"], document["create_index"]) == (2, {"ttl": "10s"}, index)
    assert http.delete(f"/query/{shop}-b").json() == {"id": id, "message": "query deleted"}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/execute"), ("GET", "/explain")):
        for which in (id, f"{shop}-b", "no%20name"):
            assert http.request(method, f"/query/{which}{path}").status_code == 404
    assert http.put(f"/query/{id}", json=changed).status_code == 404


def test_names_are_unique_whatever_their_case(http: httpx.Client, made: list[str], shop: str) -> None:
    make(http, made, {"name": f"{shop}-q", "service": {"service": shop}})
    other = make(http, made, {"name": f"{shop}-r", "service": {"service": shop}})
    taken = {"name": f"{shop}-Q", "service": {"service": shop}}
    assert http.post("/query", json=taken).status_code == 409
    assert http.put(f"/query/{other}", json=taken).status_code == 409
    assert http.get(f"/query/{other}").json()["name"] == f"{shop}-r"


def test_a_repeated_request_makes_one_query(http: httpx.Client, made: list[str], shop: str) -> None:
    document = {"service": {"service": shop}}
    key = {"Idempotency-Key": uuid4().hex}
    first = http.post("/query", json=document, headers=key)
    second = http.post("/query", json=document, headers=key)
    made.append(first.json()["id"])
    assert (second.status_code, second.json()["id"]) == (201, first.json()["id"])


@pytest.mark.parametrize(
    ("service", "found"),
    [
        ({}, ["one", "three", "two"]),
        ({"tags": ["eu"]}, ["one", "two"]),
        ({"tags": ["eu", "!old"]}, ["one"]),
        ({"tags": ["!eu"]}, ["three"]),
        ({"meta": {"env": "prod"}}, ["one", "two"]),
        ({"filter": "Port != 2 and Meta.env matches `^prod|test$`"}, ["one", "three"]),
        ({"meta": {"env": "prod"}, "tags": ["!old"], "filter": "Zone is not empty"}, ["one"]),
        ({"node_meta": {"rack": "r9"}}, []),
        ({"only_passing": True}, ["one", "three", "two"]),
        ({"service": "nobody"}, []),
    ],
)
def test_what_a_query_finds(
    http: httpx.Client, made: list[str], shop: str, service: dict[str, Any], found: list[str]
) -> None:
    id = make(http, made, {"service": {"service": shop} | service})
    document = run(http, id)
    assert sorted(ids(document)) == found
    assert all(one["health"] == "passing" for one in document["instances"])
    assert (document["id"], document["more"]) == (id, False)


def test_limits_order_and_what_is_only_kept(http: httpx.Client, made: list[str], shop: str) -> None:
    failover = {"nearest_n": 2, "targets": [{"datacenter": "dc2"}]}
    document = {
        "name": f"{shop}-near",
        "service": {"service": shop, "near": f"{shop}-n3", "failover": failover},
        "dns": {"ttl": "5s"},
        "limit": 2,
    }
    make(http, made, document)
    near = run(http, f"{shop}-near")
    assert near["instances"][0]["id"] == "three"
    assert (near["count"], near["more"]) == (2, True)
    assert (near["dns"], near["failover"]) == ({"ttl": "5s"}, failover)
    for _ in range(4):
        assert set(ids(run(http, f"{shop}-near", near=f"{shop}-a"))) == {"one", "two"}
        assert ids(run(http, f"{shop}-near", near=f"{shop}-n2")) == ["two", "one"]
        assert ids(run(http, f"{shop}-near", near=f"{shop}-n1", limit="1")) == ["one"]
    firsts = {run(http, make(http, made, {"service": {"service": shop}}), limit="1")["count"]}
    assert firsts == {1}
    turns = [ids(run(http, made[-1], strategy="round-robin", limit="1"))[0] for _ in range(6)]
    assert sorted(turns) == ["one", "one", "three", "three", "two", "two"]


def test_near_may_be_the_caller_or_the_node_that_answers(
    http: httpx.Client, made: list[str], shop: str
) -> None:
    id = make(http, made, {"service": {"service": shop}})
    here = {"address": "127.0.0.1", "zone": f"{shop}-b"}
    assert http.put(f"/nodes/{shop}-caller", json=here).status_code == 200
    assert ids(run(http, id, near="_ip"))[0] == "three"
    assert http.delete(f"/nodes/{shop}-caller").status_code == 200
    # Nobody said where the node that answers is: all are equally far, and all are found.
    assert len(ids(run(http, id, near="_agent"))) == 3
    assert len(ids(run(http, id, near="x" * 3_000))) == 3


def test_the_template_with_the_longest_name_answers(http: httpx.Client, made: list[str], shop: str) -> None:
    short = {
        "name": f"{shop[:-4]}",
        "template": {"type": "name_prefix_match"},
        "service": {"service": "${name.full}", "tags": ["${name.suffix}"]},
    }
    long = {
        "name": f"{shop}-",
        "template": {
            "type": "name_prefix_match",
            "regexp": "(?:-z([a-z]))?-([a-z]+)$",
            "remove_empty_tags": True,
        },
        "service": {
            "service": shop,
            "tags": ["${match(7)}", "${match(2)}"],
            "filter": "Meta.env != `$${` and Zone matches `${match(1)}$`",
        },
    }
    make(http, made, short)
    make(http, made, long)
    assert sorted(ids(run(http, f"{shop}-eu"))) == ["one", "two"]
    assert ids(run(http, f"{shop}-zb-us")) == ["three"]
    assert run(http, f"{shop}-zb-eu")["instances"] == []
    assert run(http, shop)["service"] == shop
    explained = http.get(f"/query/{shop}-zb-us/explain").json()
    assert (explained["is_template"], explained["matched"], explained["name"]) == (
        True,
        f"{shop}-",
        f"{shop}-zb-us",
    )
    assert explained["query"]["service"] == {
        "service": shop,
        "tags": ["us"],
        "filter": 'Meta.env != "${" and Zone matches "b$"',
    }
    # A query of exactly this name goes before every template.
    make(http, made, {"name": f"{shop}-eu", "service": {"service": shop, "tags": ["us"]}})
    assert ids(run(http, f"{shop}-eu")) == ["three"]
    assert http.get("/query/zzz/execute").status_code == 404


def test_a_template_without_a_name_answers_for_all(http: httpx.Client, made: list[str], shop: str) -> None:
    everything = {"template": {"type": "name_prefix_match"}, "service": {"service": "${name.full}"}}
    make(http, made, everything)
    assert http.post("/query", json=everything).status_code == 409
    assert sorted(ids(run(http, shop))) == ["one", "three", "two"]
    assert http.get(f"/query/{uuid4()}/execute").status_code == 404


def test_a_query_goes_with_its_session(http: httpx.Client, made: list[str], shop: str) -> None:
    session = http.post("/sessions", json={"name": shop}).json()["id"]
    id = make(http, made, {"name": f"{shop}-s", "session": session, "service": {"service": shop}})
    assert http.get(f"/query/{id}").json()["session"] == session
    assert http.delete(f"/sessions/{session}").status_code == 200
    assert http.get(f"/query/{id}").status_code == 404
    refused = http.post("/query", json={"session": session, "service": {"service": shop}})
    assert (refused.status_code, refused.json()["message"]) == (
        400,
        f"Invalid query: session: there is no session {session}",
    )


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "expected a JSON object"),
        ({}, "service: expected an object"),
        ({"service": {}}, "service.service: expected a service's name"),
        ({"service": {"service": "a", "tag": ["b"]}}, "service.tag: no such member: expected service, tags"),
        ({"service": {"service": "a"}, "Name": "b"}, "Name: no such member: expected name, session"),
        ({"service": {"service": "a"}, "name": "a b"}, "name: expected 1 to 128 of"),
        ({"service": {"service": "a"}, "name": str(uuid4())}, "name: expected a name that is no id"),
        ({"service": {"service": "a"}, "limit": 0}, "limit: expected a whole number from 1"),
        ({"service": {"service": "a"}, "limit": True}, "limit: expected a whole number from 1"),
        ({"service": {"service": "a"}, "strategy": "best"}, "strategy: expected one of round-robin"),
        ({"service": {"service": "a"}, "dns": {"ttl": "-1s"}}, "dns.ttl: expected a duration"),
        ({"service": {"service": "a"}, "session": "x"}, "session: expected a session's id"),
        ({"service": {"service": "a", "tags": ["!"]}}, "service.tags: expected a tag behind !"),
        ({"service": {"service": "a", "tags": ["b"] * 17}}, "service.tags: expected a list of at most 16"),
        ({"service": {"service": "a", "meta": {"b": 1}}}, "service.meta.b: expected a text"),
        ({"service": {"service": "a", "filter": "Port = 1"}}, "service.filter: line 1, column 6"),
        (
            {"service": {"service": "a", "filter": "Nope == 1"}},
            "service.filter: line 1, column 1: unknown selector",
        ),
        (
            {"service": {"service": "a", "only_passing": "yes"}},
            "service.only_passing: expected true or false",
        ),
        ({"service": {"service": "a", "failover": {"targets": [{}]}}}, "targets[0]: expected an object with"),
        ({"service": {"service": "a" * 513}}, "service.service: expected a text of at most 512"),
        ({"service": {"service": "a", "near": "x" * 20_000}}, "expected at most 16384 bytes"),
        (
            {"service": {"service": "a"}, "template": {"type": "x"}},
            "template.type: expected name_prefix_match",
        ),
        (
            {"service": {"service": "a"}, "template": {"type": "name_prefix_match", "regexp": "("}},
            "template.regexp: expected a regular expression (RE2)",
        ),
        (
            {"service": {"service": "${name}"}, "template": {"type": "name_prefix_match"}},
            "service.service: expected ${name.full}",
        ),
        (
            {"service": {"service": "a", "tags": ["${match(1"]}, "template": {"type": "name_prefix_match"}},
            "service.tags[0]: expected ${name.full}",
        ),
    ],
)
def test_what_is_refused_names_the_place(http: httpx.Client, document: Any, words: str) -> None:
    for answer in (http.post("/query", json=document), http.put("/query/absent", json=document)):
        assert answer.status_code == 400, answer.text
        assert answer.json()["message"].startswith("Invalid query: ")
        assert words in answer.json()["message"]


def test_parameters_are_checked(http: httpx.Client, made: list[str], shop: str) -> None:
    id = make(http, made, {"service": {"service": shop}})
    for params in ({"limit": "0"}, {"limit": "x"}, {"strategy": "best"}):
        assert http.get(f"/query/{id}/execute", params=params).status_code == 400
    assert http.put(f"/query/{id}?cas=x", json={"service": {"service": shop}}).status_code == 400


def test_executions_are_counted(http: httpx.Client, made: list[str], shop: str, server: LiveServer) -> None:
    run(http, make(http, made, {"service": {"service": shop}}))
    run(http, make(http, made, {"service": {"service": "nobody"}}))
    text = http.get("/metrics").text
    for status in ("success", "empty", "error"):
        assert f'konsul_prepared_query_executions_total{{status="{status}"}}' in text
    assert f"konsul_prepared_queries {float(len(http.get('/query').json()))}" in text
    assert server.process is not None
