"""Which service depends on which, over HTTP: declared, refused in a circle, shown with health."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SMALL, LiveServer
from tests.doors.guarded import Guarded, guarded
from tests.doors.metrics_page import sample

LIMITS = {"KONSUL_DEPENDENCIES_MAX_PER_SERVICE": "4", "KONSUL_DEPENDENCIES_MAX_EDGES": "6"}


def declare(http: httpx.Client, name: str, *needed: str, method: str = "POST") -> list[str]:
    answer = http.request(method, f"/services/{name}/dependencies", json={"dependencies": list(needed)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["service"] == name
    found: list[str] = answer.json()["dependencies"]
    return found


def refused(answer: httpx.Response, status: int, message: str) -> None:
    assert (answer.status_code, answer.json()["message"]) == (status, message)


def register(http: httpx.Client, name: str, **more: Any) -> httpx.Response:
    return http.put("/register", json={"name": name, "address": "10.0.0.1", "port": 80, **more})


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    """A client of the module's server, which is left empty."""
    with httpx.Client(base_url=server.base_url, timeout=30, trust_env=False) as client:
        yield client
        for edge in client.get("/services/dependency-graph").raise_for_status().json()["edges"]:
            client.delete(f"/services/{edge['from']}/dependencies").raise_for_status()
        for one in client.get("/services/").json():
            client.delete(f"/deregister/{one['name']}?all=true").raise_for_status()


def test_what_is_declared_is_shown_from_both_ends(http: httpx.Client) -> None:
    assert declare(http, "web", "db", "api") == ["api", "db"]
    assert declare(http, "web", "cache", "api") == ["api", "cache", "db"]
    shown = http.get("/services/web/dependencies").json()
    index = shown.pop("modify_index")
    assert shown == {"service": "web", "dependencies": ["api", "cache", "db"], "dependents": []}
    assert http.get("/services/db/dependencies").json() == {
        "service": "db",
        "dependencies": [],
        "dependents": ["web"],
        "modify_index": 0,
    }
    assert declare(http, "web", "db", "api", "cache", method="PUT") == ["api", "cache", "db"]
    assert http.get("/services/web/dependencies").json()["modify_index"] == index
    assert declare(http, "web", "api", method="PUT") == ["api"]
    refused(http.get("/services/db/dependencies"), 404, "Service not found")
    assert http.delete("/services/web/dependencies").json() == {"service": "web", "dependencies": []}
    refused(http.get("/services/web/dependencies"), 404, "Service not found")
    assert http.delete("/services/web/dependencies").status_code == 200


def test_a_service_with_metadata_shows_what_it_needs(http: httpx.Client) -> None:
    for name in ("web", "db"):
        body = {"name": name, "address": "10.0.0.1", "port": 80}
        assert http.put("/register", json=body).status_code == 200
    declare(http, "web", "db", "api")
    assert http.get("/services/web?metadata=true").json()["dependencies"] == ["api", "db"]
    assert "dependencies" not in http.get("/services/db?metadata=true").json()
    assert http.get("/services/web").json() == {"name": "web", "address": "10.0.0.1", "port": 80}


def test_some_can_be_taken_back(http: httpx.Client) -> None:
    declare(http, "web", "a", "b", "c")
    gone = http.delete("/services/web/dependencies?dependency=a&dependency=x&dependency=c")
    assert gone.json() == {"service": "web", "dependencies": ["b"]}


def test_a_cycle_is_refused_and_named(http: httpx.Client, server: LiveServer) -> None:
    declare(http, "web", "api")
    declare(http, "api", "db")
    before = sample(server.port, "konsul_service_dependency_cycles_refused_total")
    body = {"dependencies": ["cache", "web"]}
    answer = http.post("/services/db/dependencies", json=body)
    refused(answer, 409, "dependency cycle: db -> web -> api -> db")
    refused(
        http.put("/services/x/dependencies", json={"dependencies": ["x"]}), 409, "dependency cycle: x -> x"
    )
    assert http.get("/services/db/dependencies").json()["dependencies"] == []
    assert sample(server.port, "konsul_service_dependency_cycles_refused_total") == before + 2
    # Taking back what it would go through makes room for it.
    declare(http, "api", method="PUT")
    assert declare(http, "db", "web") == ["web"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "dependencies is required: a list of service names"),
        ({"dependencies": "db"}, "Invalid JSON body"),
        ({"dependencies": [1]}, "Invalid JSON body"),
        (
            {"dependencies": ["a b"]},
            "dependency validation failed: invalid service name: a b "
            "(must match ^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$)",
        ),
        (
            {"dependencies": [f"s{number}" for number in range(65)]},
            "dependency validation failed: too many dependencies: 65 (max 64)",
        ),
    ],
)
def test_what_cannot_be_declared_is_refused(http: httpx.Client, body: Any, message: str) -> None:
    refused(http.post("/services/web/dependencies", json=body), 400, message)
    assert http.get("/services/web/dependencies").status_code == 404


