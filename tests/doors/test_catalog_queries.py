"""Finding services by tag and metadata over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


@pytest.fixture
def fleet(http: httpx.Client, space: str) -> str:
    """Three services whose tags and metadata overlap; returns the space their tags and keys carry."""
    for name, port, tags, team in (
        ("c", 3, ["all", "red"], "one"),
        ("a", 1, ["all", "red", "blue"], "two"),
        ("b", 2, ["all", "blue"], "one"),
    ):
        body = {
            "name": f"{space}-{name}",
            "address": "h",
            "port": port,
            "tags": [f"{space}:{tag}" for tag in tags],
            "meta": {f"{space}-team": team, "other": "x=y"},
        }
        assert http.put("/register", json=body).status_code == 200
    return space


def found(http: httpx.Client, path: str, params: list[tuple[str, str]]) -> tuple[list[str], Any]:
    answer = http.get(path, params=tuple(params))
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert list(document) == ["count", "query", "services"]
    assert document["count"] == len(document["services"])
    return [one["name"][-1] for one in document["services"]], document["query"]


def test_by_tags(http: httpx.Client, fleet: str) -> None:
    one, red, blue = f"{fleet}:all", f"{fleet}:red", f"{fleet}:blue"
    path = "/services/query/tags"
    assert found(http, path, [("tags", one)]) == (["a", "b", "c"], {"tags": [one]})
    assert found(http, path, [("tag", red)]) == (["a", "c"], {"tags": [red]})
    assert found(http, path, [("tags", red), ("tag", blue)]) == (["a"], {"tags": [red, blue]})
    assert found(http, path, [("tags", f"{red},{blue}")]) == ([], {"tags": [f"{red},{blue}"]})
    assert found(http, path, [("tags", red), ("tags", red)])[0] == ["a", "c"]
    assert found(http, path, [("tags", "t" * 900)])[0] == []
    assert found(http, path, [("tags", "\0")])[0] == []


def test_by_metadata(http: httpx.Client, fleet: str) -> None:
    team, path = f"{fleet}-team", "/services/query/metadata"
    assert found(http, path, [(team, "one")]) == (["b", "c"], {"metadata": {team: "one"}})
    assert found(http, path, [(team, "one"), ("other", "x=y")])[0] == ["b", "c"]
    assert found(http, path, [(team, "one"), ("other", "x")])[0] == []
    assert found(http, path, [(team, "one"), (team, "two")])[0] == []
    assert found(http, path, [(team, "on")])[0] == []
    assert found(http, path, [(team, "one"), ("tags", f"{fleet}:all")])[0] == []
    assert found(http, path, [(team, "")])[0] == []


def test_by_both(http: httpx.Client, fleet: str) -> None:
    team, red = f"{fleet}-team", f"{fleet}:red"
    query = {"tags": [red], "metadata": {team: "one"}}
    assert found(http, "/services/query", [("tags", red), (f"meta.{team}", "one")]) == (["c"], query)
    only_meta = found(http, "/services/query", [(f"meta.{team}", "one"), ("ignored", "1")])
    assert only_meta == (["b", "c"], {"tags": [], "metadata": {team: "one"}})
    assert found(http, "/services/query", [("tag", red)])[1] == {"tags": [red], "metadata": {}}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/services/query/tags", "At least one tag must be specified"),
        ("/services/query/tags?other=1", "At least one tag must be specified"),
        ("/services/query/metadata", "At least one metadata filter must be specified"),
        ("/services/query", "At least one tag or metadata filter must be specified"),
        ("/services/query?team=a", "At least one tag or metadata filter must be specified"),
        (
            "/services/query/tags?" + "&".join(f"tag={n}" for n in range(33)),
            "too many filters: 33 (max 29)",
        ),
    ],
)
def test_a_query_needs_a_filter_and_not_too_many(http: httpx.Client, path: str, message: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert answer.json()["message"] == message


def test_what_changed_is_found_under_its_new_values_only(http: httpx.Client, fleet: str) -> None:
    body = {"name": f"{fleet}-a", "address": "h", "port": 1, "tags": [f"{fleet}:green"]}
    assert http.put("/register", json=body).status_code == 200
    path = "/services/query/tags"
    assert found(http, path, [("tags", f"{fleet}:red")])[0] == ["c"]
    assert found(http, path, [("tags", f"{fleet}:green")])[0] == ["a"]
    assert found(http, "/services/query/metadata", [(f"{fleet}-team", "two")])[0] == []
    http.delete(f"/deregister/{fleet}-a")
    assert found(http, path, [("tags", f"{fleet}:green")])[0] == []


def test_instances_are_found_each_by_itself(http: httpx.Client, fleet: str) -> None:
    for number in range(3):
        body = {
            "name": f"{fleet}-a",
            "id": str(number),
            "address": "h",
            "port": 10 + number,
            "tags": [f"{fleet}:many"],
        }
        http.put("/register", json=body)
    document = http.get(f"/services/query/tags?tags={fleet}:many").json()
    assert [one["id"] for one in document["services"]] == ["0", "1", "2"]


def test_more_than_a_page_is_found(http: httpx.Client, space: str) -> None:
    for start in range(0, 1_100, 100):
        services = [
            {"name": f"{space}-{number:04}", "address": "h", "port": 1, "tags": [f"{space}:big"]}
            for number in range(start, start + 100)
        ]
        answer = http.post("/batch/services/register", json={"services": services})
        assert answer.json()["count"] == 100, answer.text
    document = http.get(f"/services/query/tags?tag={space}:big").json()
    assert [one["name"] for one in document["services"]] == [
        f"{space}-{number:04}" for number in range(1_100)
    ]
    listed = [one["name"] for one in http.get("/services/").json() if one["name"].startswith(space)]
    assert len(listed) == 1_100


def test_queries_are_counted(http: httpx.Client, fleet: str) -> None:
    http.get(f"/services/query/tags?tags={fleet}:all")
    page = http.get("/metrics").text
    assert 'konsul_service_query_total{query_type="tags",status="success"}' in page
    assert 'konsul_service_query_results_count_bucket{le="5.0",query_type="tags"}' in page
    assert "konsul_service_tags_per_service_bucket" in page
