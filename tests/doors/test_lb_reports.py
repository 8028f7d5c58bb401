"""What clients report of instances: connections and latencies, one by one and many at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest

from tests.conftest import LiveServer
from tests.doors.test_lb_rules import register, said
from tests.doors.test_metrics import scrape, value
from tests.waiting import until


@pytest.fixture
def trio(http: httpx.Client, space: str) -> str:
    """A service with the instances a, b and c; returns its name."""
    for instance in "abc":
        register(http, space, id=instance)
    return space


def report(http: httpx.Client, service: str, **more: Any) -> None:
    answer = said(http.put(f"/lb/report/{service}", json=more))
    assert answer == {"message": "report taken", "service": service}


def loads(http: httpx.Client, service: str) -> dict[str, dict[str, Any]]:
    answer = said(http.get(f"/lb/report/{service}"))
    assert answer["service"] == service
    return {one.pop("id"): one for one in answer["instances"]}


def chosen(http: httpx.Client, service: str, strategy: str) -> str:
    return str(said(http.get(f"/lb/service/{service}", params={"strategy": strategy}))["service"]["id"])


def test_the_least_loaded_is_filled_up_first(http: httpx.Client, trio: str) -> None:
    for instance, connections in (("a", 9), ("b", 3), ("c", 5)):
        report(http, trio, id=instance, client="gateway", connections=connections)
    assert [chosen(http, trio, "least-connections") for _ in range(2)] == ["b", "b"]
    counts = Counter(chosen(http, trio, "least-connections") for _ in range(8))
    assert counts == {"b": 4, "c": 4}
    assert {id: (one["connections"], one["assigned"]) for id, one in loads(http, trio).items()} == {
        "a": (9, 0),
        "b": (3, 6),
        "c": (5, 4),
    }
    report(http, trio, id="a", client="gateway", connections=0)
    assert [chosen(http, trio, "least-connections") for _ in range(5)] == ["a"] * 5


def test_clients_are_told_apart_and_add_up(http: httpx.Client, trio: str) -> None:
    report(http, trio, id="a", client="one", connections=4)
    report(http, trio, id="a", client="two", connections=5)
    report(http, trio, id="a", client="one", connections=1)
    report(http, trio, id="a", connections=10)
    found = loads(http, trio)
    assert (found["a"]["connections"], found["a"]["clients"]) == (16, 3)
    assert found["a"]["age_ms"] >= 0
    assert found["b"] == {
        "connections": 0,
        "clients": 0,
        "assigned": 0,
        "latency_ms": None,
        "age_ms": None,
    }
    samples = scrape(http)
    name = "konsul_load_balancer_active_connections"
    assert value(samples, name, service_name=trio, instance="a") == 16


def test_the_faster_of_two_is_chosen(http: httpx.Client, trio: str) -> None:
    for instance, latency_ms in (("a", 5), ("b", 50.5), ("c", 500)):
        report(http, trio, id=instance, latency_ms=latency_ms)
    assert {id: one["latency_ms"] for id, one in loads(http, trio).items()} == {"a": 5, "b": 50.5, "c": 500}
    counts = Counter(chosen(http, trio, "latency-based") for _ in range(300))
    assert set(counts) == {"a", "b"}
    assert counts["a"] > counts["b"]


def test_what_checks_measure_counts_where_no_client_reports(
    http: httpx.Client, server: LiveServer, space: str
) -> None:
    alive = {"id": f"{space}-alive", "http": f"{server.base_url}/health/live", "interval": "1s"}
    register(http, space, id="checked", checks=[alive])
    register(http, space, id="unchecked")
    until(lambda: loads(http, space)["checked"]["latency_ms"], "a check to be measured")
    found = loads(http, space)
    assert 0 < found["checked"]["latency_ms"] < 10_000
    assert (found["checked"]["clients"], found["unchecked"]["latency_ms"]) == (0, None)
    report(http, space, id="checked", latency_ms=50_000)
    assert loads(http, space)["checked"]["latency_ms"] == 50_000


def test_many_reports_in_one_request(http: httpx.Client, trio: str, space: str) -> None:
    reports = [
        {"name": trio, "id": "a", "connections": 1, "latency_ms": 2},
        {"name": trio, "id": "b", "connections": 2},
        {"name": trio, "id": "gone", "connections": 2},
        {"name": f"{space}-none", "latency_ms": 2.5},
    ]
    answer = said(http.post("/lb/reports", json={"client": "gateway", "reports": reports}))
    assert answer == {
        "message": "reports taken",
        "count": 2,
        "unknown": [{"name": trio, "id": "gone"}, {"name": f"{space}-none", "id": f"{space}-none"}],
    }
    assert {id: one["connections"] for id, one in loads(http, trio).items()} == {"a": 1, "b": 2, "c": 0}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "expected connections or latency_ms"),
        ({"connections": -1}, "Invalid JSON body"),
        ({"connections": 1.5}, "Invalid JSON body"),
        ({"connections": 10**10}, "connections: expected a whole number from 0 to 1000000000"),
        ({"latency_ms": "fast"}, "Invalid JSON body"),
        ({"latency_ms": -0.5}, "latency_ms: expected milliseconds from 0 to 3600000"),
        ({"latency_ms": 1e300}, "latency_ms: expected milliseconds from 0 to 3600000"),
        ({"connections": 1, "client": "c" * 129}, "client: expected up to 128 printable characters"),
        ({"connections": 1, "client": "checks"}, "client: expected up to 128 printable characters"),
        ({"connections": 1, "client": "a\nb"}, "client: expected up to 128 printable characters"),
        ([], "Invalid JSON body"),
    ],
)
def test_a_report_that_cannot_be_is_not_taken(http: httpx.Client, trio: str, body: Any, message: str) -> None:
    more = {"id": "a"}
    refused = said(http.put(f"/lb/report/{trio}", json=body | more if isinstance(body, dict) else body), 400)
    assert refused["message"].startswith(message)
    if isinstance(body, dict) and "client" not in body:
        many = {"reports": [{"name": trio, "id": "b", "connections": 1}, {"name": trio, **body, **more}]}
        assert said(http.post("/lb/reports", json=many), 400)["message"].startswith(message)
    assert {one["clients"] for one in loads(http, trio).values()} == {0}


def test_reports_of_what_is_not_there_are_not_kept(http: httpx.Client, trio: str, space: str) -> None:
    for name, more in ((f"{space}-none", {}), (trio, {"id": "gone"}), (trio, {}), ("x" * 2_000, {})):
        refused = said(http.put(f"/lb/report/{name}", json={"connections": 1, **more}), 404)
        assert refused["message"] == "Service not found"
    assert said(http.get(f"/lb/report/{space}-none"), 404)["message"] == "Service not found"


def test_a_batch_has_a_limit(http: httpx.Client, trio: str) -> None:
    one = {"name": trio, "id": "a", "connections": 1}
    for count in (0, 501):
        refused = said(http.post("/lb/reports", json={"reports": [one] * count}), 400)
        expected = f"reports: expected 1 to 500 (KONSUL_LB_REPORT_BATCH_MAX), not {count}"
        assert refused["message"] == expected
