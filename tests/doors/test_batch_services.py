"""`/batch/services/*`."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest


def post(http: httpx.Client, verb: str, body: Any) -> Any:
    answer = http.post(f"/batch/services/{verb}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def service(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "address": "h", "port": 80, **more}


def index_of(http: httpx.Client) -> int:
    return int(http.get("/kv/?limit=1").headers["x-konsul-index"])


def test_register_get_and_deregister(http: httpx.Client, space: str) -> None:
    a, b = f"{space}-a", f"{space}-b"
    done = post(http, "register", {"services": [service(b), service(a, tags=["t"])]})
    assert done == {"message": "Registered 2 services", "registered": [b, a], "count": 2}
    found = post(http, "get", {"names": [a, "absent", b, "absent", a]})
    assert found == {
        "found": {a: service(a, tags=["t"]), b: service(b)},
        "not_found": ["absent", "absent"],
    }
    before = index_of(http)
    gone = post(http, "deregister", {"names": [a, "absent", b]})
    assert gone == {"message": "Deregistered 3 services", "deregistered": [a, "absent", b], "count": 3}
    assert index_of(http) == before + 1
    assert post(http, "get", {"names": [a, b]}) == {"found": {}, "not_found": [a, b]}


def test_a_bad_entry_does_not_keep_the_others_out(http: httpx.Client, space: str) -> None:
    services = [
        service(f"{space}-1"),
        service("", port=1),
        service(f"{space}-2", port=0),
        service(f"{space}-3", tags=["no good"]),
        service(f"{space}-4", checks=[{"interval": "x"}]),
        service(f"{space}-5", id="other"),
        None,
    ]
    done = post(http, "register", {"services": services})
    assert done == {
        "message": "Registered 2 services, 5 failed",
        "registered": [f"{space}-1", f"{space}-5"],
        "failed": ["unnamed-service", f"{space}-2", f"{space}-3", f"{space}-4", "unnamed-service"],
        "errors": {
            "unnamed-service": "service name is required",
            f"{space}-2": "service port is required",
            f"{space}-3": "tag validation failed: invalid tag format: no good "
            "(allowed: alphanumeric, -, _, :, ., /)",
            f"{space}-4": "check validation failed: invalid interval: x (expected a duration such as 30s)",
        },
        "count": 2,
    }
    assert http.get(f"/services/{space}-5").json()["id"] == "other"


@pytest.mark.parametrize(
    ("verb", "body", "message"),
    [
        ("register", {"services": []}, "Services array cannot be empty"),
        ("register", {}, "Services array cannot be empty"),
        ("get", {"names": []}, "Names array cannot be empty"),
        ("deregister", None, "Names array cannot be empty"),
        ("register", {"services": [service("a")] * 101}, "Maximum 100 services per batch request"),
        ("get", {"names": ["a"] * 101}, "Maximum 100 services per batch request"),
        ("deregister", {"names": ["a"] * 101}, "Maximum 100 services per batch request"),
        ("register", {"services": {}}, "Invalid JSON body"),
        ("register", {"services": [service("a"), {"name": 5}]}, "Invalid JSON body"),
        ("get", {"names": [5]}, "Invalid JSON body"),
        ("deregister", {"names": "a"}, "Invalid JSON body"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_happens(
    http: httpx.Client, verb: str, body: Any, message: str
) -> None:
    before = index_of(http)
    headers = {"content-type": "application/json"}  # httpx sends nothing at all for json=None
    answer = http.post(f"/batch/services/{verb}", content=json.dumps(body), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert answer.json()["message"] == message
    assert index_of(http) == before


def test_names_no_service_can_have_are_simply_not_found(http: httpx.Client) -> None:
    names = ["", "a b", "x" * 2_000, "é", "\u0000"]
    assert post(http, "get", {"names": names}) == {"found": {}, "not_found": names}
    assert post(http, "deregister", {"names": names})["count"] == len(names)
