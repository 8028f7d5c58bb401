"""How fresh a read is, what answers say about their node, writes sent twice: over HTTP, on one node."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import LiveServer

MOODS = [
    "",
    "consistency=stale",
    "stale",
    "consistency=default",
    "consistency=linearizable",
    "consistent=true",
]
TOLD = ("x-konsul-index", "x-konsul-known-leader", "x-konsul-last-contact")


def told(answer: httpx.Response) -> tuple[int, str, str]:
    index, known, contact = (answer.headers[name] for name in TOLD)
    return int(index), known, contact


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


@pytest.mark.parametrize("mood", [*MOODS, "max_stale=5s", "max_stale=0"])
def test_every_read_route_takes_every_freshness(http: httpx.Client, space: str, mood: str) -> None:
    service = {"name": space, "address": "h", "port": 1, "tags": [space], "meta": {"of": space}}
    http.put("/register", json=service).raise_for_status()
    http.put(f"/kv/{space}", json={"value": "v"}).raise_for_status()
    for path in (
        f"/kv/{space}?",
        f"/kv/{space}?raw&",
        f"/kv/?prefix={space}&",
        f"/services/{space}?",
        f"/services/{space}/instances?",
        "/services?",
        f"/services/query?tags={space}&",
        f"/services/query/tags?tags={space}&",
        f"/services/query/metadata?of={space}&",
        f"/lb/service/{space}?",
        f"/lb/tags?tags={space}&",
        f"/lb/metadata?of={space}&",
        f"/lb/query?meta.of={space}&",
    ):
        answer = http.get(path + mood)
        assert (answer.status_code, space in answer.text or path.endswith("raw&")) == (200, True), path
        assert told(answer)[1:] == ("true", "0")
    for path, body in (("kv", {"keys": [space]}), ("services", {"names": [space]})):
        answer = http.post(f"/batch/{path}/get?{mood}", json=body)
        assert space in answer.json()["found"]
        assert told(answer)[1:] == ("true", "0")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("consistency=strong", "Invalid consistency parameter"),
        ("consistency=", "Invalid consistency parameter"),
        ("max_stale=soon", "Invalid max_stale parameter"),
        ("max_stale=-1s", "Invalid max_stale parameter"),
        ("consistent=true&max_stale=x", "Invalid max_stale parameter"),
    ],
)
def test_a_freshness_that_is_none_is_refused_by_every_read(
    http: httpx.Client, space: str, query: str, said: str
) -> None:
    for path in (f"/kv/{space}", "/kv", f"/services/{space}", "/services/query/metadata", "/lb/metadata"):
        answer = http.get(f"{path}?{query}")
        assert (answer.status_code, said in answer.json()["message"]) == (400, True)


def test_every_write_says_at_which_index_it_landed(http: httpx.Client, space: str) -> None:
    service = {"name": space, "address": "h", "port": 1}
    seen = 0
    for method, path, body in (
        ("PUT", f"/kv/{space}", {"value": "v"}),
        ("POST", "/batch/kv/set", {"items": {f"{space}/a": "1"}}),
        ("POST", "/transaction", {"operations": [{"type": "set", "key": f"{space}/t", "value": "1"}]}),
        ("POST", "/batch/kv/delete", {"keys": [f"{space}/a"]}),
        ("PUT", "/register", service),
        ("POST", "/batch/services/register", {"services": [service]}),
        ("POST", "/batch/services/deregister", {"names": [space]}),
        ("DELETE", f"/kv/{space}?recurse", None),
        ("DELETE", f"/kv/{space}", None),
        ("DELETE", f"/deregister/{space}", None),
    ):
        index, known, contact = told(http.request(method, path, json=body))
        assert (index > seen, known, contact) == (True, "true", "0"), path
        seen = index


def test_a_read_that_knows_an_index_waits_for_it(http: httpx.Client, space: str) -> None:
    index = told(http.put(f"/kv/{space}", json={"value": "v"}))[0]
    for mood in MOODS:
        answer = http.get(f"/kv/{space}?{mood}", headers={"X-Konsul-Min-Index": str(index)})
        assert (answer.status_code, told(answer)[0] >= index) == (200, True)
    far = {"X-Konsul-Min-Index": str(index + 1_000_000), "X-Konsul-Timeout-Ms": "20"}
    answer = http.get(f"/kv/{space}", headers=far)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert f"not yet at {index + 1_000_000}" in answer.json()["message"]


@pytest.mark.parametrize("least", ["-1", "x", "1.5", "18446744073709551616"])
def test_an_index_that_is_none_is_refused(http: httpx.Client, space: str, least: str) -> None:
    answer = http.get(f"/kv/{space}", headers={"X-Konsul-Min-Index": least})
    assert answer.status_code == 400
    assert "X-Konsul-Min-Index" in answer.json()["message"]


def test_a_write_sent_twice_under_one_key_is_done_once(http: httpx.Client, space: str) -> None:
    first = http.put(f"/kv/{space}", json={"value": "1", "cas": 0}, headers=keyed(space))
    assert first.status_code == 200
    assert http.put(f"/kv/{space}", json={"value": "2"}).status_code == 200
    again = http.put(f"/kv/{space}", json={"value": "1", "cas": 0}, headers=keyed(space))
    assert (again.status_code, again.json(), told(again)[0]) == (200, first.json(), told(first)[0])
    assert http.get(f"/kv/{space}").json()["value"] == "2", "the later write stays"


def test_another_request_under_the_same_key_is_another_write(http: httpx.Client, space: str) -> None:
    for value in ("1", "2"):
        http.put(f"/kv/{space}", json={"value": value}, headers=keyed(space)).raise_for_status()
        assert http.get(f"/kv/{space}").json()["value"] == value


def test_a_transaction_sent_twice_under_one_key_holds_its_checks_once(http: httpx.Client, space: str) -> None:
    operations: list[dict[str, Any]] = [
        {"type": "set", "key": f"{space}/lock", "value": "mine", "index": 0},
        {"type": "get", "key": f"{space}/lock"},
    ]
    first = http.post("/transaction", json={"operations": operations}, headers=keyed(space))
    again = http.post("/transaction", json={"operations": operations}, headers=keyed(space))
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json()["modify_index"] == first.json()["modify_index"] == told(again)[0]
    assert again.json()["results"][1]["value"] == "mine"
    other = http.post("/transaction", json={"operations": operations}, headers=keyed(space + "b"))
    assert other.status_code == 409, "who comes second under another key does not get the lock"
    assert http.post("/transaction", json={"operations": operations}).status_code == 409


def test_a_transaction_that_was_refused_may_succeed_later_under_its_key(
    http: httpx.Client, space: str
) -> None:
    operations = [{"type": "check", "key": space}, {"type": "set", "key": f"{space}/b", "value": "1"}]
    assert http.post("/transaction", json={"operations": operations}, headers=keyed(space)).status_code == 409
    http.put(f"/kv/{space}", json={"value": "now"}).raise_for_status()
    assert http.post("/transaction", json={"operations": operations}, headers=keyed(space)).status_code == 200


def test_a_batch_of_several_entries_is_done_once_as_a_whole(http: httpx.Client, space: str) -> None:
    services = [{"name": f"{space}-{n}", "address": "h", "port": 1} for n in range(20)]
    first = http.post("/batch/services/register", json={"services": services}, headers=keyed(space))
    assert first.json()["count"] == 20
    between = told(http.put(f"/kv/{space}", json={"value": "v"}))[0]
    again = http.post("/batch/services/register", json={"services": services}, headers=keyed(space))
    assert (again.json(), told(again)[0]) == (first.json(), told(first)[0])
    assert told(http.get("/kv"))[0] == between, "nothing was registered a second time"


def test_keys_outlive_a_restart(server: LiveServer, space: str) -> None:
    with httpx.Client(base_url=server.base_url) as http:
        first = http.put(f"/kv/{space}", json={"value": "1", "cas": 0}, headers=keyed(space))
        http.put(f"/kv/{space}", json={"value": "2"}).raise_for_status()
    server.restart()
    with httpx.Client(base_url=server.base_url) as http:
        again = http.put(f"/kv/{space}", json={"value": "1", "cas": 0}, headers=keyed(space))
        assert (again.status_code, again.json()) == (200, first.json())
        assert http.get(f"/kv/{space}").json()["value"] == "2"


def test_on_one_node_nobody_is_sent_elsewhere(http: httpx.Client, space: str) -> None:
    answer = http.put(f"/kv/{space}", json={"value": "v"}, headers={"X-Konsul-Redirect": "true"})
    assert answer.status_code == 200
