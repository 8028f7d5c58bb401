"""How long a WebSocket may be silent, unused or slow, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.ask import put
from tests.conftest import LiveServer
from tests.doors.graphql.speaking import LEGACY, TRANSPORT, Speaker
from tests.waiting import until

SETTINGS = {
    "KONSUL_GRAPHQL_WS_READ_TIMEOUT": "1s",
    "KONSUL_GRAPHQL_EVENT_CLEANUP_INTERVAL": "3s",
    "KONSUL_GRAPHQL_WS_PING_INTERVAL": "200ms",
    "KONSUL_GRAPHQL_WS_WRITE_TIMEOUT": "1s",
    "KONSUL_GRAPHQL_WS_MAX_CONNECTIONS": "5",
    "KONSUL_GRAPHQL_WS_MAX_OPERATIONS": "3",
    "KONSUL_GRAPHQL_SUBSCRIPTION_RATE_LIMIT": "0",
}
Speak = Callable[..., Speaker]


@pytest.mark.parametrize("dialect", [TRANSPORT, LEGACY])
def test_a_silent_client_without_an_operation_is_let_go(speak: Speak, dialect: str) -> None:
    code, reason = speak(dialect).begin().ended()
    assert code == 1001
    assert "KONSUL_GRAPHQL_WS_READ_TIMEOUT" in reason


def test_a_client_that_only_answers_pings_is_let_go_later(speak: Speak) -> None:
    one = speak().begin()
    code, reason = one.answering_pings()
    assert code == 1001
    assert "KONSUL_GRAPHQL_EVENT_CLEANUP_INTERVAL" in reason


def test_a_client_with_a_subscription_may_be_silent(server: LiveServer, speak: Speak, space: str) -> None:
    one = speak().begin()
    one.start("s", f'subscription {{ kvChanged(key: "{space}") {{ value }} }}')
    # Sixteen signs of life are longer than any of the time-outs.
    for _ in range(16):
        assert one.sign_of_life() == "ping"
    put(server.port, space, "v")
    assert one.hear()["payload"]["data"]["kvChanged"]["value"] == "v"


def test_operations_of_one_connection_are_bounded(speak: Speak, space: str) -> None:
    one = speak().begin()
    for number in range(4):
        one.start(str(number), f'subscription {{ kvChanged(key: "{space}") {{ value }} }}')
    message = one.hear()
    assert (message["id"], message["type"]) == ("3", "error")
    assert message["payload"][0]["extensions"] == {"code": "OPERATION_LIMIT_EXCEEDED", "limit": 3}
    one.stop("0")
    assert one.answer("4", "{ __typename }") == {"data": {"__typename": "Query"}}


def test_connections_are_bounded(speak: Speak, http: httpx.Client) -> None:
    until(lambda: _open(http) == 0, "the end of the connections before")
    for _ in range(5):
        speak().begin()
    code, reason = speak().ended()
    assert code == 1013
    assert "KONSUL_GRAPHQL_WS_MAX_CONNECTIONS" in reason
    assert _open(http) == 5


def test_a_slow_client_is_closed_and_the_others_hear_everything(
    server: LiveServer, http: httpx.Client, speak: Speak, space: str
) -> None:
    until(lambda: _open(http) == 0, "the end of the connections before")
    query = f'subscription {{ kvChanged(prefix: "{space}/") {{ key value }} }}'
    # It reads one frame ahead and then no more.
    slow = speak(max_queue=1).begin()
    slow.start("s", query)
    quick = speak().begin()
    quick.start("s", query)
    quick.answer("q", "{ __typename }")
    value = "x" * 200_000
    for number in range(60):
        put(server.port, f"{space}/{number}", value)
        assert quick.hear()["payload"]["data"]["kvChanged"]["key"] == f"{space}/{number}"
    until(lambda: 'reason="write_timeout"' in http.get("/metrics").text, "the slow one's end")
    assert quick.answer("q", "{ __typename }") == {"data": {"__typename": "Query"}}


def _open(http: httpx.Client) -> float:
    name = "konsul_graphql_websocket_connections_active "
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))
