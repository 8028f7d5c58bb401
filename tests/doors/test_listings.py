"""Nodes and checks are searched as services are; what a query finds follows what its checks say."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


@pytest.fixture
def shop(http: httpx.Client, space: str) -> str:
    """Two nodes with one instance each, which has a TTL check that passes."""
    for number, zone in ((1, "a"), (2, "b")):
        node = {
            "address": f"10.0.0.{number}",
            "zone": f"{space}-{zone}",
            "meta": {"rack": f"r{number}", "of": space},
        }
        assert http.put(f"/nodes/{space}-n{number}", json=node).status_code == 200
        body: dict[str, Any] = {
            "name": space,
            "id": f"i{number}",
            "address": f"10.0.0.{number}",
            "port": number,
            "ttl": "0",
            "node": f"{space}-n{number}",
            "checks": [
                {"id": f"{space}-c{number}", "name": "alive", "ttl": "1h", "initial_status": "passing"}
            ],
        }
        answer = http.put("/register", json=body)
        assert answer.status_code == 200, answer.text
    return space


def listed(http: httpx.Client, path: str, member: str, **params: str) -> list[str]:
    answer = http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return [one[member] for one in answer.json()]


def test_nodes_are_searched(http: httpx.Client, shop: str) -> None:
    ours = f"Meta.of == `{shop}`"
    one, two = f"{shop}-n1", f"{shop}-n2"
    assert listed(http, "/nodes", "name", filter=ours) == [one, two]
    assert listed(http, "/nodes", "name", filter=f"{ours} and Meta.rack == r2") == [two]
    assert listed(http, "/nodes", "name", filter=f"{ours} and Zone matches `a$`") == [one]
    assert listed(http, "/nodes", "name", zone=f"{shop}-b") == [two]
    assert listed(http, "/nodes", "name", filter=ours, sort="address", order="desc") == [two, one]
    page = http.get("/nodes", params={"filter": ours, "limit": "1"})
    assert [node["name"] for node in page.json()] == [one]
    after = page.headers["X-Konsul-Next-After"]
    assert listed(http, "/nodes", "name", filter=ours, limit="1", after=after) == [two]


def test_checks_are_searched(http: httpx.Client, shop: str) -> None:
    ours = f"ServiceName == `{shop}`"
    one, two = f"{shop}-c1", f"{shop}-c2"
    assert listed(http, "/health/checks", "id", filter=ours) == [one, two]
    assert listed(http, "/health/checks", "id", filter=f"{ours} and ServiceID == i2") == [two]
    assert listed(http, "/health/checks", "id", filter=f"{ours} and Type == ttl and Status != passing") == []
    assert http.put(f"/health/check/{two}/fail", json={"output": "no disk"}).status_code == 200
    assert listed(http, "/health/checks", "id", filter=f"{ours} and Status == critical") == [two]
    assert listed(http, "/health/checks", "id", filter=f"{ours} and Output contains disk") == [two]
    assert listed(http, f"/health/service/{shop}", "id", sort="status", order="desc") == [two, one]


def test_other_selectors_are_refused_by_name(http: httpx.Client) -> None:
    for path, expected in (
        ("/nodes", "Address, Health, Meta, Node, Zone"),
        ("/health/checks", "CheckID, Name"),
    ):
        answer = http.get(path, params={"filter": "Tags is empty"})
        assert answer.status_code == 400
        assert f'unknown selector "Tags": expected {expected}' in answer.json()["message"]


def found(http: httpx.Client, service: dict[str, Any], **params: str) -> list[str]:
    made = http.post("/query", json={"service": service})
    assert made.status_code == 201, made.text
    answer = http.get(f"/query/{made.json()['id']}/execute", params=params)
    assert answer.status_code == 200, answer.text
    assert http.delete(f"/query/{made.json()['id']}").status_code == 200
    return sorted(one["id"] for one in answer.json()["instances"])


def test_what_a_query_finds_follows_what_checks_say(http: httpx.Client, shop: str) -> None:
    everything = {"service": shop}
    passing = {"service": shop, "only_passing": True}
    ignoring = {"service": shop, "ignore_check_ids": [f"{shop}-c2", "other"]}
    assert found(http, everything) == ["i1", "i2"]
    assert http.put(f"/health/check/{shop}-c2/warn").status_code == 200
    assert found(http, everything) == ["i1", "i2"]
    assert found(http, passing) == ["i1"]
    assert found(http, everything, passing="true") == ["i1"]
    assert found(http, {**passing, **ignoring}) == ["i1", "i2"]
    assert http.put(f"/health/check/{shop}-c2/fail").status_code == 200
    assert found(http, everything) == ["i1"]
    assert found(http, ignoring) == ["i1", "i2"]
    assert found(http, {"service": shop, "node_meta": {"rack": "r1", "of": shop}}) == ["i1"]
    assert found(http, {**ignoring, "node_meta": {"rack": "r2"}, "filter": "Health == critical"}) == ["i2"]
    searched = http.get("/services", params={"name": shop, "health": "critical"}).json()
    assert [one["id"] for one in searched] == ["i2"]
    assert [
        one["id"] for one in http.get("/services", params={"name": shop, "health": "serving"}).json()
    ] == ["i1"]


def test_maintenance_is_a_check_that_can_be_ignored_only_by_name(http: httpx.Client, shop: str) -> None:
    assert http.put(f"/services/{shop}/maintenance?enable=true&id=i1&reason=x").status_code == 200
    assert found(http, {"service": shop}) == ["i2"]
    ids = listed(http, f"/health/service/{shop}", "id", filter="Type == maintenance")
    assert len(ids) == 1
    assert found(http, {"service": shop, "ignore_check_ids": ids}) == ["i1", "i2"]
