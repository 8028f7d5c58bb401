"""Balancing where rules bind: whom one is sent to, what one may see and change, on whom one may report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.doors.guarded import Guarded, guarded
from tests.doors.test_lb_rules import register, said


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("balanced")) as found:
        for name in ("api", "db", "hid", "web"):
            for instance in ("a", "b"):
                register(found.admin, name, id=instance, tags=["t"])
        found.policy(
            "part",
            service=[
                {"name": "api", "capabilities": ["read", "list", "write"]},
                {"name": "web", "capabilities": ["read"]},
                {"name": "db", "capabilities": ["list"]},
            ],
        )
        found.policy("none", kv=[{"path": "elsewhere", "capabilities": ["read"]}])
        yield found


@pytest.fixture(scope="module")
def reader(node: Guarded) -> Iterator[httpx.Client]:
    with node.user("reader", "part") as client:
        yield client


@pytest.fixture(scope="module")
def stranger(node: Guarded) -> Iterator[httpx.Client]:
    with node.user("stranger", "none") as client:
        yield client


@pytest.mark.parametrize("strategy", ["round-robin", "random", "ring-hash", "zone-aware", "weighted-random"])
def test_nobody_is_sent_where_he_may_not_look_whoever_asked_before(
    node: Guarded, reader: httpx.Client, stranger: httpx.Client, strategy: str
) -> None:
    path = f"/lb/tags?tags=t&limit=100&zone=z&strategy={strategy}"
    for _ in range(3):
        every = said(node.admin.get(path))["services"]
        assert {one["name"] for one in every} == {"api", "db", "hid", "web"}
        seen = said(reader.get(path))["services"]
        assert {one["name"] for one in seen} == {"api", "web"}
        assert said(stranger.get(path), 403)["error"] == "forbidden"


def test_the_rules_of_a_service_are_seen_and_changed_by_who_may(
    node: Guarded, reader: httpx.Client, stranger: httpx.Client
) -> None:
    every = ["api", "db", "hid", "web"]
    for name in every:
        said(node.admin.put(f"/lb/rules/{name}", json={"strategy": "random"}))
    assert [one["service"] for one in said(node.admin.get("/lb/rules"))["rules"]] == every
    assert [one["service"] for one in said(reader.get("/lb/rules"))["rules"]] == ["api", "db", "web"]
    assert said(reader.get("/lb/rules/web"))["rules"] == {"strategy": "random"}
    assert said(reader.get("/lb/rules/db"), 403)
    assert said(stranger.get("/lb/rules"), 403)
    split = {"rules": [{"name": "blue", "tags": ["t"]}], "active": "blue"}
    changes: list[tuple[str, str, Any]] = [
        ("PUT", "/lb/rules/{}", {"strategy": "ring-hash"}),
        ("PUT", "/lb/service/{}/split", split),
        ("PUT", "/lb/rules/{}/active", {"active": "blue"}),
        ("DELETE", "/lb/service/{}/split", None),
        ("DELETE", "/lb/rules/{}", None),
    ]
    for method, path, body in changes:
        assert said(reader.request(method, path.format("web"), json=body), 403), path
        assert said(reader.request(method, path.format("api"), json=body)), path
    assert said(node.admin.get("/lb/rules/web"))["rules"] == {"strategy": "random"}
    assert said(node.admin.get("/lb/rules/web"))["set_by"] != ""


def test_reports_are_taken_from_who_may_write_the_service(node: Guarded, reader: httpx.Client) -> None:
    said(reader.put("/lb/report/api", json={"id": "a", "client": "x", "connections": 3}))
    assert said(reader.put("/lb/report/web", json={"id": "a", "connections": 3}), 403)
    both = [{"name": name, "id": "b", "connections": 4} for name in ("api", "web")]
    assert said(reader.post("/lb/reports", json={"reports": both}), 403)
    assert said(reader.post("/lb/reports", json={"reports": both[:1]}))["count"] == 1
    # Under the same client name another caller's word stands beside, not in place of it.
    said(node.admin.put("/lb/report/api", json={"id": "a", "client": "x", "connections": 2}))
    found = said(reader.get("/lb/report/api"))["instances"]
    assert [(one["id"], one["connections"], one["clients"]) for one in found] == [("a", 5, 2), ("b", 4, 1)]
    assert said(reader.get("/lb/report/db"), 403)
    assert {one["connections"] for one in said(reader.get("/lb/report/web"))["instances"]} == {0}


def test_the_nodes_strategy_is_for_administrators(node: Guarded, reader: httpx.Client) -> None:
    assert said(reader.put("/lb/strategy", json={"strategy": "random"}), 403)
    said(node.admin.put("/lb/strategy", json={"strategy": "round-robin"}))