def test_a_reserved_name_declares_nothing_and_is_no_service(http: httpx.Client) -> None:
    refused(
        http.post("/services/dependency-graph/dependencies", json={"dependencies": ["a"]}),
        400,
        "service name 'dependency-graph' is reserved",
    )
    refused(register(http, "dependency-graph"), 400, "service name 'dependency-graph' is reserved")


def test_the_graph_has_health_order_and_depth(http: httpx.Client) -> None:
    assert http.get("/services/dependency-graph").json() == {"nodes": [], "edges": [], "order": []}
    declare(http, "web", "api", "db")
    declare(http, "api", "db")
    declare(http, "job", "queue")
    for name in ("web", "api"):
        assert register(http, name).status_code == 200
    assert register(http, "api", id="api-2").status_code == 200
    found = http.get("/services/dependency-graph").json()
    absent = {"passing": 0, "warning": 0, "critical": 0}
    assert found["nodes"] == [
        {"name": "api", "health": "passing", "instances": absent | {"passing": 2}, "depth": 1},
        {"name": "db", "health": "absent", "instances": absent, "depth": 0},
        {"name": "job", "health": "absent", "instances": absent, "depth": 1},
        {"name": "queue", "health": "absent", "instances": absent, "depth": 0},
        {"name": "web", "health": "passing", "instances": absent | {"passing": 1}, "depth": 2},
    ]
    assert found["edges"] == [
        {"from": "api", "to": "db"},
        {"from": "job", "to": "queue"},
        {"from": "web", "to": "api"},
        {"from": "web", "to": "db"},
    ]
    assert found["order"] == ["db", "api", "queue", "job", "web"]
    below = http.get("/services/dependency-graph?root=api").json()
    assert [node["name"] for node in below["nodes"]] == ["api", "db"]
    assert below["edges"] == [{"from": "api", "to": "db"}]
    alone = http.get("/services/dependency-graph?root=queue").json()
    assert ([node["name"] for node in alone["nodes"]], alone["edges"]) == (["queue"], [])
    refused(http.get("/services/dependency-graph?root=nobody"), 404, "Service not found")
    assert http.get("/services/dependency-graph?format=png").status_code == 400
    dot = http.get("/services/dependency-graph?format=dot&root=web")
    assert dot.headers["content-type"] == "text/vnd.graphviz; charset=utf-8"
    assert '  "web" -> "db";' in dot.text.splitlines()
    assert '  "db" [label="db\\nabsent", fillcolor="lightgray"];' in dot.text.splitlines()


def test_the_impact_of_a_failure_is_transitive(http: httpx.Client) -> None:
    declare(http, "edge", "web")
    declare(http, "web", "api", "db")
    declare(http, "api", "db")
    declare(http, "db", "disk")
    register(http, "web")
    found = http.get("/services/db/impact").json()
    assert (found["service"], found["health"]) == ("db", "absent")
    assert [(one["name"], one["depth"], one["health"]) for one in found["dependents"]] == [
        ("api", 1, "absent"),
        ("web", 1, "passing"),
        ("edge", 2, "absent"),
    ]
    assert [(one["name"], one["depth"]) for one in found["dependencies"]] == [("disk", 1)]
    refused(http.get("/services/nobody/impact"), 404, "Service not found")
    refused(http.get("/services/%20/impact"), 404, "Service not found")


def test_declarations_outlive_the_instances(http: httpx.Client) -> None:
    register(http, "web")
    declare(http, "web", "db")
    http.delete("/deregister/web?all=true").raise_for_status()
    assert http.get("/services/web/dependencies").json()["dependencies"] == ["db"]


