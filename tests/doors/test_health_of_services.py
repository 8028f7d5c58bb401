"""What is healthy, over HTTP: checks, nodes and maintenance, and what lists and watches make of them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import LiveServer
from tests.doors.streams import Stream, message, socket
from tests.waiting import until


def service(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "address": "10.0.0.1", "port": 80} | members


def register(http: httpx.Client, name: str, **members: Any) -> dict[str, Any]:
    answer = http.put("/register", json=service(name, **members))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["service"]
    return found


def ids(http: httpx.Client, name: str, query: str = "") -> list[str]:
    return [one.get("id", name) for one in http.get(f"/services/{name}/instances{query}").json()]


def health(http: httpx.Client, name: str) -> str:
    found: str = http.get(f"/services/{name}?metadata=true").json()["health"]
    return found


def refused(answer: httpx.Response, message: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json().get("message")) == (status, message), answer.text


def test_an_instance_is_as_healthy_as_its_worst_check(http: httpx.Client, space: str) -> None:
    register(http, space, id="plain")
    register(http, space, id="checked", checks=[{"id": f"{space}-t", "ttl": "1h"}])
    warned = {"id": f"{space}-w", "ttl": "1h", "initial_status": "warning"}
    register(http, space, id="warned", checks=[warned])
    assert ids(http, space) == ["checked", "plain", "warned"]
    assert ids(http, space, "?passing=true") == ["plain"]
    assert ids(http, space, "?health=serving") == ["plain", "warned"]
    assert ids(http, space, "?health=critical") == ["checked"]
    known = http.get(f"/services/{space}/instances?metadata=true&health=serving").json()
    assert [one["health"] for one in known] == ["passing", "warning"]
    assert http.get(f"/services/{space}").json()["id"] == "plain", "the first that passes"
    listed = http.get(f"/services?passing=true&name={space}").json()
    assert [(one["id"], one["health"]) for one in listed] == [("plain", "passing")]
    refused(http.get(f"/services/{space}-x/instances?passing=true"), "Service not found", 404)


def test_registering_again_keeps_what_an_unchanged_check_said(http: httpx.Client, space: str) -> None:
    said = {"id": f"{space}-t", "name": "alive", "ttl": "1h", "initial_status": "passing"}
    other = {"id": f"{space}-o", "ttl": "1h"}
    register(http, space, checks=[said, other])
    assert health(http, space) == "critical"
    register(http, space, checks=[said], tags=["new"])
    assert health(http, space) == "passing", "the check that does not come again has gone"
    register(http, space, checks=[said | {"ttl": "2h", "initial_status": "warning"}])
    assert health(http, space) == "warning", "another definition is another check"
    register(http, space)
    assert health(http, space) == "passing"
    refused(
        http.put("/register", json=service(f"{space}-2", checks=[said | {"id": "a b"}])),
        "check validation failed: invalid id: 'a b' has a space, a slash or a control character",
    )


def test_an_id_belongs_to_one_instance_until_that_goes(http: httpx.Client, space: str) -> None:
    check = {"id": f"{space}-t", "ttl": "1h"}
    register(http, space, id="a", checks=[check])
    other = service(space, id="b", checks=[check])
    message = f"check validation failed: check id {space}-t belongs to service {space} a"
    refused(http.put("/register", json=other), message)
    answer = http.post("/batch/services/register", json={"services": [other]}).json()
    assert answer["errors"] == {space: message}
    assert http.delete(f"/deregister/{space}?id=a").status_code == 200
    assert http.put("/register", json=other).status_code == 200
    assert http.delete(f"/deregister/{space}?all=true").status_code == 200


def test_compare_and_set_and_indices_are_those_of_the_instance(http: httpx.Client, space: str) -> None:
    checked = service(space, checks=[{"ttl": "1h"}])
    first = http.put("/register", json=checked | {"cas": 0}).json()["modify_index"]
    assert http.put("/register", json=checked | {"cas": 0}).status_code == 409
    assert http.put("/register", json=checked | {"cas": first - 1}).status_code == 409
    second = http.put("/register", json=checked | {"cas": first}).json()["modify_index"]
    assert http.get(f"/services/{space}?metadata=true").json()["modify_index"] == second
    assert http.put("/register", json=service(f"{space}-x", checks=[{"ttl": "1h"}], cas=9)).status_code == 404


def test_the_lease_is_as_long_as_the_service_says(http: httpx.Client, space: str) -> None:
    register(http, f"{space}-for-ever", ttl="0")
    register(http, f"{space}-short", ttl="10ms")
    until(lambda: http.get(f"/services/{space}-short").status_code == 404, "a lease of 10 ms to end")
    known = http.get(f"/services/{space}-for-ever?metadata=true").json()
    assert known["service"]["name"] == f"{space}-for-ever"
    message = "invalid service ttl: soon (expected a duration such as 30s, or 0)"
    refused(http.put("/register", json=service(space, ttl="soon")), message)


def test_who_needs_no_heartbeats_may_send_them(http: httpx.Client, space: str) -> None:
    body = {"name": space, "address": "10.0.0.1", "port": 80, "ttl": "0"}
    assert http.put("/register", json=body).status_code == 200
    assert http.put("/register", json=body | {"id": f"{space}-2"}).status_code == 200
    # As the front answers them, and as the application does.
    for path in (f"/heartbeat/{space}", f"/heartbeat/{space}?id={space}-2", f"/heartbeat/{space}/"):
        answer = http.put(path)
        assert (answer.status_code, answer.json()["message"]) == (200, "heartbeat updated"), path
    assert http.put(f"/heartbeat/{space}?id={space}-3").status_code == 404
    assert http.delete(f"/deregister/{space}").status_code == 200
    assert http.put(f"/heartbeat/{space}").status_code == 404


def test_a_node_takes_its_instances_with_it(http: httpx.Client, space: str) -> None:
    node = f"{space}-n"
    shown = http.put(f"/nodes/{node}", json={"address": "10.1.1.1", "zone": "z1", "meta": {"os": "linux"}})
    assert shown.json() | {"modify_index": 0} == {"message": "node updated", "name": node, "modify_index": 0}
    assert register(http, f"{space}-a", node=node)["zone"] == "z1"
    assert register(http, f"{space}-b", node=node, zone="z2")["zone"] == "z2"
    assert register(http, f"{space}-c", node=f"{node}-2", meta={"zone": "z3"})["zone"] == "z3"
    document = http.get(f"/nodes/{node}").json()
    assert [(one["name"], one["health"]) for one in document["instances"]] == [
        (f"{space}-a", "passing"),
        (f"{space}-b", "passing"),
    ]
    assert (document["address"], document["zone"], document["health"]) == ("10.1.1.1", "z1", "passing")
    names = [one["name"] for one in http.get("/nodes").json()]
    assert {node, f"{node}-2"} <= set(names), "one that nobody described is known by its instance"
    assert names == sorted(names)
    assert [
        one["name"] for one in http.get("/nodes", params={"zone": "z1", "filter": f'Name == "{node}"'}).json()
    ] == [node]
    assert http.put(f"/nodes/{node}/maintenance?enable=true&reason=disk").status_code == 200
    assert [health(http, f"{space}-{one}") for one in "abc"] == ["critical", "critical", "passing"]
    assert http.get(f"/nodes/{node}").json()["checks"] == [f"_node_maintenance:{node}"]
    assert http.put(f"/nodes/{node}/maintenance?enable=false").status_code == 200
    assert [health(http, f"{space}-{one}") for one in "abc"] == ["passing", "passing", "passing"]
    assert http.put(f"/nodes/{node}/maintenance?enable=true").status_code == 200
    assert http.delete(f"/nodes/{node}").json() == {"message": "node deregistered", "name": node}
    assert http.get(f"/services/{space}-a").status_code == 404
    assert http.get(f"/services/{space}-c").status_code == 200
    refused(http.delete(f"/nodes/{node}"), "Node not found", 404)
    refused(http.get(f"/nodes/{node}"), "Node not found", 404)
    refused(http.put(f"/nodes/{node}/maintenance?enable=true"), "Node not found", 404)


def test_maintenance_is_a_check_with_a_reason(http: httpx.Client, space: str) -> None:
    register(http, space)
    register(http, space, id="two")
    for _ in range(2):
        done = http.put(f"/services/{space}/maintenance?enable=true&id=two&reason=new+disk").json()
        assert (done["id"], done["maintenance"]) == ("two", True)
    assert ids(http, space, "?passing=true") == [space]
    register(http, space, id="two", tags=["again"])
    assert ids(http, space, "?passing=true") == [space], "registering does not end it"
    for _ in range(2):
        assert http.put(f"/services/{space}/maintenance?enable=false&id=two").status_code == 200
    assert ids(http, space, "?passing=true") == [space, "two"]
    refused(http.put(f"/services/{space}/maintenance"), "Invalid enable parameter: expected true or false")
    refused(http.put(f"/services/{space}/maintenance?enable=true&id=x"), "Service not found", 404)
    squat = service(space, checks=[{"id": f"_service_maintenance:{space}", "ttl": "1h"}])
    assert http.put("/register", json=squat).status_code == 400


@pytest.mark.parametrize("kind", ["sse", "websocket"])
def test_a_watch_of_what_passes_hears_of_it_going(
    server: LiveServer, http: httpx.Client, space: str, kind: str
) -> None:
    path = f"/services/watch?service={space}&passing=true"
    told: list[dict[str, Any]] = []

    def story() -> None:
        register(http, space)
        http.put(f"/services/{space}/maintenance?enable=true")
        register(http, space, tags=["unheard"])
        http.put(f"/services/{space}/maintenance?enable=false")
        http.delete(f"/deregister/{space}")

    if kind == "sse":
        with Stream(server.port, path) as stream:
            stream.comment()
            story()
            told = [event.data for event in stream.events(4)]
    else:
        with socket(server.port, path) as watch:
            story()
            told = [message(watch) for _ in range(4)]
    heard = [(one["type"], one["service"]["health"]) for one in told]
    assert heard == [
        ("register", "passing"),
        ("deregister", "critical"),
        ("register", "passing"),
        ("deregister", "passing"),
    ]


def test_a_long_poll_of_what_passes_wakes_when_that_changes(http: httpx.Client, space: str) -> None:
    register(http, space)
    register(http, space, id="two", checks=[{"id": f"{space}-t", "ttl": "1h"}])
    now = http.get(f"/services/{space}/instances?passing=true").headers["x-konsul-index"]
    register(http, space, id="two", checks=[{"id": f"{space}-t", "ttl": "1h"}], tags=["still-critical"])
    waited = http.get(f"/services/{space}/instances?passing=true&index={now}&wait=300ms")
    assert [one.get("id") for one in waited.json()] == [None]
    http.put(f"/services/{space}/maintenance?enable=true")
    woken = http.get(f"/services/{space}/instances?passing=true&index={now}&wait=60s")
    assert woken.json() == []


WRONG: dict[str, dict[str, Any]] = {
    "http: ftp://h/ (expected a URL such as http://10.0.0.1:8080/health)": {"http": "ftp://h/"},
    "http: a URL must not hold a password: use headers": {"http": "http://u:p@h/"},
    "http: http://h:70000/ (expected a URL such as http://10.0.0.1:8080/health)": {"http": "http://h:70000/"},
    "tcp: h (expected host:port, such as 10.0.0.7:80 or [fd00::7]:80)": {"tcp": "h"},
    "udp: h:0 (expected host:port, such as 10.0.0.7:80 or [fd00::7]:80)": {"udp": "h:0"},
    "script: '/bin/sh' is no name of a program in the directory of scripts": {"script": ["/bin/sh"]},
    "script: '../x' is no name of a program in the directory of scripts": {"script": ["../x"]},
    "expected_status: '200-100' (expected statuses such as 200-299,301)": {"expected_status": "200-100"},
    "headers: 'a b' is no name of a header": {"headers": {"a b": "c"}},
    "headers: the value of a is longer than 4096 chars or no text of a header": {"headers": {"a": "c\r\nd"}},
    "method: 'G T' is no HTTP method": {"method": "G T"},
    "failures_before_critical: 101 (expected 1 to 100)": {"failures_before_critical": 101},
    "interval: 1ms is too short (at least 100ms)": {"interval": "1ms"},
    "initial_status: fine (expected passing, warning or critical)": {"initial_status": "fine"},
    "alias_node: a b (must match ^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$)": {"alias_node": "a b"},
    "deregister_critical_after: 10ms is too short (at least 1000ms)": {"deregister_critical_after": "10ms"},
    "ttl: 9999h is too long (at most 720h)": {"ttl": "9999h"},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_with_a_check_is_said(http: httpx.Client, space: str, message: str) -> None:
    answer = http.put("/register", json=service(space, checks=[WRONG[message]]))
    refused(answer, f"check validation failed: invalid {message}")


def test_a_pattern_that_is_none_is_refused_with_the_reason(http: httpx.Client, space: str) -> None:
    answer = http.put(
        "/register", json=service(space, checks=[{"http": "http://h/", "expected_body": "a(b"}])
    )
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("check validation failed: invalid expected_body: a(b (RE2: ")
    fine = service(space, checks=[{"http": "http://127.0.0.1:9/", "expected_body": "^ok$", "interval": "1h"}])
    assert http.put("/register", json=fine).status_code == 200
