"""Searching services over HTTP: filters, places, health, order and pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import SMALL, LiveServer

SERVICES = (
    {
        "name": "api",
        "id": "api-1",
        "port": 9,
        "tags": ["v1"],
        "meta": {"env": "prod", "a-b": "x"},
        "zone": "a",
    },
    {"name": "api", "id": "api-2", "port": 8, "tags": ["v2"], "meta": {"env": "test"}, "zone": "b"},
    {"name": "db", "port": 7, "tags": ["v1", "eu"], "meta": {"env": "prod"}, "zone": "b", "node": "n1"},
    {"name": "web", "port": 8, "tags": [], "meta": {}, "zone": "a", "node": "n1"},
)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A node of its own with four instances, that looks at few rows at once."""
    settings = SMALL | {"KONSUL_QUERY_MAX_ROWS": "1000", "KONSUL_QUERY_SORT_MAX_ROWS": "4"}
    with (
        LiveServer(tmp_path_factory.mktemp("search") / "data", settings) as server,
        httpx.Client(base_url=server.base_url, timeout=30) as client,
    ):
        for service in SERVICES:
            answer = client.put("/register", json={"address": "10.0.0.1", "ttl": "0", **service})
            assert answer.status_code == 200, answer.text
        yield client


def ids(services: list[dict[str, Any]]) -> list[str]:
    return [one.get("id", one["name"]) for one in services]


def search(http: httpx.Client, **params: str) -> dict[str, Any]:
    answer = http.get("/services/query", params=params)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert document["count"] == len(document["services"])
    return document


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"filter": "Service == api"}, ["api-1", "api-2"]),
        ({"filter": "Meta.env == prod and v1 in Tags"}, ["api-1", "db"]),
        ({"filter": 'Meta["a-b"] == x or Port == 7'}, ["api-1", "db"]),
        ({"filter": "Meta.env != prod"}, ["api-2", "web"]),
        ({"filter": "Tags is empty"}, ["web"]),
        ({"filter": "ID matches `^api-[2-9]$`"}, ["api-2"]),
        ({"filter": "Address == `10.0.0.1` and not (Zone == a)"}, ["api-2", "db"]),
        ({"filter": "Node == n1 and Health == passing"}, ["db", "web"]),
        ({"filter": "ModifyIndex != 0 and Service == web"}, ["web"]),
        ({"filter": "Service == api", "name": "web"}, []),
        ({"name": "api"}, ["api-1", "api-2"]),
        ({"name": "x" * 3_000}, []),
        ({"node": "n1"}, ["db", "web"]),
        ({"zone": "b"}, ["api-2", "db"]),
        ({"zone": "a", "tags": "v1"}, ["api-1"]),
        ({"health": "passing"}, ["api-1", "api-2", "db", "web"]),
        ({"health": "serving", "meta.env": "prod"}, ["api-1", "db"]),
        ({"health": "critical"}, []),
        ({"passing": "true", "zone": "a"}, ["api-1", "web"]),
    ],
)
def test_what_is_found(http: httpx.Client, params: dict[str, str], found: list[str]) -> None:
    document = search(http, **params)
    assert ids(document["services"]) == found
    assert document["after"] is None
    assert all(one["health"] == "passing" for one in document["services"])
    listed = http.get(
        "/services", params={key: text for key, text in params.items() if key[:4] not in ("tags", "meta")}
    )
    assert set(found) <= set(ids(listed.json()))


def test_an_answer_repeats_the_question(http: httpx.Client) -> None:
    document = search(http, filter="Port == 8", zone="a", tag="v1")
    assert document["query"] == {"tags": ["v1"], "metadata": {}, "zone": "a", "filter": "Port == 8"}


@pytest.mark.parametrize(
    ("sort", "ascending"),
    [
        ("name", ["api-1", "api-2", "db", "web"]),
        ("id", ["api-1", "api-2", "db", "web"]),
        ("port", ["db", "api-2", "web", "api-1"]),
        ("zone", ["api-1", "web", "api-2", "db"]),
        ("node", ["api-1", "api-2", "db", "web"]),
        ("health", ["api-1", "api-2", "db", "web"]),
        ("address", ["api-1", "api-2", "db", "web"]),
        ("modify_index", ["api-1", "api-2", "db", "web"]),
    ],
)
def test_the_order_is_total_and_pages_follow_it(http: httpx.Client, sort: str, ascending: list[str]) -> None:
    for order, expected in (("asc", ascending), ("desc", ascending[::-1])):
        params = {"sort": sort, "order": order}
        assert ids(http.get("/services", params=params).json()) == expected
        pages: list[str] = []
        after: str | None = None
        for _ in range(4):
            page = http.get("/services", params=params | {"limit": "1"} | ({"after": after} if after else {}))
            pages += ids(page.json())
            after = page.headers.get("X-Konsul-Next-After")
        assert (pages, after) == (expected, None)


