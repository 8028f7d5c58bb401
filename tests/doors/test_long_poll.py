"""Reads that wait for a change: woken by it, by nothing else, and never too late."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.ask import Answer, ask, put
from tests.conftest import SMALL, LiveServer
from tests.doors.metrics_page import sample
from tests.doors.streams import Stream
from tests.waiting import until


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as running:
        yield running


def waiting(port: int) -> float:
    return sample(port, "konsul_watchers_active", transport="poll")


def answered(port: int) -> float:
    return sample(port, "konsul_watch_connections_total", status="closed", transport="poll")


def index_of(answer: Answer) -> int:
    return int(answer.headers["x-konsul-index"])


def begin(pool: ThreadPoolExecutor, server: LiveServer, path: str) -> Future[Answer]:
    """A long-poll that the server has begun to wait for."""
    before = waiting(server.port)
    poll = pool.submit(ask, server.port, "GET", path, timeout_s=60)
    until(lambda: poll.done() or waiting(server.port) > before, "the poll waits")
    return poll


def register(server: LiveServer, name: str, **members: Any) -> None:
    body = {"name": name, "address": "10.0.0.1", "port": 80, **members}
    assert ask(server.port, "PUT", "/register", body).status == 200


def test_a_key_is_answered_when_it_changes(server: LiveServer, space: str, pool: ThreadPoolExecutor) -> None:
    put(server.port, space, "1")
    index = index_of(ask(server.port, "GET", f"/kv/{space}"))
    poll = begin(pool, server, f"/kv/{space}?index={index}&wait=60s")
    assert not poll.done()
    put(server.port, space, "2")
    answer = poll.result()
    assert answer.json() == {"key": space, "value": "2"}
    assert index_of(answer) > index


def test_what_changed_already_is_answered_at_once(server: LiveServer, space: str) -> None:
    put(server.port, space, "1")
    index = index_of(ask(server.port, "GET", f"/kv/{space}"))
    put(server.port, space, "2")
    for query in (f"index={index}&wait=10m", "index=0&wait=10m", "index=0"):
        assert ask(server.port, "GET", f"/kv/{space}?{query}").json()["value"] == "2"


def test_at_the_end_of_the_wait_it_is_answered_as_it_is(server: LiveServer, space: str) -> None:
    put(server.port, space, "1")
    index = index_of(ask(server.port, "GET", f"/kv/{space}"))
    answer = ask(server.port, "GET", f"/kv/{space}?index={index}&wait=1ms")
    assert (answer.status, answer.json()["value"], index_of(answer)) == (200, "1", index)


def test_nothing_else_wakes_it(server: LiveServer, space: str, pool: ThreadPoolExecutor) -> None:
    """Counted, not timed: every write below would answer one of the polls if it were taken for a match."""
    put(server.port, f"{space}/a", "1")
    index = index_of(ask(server.port, "GET", f"/kv/{space}/a"))
    register(server, f"{space}-s")
    paths = [
        f"/kv/{space}/a?index={index}&wait=60s",
        f"/kv/{space}/a/?recurse&index={index}&wait=60s",
        f"/kv?prefix={space}/p&index={index}&wait=60s",
        f"/services/{space}-x?index={index + 1}&wait=60s",
    ]
    before = answered(server.port)
    polls = [begin(pool, server, path) for path in paths]
    with Stream(server.port, f"/kv/watch/{space}/**?since={index}") as everything:
        for number in range(100):
            put(server.port, f"{space}/b{number}", "v")
            put(server.port, f"{space}/aa", str(number))
            ask(server.port, "PUT", f"/heartbeat/{space}-s")
        register(server, f"{space}-xy")
        assert len(everything.events(200)) == 200, "all of it was told to those whom it concerns"
    assert [poll.done() for poll in polls] == [False] * 4
    assert answered(server.port) == before
    put(server.port, f"{space}/a", "2")
    assert polls[0].result().json()["value"] == "2"
    put(server.port, f"{space}/a/x", "1")
    assert [row["key"] for row in polls[1].result().json()] == [f"{space}/a/x"]
    put(server.port, f"{space}/p", "1")
    assert polls[2].result().json() == [f"{space}/p"]
    register(server, f"{space}-x")
    assert polls[3].result().json()["name"] == f"{space}-x"
    assert answered(server.port) == before + 4


def test_a_loop_of_polls_answers_once_for_each_change_at_most(
    server: LiveServer, space: str, pool: ThreadPoolExecutor
) -> None:
    put(server.port, space, "0")
    before = answered(server.port)

    def follow() -> list[str]:
        values = ["0"]
        index = index_of(ask(server.port, "GET", f"/kv/{space}"))
        while values[-1] != "20":
            answer = ask(server.port, "GET", f"/kv/{space}?index={index}&wait=60s", timeout_s=90)
            index = index_of(answer)
            values.append(answer.json()["value"])
        return values

    following = pool.submit(follow)
    until(lambda: waiting(server.port) > 0, "it waits")
    for number in range(1, 21):
        put(server.port, space, str(number))
        put(server.port, f"{space}-other", str(number))
    values = following.result()
    assert values == sorted(set(values), key=int), "every answer was a change, in order"
    assert answered(server.port) - before <= 20


def test_an_absent_key_is_waited_for(server: LiveServer, space: str, pool: ThreadPoolExecutor) -> None:
    absent = ask(server.port, "GET", f"/kv/{space}")
    assert absent.status == 404
    poll = begin(pool, server, f"/kv/{space}?index={index_of(absent)}&wait=60s")
    put(server.port, space, "here")
    assert poll.result().json()["value"] == "here"
    gone = begin(pool, server, f"/kv/{space}?index={index_of(poll.result())}&wait=60s")
    ask(server.port, "DELETE", f"/kv/{space}")
    assert gone.result().status == 404


@pytest.mark.parametrize("key", ["star*", "what?", "[a-c]", "a/**", "[", "]", "plain"])
def test_a_key_is_itself_and_no_pattern(
    server: LiveServer, space: str, pool: ThreadPoolExecutor, key: str
) -> None:
    from urllib.parse import quote

    path = f"/kv/{space}/{quote(key, safe='')}"
    index = index_of(ask(server.port, "GET", path))
    poll = begin(pool, server, f"{path}?index={index}&wait=60s")
    for other in ("starx", "whatx", "b", "a/b", "x"):
        put(server.port, f"{space}/{other}", "v")
    assert not poll.done()
    ask(server.port, "PUT", path, {"value": "v"})
    assert poll.result().json()["key"] == f"{space}/{key}"


@pytest.mark.parametrize("form", ["?keys", "?recurse", "?separator=/", "?keys&limit=5"])
def test_a_prefix_wakes_for_what_it_lists(
    server: LiveServer, space: str, pool: ThreadPoolExecutor, form: str
) -> None:
    index = index_of(ask(server.port, "GET", f"/kv/{space}/{form}"))
    poll = begin(pool, server, f"/kv/{space}/{form}&index={index}&wait=60s")
    put(server.port, f"{space}x", "not below")
    assert not poll.done()
    put(server.port, f"{space}/deep/down", "v")
    assert poll.result().json()
    assert index_of(poll.result()) > index


def test_a_prefix_may_end_within_a_name(server: LiveServer, space: str, pool: ThreadPoolExecutor) -> None:
    index = index_of(ask(server.port, "GET", f"/kv?prefix={space}"))
    poll = begin(pool, server, f"/kv?prefix={space}/ap&index={index}&wait=60s")
    put(server.port, f"{space}/a", "v")
    assert not poll.done()
    put(server.port, f"{space}/apple/pie", "v")
    assert poll.result().json() == [f"{space}/apple/pie"]


@pytest.mark.parametrize("rest", ["x" * 700, "*" * 250, "a/" * 300], ids=["long", "stars", "deep"])
def test_whatever_can_be_read_can_be_waited_for(
    server: LiveServer, space: str, pool: ThreadPoolExecutor, rest: str
) -> None:
    from urllib.parse import quote

    key = quote(f"{space}/{rest}k", safe="")
    for path in (f"/kv/{key}?wait=60s", f"/kv?prefix={key}&wait=60s"):
        put(server.port, space, "so that nothing is newer")
        index = index_of(ask(server.port, "GET", f"/kv/{space}"))
        poll = begin(pool, server, f"{path}&index={index}")
        put(server.port, f"{space}/other", "v")
        assert not poll.done()
        assert ask(server.port, "PUT", f"/kv/{key}", {"value": "v"}).status == 200
        assert poll.result().status == 200


def test_services_and_their_instances_are_waited_for(
    server: LiveServer, space: str, pool: ThreadPoolExecutor
) -> None:
    register(server, space)
    index = index_of(ask(server.port, "GET", f"/services/{space}"))
    paths = ("/services", f"/services/{space}", f"/services/{space}/instances?metadata=true")
    polls = [
        begin(pool, server, f"{path}{'&' if '?' in path else '?'}index={index}&wait=60s") for path in paths
    ]
    ask(server.port, "PUT", f"/heartbeat/{space}")
    assert [poll.done() for poll in polls] == [False] * 3
    register(server, space, id="second")
    answers = [poll.result() for poll in polls]
    assert [answer.status for answer in answers] == [200] * 3
    assert len(answers[2].json()) == 2
    assert all(index_of(answer) > index for answer in answers)


def test_a_raw_value_says_the_index_to_wait_from(
    server: LiveServer, space: str, pool: ThreadPoolExecutor
) -> None:
    put(server.port, space, "1")
    first = ask(server.port, "GET", f"/kv/{space}?raw&index=0")
    put(server.port, f"{space}-other", "1")
    again = ask(server.port, "GET", f"/kv/{space}?raw&index={index_of(first)}&wait=1ms")
    assert index_of(again) > index_of(first), "also when the key is old: else a restart would answer for ever"
    poll = begin(pool, server, f"/kv/{space}?raw&index={index_of(again)}&wait=60s")
    put(server.port, space, "2")
    assert poll.result().body == b"2"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("index=", "Invalid index parameter"),
        ("index=x", "Invalid index parameter"),
        ("index=-1", "Invalid index parameter"),
        ("index=18446744073709551616", "Invalid index parameter"),
        ("index=1&wait=x", "Invalid wait parameter"),
        ("index=1&wait=5", "Invalid wait parameter"),
        ("index=1&wait=-5s", "Invalid wait parameter"),
        ("index=1&wait=0s", "Invalid wait parameter"),
        ("index=1&wait=10m1ms", "Invalid wait parameter"),
    ],
)
@pytest.mark.parametrize("path", ["/kv/a", "/kv", "/services", "/services/a", "/services/a/instances"])
def test_what_cannot_be_understood_is_refused_in_words(
    server: LiveServer, path: str, query: str, words: str
) -> None:
    answer = ask(server.port, "GET", f"{path}?{query}")
    assert answer.status == 400
    assert answer.json()["message"].startswith(words)


def test_a_name_that_no_service_can_have_is_not_waited_for(server: LiveServer) -> None:
    assert ask(server.port, "GET", "/services/a*b").status == 404
    answer = ask(server.port, "GET", "/services/a*b?index=1")
    assert (answer.status, answer.json()["message"][:20]) == (400, "invalid service name")


def test_a_client_that_goes_is_waited_for_no_more(server: LiveServer, space: str) -> None:
    put(server.port, space, "1")
    index = index_of(ask(server.port, "GET", f"/kv/{space}"))
    before = waiting(server.port)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", f"/kv/{space}?index={index}&wait=10m")
    until(lambda: waiting(server.port) == before + 1, "it waits")
    requests = "konsul_http_requests_total"
    counted = {"method": "GET", "path": "/kv/{key}"}
    gave_up = sample(server.port, requests, **counted, status="499")
    failed = sample(server.port, requests, **counted, status="500")
    connection.close()
    until(lambda: waiting(server.port) == before, "nobody waits")
    until(lambda: sample(server.port, requests, **counted, status="499") == gave_up + 1, "it is counted")
    assert sample(server.port, requests, **counted, status="500") == failed, "and not as a failure"


def test_an_index_of_before_a_restart_is_answered_at_once(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with LiveServer(tmp_path / "data", SMALL) as server:
        put(server.port, "a", "1")
        index = index_of(ask(server.port, "GET", "/kv/a"))
        put(server.port, "b", "1")
        server.restart()
        answer = ask(server.port, "GET", f"/kv/a?index={index}&wait=60s")
        assert answer.json()["value"] == "1"
        poll = begin(pool, server, f"/kv/a?index={index_of(answer)}&wait=60s")
        assert not poll.done()
        put(server.port, "a", "2")
        assert poll.result().json()["value"] == "2"


def test_who_waits_is_told_that_the_node_stops(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with LiveServer(tmp_path / "data", SMALL) as server:
        put(server.port, "a", "1")
        poll = begin(pool, server, "/kv/a?index=1&wait=10m")
        assert server.stop() == 0
        answer = poll.result()
        assert (answer.status, answer.json()["message"]) == (503, "the node is stopping")
