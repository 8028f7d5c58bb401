"""Whoever wants to bring the node down: refused with a clear error, and the node is well after it."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import LiveServer
from tests.doors.graphql.bombs import BOMBS
from tests.doors.graphql.conftest import Asks
from tests.doors.graphql.speaking import WAIT_S, Speaker, code_of
from tests.waiting import until

SETTINGS = {
    "KONSUL_GRAPHQL_WS_INIT_TIMEOUT": "500ms",
    "KONSUL_GRAPHQL_WS_MAX_PER_CLIENT": "20",
    "KONSUL_GRAPHQL_MAX_VARIABLES_BYTES": "64KiB",
    "KONSUL_GRAPHQL_MAX_QUERY_DEPTH": "3",
}
Speak = Callable[..., Speaker]


@pytest.fixture(autouse=True)
def _well_afterwards(server: LiveServer, asks: Asks) -> Iterator[None]:
    """After every attack the same process answers a normal query."""
    pid = server.pid
    yield
    assert asks("{ health { status } }") == (200, {"data": {"health": {"status": "healthy"}}})
    assert server.pid == pid
    assert server.running()


@pytest.mark.parametrize("name", BOMBS)
def test_a_document_that_wants_too_much(asks: Asks, name: str) -> None:
    query, status, code = BOMBS[name]
    found, body = asks(query)
    assert (found, code_of(body) if "errors" in body else None) == (status, code)


def test_a_document_deeper_than_allowed(asks: Asks) -> None:
    deep = "query { health { services { total } } services { checks { name } } }"
    assert "errors" not in asks(deep)[1]
    status, body = asks(
        "query A { ...S } fragment S on Query { _entities(representations: []) { ...T } } "
        "fragment T on Service { checks { name ... { id @skip(if: true) } } }"
    )
    assert (status, body) == (200, {"data": {"_entities": []}})


def test_a_list_of_variables_that_never_ends(asks: Asks) -> None:
    query = "query T($tags: [String!]!) { servicesByTags(tags: $tags) { name } }"
    status, body = asks(query, {"tags": ["x"] * 2_000})
    assert (status, code_of(body)) == (200, "LIST_LIMIT_EXCEEDED")


def test_variables_that_are_huge(asks: Asks, http: httpx.Client) -> None:
    query = "query T($key: String!) { kv(key: $key) { value } }"
    status, body = asks(query, {"key": "x" * 100_000})
    assert (status, code_of(body)) == (422, "VARIABLES_TOO_LARGE")
    assert (
        http.post("/graphql", json={"query": query, "variables": {"key": "x" * 5_000_000}}).status_code == 413
    )


def test_variables_that_nest_without_end(http: httpx.Client) -> None:
    nested: Any = "x"
    for _ in range(200):
        nested = [nested]
    answer = http.post("/graphql", json={"query": "{ __typename }", "variables": {"x": nested}})
    assert (answer.status_code, code_of(answer.json())) == (422, "GRAPHQL_VALIDATION_FAILED")


def test_errors_that_quote_what_was_sent_stay_short(http: httpx.Client) -> None:
    members = " ".join(f"n{number}: 1" for number in range(1_000))
    query = "mutation { registerService(input: {" + members + "}) { name } }"
    answer = http.post("/graphql", json={"query": query})
    assert answer.status_code == 422
    assert len(answer.content) < 5 * len(query)


def test_a_batch_of_ten_thousand(http: httpx.Client) -> None:
    answer = http.post("/graphql", json=[{"query": "{ __typename }"}] * 10_000)
    assert (answer.status_code, code_of(answer.json())) == (422, "BATCH_LIMIT_EXCEEDED")


def test_a_page_of_another_site_may_not_open_a_socket(speak: Speak) -> None:
    with pytest.raises(InvalidStatus) as refused:
        speak(origin="https://evil.example")
    assert refused.value.response.status_code == 403


def test_a_page_of_the_node_itself_may(speak: Speak, server: LiveServer) -> None:
    speak(origin=f"http://127.0.0.1:{server.port}").begin()


def test_a_client_that_never_begins_is_let_go(speak: Speak) -> None:
    assert speak().ended() == (4408, "Connection initialisation timeout")


def test_a_client_that_pings_instead_of_beginning_is_let_go(speak: Speak) -> None:
    one = speak()
    one.say("ping")
    assert one.hear()["type"] == "pong"
    assert one.ended()[0] == 4408


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "7",
        "[]",
        "{}",
        "{",
        '{"type": 7}',
        '{"type": "nothing"}',
        "[" * 50_000,
        '{"type": "start"}',
    ],
)
def test_a_message_that_is_none(speak: Speak, text: str) -> None:
    one = speak().begin()
    one.socket.send(text)
    assert one.ended()[0] == 4400


def test_a_binary_message(speak: Speak) -> None:
    one = speak().begin()
    one.socket.send(b'{"type": "ping"}')
    assert one.ended()[0] == 4400


def _raw(server: LiveServer) -> socket.socket:
    """A connection after the upgrade, for frames that no library would send."""
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)
    raw.sendall(
        b"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += raw.recv(4096)
    assert b" 101 " in head.split(b"\r\n")[0]
    return raw


def _is_closed(raw: socket.socket) -> bool:
    """Reads until the server closes; False if it goes on."""
    try:
        while raw.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x81\x84\x00\x00\x00\x00\xff\xfe\xfd\xfc", id="invalid UTF-8"),
        pytest.param(
            b"\x81\xff" + struct.pack(">Q", 1 << 30) + b"\x00" * 4 + b"x" * 1_000, id="1 GB announced"
        ),
        pytest.param(b"\x81\xff" + struct.pack(">Q", 1 << 62) + b"\x00" * 4 + b"x", id="4 EB announced"),
        pytest.param(b"\x81\x04ping", id="not masked"),
        pytest.param(b"\xf1\x84\x00\x00\x00\x00ping", id="reserved bits"),
        pytest.param(b"\x8f\x80\x00\x00\x00\x00", id="unknown opcode"),
        pytest.param(b"\x89\xfe\x00\xff" + b"\x00" * 4 + b"x" * 255, id="a control frame of 255 bytes"),
    ],
)
def test_a_frame_no_client_sends(server: LiveServer, frame: bytes) -> None:
    with _raw(server) as raw:
        raw.sendall(frame)
        assert _is_closed(raw)


def test_a_message_in_endless_fragments(server: LiveServer) -> None:
    piece = b"\x00\xfe\xff\xff\x00\x00\x00\x00" + b"x" * 65_535
    with _raw(server) as raw:
        raw.sendall(b"\x01\x80\x00\x00\x00\x00" + piece * 100)
        frame = raw.recv(4)
    assert frame[:1] == b"\x88"
    assert struct.unpack(">H", frame[2:]) == (1009,)


def test_more_sockets_than_a_client_may_have(speak: Speak) -> None:
    held = [speak().begin() for _ in range(20)]
    code, reason = speak().ended()
    assert code == 1013
    assert "KONSUL_GRAPHQL_WS_MAX_PER_CLIENT" in reason
    held.pop().hang_up()
    until(lambda: _may_begin(speak), "a place on the node")


def _may_begin(speak: Speak) -> bool:
    try:
        speak().begin()
    except Exception:
        return False
    return True


def test_a_flood_of_subscriptions(speak: Speak) -> None:
    one = speak().begin()
    for number in range(300):
        one.start(str(number), "subscription { kvChanged { key } }")
    refused = [one.hear() for _ in range(290)]
    assert {message["type"] for message in refused} == {"error"}
    codes = {message["payload"][0]["extensions"]["code"] for message in refused}
    assert "RATE_LIMITED" in codes
    assert codes <= {"RATE_LIMITED", "OPERATION_LIMIT_EXCEEDED"}


def test_subscriptions_are_counted_over_all_sockets_of_a_client(speak: Speak) -> None:
    first, second = speak().begin(), speak().begin()
    for number in range(10):
        first.start(str(number), "subscription { kvChanged { key } }")
    first.answer("q", "{ __typename }")
    second.start("1", "subscription { kvChanged { key } }")
    message = second.hear()
    assert message["type"] == "error"
    assert message["payload"][0]["extensions"] == {"code": "RATE_LIMITED", "retryAfter": 1}
    first.hang_up()
    until(lambda: _subscribes(second), "a seat for a subscription")


def _subscribes(one: Speaker) -> bool:
    """True when a subscription begins: a query after it is answered first."""
    one.start("s", "subscription { kvChanged { key } }")
    one.start("q", "{ __typename }")
    heard = [one.hear() for _ in range(2)]
    begun = all(message["id"] == "q" for message in heard)
    if not begun:
        one.hear()
    return begun


def test_mutations_over_their_rate(server: LiveServer, asks: Asks, speak: Speak) -> None:
    flood = "mutation {" + "".join(f'a{i}: kvDelete(key: "absent") ' for i in range(40)) + "}"
    answers = [asks(flood)[1] for _ in range(3)]
    assert "errors" not in answers[0]
    assert answers[2]["data"] is None
    assert code_of(answers[2]) == "RATE_LIMITED"
    assert 1 <= answers[2]["errors"][0]["extensions"]["retryAfter"] <= 60
    # The same client through another transport.
    assert code_of(speak().begin().answer("1", flood)) == "RATE_LIMITED"


def test_a_client_that_asks_and_never_reads(server: LiveServer) -> None:
    ping = _masked({"type": "ping", "payload": {"x": "y" * 4_000}})
    with _raw(server) as raw:
        raw.sendall(_masked({"type": "connection_init"}))
        raw.settimeout(3)
        with pytest.raises((ConnectionError, TimeoutError)):
            raw.sendall(ping * 20_000)


def _masked(message: object) -> bytes:
    text = json.dumps(message).encode()
    size = bytes((0x80 | len(text),)) if len(text) < 126 else b"\xfe" + struct.pack(">H", len(text))
    return b"\x81" + size + bytes(4) + text