def test_a_registration_declares_all_or_nothing(http: httpx.Client) -> None:
    assert register(http, "web", dependencies=["db", "api"]).status_code == 200
    assert http.get("/services/web/dependencies").json()["dependencies"] == ["api", "db"]
    # Without the member what was declared stays; with an empty list it goes.
    assert register(http, "web", port=81).status_code == 200
    assert http.get("/services/web/dependencies").json()["dependencies"] == ["api", "db"]
    declare(http, "api", "disk")
    refused(register(http, "disk", dependencies=["web"]), 409, "dependency cycle: disk -> web -> api -> disk")
    assert http.get("/services/disk").status_code == 404
    refused(
        register(http, "disk", dependencies=["a", "a"]),
        400,
        "dependency validation failed: duplicate dependency: a",
    )
    batch = [
        {"name": "disk", "address": "h", "port": 1, "dependencies": ["web"]},
        {"name": "job", "address": "h", "port": 1, "dependencies": ["web"]},
    ]
    answer = http.post("/batch/services/register", json={"services": batch}).json()
    assert answer["failed"] == ["disk"]
    assert answer["errors"] == {"disk": "dependency cycle: disk -> web -> api -> disk"}
    assert http.get("/services/job/dependencies").json()["dependencies"] == ["web"]
    assert register(http, "web", dependencies=[]).status_code == 200
    assert http.get("/services/web/dependencies").json()["dependencies"] == []


def test_of_circles_declared_at_once_none_closes(http: httpx.Client) -> None:
    """Each of eight declares the next one: the last that comes would close the ring."""
    ring = [f"r{number}" for number in range(8)]
    with ThreadPoolExecutor(len(ring)) as pool:
        for _ in range(5):
            pairs = list(zip(ring, [*ring[1:], ring[0]], strict=True))
            answers = list(
                pool.map(
                    lambda pair: (
                        http.post(
                            f"/services/{pair[0]}/dependencies", json={"dependencies": [pair[1]]}
                        ).status_code
                    ),
                    pairs,
                )
            )
            assert sorted(answers) == [200] * 7 + [409]
            for name in ring:
                http.delete(f"/services/{name}/dependencies").raise_for_status()


def test_depth_and_edges_are_counted(http: httpx.Client, server: LiveServer) -> None:
    declare(http, "web", "api", "db")
    declare(http, "api", "db")
    assert sample(server.port, "konsul_service_dependency_edges") == 3
    assert sample(server.port, "konsul_service_dependency_depth", service="web") == 2
    assert sample(server.port, "konsul_service_dependency_depth", service="api") == 1


def test_there_are_no_more_than_the_settings_say(tmp_path: Path) -> None:
    with (
        LiveServer(tmp_path / "data", SMALL | LIMITS) as server,
        httpx.Client(base_url=server.base_url, timeout=30, trust_env=False) as http,
    ):
        refused(
            http.post("/services/web/dependencies", json={"dependencies": list("abcde")}),
            400,
            "dependency validation failed: too many dependencies: 5 (max 4)",
        )
        declare(http, "web", *"abcd")
        declare(http, "api", *"ab")
        full = (
            "there are 6 dependencies already: KONSUL_DEPENDENCIES_MAX_EDGES is 6; "
            "delete those of services that are gone"
        )
        refused(http.post("/services/job/dependencies", json={"dependencies": ["a"]}), 409, full)
        # One for another needs no room.
        assert declare(http, "api", "a", "c", method="PUT") == ["a", "c"]
        declare(http, "web", "a", method="PUT")
        assert declare(http, "job", *"abc") == ["a", "b", "c"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("dependencies")) as found:
        for name, needed in (("web", "api"), ("api", "db"), ("db", "disk")):
            declare(found.admin, name, needed)
        found.policy(
            "part",
            service=[
                {"name": "web", "capabilities": ["read", "write"]},
                {"name": "db", "capabilities": ["read", "write"]},
                {"name": "other", "capabilities": ["read"]},
            ],
        )
        yield found


def test_what_may_not_be_read_is_left_out_but_not_what_is_behind_it(node: Guarded) -> None:
    with node.user("reader", "part") as http:
        found = http.get("/services/dependency-graph").json()
        assert [one["name"] for one in found["nodes"]] == ["db", "web"]
        assert found["edges"] == []
        assert http.get("/services/web/dependencies").json()["dependencies"] == []
        impact = http.get("/services/db/impact").json()
        assert [one["name"] for one in impact["dependents"]] == ["web"]
        assert impact["dependencies"] == []
        assert http.get("/services/api/impact").status_code == 403
        refused(http.get("/services/dependency-graph?root=api"), 404, "Service not found")
        dot = http.get("/services/dependency-graph?format=dot").text
        assert "api" not in dot
        refused(
            http.post("/services/db/dependencies", json={"dependencies": ["web"]}),
            409,
            "dependency cycle: db -> web -> (hidden) -> db",
        )
        assert http.post("/services/other/dependencies", json={"dependencies": ["a"]}).status_code == 403
