"""A node of this version whose leader is of an older one, in the middle of a rolling upgrade."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ask import Answer
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)
NEW_PATHS = (
    "/nodes",
    "/health/checks",
    "/health/service/web",
    "/health/state/critical",
    "/sessions",
    "/query",
    "/services/dependency-graph",
    "/services/web/dependencies",
    "/services/web/impact",
)
BASIC_PATHS = (
    "/services",
    "/services/web",
    "/services?passing=true",
    "/services/web/instances?passing=true",
    "/services/query?tags=t&health=serving",
    "/lb/service/web",
    "/lb/service/web?strategy=zone-aware",
    "/kv/a",
    "/kv/a?metadata=true",
    "/kv/?recurse=true",
    "/metrics",
    "/health",
)


@pytest.fixture
def upgrading(tmp_path: Path) -> Iterator[Cluster]:
    """n1 leads with the older schema, alone with a vote; n2 is of this version."""
    settings = {"KONSUL_AUTOPILOT_SERVER_STABILIZATION_TIME": "1h"}
    cluster = Cluster(tmp_path, 2, settings=settings, expect=False, through_links=False)
    cluster.nodes["n1"].module = "tests.cluster.harness.older"
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def asked(node: Node, method: str, path: str, body: object = None) -> Answer:
    answer = node.ask(method, path, body)
    assert answer.status < 500 or answer.status == 503, (method, path, answer.status, answer.body)
    return answer


def basics(node: Node) -> None:
    """What went on before goes on."""
    for path, body in (
        ("/register", {"name": "web", "address": "10.0.0.1", "port": 80, "tags": ["t"], "ttl": "1h"}),
        ("/kv/a", {"value": "1"}),
        ("/kv/a?raw", "2"),
        ("/heartbeat/web", None),
    ):
        answer = asked(node, "PUT", path, body)
        assert answer.status == 200, (path, answer.status, answer.body)
    batch = {"services": [{"name": "api", "address": "10.0.0.2", "port": 81}]}
    assert asked(node, "POST", "/batch/services/register", batch).status == 200
    items = {"items": {"b": "1", "c": "2"}}
    assert asked(node, "POST", "/batch/kv/set", items).status == 200
    for path in BASIC_PATHS:
        answer = asked(node, "GET", path)
        assert answer.status == 200, (path, answer.status, answer.body)
    assert "10.0.0.1" in asked(node, "GET", "/lb/service/web").body.decode()
    assert asked(node, "DELETE", "/kv/b").status == 200
    assert asked(node, "DELETE", "/deregister/api").status == 200


def test_what_the_leader_cannot_store_waits_and_the_rest_goes_on(upgrading: Cluster) -> None:
    n1, n2 = upgrading.nodes["n1"], upgrading.nodes["n2"]
    basics(n2)
    assert asked(n2, "GET", "/services?health=critical").json() == []
    for path in NEW_PATHS:
        assert asked(n2, "GET", path).status == 200, path
    checked = {"name": "db", "address": "10.0.0.3", "port": 82, "checks": [{"id": "c", "ttl": "1h"}]}
    writes = (
        ("PUT", "/register", checked),
        ("PUT", "/nodes/m1", {"zone": "a"}),
        ("POST", "/sessions", {"name": "s"}),
        ("POST", "/query", {"name": "q", "service": {"service": "web"}}),
        ("PUT", "/services/web/maintenance?enable=true", None),
        ("POST", "/services/web/dependencies", {"dependencies": ["db"]}),
    )
    for method, path, body in writes:
        answer = asked(n2, method, path, body)
        assert (answer.status, b"being upgraded" in answer.body) == (503, True), (path, answer.body)
    n1.stop()
    n1.module = "konsul.server"
    n1.launch()
    upgrading.until_ready()
    until(lambda: asked(n2, "PUT", "/register", checked).status == 200, "the new schema")
    for method, path, body in writes:
        assert asked(n2, method, path, body).status in (200, 201), path
    found = asked(n2, "GET", "/services?health=critical").json()
    assert sorted(one["name"] for one in found) == ["db", "web"], "what was registered before is in the index"
    assert asked(n2, "PUT", "/services/web/maintenance?enable=false").status == 200
    basics(n2)
