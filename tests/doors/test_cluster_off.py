"""A single node says of every cluster route that it has no cluster, and stays what it was."""

from __future__ import annotations

import httpx
import pytest

from konsul.features.cluster.routes import router
from konsul.kernel.routing import Route

ROUTES = sorted(
    (method, route.path)
    for route in router.routes
    if isinstance(route, Route)
    for method in route.methods or ()
)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_there_is_no_cluster_here(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path.replace("{id}", "n1"), json={"node_id": "n2", "address": "h:7000"})
    assert answer.status_code == 503
    assert answer.json()["error"] == "clustering not enabled"
    assert "KONSUL_RAFT_ENABLED" in answer.json()["message"]


def test_health_says_nothing_of_a_cluster(http: httpx.Client) -> None:
    assert "cluster" not in http.get("/health").json()
    assert http.get("/health/ready").status_code == 200
