"""Subscriptions from the change to the client: as events, in order, whole, and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.ask import put
from tests.conftest import LiveServer
from tests.doors.graphql.speaking import Speaker, code_of
from tests.waiting import until

Speak = Callable[..., Speaker]
EVENTS = {"accept": "text/event-stream"}


@contextmanager
def events(http: httpx.Client, query: str, method: str = "POST") -> Iterator[Iterator[tuple[str, Any]]]:
    """The events of an operation: their name and their decoded data."""
    given: dict[str, Any] = {"json": {"query": query}} if method == "POST" else {"params": {"query": query}}
    with http.stream(method, "/graphql", headers=EVENTS, **given) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
        yield _events(answer)


def _events(answer: httpx.Response) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in answer.iter_lines():
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            yield name, json.loads(value) if value.strip() else None


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_query_as_events_is_one_answer_and_complete(http: httpx.Client, method: str) -> None:
    with events(http, "{ __typename }", method) as told:
        assert list(told) == [("next", {"data": {"__typename": "Query"}}), ("complete", None)]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_subscription_as_events(server: LiveServer, http: httpx.Client, space: str, method: str) -> None:
    put(server.port, space, "first")
    with events(http, f'subscription {{ kvWatchKey(key: "{space}") {{ value }} }}', method) as told:
        for value in ("first", "second", "third"):
            if value != "first":
                put(server.port, space, value)
            assert next(told) == ("next", {"data": {"kvWatchKey": {"value": value}}})


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("subscription { nothing }", 422, "GRAPHQL_VALIDATION_FAILED"),
        ("subscription S($k: String!) { kvChanged(key: $k) { key } }", 422, "GRAPHQL_VALIDATION_FAILED"),
        ("{ services(limit: 1000) { name id } }", 200, "COMPLEXITY_LIMIT_EXCEEDED"),
        ('subscription { kvChanged(pattern: "") { key } }', 200, "INVALID_INPUT"),
    ],
)
def test_what_cannot_begin_is_a_plain_answer(http: httpx.Client, query: str, status: int, code: str) -> None:
    answer = http.post("/graphql", json={"query": query}, headers=EVENTS)
    assert answer.headers["content-type"] == "application/json"
    assert (answer.status_code, code_of(answer.json())) == (status, code)


def test_a_mutation_is_not_had_by_get_in_any_form(http: httpx.Client) -> None:
    given = {"query": 'mutation { kvDelete(key: "x") }'}
    assert http.get("/graphql", params=given, headers=EVENTS).status_code == 406


def test_clients_that_read_both_get_plain_answers_to_queries(http: httpx.Client) -> None:
    accept = {"accept": "application/graphql-response+json, application/json, text/event-stream"}
    answer = http.post("/graphql", json={"query": "{ __typename }"}, headers=accept)
    assert answer.json() == {"data": {"__typename": "Query"}}


def test_every_change_comes_once_and_in_order(server: LiveServer, speak: Speak, space: str) -> None:
    one = speak().begin()
    one.start("s", f'subscription {{ kvChanged(prefix: "{space}/") {{ value modifyIndex }} }}')
    one.answer("q", "{ __typename }")
    for number in range(200):
        put(server.port, f"{space}/{number % 7}", str(number))
    told = [one.hear()["payload"]["data"]["kvChanged"] for _ in range(200)]
    assert [change["value"] for change in told] == [str(number) for number in range(200)]
    indices = [change["modifyIndex"] for change in told]
    assert indices == sorted(set(indices))


def test_a_subscription_goes_on_where_another_stopped(server: LiveServer, speak: Speak, space: str) -> None:
    put(server.port, f"{space}/a", "0")
    first = speak().begin()
    first.start("s", f'subscription {{ kvWatchKey(key: "{space}/a") {{ modifyIndex }} }}')
    seen = first.hear()["payload"]["data"]["kvWatchKey"]["modifyIndex"]
    first.hang_up()
    for value in ("1", "2"):
        put(server.port, f"{space}/a", value)
    again = speak().begin()
    again.start("s", f'subscription {{ kvChanged(key: "{space}/a", since: {seen}) {{ value }} }}')
    assert [again.hear()["payload"]["data"]["kvChanged"]["value"] for _ in range(2)] == ["1", "2"]


def test_services_are_told_like_keys(http: httpx.Client, speak: Speak, space: str) -> None:
    one = speak().begin()
    one.start("s", f'subscription {{ serviceChanged(name: "{space}") {{ type service {{ name port }} }} }}')
    one.answer("q", "{ __typename }")
    http.put("/register", json={"name": space, "address": "10.0.0.1", "port": 80})
    told = one.hear()["payload"]["data"]["serviceChanged"]
    assert told == {"type": "REGISTERED", "service": {"name": space, "port": 80}}
    http.delete(f"/deregister/{space}")
    assert one.hear()["payload"]["data"]["serviceChanged"]["type"] == "DEREGISTERED"


def test_a_closed_connection_leaves_nothing_behind(
    server: LiveServer, http: httpx.Client, speak: Speak, space: str
) -> None:
    query = f'subscription {{ kvChanged(prefix: "{space}") {{ key }} }}'
    one = speak().begin()
    one.start("s", query)
    one.answer("q", "{ __typename }")
    assert _active(http) == 1
    one.hang_up()
    until(lambda: _active(http) == 0, "the end of the subscription")
    with http.stream("POST", "/graphql", headers=EVENTS, json={"query": query}):
        assert _active(http) == 1
    until(lambda: _active(http) == 0, "the end of the stream's subscription")


def _active(http: httpx.Client) -> float:
    name = 'konsul_graphql_subscriptions_active{type="kvChanged"} '
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))
