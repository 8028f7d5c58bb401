"""Checks over HTTP: made, told, run, read; and what their status does to whoever they are checks of."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.checks.counting import Counting
from tests.process import free_port
from tests.waiting import until

WEB = {"address": "127.0.0.1", "port": 80}
ZERO_TIME = "0001-01-01T00:00:00Z"


@pytest.fixture
def target() -> Iterator[Counting]:
    with Counting() as running:
        yield running


def register(http: httpx.Client, name: str, *checks: dict[str, Any], **members: Any) -> None:
    body = WEB | {"name": name, "checks": list(checks)} | members
    answer = http.put("/register", json=body)
    assert answer.status_code == 200, answer.text


def check(http: httpx.Client, id: str) -> dict[str, Any]:
    answer = http.get(f"/health/check/{id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def until_status(http: httpx.Client, id: str, status: str) -> dict[str, Any]:
    until(lambda: check(http, id)["status"] == status, f"check {id} to be {status}")
    return check(http, id)


def passing(http: httpx.Client, name: str) -> list[str]:
    found = http.get(f"/services/{name}/instances", params={"passing": "true"}).json()
    return [one.get("id", name) for one in found]


def index_of(http: httpx.Client) -> int:
    return int(http.get("/kv/nothing-here").headers["x-konsul-index"])


def test_an_instance_serves_while_its_target_does(http: httpx.Client, space: str, target: Counting) -> None:
    register(http, space, {"id": f"{space}-c", "http": f"{target.url}/up", "interval": "200ms"})
    found = until_status(http, f"{space}-c", "passing")
    assert found["output"].startswith("HTTP 200 200 OK")
    assert (found["service"], found["service_id"], found["type"]) == (space, space, "http")
    assert (found["interval"], found["timeout"]) == (200_000_000, 10_000_000_000)
    assert found["expires_at"] == ZERO_TIME
    assert found["changed_at"] > ZERO_TIME
    assert found["results"][-1]["status"] == "passing"
    assert found["last_check"] >= found["results"][0]["at"]
    assert passing(http, space) == [space]
    assert http.get(f"/lb/service/{space}").json()["service"]["name"] == space
    target.status = 500
    until(lambda: passing(http, space) == [], "the instance to leave those that pass")
    # What was told to one reader is true for all of them.
    assert http.get(f"/lb/service/{space}").status_code == 404
    assert check(http, f"{space}-c")["status"] == "critical"
    target.status = 200
    until(lambda: passing(http, space) == [space], "it to come back")


def test_the_history_tells_results_and_transitions(http: httpx.Client, space: str, target: Counting) -> None:
    register(http, space, {"id": f"{space}-c", "http": target.url, "interval": "100ms"})
    until_status(http, f"{space}-c", "passing")
    target.status = 503
    until_status(http, f"{space}-c", "critical")
    until(lambda: len(history(http, space)["results"]) == 10, "ten results")
    found = history(http, space)
    assert (found["check_id"], found["status"]) == (f"{space}-c", "critical")
    assert [(one["from"], one["to"]) for one in found["transitions"]] == [
        ("critical", "passing"),
        ("passing", "critical"),
    ]
    last = found["results"][-1]
    assert (last["status"], last["said"], last["flapping"]) == ("critical", "critical", False)
    assert last["output"].startswith("HTTP 503 503 Service Unavailable")
    assert found["results"] == sorted(found["results"], key=lambda one: str(one["at"]))
    assert found["runner"]


def history(http: httpx.Client, space: str) -> dict[str, Any]:
    return dict(http.get(f"/health/check/{space}-c/history").json())


def test_a_ttl_check_says_what_it_is_told(http: httpx.Client, space: str) -> None:
    register(http, space, {"id": f"{space}-t", "ttl": "1h"})
    found = check(http, f"{space}-t")
    assert (found["status"], found["output"], found["type"]) == ("critical", "", "ttl")
    answer = http.put(f"/health/check/{space}-t")
    assert answer.json() == {"check_id": f"{space}-t", "message": "TTL check updated"}
    found = check(http, f"{space}-t")
    assert (found["status"], found["output"], found["ttl"]) == (
        "passing",
        "TTL check passed",
        3_600_000_000_000,
    )
    assert found["expires_at"] > found["last_check"] > ZERO_TIME
    assert passing(http, space) == [space]
    for word, status in (("warn", "warning"), ("fail", "critical"), ("pass", "passing")):
        assert http.put(f"/health/check/{space}-t/{word}", json={"output": f"said {word}"}).status_code == 200
        found = check(http, f"{space}-t")
        assert (found["status"], found["output"]) == (status, f"said {word}")
    http.put(f"/health/check/{space}-t/fail", params={"note": "by note"})
    assert check(http, f"{space}-t")["output"] == "by note"
    assert passing(http, space) == []
    body = {"status": "warning", "output": "by update"}
    assert http.put(f"/health/check/{space}-t/update", json=body).status_code == 200
    assert check(http, f"{space}-t")["status"] == "warning"


def test_renewing_what_it_says_writes_nothing(http: httpx.Client, space: str) -> None:
    register(http, space, {"id": f"{space}-t", "ttl": "1h"}, ttl="1h")
    http.put(f"/health/check/{space}-t")
    before = index_of(http)
    for _ in range(5):
        assert http.put(f"/health/check/{space}-t").status_code == 200
        assert http.put(f"/health/check/{space}-t/pass").status_code == 200
    assert index_of(http) == before


def test_a_ttl_that_ends_is_critical(http: httpx.Client, space: str) -> None:
    register(http, space, {"id": f"{space}-t", "ttl": "500ms"})
    http.put(f"/health/check/{space}-t")
    found = until_status(http, f"{space}-t", "critical")
    assert found["output"] == "TTL expired"
    assert passing(http, space) == []
    assert http.put(f"/health/check/{space}-t/definition", json={"ttl": "1h"}).status_code == 200
    http.put(f"/health/check/{space}-t")
    assert check(http, f"{space}-t")["status"] == "passing"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/health/check/absent"),
        ("PUT", "/health/check/absent/pass"),
        ("PUT", "/health/check/absent/fail"),
        ("PUT", "/health/check/absent/warn"),
    ],
)
def test_telling_an_unknown_check_is_400_as_it_was(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.json()["message"]) == (400, "check not found")


def test_anything_else_of_an_unknown_check_is_404(http: httpx.Client) -> None:
    for path in ("/health/check/absent", "/health/check/absent/history"):
        assert http.get(path).status_code == 404
    assert http.delete("/health/check/absent").status_code == 404
    assert http.put("/health/check/absent/definition", json={"ttl": "1h"}).status_code == 404


def test_only_a_ttl_check_can_be_told(http: httpx.Client, space: str) -> None:
    register(http, space, {"id": f"{space}-c", "tcp": f"127.0.0.1:{free_port()}"})
    for word in ("", "/pass", "/warn", "/fail"):
        answer = http.put(f"/health/check/{space}-c{word}")
        assert (answer.status_code, answer.json()["message"]) == (400, "check is not a TTL check")
    answer = http.put(f"/health/check/{space}-c/update", json={"status": "odd"})
    assert answer.status_code == 400


def test_a_check_is_made_defined_anew_and_deleted(http: httpx.Client, space: str, target: Counting) -> None:
    register(http, space)
    assert passing(http, space) == [space]
    body = {"service": space, "id": f"{space}-x", "http": f"{target.url}/x", "interval": "100ms"}
    answer = http.post("/health/check", json=body)
    assert answer.json() == {"check_id": f"{space}-x", "message": "check registered"}
    until_status(http, f"{space}-x", "passing")
    target.status = 404
    until_status(http, f"{space}-x", "critical")
    # The same again changes nothing; another definition makes another check of it.
    assert http.post("/health/check", json=body).status_code == 200
    assert check(http, f"{space}-x")["status"] == "critical"
    new = {"http": f"{target.url}/y", "interval": "100ms", "expected_status": "404"}
    assert http.put(f"/health/check/{space}-x/definition", json=new).status_code == 200
    found = until_status(http, f"{space}-x", "passing")
    assert (found["http"], found["expected_status"]) == (f"{target.url}/y", "404")
    # A registration that comes without it leaves it.
    register(http, space)
    assert [one["id"] for one in http.get(f"/health/service/{space}").json()] == [f"{space}-x"]
    target.status = 500
    until(lambda: passing(http, space) == [], "it to be critical")
    answer = http.delete(f"/health/check/{space}-x")
    assert answer.json() == {"check_id": f"{space}-x", "message": "check deleted"}
    assert http.get(f"/health/service/{space}").json() == []
    assert passing(http, space) == [space]


def test_a_deleted_check_is_run_no_more(http: httpx.Client, space: str, target: Counting) -> None:
    register(http, space, {"id": f"{space}-c", "http": f"{target.url}/{space}", "interval": "100ms"})
    until(lambda: target.hits(f"/{space}") >= 2, "it to run")
    http.delete(f"/deregister/{space}")
    other = f"{space}-after"
    register(http, other, {"id": f"{other}-c", "http": f"{target.url}/{other}", "interval": "100ms"})
    until(lambda: target.hits(f"/{other}") >= 1, "the other to begin")
    before = target.hits(f"/{space}")
    until(lambda: target.hits(f"/{other}") >= 8, "the other to run on")
    assert target.hits(f"/{space}") <= before + 1


def test_a_node_has_checks_of_its_own_and_its_instances_are_never_better(
    http: httpx.Client, space: str
) -> None:
    register(http, space, node=f"node-{space}")
    body = {"node": f"node-{space}", "id": f"{space}-n", "ttl": "1h"}
    assert http.post("/health/check", json=body).status_code == 200
    assert passing(http, space) == []
    found = http.get(f"/health/node/node-{space}").json()
    assert [(one["id"], one["node"], one["status"]) for one in found] == [
        (f"{space}-n", f"node-{space}", "critical")
    ]
    http.put(f"/health/check/{space}-n/pass")
    assert passing(http, space) == [space]
    http.put(f"/health/check/{space}-n/fail")
    assert passing(http, space) == []


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"id": "x", "ttl": "1h"}, 400, "a check is of a service, or of a node"),
        ({"service": "web", "node": "n", "ttl": "1h"}, 400, "a check is of a service, or of a node"),
        ({"service": "no-such-service", "ttl": "1h"}, 404, "Service not found"),
        ({"node": "no-such-node", "ttl": "1h"}, 404, "Node not found"),
        ({"service": "web", "http": "nonsense"}, 400, "invalid http"),
        ({"service": "web", "http": "http://a/", "interval": "0s"}, 400, "invalid interval"),
        ({"service": "web", "http": "http://a/", "expected_body": "a("}, 400, "invalid expected_body"),
        ({"service": 5}, 400, "Invalid JSON body"),
    ],
)
def test_what_cannot_be_a_check_is_refused_with_words(
    http: httpx.Client, body: dict[str, Any], status: int, message: str
) -> None:
    answer = http.post("/health/check", json=body)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["message"]


def test_an_id_belongs_to_whoever_had_it_first(http: httpx.Client, space: str) -> None:
    register(http, space, {"id": f"{space}-c", "ttl": "1h"})
    register(http, f"{space}-b")
    answer = http.post("/health/check", json={"service": f"{space}-b", "id": f"{space}-c", "ttl": "1h"})
    assert answer.status_code == 400
    assert "belongs to service" in answer.json()["message"]


def test_listings_filter_page_and_are_never_null(http: httpx.Client, space: str) -> None:
    register(http, space, *({"id": f"{space}-{n}", "name": f"check {n}", "ttl": "1h"} for n in range(5)))
    http.put(f"/health/check/{space}-1")
    http.put(f"/health/check/{space}-2/warn")

    def ids(path: str, **params: str) -> list[str]:
        answer = http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json() if one.get("service") == space]

    all_ = [f"{space}-{n}" for n in range(5)]
    assert ids("/health/checks") == ids(f"/health/service/{space}") == all_
    assert ids("/health/checks", service=space, status="warning") == [f"{space}-2"]
    assert ids("/health/state/passing") == [f"{space}-1"]
    assert ids("/health/state/any", filter='Name matches "check [34]"') == all_[3:]
    first = http.get(f"/health/service/{space}", params={"limit": "2"})
    assert [one["id"] for one in first.json()] == all_[:2]
    rest = {"limit": "9", "after": first.headers["x-konsul-next-after"]}
    assert [one["id"] for one in http.get(f"/health/service/{space}", params=rest).json()] == all_[2:]
    assert http.get("/health/service/nobody").json() == []
    assert http.get("/health/node/nobody").json() == []
    assert http.get("/health/state/odd").status_code == 400
    assert http.get("/health/checks", params={"filter": "Nonsense =="}).status_code == 400


def test_a_listing_can_be_waited_for(http: httpx.Client, space: str) -> None:
    register(http, space, {"id": f"{space}-t", "ttl": "1h"}, ttl="1h")
    index = http.get(f"/health/service/{space}").headers["x-konsul-index"]
    found: list[Any] = []

    def wait() -> None:
        params = {"index": index, "wait": "30s"}
        found.append(httpx.get(f"{http.base_url}/health/service/{space}", params=params, timeout=60).json())

    waiting = threading.Thread(target=wait)
    waiting.start()
    http.put(f"/health/check/{space}-t")
    waiting.join(60)
    assert found[0][0]["status"] == "passing"


def test_an_alias_is_as_healthy_as_what_it_stands_for(http: httpx.Client, space: str) -> None:
    register(http, f"{space}-db", {"id": f"{space}-t", "ttl": "1h"})
    register(http, space, {"id": f"{space}-a", "alias_service": f"{space}-db"})
    http.put(f"/health/check/{space}-t")
    until_status(http, f"{space}-a", "passing")
    http.put(f"/health/check/{space}-t/warn")
    found = until_status(http, f"{space}-a", "warning")
    assert found["output"] == f"service {space}-db is warning: instance {space}-db"
    http.delete(f"/deregister/{space}-db")
    found = until_status(http, f"{space}-a", "critical")
    assert found["output"] == f"there is no service {space}-db"


def test_thresholds_hold_a_change_back(http: httpx.Client, space: str, target: Counting) -> None:
    register(
        http,
        space,
        {
            "id": f"{space}-c",
            "http": f"{target.url}/{space}",
            "interval": "100ms",
            "success_before_passing": 3,
            "failures_before_critical": 3,
        },
    )
    until_status(http, f"{space}-c", "passing")
    target.status = 500
    before = target.hits(f"/{space}")
    until_status(http, f"{space}-c", "critical")
    # One attempt may have been under way when the target changed.
    assert target.hits(f"/{space}") - before >= 2


def test_an_instance_that_is_critical_for_too_long_goes(http: httpx.Client, space: str) -> None:
    closed = f"127.0.0.1:{free_port()}"
    register(
        http,
        space,
        {"id": f"{space}-c", "tcp": closed, "interval": "200ms", "deregister_critical_after": "1s"},
        ttl="1h",
    )
    until_status(http, f"{space}-c", "critical")
    until(lambda: http.get(f"/services/{space}").status_code == 404, "the instance to be deregistered")
    assert http.get(f"/health/check/{space}-c").status_code == 404


def test_what_is_repaired_in_time_stays(http: httpx.Client, space: str, target: Counting) -> None:
    one = {"http": target.url, "interval": "100ms", "deregister_critical_after": "1s"}
    register(http, space, {"id": f"{space}-c", **one}, ttl="1h")
    gone = f"{space}-gone"
    closed = {"tcp": f"127.0.0.1:{free_port()}", "deregister_critical_after": "1s"}
    until_status(http, f"{space}-c", "passing")
    register(http, gone, {"id": f"{gone}-c", "interval": "100ms", **closed}, ttl="1h")
    until(lambda: http.get(f"/services/{gone}").status_code == 404, "the other to go")
    assert passing(http, space) == [space]


def test_initial_status_counts_until_the_first_run(http: httpx.Client, space: str) -> None:
    register(http, space, {"id": f"{space}-t", "ttl": "1h", "initial_status": "passing"})
    assert check(http, f"{space}-t")["status"] == "passing"
    assert passing(http, space) == [space]


def test_maintenance_is_no_check_to_be_told_or_deleted(http: httpx.Client, space: str) -> None:
    register(http, space)
    http.put(f"/services/{space}/maintenance", params={"enable": "true", "reason": "new disk"})
    (found,) = http.get(f"/health/service/{space}").json()
    assert (found["type"], found["status"], found["output"]) == ("maintenance", "critical", "new disk")
    where = httpx.URL(f"{http.base_url}").copy_with(path=f"/health/check/{found['id']}")
    assert http.delete(where).status_code == 400
    assert http.put(where).status_code == 400
    http.put(f"/services/{space}/maintenance", params={"enable": "false"})
    assert http.get(f"/health/service/{space}").json() == []


def test_what_runs_is_on_the_page_of_metrics(http: httpx.Client, space: str, target: Counting) -> None:
    register(http, space, {"id": f"{space}-c", "http": target.url, "interval": "100ms"})
    until_status(http, f"{space}-c", "passing")
    page = http.get("/metrics").text
    for line in (
        'konsul_health_check_results_total{status="passing",type="http"}',
        'konsul_health_check_duration_seconds_count{type="http"}',
        "konsul_health_check_lateness_seconds_count",
        "konsul_health_checks_assigned",
        'konsul_health_check_reports_total{result="written"}',
    ):
        assert line in page, line
