"""Every call on every door is recorded once, as what it was, with its own request's particulars."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.ask import ask
from tests.conftest import LiveServer
from tests.doors.graphql.speaking import Speaker
from tests.doors.streams import Stream, message, socket
from tests.doors.trail import audited_server, brief, events, of_request
from tests.waiting import until


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with audited_server(tmp_path_factory.mktemp("audit")) as running:
        yield running


CALLS: list[tuple[str, str, Any, int, list[tuple[str, str, Any]]]] = [
    ("PUT", "/kv/{s}", {"value": "1"}, 200, [("kv.set", "success", "{s}")]),
    ("GET", "/kv/{s}", None, 200, [("kv.get", "success", "{s}")]),
    ("HEAD", "/kv/{s}", None, 200, [("kv.get", "success", "{s}")]),
    ("GET", "/kv/{s}?metadata=true&index=0", None, 200, [("kv.get", "success", "{s}")]),
    ("GET", "/v1/kv/{s}", None, 200, [("kv.get", "success", "{s}")]),
    ("GET", "/kv/{s}/absent", None, 404, [("kv.get", "denied", "{s}/absent")]),
    ("PUT", "/kv/{s}", {"value": "2", "cas": 999999}, 409, [("kv.set", "denied", "{s}")]),
    ("GET", "/kv/?prefix={s}", None, 200, [("kv.list", "success", "{s}")]),
    ("GET", "/kv?prefix={s}&recurse", None, 200, [("kv.list", "success", "{s}")]),
    ("DELETE", "/kv/{s}", None, 200, [("kv.delete", "success", "{s}")]),
    (
        "POST",
        "/batch/kv/set",
        {"items": {"{s}/a": "1", "{s}/b": "2"}},
        200,
        [("batch.kv.set", "success", ["{s}/a", "{s}/b"])],
    ),
    (
        "POST",
        "/batch/kv/get",
        {"keys": ["{s}/a", "{s}/c"]},
        200,
        [("batch.kv.get", "success", ["{s}/a", "{s}/c"])],
    ),
    ("POST", "/batch/kv/delete", {"keys": ["{s}/a"]}, 200, [("batch.kv.delete", "success", "{s}/a")]),
    (
        "PUT",
        "/register",
        {"name": "{s}", "address": "10.0.0.1", "port": 80},
        200,
        [("service.register", "success", "{s}")],
    ),
    ("GET", "/services/{s}", None, 200, [("service.get", "success", "{s}")]),
    ("GET", "/services/{s}-not", None, 404, [("service.get", "denied", "{s}-not")]),
    ("GET", "/services/", None, 200, [("service.list", "success", None)]),
    ("PUT", "/heartbeat/{s}", None, 200, [("service.heartbeat", "success", "{s}")]),
    ("GET", "/lb/service/{s}", None, 200, [("service.select", "success", None)]),
    ("DELETE", "/deregister/{s}", None, 200, [("service.deregister", "success", "{s}")]),
    ("GET", "/no/such/route", None, 404, [("http.get", "denied", None)]),
    ("DELETE", "/no/such/route", None, 404, [("http.delete", "denied", None)]),
    ("POST", "/kv/{s}", {"value": "1"}, 405, [("http.post", "denied", None)]),
    ("POST", "/batch/kv/set", b"{not json", 400, [("http.post", "denied", None)]),
    ("GET", "/cluster/status", None, 503, [("http.get", "error", None)]),
    ("GET", "/audit/stats", None, 200, [("audit.stats.read", "success", None)]),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "expected"), CALLS, ids=[f"{each[0]} {each[1]}" for each in CALLS]
)
def test_a_call_is_recorded_as_what_it_was(
    audited: LiveServer, method: str, path: str, body: Any, status: int, expected: list[tuple[str, str, Any]]
) -> None:
    space = "audit-calls"
    answer = ask(audited.port, method, path.format(s=space), _filled(body, space))
    assert answer.status == status
    found = of_request(audited.port, answer.headers["x-request-id"])
    assert [brief(event) for event in found] == _filled(expected, space)
    for event in found:
        assert (event["http_method"], event["http_status"]) == (method, status)
        assert event["http_path"] == path.format(s=space).partition("?")[0]
        assert (event["source_ip"], event["actor"]) == ("127.0.0.1", {"type": "anonymous"})
        assert event["duration_ms"] > 0


def _filled(value: Any, space: str) -> Any:
    """`value` with the space in every text."""
    if isinstance(value, str):
        return value.replace("{s}", space)
    if isinstance(value, dict):
        return {_filled(name, space): _filled(item, space) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_filled(item, space) for item in value)
    return value


def test_a_body_is_known_by_its_hash_only(audited: LiveServer, space: str) -> None:
    body = json.dumps({"value": f"secret-{space}"}).encode()
    answer = ask(audited.port, "PUT", f"/kv/{space}?token=query-{space}", body)
    (event,) = of_request(audited.port, answer.headers["x-request-id"])
    assert event["request_hash"] == hashlib.sha256(body).hexdigest()
    text = json.dumps(events(audited.port))
    assert f"secret-{space}" not in text
    assert f"query-{space}" not in text


def test_probes_are_not_recorded(audited: LiveServer) -> None:
    for path in ("/health/live", "/health/ready"):
        answer = ask(audited.port, "GET", path)
        assert of_request(audited.port, answer.headers["x-request-id"]) == []


def test_every_field_of_a_graphql_request_is_recorded(audited: LiveServer, space: str) -> None:
    query = f'mutation {{ a: kvSet(key: "{space}", value: "1") {{ modifyIndex }} kvDelete(key: "{space}") }}'
    answer = ask(audited.port, "POST", "/graphql", {"query": query})
    assert answer.status == 200, answer.body
    found = of_request(audited.port, answer.headers["x-request-id"])
    assert [brief(each) for each in found] == [
        ("kv.set", "success", space),
        ("kv.delete", "success", space),
    ]
    query = f'{{ kv(key: "{space}") {{ value }} service(name: "{space}-x") {{ name }} }}'
    answer = ask(audited.port, "POST", "/graphql", {"query": query})
    found = of_request(audited.port, answer.headers["x-request-id"])
    assert {each["action"] for each in found} == {"kv.get", "service.get"}
    assert {each["http_path"] for each in found} == {"/graphql"}


def test_operations_over_a_websocket_are_recorded_as_they_end(audited: LiveServer, space: str) -> None:
    speaker = Speaker(audited.port).begin()
    try:
        speaker.answer("1", f'mutation {{ kvSet(key: "{space}", value: "1") {{ modifyIndex }} }}')
        until(lambda: events(audited.port, resource=space), "the operation's event")
        assert [brief(each) for each in events(audited.port, resource=space)] == [
            ("kv.set", "success", space)
        ]
        speaker.start("2", f'subscription {{ kvChanged(prefix: "{space}") {{ key }} }}')
        until(lambda: events(audited.port, action="kv.watch", resource=f"{space}*"), "the opening's event")
    finally:
        speaker.socket.close()


def test_a_watch_is_recorded_when_it_opens(audited: LiveServer, space: str) -> None:
    with Stream(audited.port, f"/kv/watch/{space}/*") as stream:
        assert stream.status == 200
        (event,) = events(audited.port, action="kv.watch", resource=f"{space}/*")
        assert brief(event) == ("kv.watch", "success", f"{space}/*")
    with socket(audited.port, f"/services/watch?service={space}") as connection:
        ask(audited.port, "PUT", "/register", {"name": space, "address": "10.0.0.1", "port": 80})
        assert message(connection)
        (event,) = events(audited.port, action="service.watch", resource=space)
        assert (brief(event), event["http_status"]) == (("service.watch", "success", space), 101)


def test_under_a_storm_every_event_is_of_its_own_request(audited: LiveServer) -> None:
    """The first Konsul wrote 36 of 2,000 events with the path of a later request."""
    workers, each = 8, 250
    seen: dict[str, str] = {}

    def ask_on_one_connection(worker: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", audited.port, timeout=30)
        for number in range(each):
            path = f"/kv/storm/{worker}/{number}" + ("/x" * (number % 7))
            method, body = ("PUT", b'{"value":"1"}') if number % 3 == 0 else ("GET", None)
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            answer.read()
            seen[str(answer.getheader("x-request-id"))] = f"{method} {path} {answer.status}"
        connection.close()

    threads = [threading.Thread(target=ask_on_one_connection, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = events(audited.port, resource="storm/*")
    told = {
        event["request_id"]: f"{event['http_method']} {event['http_path']} {event['http_status']}"
        for event in found
    }
    assert told == seen
    assert len(found) == workers * each
    assert all(event["http_path"] == "/kv/" + event["resource"]["id"] for event in found)


def test_pages_hold_all_events_once_while_new_ones_come(audited: LiveServer) -> None:
    first = {event["event_id"] for event in events(audited.port)}
    seen: list[str] = []
    after = ""
    while True:
        page = ask(audited.port, "GET", f"/audit/events?limit=97&after={after}").json()
        seen += [event["event_id"] for event in page["events"]]
        ask(audited.port, "GET", "/kv/meanwhile")
        if not page["more"]:
            break
        after = page["after"]
    assert len(seen) == len(set(seen))
    assert first <= set(seen)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("result=fine", "result"),
        ("actor_type=root", "actor_type"),
        ("order=random", "order"),
        ("from=yesterday", "from"),
        ("to=99999-01-01T00:00:00Z", "to"),
        ("after=1;2", "after"),
        ("actor=" + "x" * 1_025, "actor"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(audited: LiveServer, query: str, word: str) -> None:
    answer = ask(audited.port, "GET", f"/audit/events?{query}")
    assert (answer.status, word in answer.json()["message"]) == (400, True)


def test_times_and_filters_are_those_of_the_events(audited: LiveServer, space: str) -> None:
    for number in range(3):
        ask(audited.port, "GET", f"/kv/{space}/{number}")
    found = events(audited.port, resource=f"{space}/*")
    assert [event["resource"]["id"] for event in found] == [f"{space}/{number}" for number in range(3)]
    middle = found[1]["timestamp"]
    assert events(audited.port, resource=f"{space}/*", from_=middle) == found[1:]
    assert events(audited.port, resource=f"{space}/*", to=middle) == found[:1]
    assert events(audited.port, resource=f"{space}/*", result="success") == []
    assert events(audited.port, resource=f"{space}/*", source_ip="10.0.0.1") == []
    assert events(audited.port, action="kv.*", request_id=found[2]["request_id"]) == [found[2]]


def test_the_file_holds_the_same_lines(audited: LiveServer) -> None:
    told = {event["event_id"]: event for event in events(audited.port)}
    path = audited.settings["KONSUL_AUDIT_FILE_PATH"]
    with open(path, "rb") as file:
        lines = [json.loads(line) for line in file]
    written = {event["event_id"]: event for event in lines}
    assert len(written) == len(lines)
    assert told.items() <= written.items()


def test_what_a_user_interface_follows_is_recorded_by_channel(audited: LiveServer) -> None:
    with Stream(audited.port, "/health/watch") as stream:
        assert stream.status == 200
    with socket(audited.port, "/ws/updates") as connection:
        connection.send(json.dumps({"type": "subscribe", "channels": ["kv", "services"]}))
        assert message(connection)["data"]["type"] == "subscribed"
    found = events(audited.port, action="health.watch")
    assert [(each["http_path"], each["resource"]) for each in found] == [
        ("/health/watch", {"type": "health"})
    ]
    followed = [each for each in events(audited.port) if each["http_path"] == "/ws/updates"]
    assert {each["action"] for each in followed} == {"http.get", "kv.watch", "service.watch"}
