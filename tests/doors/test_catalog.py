"""Registering, reading, keeping alive and deregistering services over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SMALL, LiveServer
from tests.waiting import until


def service(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "address": "10.0.0.1", "port": 80, **more}


def register(http: httpx.Client, name: str, **more: Any) -> int:
    answer = http.put("/register", json=service(name, **more))
    assert answer.status_code == 200, answer.text
    index: int = answer.json()["modify_index"]
    return index


def refused(answer: httpx.Response, status: int, error: str, message: str) -> None:
    assert (answer.status_code, answer.json()["error"], answer.json()["message"]) == (status, error, message)
    assert answer.json()["request_id"]


def index_of(http: httpx.Client, name: str) -> int:
    """When one service changed: others' checks run meanwhile, so the node's index is not to be counted on."""
    found = http.get(f"/services/{name}/instances?metadata=true").json()
    return max(int(one["modify_index"]) for one in found)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_service_is_registered_read_and_deregistered(http: httpx.Client, space: str, method: str) -> None:
    sent = service(space, tags=["web", "env:prod/eu.1"], meta={"team": "a b", "k_1": ""})
    answer = http.request(method, "/register", json=sent)
    index = index_of(http, space)
    assert answer.json() == {"message": "service registered", "modify_index": index, "service": sent}
    assert http.get(f"/services/{space}").json() == sent
    assert sent in http.get("/services/").json()
    gone = http.delete(f"/deregister/{space}")
    assert gone.json() == {"message": "service deregistered", "name": space}
    refused(http.get(f"/services/{space}"), 404, "Not Found", "Service not found")
    assert http.delete(f"/deregister/{space}").status_code == 200


def test_empty_members_are_left_out(http: httpx.Client, space: str) -> None:
    answer = http.put("/register", json=service(space, tags=[], meta=None, checks=None, id="", extra=1))
    assert answer.json()["service"] == service(space)
    assert http.get(f"/services/{space}").json() == service(space)


def test_registering_again_replaces(http: httpx.Client, space: str) -> None:
    first = register(http, space, tags=["a"])
    second = register(http, space, port=81)
    known = http.get(f"/services/{space}?metadata=true").json()
    assert known["service"] == service(space, port=81)
    assert (known["create_index"], known["modify_index"]) == (first, second)


def test_metadata_says_when_the_lease_ends(http: httpx.Client, space: str) -> None:
    began = datetime.now(UTC)
    register(http, space)
    known = http.get(f"/services/{space}?metadata=true").json()
    assert set(known) == {"create_index", "expires_at", "health", "modify_index", "service"}
    assert began < datetime.fromisoformat(known["expires_at"]) < datetime.now(UTC) + timedelta(seconds=31)
    assert "expires_at" not in http.get(f"/services/{space}?metadata=yes").json()


def test_compare_and_set(http: httpx.Client, space: str) -> None:
    refused(http.put("/register", json=service(space, cas=5)), 404, "Not Found", "Service not found")
    first = register(http, space, cas=0)
    message = f"CAS conflict for service '{space}': expected ModifyIndex 0, but current is {first}"
    refused(http.put("/register", json=service(space, cas=0)), 409, "CAS conflict", message)
    second = register(http, space, cas=first)
    message = f"CAS conflict for service '{space}': expected ModifyIndex {first}, but current is {second}"
    refused(http.put("/register", json=service(space, cas=first)), 409, "CAS conflict", message)
    refused(http.delete(f"/deregister/{space}?cas={first}"), 409, "CAS conflict", message)
    message = f"CAS conflict for service '{space}': expected ModifyIndex 0, but current is {second}"
    refused(http.delete(f"/deregister/{space}?cas=0"), 409, "CAS conflict", message)
    refused(http.delete(f"/deregister/{space}?cas=x"), 400, "Bad Request", "Invalid CAS parameter")
    assert http.delete(f"/deregister/{space}?cas={second}").status_code == 200
    refused(http.delete(f"/deregister/{space}?cas={second}"), 404, "Not Found", "Service not found")


def test_a_service_has_instances(http: httpx.Client, space: str) -> None:
    register(http, space, id="b", port=2)
    register(http, space, id="c", port=3)
    both = [service(space, id="b", port=2), service(space, id="c", port=3)]
    assert http.get(f"/services/{space}/instances").json() == both
    assert http.get(f"/services/{space}").json() == both[0]
    register(http, space, id=space, port=1)
    own = service(space, port=1)
    assert http.get(f"/services/{space}").json() == own
    listed = http.get(f"/services/{space}/instances?metadata=true").json()
    assert [item["service"] for item in listed] == [*both, own]
    assert all(item["modify_index"] and item["expires_at"] for item in listed)

    assert http.delete(f"/deregister/{space}?id=b").status_code == 200
    assert http.get(f"/services/{space}/instances").json() == [both[1], own]
    assert http.delete(f"/deregister/{space}").status_code == 200
    assert http.get(f"/services/{space}/instances").json() == [both[1]]
    assert http.delete(f"/deregister/{space}").status_code == 200
    assert http.get(f"/services/{space}").json() == both[1]
    for query in ("id=c", "cas=1"):
        message = "all cannot be combined with id or cas"
        refused(http.delete(f"/deregister/{space}?all=true&{query}"), 400, "Bad Request", message)
    assert http.delete(f"/deregister/{space}?all=true").status_code == 200
    refused(http.get(f"/services/{space}/instances"), 404, "Not Found", "Service not found")


def test_services_are_listed_by_name_in_byte_order(http: httpx.Client, space: str) -> None:
    names = [f"{space}{ending}" for ending in ("", "-1", ".x", "0", "A", "_z", "a")]
    for name in reversed(names):
        register(http, name)
    assert [one["name"] for one in http.get("/services/").json() if one["name"].startswith(space)] == names
    register(http, space + "-1", id="0")
    assert http.delete(f"/deregister/{space}?all").status_code == 200
    left = [one["name"] for one in http.get("/services/").json() if one["name"].startswith(space)]
    assert left == [space + "-1", *names[1:]]


def test_a_heartbeat_writes_nothing(http: httpx.Client, space: str) -> None:
    register(http, space)
    register(http, space, id="other")
    before = index_of(http, space)
    for path in (f"/heartbeat/{space}", f"/heartbeat/{space}?id=other", f"/heartbeat/{space}/"):
        assert http.put(path).json() == {"message": "heartbeat updated", "service": space}
    assert index_of(http, space) == before
    for path in (
        f"/heartbeat/{space}-x",
        f"/heartbeat/{space}?id=x",
        "/heartbeat/a%20b",
        "/heartbeat/" + "x" * 600,
    ):
        refused(http.put(path), 404, "Not Found", "Service not found")


def test_checks_are_completed_and_echoed(http: httpx.Client, space: str) -> None:
    checks = [
        {"tcp": "h:1", "interval": "10s", "timeout": "", "unknown": 1},
        {"id": "mine", "name": "http", "http": "http://h/", "headers": {"A": "b"}, "tls_skip_verify": True},
    ]
    first = http.put("/register", json=service(space, checks=checks)).json()["service"]["checks"]
    made = first[0].pop("id")
    assert len(made) == 36
    assert first == [
        {"name": f"{space}-health", "service_id": space, "tcp": "h:1", "interval": "10s"},
        {
            "id": "mine",
            "name": "http",
            "service_id": space,
            "http": "http://h/",
            "headers": {"A": "b"},
            "tls_skip_verify": True,
        },
    ]
    register(http, space, checks=checks)
    stored = http.get(f"/services/{space}").json()["checks"]
    assert (stored[0]["id"], stored[1]) == (made, first[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "service name is required"),
        ({"name": None}, "service name is required"),
        ({"name": "a b"}, "invalid service name: a b (must match ^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$)"),
        ({"name": "x" * 129}, "invalid service name: x"),
        ({"name": "web\n"}, "invalid service name: web"),
        ({"name": "query"}, "service name 'query' is reserved"),
        ({"id": "a/b"}, "invalid service id: a/b (must match"),
        ({"address": ""}, "service address is required"),
        ({"address": "h" * 256}, "service address too long: 256 chars (max 255)"),
        ({"port": 0}, "service port is required"),
        ({"port": None}, "service port is required"),
        ({"port": -1}, "service port must be between 1 and 65535"),
        ({"port": 65_536}, "service port must be between 1 and 65535"),
        ({"port": 2**63 - 1}, "service port must be between 1 and 65535"),
        ({"port": 2**64}, "Invalid JSON body"),
        ({"port": "80"}, "Invalid JSON body"),
        ({"port": 80.5}, "Invalid JSON body"),
        ({"port": True}, "Invalid JSON body"),
        ({"tags": "web"}, "Invalid JSON body"),
        ({"tags": [1]}, "Invalid JSON body"),
        ({"meta": {"a": 1}}, "Invalid JSON body"),
        ({"meta": []}, "Invalid JSON body"),
        ({"checks": {}}, "Invalid JSON body"),
        ({"cas": "1"}, "Invalid JSON body"),
        ({"tags": [f"t{n}" for n in range(65)]}, "tag validation failed: too many tags: 65 (max 64)"),
        ({"tags": ["a", ""]}, "tag validation failed: empty tag not allowed"),
        ({"tags": [None]}, "tag validation failed: empty tag not allowed"),
        ({"tags": ["t" * 256]}, "tag validation failed: tag too long: 256 chars (max 255)"),
        ({"tags": ["a b"]}, "tag validation failed: invalid tag format: a b (allowed: "),
        ({"tags": ["é"]}, "tag validation failed: invalid tag format: é (allowed: "),
        ({"tags": ["a", "b", "a"]}, "tag validation failed: duplicate tag: a"),
        (
            {"meta": {f"k{n}": "" for n in range(65)}},
            "metadata validation failed: too many metadata keys: 65 (max 64)",
        ),
        ({"meta": {"": "v"}}, "metadata validation failed: empty metadata key not allowed"),
        (
            {"meta": {"k" * 129: "v"}},
            "metadata validation failed: metadata key too long: 129 chars (max 128)",
        ),
        (
            {"meta": {"k": "v" * 513}},
            "metadata validation failed: metadata value too long for key k: 513 chars (max 512)",
        ),
        ({"meta": {"a.b": "v"}}, "metadata validation failed: invalid metadata key format: a.b ("),
        ({"meta": {"_x": "v"}}, "metadata validation failed: reserved metadata key: _x"),
        ({"meta": {"konsul_x": "v"}}, "metadata validation failed: reserved metadata key: konsul_x"),
        ({"meta": {"k": "a\u0000b"}}, "metadata validation failed: metadata value for key k contains NUL"),
        (
            {"checks": [{"name": f"c{n}", "http": "http://a/" + "x" * 2_000} for n in range(40)]},
            "check validation failed: checks too large: 8",
        ),
        (
            {"checks": [{"http": "http://a/", "headers": {f"h{n}": "x" * 4_000 for n in range(5)}}]},
            "check validation failed: check too large: 20",
        ),
        (
            {"checks": [{"timeout": "61s"}]},
            "check validation failed: invalid timeout: 61s is too long (at most 1m)",
        ),
        ({"checks": [{"interval": "soon"}]}, "check validation failed: invalid interval: soon (expected"),
        ({"checks": [{"interval": "0s"}]}, "check validation failed: invalid interval: 0s (expected"),
        ({"checks": [{"interval": "-1s"}]}, "check validation failed: invalid interval: -1s (expected"),
        ({"checks": [{"ttl": "30"}]}, "check validation failed: invalid ttl: 30 (expected"),
        ({"checks": [{"timeout": 5}]}, "Invalid JSON body"),
        ({"checks": [5]}, "Invalid JSON body"),
        ({"checks": [{}] * 65}, "check validation failed: too many checks: 65 (max 64)"),
        ({"checks": [{"id": "a"}, {"id": "a"}]}, "check validation failed: duplicate check id: a"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(
    http: httpx.Client, space: str, changes: dict[str, Any], message: str
) -> None:
    answer = http.put("/register", json=service(space) | changes)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request"), answer.text
    assert answer.json()["message"].startswith(message)
    assert http.get(f"/services/{space}").status_code == 404


def test_the_largest_service_fits(http: httpx.Client, space: str) -> None:
    tags = [f"{n:02}" + "t" * 253 for n in range(64)]
    meta = {f"k{n:02}" + "k" * 125: "é" * 256 for n in range(64)}
    register(http, space, tags=tags, meta=meta, id="i" * 128)
    stored = http.get(f"/services/{space}").json()
    assert (stored["tags"], stored["meta"]) == (tags, meta)
    name, value = next(iter(meta.items()))
    found = http.get("/services/query", params={"tags": tags[0], f"meta.{name}": value}).json()
    assert found["count"] == 1


def test_without_heartbeats_a_service_goes_and_with_them_it_stays(tmp_path: Path) -> None:
    settings = SMALL | {"KONSUL_SERVICE_TTL": "3s"}
    with (
        LiveServer(tmp_path / "data", settings) as server,
        httpx.Client(base_url=server.base_url, trust_env=False, timeout=30) as http,
    ):
        register(http, "kept", tags=["t"])
        first = register(http, "lost", tags=["t"])

        def lost_is_gone() -> bool:
            assert http.put("/heartbeat/kept").status_code == 200
            return http.get("/services/lost").status_code == 404

        until(lost_is_gone, "the lease of `lost` to end")
        assert [one["name"] for one in http.get("/services/").json()] == ["kept"]
        assert http.get("/services/query/tags?tags=t").json()["count"] == 1
        refused(http.put("/heartbeat/lost"), 404, "Not Found", "Service not found")
        # One entry for its end, and perhaps one by which the node says that it runs checks; no heartbeat.
        assert int(http.get("/kv/?limit=1").headers["x-konsul-index"]) - first in (1, 2)
        assert http.put("/register", json=service("lost", cas=0)).status_code == 200
        page = http.get("/metrics").text
        assert "konsul_expired_services_total 1.0" in page
        assert "konsul_registered_services_total 2.0" in page


def test_a_restart_keeps_services_and_grants_a_full_lease(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL) as server:
        with httpx.Client(base_url=server.base_url, trust_env=False, timeout=30) as http:
            register(http, "web", id="1", tags=["a"], meta={"k": "v"}, checks=[{"ttl": "5s"}])
            known = http.get("/services/web?metadata=true").json()
        server.restart()
        with httpx.Client(base_url=server.base_url, trust_env=False, timeout=30) as http:
            again = http.get("/services/web?metadata=true").json()
            expires = (datetime.fromisoformat(found.pop("expires_at")) for found in (known, again))
            assert next(expires) <= next(expires)
            assert again == known
            assert http.put("/heartbeat/web?id=1").status_code == 200
            assert http.get("/services/query/metadata?k=v").json()["count"] == 1
