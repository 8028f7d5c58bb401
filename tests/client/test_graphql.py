"""GraphQL through both clients: answers, errors, and subscriptions by either transport."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from konsul.client import AsyncClient, Client, GraphQLAnswer, Policy, Settings
from konsul.client.graphql_calls import kind_of, only_reads, operations
from konsul.errors import Forbidden, Invalid, RateLimited, Unauthenticated, Unreachable
from tests.client.played import Played, ok, run
from tests.client.played_streams import CUT, HEAR, HOLD, Event, Farewell, Refusal, Streams

BOTH = pytest.mark.parametrize("both", ["sync", "async"])
QUERY = "query Q($key: String!) { kv(key: $key) { value } }"
LISTEN = "subscription { kvChanged { key } }"
ACK = {"type": "connection_ack"}
ANSWER = {"data": {"kvChanged": {"key": "a"}}}
QUICK = Policy(retries=1, pause_first_s=0.001, pause_max_s=0.01)


def taken(both: str, address: str, transport: Any, query: str = LISTEN) -> list[GraphQLAnswer]:
    """Every answer of a subscription until its end."""
    settings = Settings(address, policy=QUICK)
    if both == "sync":
        with Client(settings) as client, client.graphql_subscribe(query, transport=transport) as answers:
            return list(answers)

    async def story() -> list[GraphQLAnswer]:
        async with AsyncClient(settings) as client:
            return [one async for one in client.graphql_subscribe(query, transport=transport)]

    return asyncio.run(story())


@BOTH
def test_a_query_with_variables(both: str) -> None:
    played = Played(ok({"data": {"kv": {"value": "1"}}, "extensions": {"cost": 2}}))
    answer = run(played, lambda c: c.graphql(QUERY, {"key": "a"}, operation_name="Q"), both=both)
    assert answer == GraphQLAnswer({"kv": {"value": "1"}}, (), {"cost": 2})
    (request,) = played.seen
    assert (request.method, request.url.path) == ("POST", "/graphql")
    assert json.loads(request.content) == {"query": QUERY, "variables": {"key": "a"}, "operationName": "Q"}


@BOTH
@pytest.mark.parametrize("status", [200, 400, 422])
def test_errors_come_in_the_answer(both: str, status: int) -> None:
    refused = httpx.Response(status, json={"errors": [{"message": "no such field"}], "data": None})
    answer = run(Played(refused), lambda c: c.graphql("{ x }"), both=both)
    assert answer == GraphQLAnswer(None, ({"message": "no such field"},))


@BOTH
@pytest.mark.parametrize(("status", "error"), [(401, Unauthenticated), (429, RateLimited), (400, Invalid)])
def test_a_refusal_without_errors_is_raised(both: str, status: int, error: type[Exception]) -> None:
    refused = httpx.Response(status, json={"error": "no", "message": "no"})
    with pytest.raises(error):
        run(Played(refused), lambda c: c.graphql("{ x }"), both=both)


@BOTH
def test_an_empty_query_is_not_sent(both: str) -> None:
    played = Played(ok())
    with pytest.raises(Invalid):
        run(played, lambda c: c.graphql("  "), both=both)
    assert played.seen == []


@BOTH
@pytest.mark.parametrize(("query", "attempts"), [("{ a }", 2), ("mutation { b }", 1)])
def test_only_what_reads_is_sent_again(both: str, query: str, attempts: int) -> None:
    played = Played(httpx.ReadError("reset"), ok({"data": {}}))
    if attempts == 1:
        with pytest.raises(Unreachable):
            run(played, lambda c: c.graphql(query), both=both)
    else:
        run(played, lambda c: c.graphql(query), both=both)
    assert len(played.seen) == attempts


@pytest.mark.parametrize(
    ("query", "reads"),
    [
        ("{ a }", True),
        ("# words\n , query Q { a }", True),
        ("fragment F on T { a } query { ...F }", True),
        ("fragment F on T { a } mutation { ...F }", False),
        ("mutation { a }", False),
        ("subscription { a }", False),
    ],
)
def test_what_only_reads(query: str, reads: bool) -> None:
    assert only_reads(query) is reads


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("{ a { b } } ", [("query", "")]),
        ("query { mutation }", [("query", "")]),
        ('query Q($a: [String!] = ["}"]) @d(x: "{") { a } # mutation', [("query", "Q")]),
        ("query ($a: Int) @d { a }", [("query", "")]),
        (
            '"""about\nmutation {""" query A { a } subscription B { b }',
            [("query", "A"), ("subscription", "B")],
        ),
        ("fragment query on mutation { a } mutation M { a }", [("mutation", "M")]),
        ("} nonsense { {", []),
    ],
)
def test_the_operations_of_a_document(query: str, found: list[tuple[str, str]]) -> None:
    assert operations(query) == found


def test_the_operation_that_is_named() -> None:
    two = "query A { a } subscription B { b }"
    assert [kind_of(two, name) for name in (None, "A", "B", "C")] == [
        "query",
        "query",
        "subscription",
        "query",
    ]


@BOTH
def test_a_subscription_over_a_websocket(both: str) -> None:
    following = [
        {"type": "ping"},
        HEAR,
        {"type": "next", "id": "1", "payload": ANSWER},
        {"type": "next", "id": "1", "payload": {"data": None, "errors": [{"message": "x"}]}},
        {"type": "complete", "id": "1"},
        HOLD,
    ]
    with Streams([HEAR, ACK, HEAR, *following]) as server:
        answers = taken(both, server.base_url, "websocket")
        (asked,) = server.streams
    assert answers == [GraphQLAnswer(ANSWER["data"]), GraphQLAnswer(None, ({"message": "x"},))]
    assert asked.headers["sec-websocket-protocol"] == "graphql-transport-ws"
    init, subscribe, pong = map(json.loads, asked.heard)
    assert init == {"type": "connection_init", "payload": {}}
    assert subscribe == {"id": "1", "type": "subscribe", "payload": {"query": LISTEN}}
    assert pong == {"type": "pong"}


@BOTH
def test_a_subscription_over_events(both: str) -> None:
    with Streams([Event("next", ANSWER), Event("complete"), HOLD]) as server:
        assert taken(both, server.base_url, "sse") == [GraphQLAnswer(ANSWER["data"])]
        (asked,) = server.streams
    assert asked.line == "POST /graphql HTTP/1.1"
    assert json.loads(asked.body) == {"query": LISTEN}


@BOTH
def test_a_refused_operation_is_an_answer_and_the_end(both: str) -> None:
    error = {"type": "error", "id": "1", "payload": [{"message": "no such field"}]}
    with Streams([HEAR, ACK, HEAR, error, HOLD]) as server:
        answers = taken(both, server.base_url, "websocket")
    assert answers == [GraphQLAnswer(None, ({"message": "no such field"},))]


@BOTH
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (4400, Invalid),
        (4401, Unauthenticated),
        (4403, Forbidden),
        (4429, RateLimited),
        (1013, RateLimited),
        (1012, Unreachable),
    ],
)
def test_the_code_of_a_farewell_is_an_error(both: str, code: int, error: type[Exception]) -> None:
    with Streams([HEAR, Farewell(code, "why")]) as server, pytest.raises(error, match="why"):
        taken(both, server.base_url, "websocket")


@BOTH
@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_lost_subscription_is_an_error_and_not_resumed(both: str, transport: str) -> None:
    answer = {"id": "1", "type": "next", "payload": ANSWER}
    first = [Event("next", ANSWER)] if transport == "sse" else [HEAR, ACK, HEAR, answer]
    with Streams([*first, CUT]) as server:
        with pytest.raises(Unreachable) as lost:
            taken(both, server.base_url, transport)
        assert "a write" not in str(lost.value)
        assert len(server.streams) == 1


@BOTH
@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_refused_connection_is_its_error(both: str, transport: str) -> None:
    refused = Refusal(403, {"error": "forbidden", "message": "origin not allowed"})
    with Streams(refused) as server, pytest.raises(Forbidden, match="origin"):
        taken(both, server.base_url, transport)


def test_a_transport_that_is_none() -> None:
    with Client() as client, pytest.raises(Invalid):
        client.graphql_subscribe(LISTEN, transport="pigeon")  # type: ignore[arg-type]
