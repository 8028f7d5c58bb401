"""The Prometheus page: names, labels, and that it stays bounded and true."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import LiveServer

FROM_THE_FIRST_SCRAPE = {
    "konsul_build_info",
    "konsul_expired_services_total",
    "konsul_http_requests_in_flight",
    "konsul_kv_store_size",
    "konsul_registered_services_total",
    "konsul_service_tags_per_service_count",
    "konsul_service_metadata_keys_per_service_count",
}
RAFT = {
    "konsul_raft_state",
    "konsul_raft_is_leader",
    "konsul_raft_peers_total",
    "konsul_raft_last_index",
    "konsul_raft_commit_index",
    "konsul_raft_applied_index",
    "konsul_raft_leader_changes_total",
    "konsul_raft_commit_time_seconds_count",
    "konsul_raft_apply_time_seconds_count",
    "konsul_raft_snapshot_duration_seconds_count",
}


def scrape(http: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels."""
    answer = http.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return samples.get((name, tuple(sorted(labels.items()))), 0.0)


def test_the_content_type_is_the_one_scrapers_know(http: httpx.Client) -> None:
    expected = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    assert http.get("/metrics").headers["content-type"] == expected


def test_what_dashboards_need_is_there_from_the_first_scrape(http: httpx.Client) -> None:
    names = {name for name, _ in scrape(http)}
    assert not (FROM_THE_FIRST_SCRAPE | RAFT) - names
    assert {"process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"} <= names


def test_requests_are_counted_by_template_and_final_status(http: httpx.Client) -> None:
    before = scrape(http)
    for number in range(5):
        http.get(f"/kv/never/there/{number}")
    http.get("/nowhere/17")
    after = scrape(http)
    name = "konsul_http_requests_total"
    labels = {"method": "GET", "path": "/kv/{key}", "status": "404"}
    assert value(after, name, **labels) - value(before, name, **labels) == 5
    assert not [sample for sample in after if any("never" in text or text == "17" for _, text in sample[1])]


def test_scrapes_are_not_counted(http: httpx.Client) -> None:
    scrape(http)
    assert not [labels for name, labels in scrape(http) if ("path", "/metrics") in labels]


def test_kv_and_service_operations_are_counted_by_outcome(http: httpx.Client) -> None:
    before = scrape(http)
    http.put("/kv/counted", json={"value": "x"})
    http.put("/kv/counted", json={"value": "x", "cas": 0})
    http.get("/kv/counted")
    http.get("/kv/not-counted")
    http.put("/register", json={"name": "counted", "address": "10.0.0.1", "port": 80, "tags": ["a", "b"]})
    http.put("/heartbeat/counted")
    http.put("/heartbeat/uncounted")
    after = scrape(http)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("konsul_kv_operations_total", operation="set", status="success") == 1
    assert grown("konsul_kv_operations_total", operation="set", status="cas_conflict") == 1
    assert grown("konsul_kv_operations_total", operation="get", status="success") == 1
    assert grown("konsul_kv_operations_total", operation="get", status="not_found") == 1
    assert grown("konsul_service_operations_total", operation="register", status="success") == 1
    assert grown("konsul_service_heartbeats_total", service="counted", status="success") == 1
    assert grown("konsul_service_tags_per_service_count") == 1
    assert grown("konsul_kv_store_size") == 1
    assert grown("konsul_raft_apply_total", node_id="1") >= 2


def test_the_version_is_published_under_old_and_new_labels(http: httpx.Client) -> None:
    labels = [dict(labels) for name, labels in scrape(http) if name == "konsul_build_info"]
    assert [set(found) for found in labels] == [{"version", "go_version", "runtime_version"}]


def test_made_up_methods_share_one_series(server: LiveServer, http: httpx.Client) -> None:
    for method in ("BREW", "WHEN", "LINK"):
        http.request(method, "/kv/tea")
    methods = {dict(labels).get("method") for _, labels in scrape(http)}
    assert not methods & {"BREW", "WHEN", "LINK"}
