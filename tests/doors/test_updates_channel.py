"""`/ws/updates`: what a user interface asks for, and what it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.ask import ask, put
from tests.conftest import LiveServer
from tests.doors.streams import DEADLINE_S, message, socket


def say(connection: ClientConnection, asked: Any) -> Any:
    """Sends it and returns the answer, past changes that come in between."""
    connection.send(json.dumps(asked))
    while (told := message(connection))["channel"] not in ("system", "error"):
        pass
    return told


def subscribe(connection: ClientConnection, *channels: str) -> None:
    told = say(connection, {"type": "subscribe", "channels": channels})
    assert told == {"channel": "system", "data": {"type": "subscribed", "channels": list(channels)}}


def register(server: LiveServer, name: str) -> None:
    body = {"name": name, "address": "10.0.0.1", "port": 80}
    assert ask(server.port, "PUT", "/register", body).status == 200


def test_changes_of_keys_are_told_under_their_channel(server: LiveServer, space: str) -> None:
    with socket(server.port, "/ws/updates") as updates:
        subscribe(updates, "kv")
        index = put(server.port, f"{space}/a/b", "v").json()["modify_index"]
        text = updates.recv(timeout=DEADLINE_S)
        at = json.loads(text)["data"]["timestamp"]
        assert text == (
            f'{{"channel":"kv","data":{{"type":"set","key":"{space}/a/b","value":"v","timestamp":{at},'
            f'"modify_index":{index}}}}}'
        )
        ask(server.port, "DELETE", f"/kv/{space}/a/b")
        assert message(updates)["data"]["type"] == "delete"


def test_services_are_told_with_their_heartbeats(server: LiveServer, space: str) -> None:
    with socket(server.port, "/ws/updates") as updates:
        subscribe(updates, "services")
        register(server, space)
        assert message(updates)["data"]["type"] == "register"
        ask(server.port, "PUT", f"/heartbeat/{space}")
        told = message(updates)
        assert (told["channel"], told["data"]["type"]) == ("services", "heartbeat")
        service = {"name": space, "address": "10.0.0.1", "port": 80, "health": "passing"}
        assert told["data"]["service"] == service
        ask(server.port, "DELETE", f"/deregister/{space}")
        assert message(updates)["data"]["type"] == "deregister"


def test_health_is_told_at_once(server: LiveServer) -> None:
    with socket(server.port, "/ws/updates") as updates:
        subscribe(updates, "health")
        told = message(updates)
        assert told["channel"] == "health"
        assert set(told["data"]) == {"type", "data", "timestamp"}
        assert set(told["data"]["data"]) == {"status", "uptime", "services"}


def test_the_cluster_is_told_at_once_where_there_is_one(server: LiveServer, lone_leader: LiveServer) -> None:
    with socket(lone_leader.port, "/ws/updates") as updates:
        subscribe(updates, "cluster")
        assert message(updates)["data"]["leader"] == "n1"
        assert message(updates)["data"]["type"] == "members"
    with socket(server.port, "/ws/updates") as updates:
        told = say(updates, {"type": "subscribe", "channels": ["cluster"]})
        assert told["data"] == {"message": "clustering not enabled", "channel": "cluster"}
        assert message(updates)["data"] == {"type": "subscribed", "channels": []}


def test_what_is_unsubscribed_is_told_no_more(server: LiveServer, space: str) -> None:
    with socket(server.port, "/ws/updates") as updates:
        subscribe(updates, "kv", "services")
        told = say(updates, {"type": "unsubscribe", "channels": ["kv"]})
        assert told["data"] == {"type": "unsubscribed", "channels": ["kv"]}
        put(server.port, space, "v")
        register(server, space)
        assert message(updates)["channel"] == "services"


def test_subscribing_twice_tells_once(server: LiveServer, space: str) -> None:
    with socket(server.port, "/ws/updates") as updates:
        for _ in range(3):
            subscribe(updates, "kv")
        put(server.port, f"{space}/1", "v")
        put(server.port, f"{space}/2", "v")
        assert [message(updates)["data"]["key"] for _ in range(2)] == [f"{space}/1", f"{space}/2"]


def test_a_token_is_taken_and_what_was_followed_goes_on(server: LiveServer, space: str) -> None:
    with socket(server.port, "/ws/updates") as updates:
        subscribe(updates, "kv")
        told = say(updates, {"type": "auth", "token": "anything: nothing is guarded yet"})
        assert told == {"channel": "system", "data": {"type": "authenticated"}}
        put(server.port, space, "v")
        assert message(updates)["data"]["key"] == space
        assert "anything: nothing" not in server.output()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("no JSON", "a message is one JSON object"),
        ("[]", "a message is one JSON object"),
        ("null", "a message is one JSON object"),
        ("{}", "unknown type: expected auth, subscribe, unsubscribe"),
        ('{"type":["subscribe"]}', "unknown type"),
        ('{"type":"dance"}', "unknown type"),
        ('{"type":"auth"}', "auth needs a token"),
        ('{"type":"auth","token":7}', "auth needs a token"),
        ('{"type":"subscribe"}', "channels is a list of some of: kv, services, health, cluster"),
        ('{"type":"subscribe","channels":[]}', "channels is a list"),
        ('{"type":"subscribe","channels":"kv"}', "channels is a list"),
        ('{"type":"subscribe","channels":["kv","stars"]}', "channels is a list"),
        ('{"type":"subscribe","channels":[{}]}', "channels is a list"),
        ('{"type":"unsubscribe","channels":[1]}', "channels is a list"),
        ('{"type":"subscribe","channels":[' + ",".join(['"kv"'] * 100) + "]}", "channels is a list"),
    ],
)
def test_what_is_unknown_is_answered_and_the_connection_stays(
    server: LiveServer, space: str, asked: str, words: str
) -> None:
    with socket(server.port, "/ws/updates") as updates:
        updates.send(asked)
        told = message(updates)
        assert told["channel"] == "error"
        assert words in told["data"]["message"]
        subscribe(updates, "kv")
        put(server.port, space, "v")
        assert message(updates)["data"]["key"] == space


def end_after(updates: ClientConnection, *texts: str) -> tuple[int, str]:
    """Sends, then reads up to the close: its code and reason."""
    try:
        for text in texts:
            updates.send(text)
        while True:
            updates.recv(timeout=DEADLINE_S)
    except ConnectionClosed as closed:
        end = closed.rcvd
    return (0, "hung up") if end is None else (end.code, end.reason)


def test_a_flood_of_messages_ends_the_connection_with_a_reason(server: LiveServer) -> None:
    with socket(server.port, "/ws/updates") as updates:
        assert end_after(updates, *['{"type":"dance"}'] * 1_000) == (1008, "too many messages")


def test_a_message_over_the_limit_ends_the_connection(server: LiveServer) -> None:
    with socket(server.port, "/ws/updates") as updates:
        assert end_after(updates, "x" * (16 << 10) + "x")[0] == 1009