def test_a_page_of_filtered_rows_goes_on_behind_what_was_looked_at(http: httpx.Client) -> None:
    first = search(http, filter="Meta.env == prod", limit="1")
    assert ids(first["services"]) == ["api-1"]
    second = search(http, filter="Meta.env == prod", limit="1", after=first["after"])
    assert (ids(second["services"]), second["after"]) == (["db"], None)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"filter": "Port = 80"}, "Invalid filter: line 1, column 6"),
        ({"filter": "Nope == 80"}, 'unknown selector "Nope": expected Address, Health, ID'),
        ({"filter": "Port == x"}, "line 1, column 9"),
        ({"filter": ""}, "line 1, column 1: found the end"),
        ({"filter": "Port == 80", "sort": "color"}, "Invalid sort parameter: expected one of name, id"),
        ({"filter": "Port == 80", "order": "up"}, "Invalid order parameter: expected asc or desc"),
        ({"filter": "Port == 80", "limit": "0"}, "Invalid limit parameter"),
        ({"filter": "Port == 80", "limit": "1001"}, "KONSUL_QUERY_MAX_ROWS"),
        ({"filter": "Port == 80", "limit": "-1"}, "Invalid limit parameter"),
        ({"filter": "Port == 80", "after": "x"}, "Invalid after parameter"),
        ({"filter": "Port == 80", "after": "bnVsbA"}, "Invalid after parameter"),
        ({"filter": "Port == 80", "after": "WyJwb3J0IiwiYXNjIiw3LCJhIl0"}, "Invalid after parameter"),
        (
            {"zone": "a", "sort": "name", "order": "desc", "after": "WyJuYW1lIiwiZGVzYyIsNywiYSJd"},
            "Invalid after",
        ),
        ({"health": "good"}, "Invalid health parameter: expected one of passing, serving, any"),
        ({"health": "critical", "passing": "true"}, "passing and health ask for different things"),
    ],
)
def test_what_is_refused(http: httpx.Client, params: dict[str, str], words: str) -> None:
    for path in ("/services", "/services/query"):
        answer = http.get(path, params=params)
        assert answer.status_code == 400, answer.text
        assert words in answer.json()["message"]


def test_a_filter_that_cannot_be_understood_is_not_waited_for(http: httpx.Client) -> None:
    index = http.get("/services").headers["X-Konsul-Index"]
    answer = http.get("/services", params={"index": index, "wait": "5m", "filter": "Port = 80"})
    assert answer.status_code == 400
    found = http.get("/services", params={"index": index, "wait": "1ms", "filter": "Port == 7"})
    assert ids(found.json()) == ["db"]


def test_a_search_stops_at_its_limits_and_says_so(http: httpx.Client) -> None:
    # The last test of this server: its rows are then too many.
    for start in range(0, 1_020, 100):
        names = [f"x{number:04}" for number in range(start, min(start + 100, 1_020))]
        services = [{"name": name, "address": "h", "port": 1, "ttl": "0"} for name in names]
        answer = http.post("/batch/services/register", json={"services": services})
        assert answer.json()["count"] == len(services), answer.text
    refused = http.get("/services", params={"sort": "port"})
    assert refused.status_code == 400
    assert "KONSUL_QUERY_SORT_MAX_ROWS" in refused.json()["message"]
    assert ids(http.get("/services", params={"sort": "port", "zone": "a"}).json()) == ["web", "api-1"]
    found: list[str] = []
    after: str | None = None
    while True:
        params = {"filter": "Port == 1"} | ({"after": after} if after else {})
        page = http.get("/services", params=params)
        found += ids(page.json())
        after = page.headers.get("X-Konsul-Next-After")
        if after is None:
            break
        assert len(page.json()) <= 1_000
    assert found == [f"x{number:04}" for number in range(1_020)]
    text = http.get("/metrics").text
    assert 'konsul_search_limits_total{limit="rows"} 1.0' in text
    assert 'konsul_search_limits_total{limit="sort"} 1.0' in text
