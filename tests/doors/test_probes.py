"""The probes tell the truth."""

from __future__ import annotations

import httpx
import pytest

from konsul.kernel.node import BEHIND_MAX, unready

HEALTHY = {
    "role": "leader",
    "stopping": False,
    "raft": {"commit_index": 7, "applied_index": 7},
    "disk": {"full": False, "stalled": False},
}


def test_live_and_ready_of_a_healthy_node(http: httpx.Client) -> None:
    for name, status in (("live", "alive"), ("ready", "ready")):
        answer = http.get(f"/health/{name}")
        assert (answer.status_code, answer.json()["status"]) == (200, status)
        assert answer.json().keys() == {"status", "timestamp"}


def test_health_counts_what_is_stored(http: httpx.Client) -> None:
    before = http.get("/health").json()
    http.put("/kv/health/probe", json={"value": "x"})
    http.put("/register", json={"name": "probed", "address": "10.0.0.1", "port": 80})
    after = http.get("/health").json()
    assert after["status"] == "healthy"
    assert after["kv_store"]["total_keys"] == before["kv_store"]["total_keys"] + 1
    assert after["services"] == {"total": 1, "active": 1, "expired": 0}
    assert after["system"].keys() == {"goroutines", "memory_alloc_bytes", "memory_sys_bytes", "num_gc"}
    assert after["raft"]["role"] == "leader"
    assert after["raft"]["applied_index"] >= before["raft"]["applied_index"] + 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"role": "follower"}, "no leader"),
        ({"stopping": True}, "the node is stopping"),
        (
            {"raft": {"commit_index": 8 + BEHIND_MAX, "applied_index": 7}},
            f"{1 + BEHIND_MAX} committed log entries are not applied yet",
        ),
        ({"disk": {"full": False, "stalled": True}}, "the disk does not answer"),
    ],
)
def test_a_node_that_cannot_serve_says_why(change: dict[str, object], reason: str) -> None:
    assert unready(HEALTHY | change) == reason


def test_a_full_disk_leaves_a_node_ready_to_be_read() -> None:
    assert unready(HEALTHY | {"disk": {"full": True, "stalled": False}}) is None
