"""Both sub-protocols of GraphQL over WebSocket, message by message."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.ask import put
from tests.conftest import LiveServer
from tests.doors.graphql.speaking import LEGACY, TRANSPORT, WAIT_S, Speaker

Speak = Callable[..., Speaker]
BOTH = pytest.mark.parametrize("dialect", [TRANSPORT, LEGACY])
SETTINGS = {"KONSUL_GRAPHQL_WS_PING_INTERVAL": "200ms"}


@BOTH
def test_the_server_agrees_to_the_dialect(speak: Speak, dialect: str) -> None:
    assert speak(dialect).socket.subprotocol == dialect


def test_of_both_the_newer_is_taken(speak: Speak) -> None:
    one = speak(TRANSPORT, offers=[LEGACY, TRANSPORT])
    assert one.socket.subprotocol == TRANSPORT
    one.begin()
    assert one.answer("1", "{ __typename }") == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("dialect", ["", "mqtt"])
def test_any_other_dialect_is_closed_with_4406(speak: Speak, dialect: str) -> None:
    assert speak(dialect).ended() == (4406, "Subprotocol not acceptable")


@BOTH
def test_queries_and_mutations_are_answered_once_and_completed(
    speak: Speak, dialect: str, space: str
) -> None:
    one = speak(dialect).begin({"some": "parameter"})
    query = 'mutation Set($key: String!) { kvSet(key: $key, value: "v") { value } }'
    assert one.answer("1", query, variables={"key": space}) == {"data": {"kvSet": {"value": "v"}}}
    many = "query A { __typename } query B($key: String!) { kv(key: $key) { value } }"
    found = one.answer("1", many, operationName="B", variables={"key": space})
    assert found == {"data": {"kv": {"value": "v"}}}


@BOTH
def test_what_a_resolver_refuses_is_an_answer(speak: Speak, dialect: str) -> None:
    found = speak(dialect).begin().answer("1", 'mutation { kvSet(key: "", value: "v") { key } }')
    assert found["data"] is None
    assert found["errors"][0]["extensions"]["code"] == "INVALID_INPUT"


@BOTH
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ kv(key: ", "GRAPHQL_PARSE_FAILED"),
        ("query Q($k: String!) { kv(key: $k) { key } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription Q($k: String!) { kvChanged(key: $k) { key } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ services(limit: 1000) { name id } }", "COMPLEXITY_LIMIT_EXCEEDED"),
    ],
)
def test_what_cannot_be_executed_is_an_error_and_its_id_is_free(
    speak: Speak, dialect: str, query: str, code: str
) -> None:
    one = speak(dialect).begin()
    one.start("1", query)
    message = one.hear()
    assert (message["id"], message["type"]) == ("1", "error")
    error: Any = message["payload"] if dialect == LEGACY else message["payload"][0]
    assert error["extensions"]["code"] == code
    assert one.answer("1", "{ __typename }") == {"data": {"__typename": "Query"}}


@BOTH
def test_a_subscription_tells_each_change_until_it_is_stopped(
    server: LiveServer, speak: Speak, dialect: str, space: str
) -> None:
    one = speak(dialect).begin()
    put(server.port, f"{space}/a", "0")
    one.start("s", f'subscription {{ kvWatchKey(key: "{space}/a") {{ type value }} }}')
    kind = "data" if dialect == LEGACY else "next"
    for value in ("0", "1", "2"):
        if value != "0":
            put(server.port, f"{space}/a", value)
        assert one.hear() == {
            "id": "s", "type": kind, "payload": {"data": {"kvWatchKey": {"type": "SET", "value": value}}},
        }  # fmt: skip
    one.stop("s")
    put(server.port, f"{space}/a", "3")
    assert one.answer("q", "{ __typename }") == {"data": {"__typename": "Query"}}


def test_an_id_that_is_taken_ends_the_connection(speak: Speak, space: str) -> None:
    one = speak().begin()
    for _ in range(2):
        one.start("s", f'subscription {{ kvChanged(key: "{space}") {{ key }} }}')
    assert one.ended() == (4409, "Subscriber for s already exists")


def test_in_the_older_dialect_it_ends_the_subscription_before(
    server: LiveServer, speak: Speak, space: str
) -> None:
    one = speak(LEGACY).begin()
    for name in ("a", "b"):
        put(server.port, f"{space}/{name}", name)
        one.start("s", f'subscription {{ kvWatchKey(key: "{space}/{name}") {{ key }} }}')
        assert one.hear()["payload"]["data"]["kvWatchKey"]["key"] == f"{space}/{name}"
    put(server.port, f"{space}/a", "again")
    put(server.port, f"{space}/b", "again")
    assert one.hear()["payload"]["data"]["kvWatchKey"]["key"] == f"{space}/b"


@BOTH
def test_nothing_is_executed_before_the_connection_is_begun(speak: Speak, dialect: str) -> None:
    one = speak(dialect)
    one.start("1", "{ __typename }")
    assert one.ended() == (4401, "Unauthorized")


@BOTH
def test_a_connection_is_begun_once(speak: Speak, dialect: str) -> None:
    one = speak(dialect).begin()
    one.say("connection_init")
    assert one.ended() == (4429, "Too many initialisation requests")


@BOTH
@pytest.mark.parametrize(
    "message",
    [
        {"type": "nothing"},
        {"type": 7},
        {},
        [],
        "text",
        None,
        {"type": "START", "id": "", "payload": {"query": ""}},
        {"type": "START", "id": 7, "payload": {"query": "{ __typename }"}},
        {"type": "START", "id": "x" * 300, "payload": {"query": "{ __typename }"}},
        {"type": "START", "id": "1"},
        {"type": "START", "id": "1", "payload": {"query": 7}},
    ],
)
def test_what_is_no_message_ends_the_connection(speak: Speak, dialect: str, message: Any) -> None:
    one = speak(dialect).begin()
    text = json.dumps(message).replace("START", "start" if dialect == LEGACY else "subscribe")
    one.socket.send(text)
    assert one.ended()[0] == 4400


def test_a_ping_is_answered_with_its_payload(speak: Speak) -> None:
    one = speak()
    one.say("ping", payload={"number": 7})
    assert one.hear() == {"type": "pong", "payload": {"number": 7}}
    one.say("ping")
    assert one.hear() == {"type": "pong"}
    one.say("pong")
    one.begin()


@pytest.mark.parametrize(("dialect", "sign"), [(TRANSPORT, "ping"), (LEGACY, "ka")])
def test_the_server_gives_signs_of_life(speak: Speak, dialect: str, sign: str) -> None:
    one = speak(dialect).begin()
    for _ in range(3):
        assert json.loads(one.socket.recv(timeout=WAIT_S)) == {"type": sign}


def test_the_older_dialect_says_goodbye(speak: Speak) -> None:
    one = speak(LEGACY).begin()
    one.say("connection_terminate")
    assert one.ended()[0] == 1000


@BOTH
def test_stopping_what_is_not_there_does_nothing(speak: Speak, dialect: str) -> None:
    one = speak(dialect).begin()
    one.stop("never")
    assert one.answer("1", "{ __typename }") == {"data": {"__typename": "Query"}}


@BOTH
def test_operations_run_beside_each_other(server: LiveServer, speak: Speak, dialect: str, space: str) -> None:
    one = speak(dialect).begin()
    for number in range(5):
        one.start(f"s{number}", f'subscription {{ kvChanged(prefix: "{space}/{number}/") {{ value }} }}')
    one.answer("q", "{ __typename }")
    for number in reversed(range(5)):
        put(server.port, f"{space}/{number}/key", str(number))
        message = one.hear()
        assert message["id"] == f"s{number}"
        assert message["payload"]["data"]["kvChanged"]["value"] == str(number)
