"""What stays open: event streams, WebSockets and subscriptions begin with an identity, tell what it may see,
and end with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.doors.streams import DEADLINE_S, Stream, message, socket
from tests.security.guarded import CROWN, CROWN_VALUE, Guarded, Key, Login, bearer, leaks, names
from tests.security.wire import head, replies, said

STAYING = ("/kv/watch/open/**", "/services/watch", "/cluster/watch", "/health/watch")
SUBPROTOCOLS = ("graphql-transport-ws", "graphql-ws")
REVOKED = 4401


@pytest.mark.parametrize("path", STAYING)
def test_no_stream_without_a_good_token(guarded: Guarded, attacker: Login, path: str) -> None:
    for token in ("", "x", attacker.refresh_token, attacker.token[:-4], f"{attacker.token}%00"):
        for target in (path, f"{path}?token={token}"):
            (answer,) = replies(said(guarded.port, head("GET", target, "Connection: close")))
            assert answer.status == 401, target
        with pytest.raises(InvalidStatus) as refused:
            socket(guarded.port, f"{path}?token={token}")
        assert refused.value.response.status_code == 401


def test_a_token_in_the_query_of_a_stream_is_good_there(guarded: Guarded, attacker: Login) -> None:
    with Stream(guarded.port, f"/kv/watch/open/**?token={attacker.token}") as stream:
        assert stream.status == 200
    with socket(guarded.port, f"/kv/watch/open/**?token={attacker.token}"):
        pass
    assert attacker.token not in guarded.output()


def test_a_watch_tells_what_may_be_read(guarded: Guarded, attacker: Login) -> None:
    """Also of a pattern wider than the rules: what lies outside them is not told."""
    with Stream(guarded.port, "/kv/watch/**", attacker.headers) as stream:
        if stream.status == 403:
            return
        assert stream.status == 200
        guarded.by_admin("PUT", "/kv/vault/other-crown", {"value": "not for you"})
        guarded.by_admin("PUT", "/kv/open/after", {"value": "for you"})
        told = stream.event("kv-change")
        assert told.data["key"] == "open/after"


@pytest.mark.parametrize(
    "pattern",
    [
        "vault/**",
        "vault/crown",
        "**/crown",
        "*/crown",
        "v*/**",
        "[v]ault/crown",
        "vaul?/crown",
        "%76ault/**",
        "open%2F..%2Fvault/**",
    ],
)
def test_a_watch_beyond_the_rules_tells_nothing(guarded: Guarded, attacker: Login, pattern: str) -> None:
    for since in ("", "?since=0", "?initial=true"):
        with Stream(guarded.port, f"/kv/watch/{pattern}{since}", attacker.headers) as stream:
            if stream.status != 200:
                assert stream.status in (400, 403), (pattern, stream.status)
                assert not leaks(stream.body())
                continue
            guarded.by_admin("PUT", "/kv/vault/told", {"value": "not for you"})
            guarded.by_admin("PUT", "/kv/vault/x/crown", {"value": "not for you"})
            guarded.by_admin("POST", "/batch/kv/set", {"items": {"open/a/crown": "seen", "vault/end": "x"}})
            if pattern == "**/crown":
                assert stream.event("kv-change").data["key"] == "open/a/crown"


def test_waiting_reads_are_decided_again(guarded: Guarded) -> None:
    """A long-poll of a list answers what may be seen; of a key that may not be read it never begins."""
    who = guarded.login("attacker")
    assert guarded.get(f"/kv/{CROWN}?index=1&wait=1ms", who.headers).status == 403
    answer = guarded.get("/kv/?prefix=vault&index=0&wait=1ms", who.headers)
    assert answer.status != 200 or not names(answer)


def endings(guarded: Guarded) -> list[tuple[str, Callable[[Login, Key], object]]]:
    return [
        ("logout", lambda who, _key: guarded.ask("POST", "/auth/logout", {}, who.headers)),
        (
            "disabled",
            lambda who, _key: guarded.by_admin("PUT", f"/auth/users/{who.user_id}", {"enabled": False}),
        ),
        ("deleted", lambda who, _key: guarded.by_admin("DELETE", f"/auth/users/{who.user_id}")),
    ]


@pytest.mark.parametrize("number", range(3))
def test_open_streams_end_with_their_token(guarded: Guarded, number: int) -> None:
    _, end = endings(guarded)[number]
    who = guarded.login("attacker")
    path = "/kv/watch/open/**"
    with ExitStack() as open_ones:
        streams = [open_ones.enter_context(Stream(guarded.port, path, who.headers)) for _ in range(3)]
        sockets = [
            open_ones.enter_context(socket(guarded.port, path, additional_headers=who.headers))
            for _ in range(2)
        ]
        assert [one.status for one in streams] == [200] * 3
        end(who, Key("", ""))
        for stream in streams:
            assert b"token revoked" in b"".join(block.raw for block in stream.rest())
        assert [closed_with(connection) for connection in sockets] == [REVOKED] * 2


def test_open_streams_end_with_their_api_key(guarded: Guarded) -> None:
    key = guarded.key("attacker")
    with (
        Stream(guarded.port, "/kv/watch/open/**", key.headers) as stream,
        socket(guarded.port, "/kv/watch/open/**", additional_headers=key.headers) as connection,
    ):
        guarded.by_admin("POST", f"/auth/apikeys/{key.id}/revoke", {})
        assert stream.rest()
        assert closed_with(connection) == REVOKED


def test_an_open_stream_tells_nothing_more_without_its_policy(guarded: Guarded) -> None:
    guarded.add_policy({"name": "lent", "kv": [{"path": "open/**", "capabilities": ["read"]}]})
    who = guarded.login("lent")
    with Stream(guarded.port, "/kv/watch/open/**", who.headers) as stream:
        guarded.by_admin("PUT", "/kv/open/told", {"value": "1"})
        assert stream.event("kv-change").data["key"] == "open/told"
        guarded.by_admin("DELETE", "/acl/policies/lent")
        assert guarded.get("/kv/open/told", who.headers).status == 403
        guarded.by_admin("PUT", "/kv/open/untold", {"value": "2"})
        guarded.by_admin("DELETE", f"/auth/users/{who.user_id}")
        assert b"untold" not in b"".join(block.raw for block in stream.rest())


def closed_with(connection: ClientConnection) -> int:
    """Reads to the end; the close code."""
    for text in told_by(connection):
        assert not leaks(text)
    return code_of(connection)


def told_by(connection: ClientConnection) -> Iterator[bytes]:
    """What is told up to the end."""
    try:
        while True:
            text = connection.recv(timeout=DEADLINE_S)
            yield text.encode() if isinstance(text, str) else text
    except ConnectionClosed:
        return


def code_of(connection: ClientConnection) -> int:
    """The code that the server closed with."""
    assert connection.close_code is not None
    return connection.close_code


@pytest.mark.parametrize("protocol", SUBPROTOCOLS)
@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"Authorization": "Bearer x"},
        {"token": "x"},
        {"Authorization": 5},
        {"authorization": ["Bearer x"]},
        {"headers": {}},
    ],
    ids=range(7),
)
def test_a_graphql_socket_without_a_good_identity(guarded: Guarded, protocol: str, payload: Any) -> None:
    with socket(guarded.port, "/graphql", subprotocols=[protocol]) as connection:
        connection.send(
            json.dumps({"type": "connection_init"} | ({} if payload is None else {"payload": payload}))
        )
        assert refused_by(connection) in (4400, 4401, 4403)


def refused_by(connection: ClientConnection) -> int:
    """The close code of a socket that must not say that it is ready."""
    for text in told_by(connection):
        assert json.loads(text)["type"] in ("connection_error", "error", "ping"), text
    return code_of(connection)


def test_a_graphql_operation_before_the_identity(guarded: Guarded) -> None:
    ask = {"id": "1", "type": "subscribe", "payload": {"query": f'{{ kv(key: "{CROWN}") {{ value }} }}'}}
    with socket(guarded.port, "/graphql", subprotocols=["graphql-transport-ws"]) as connection:
        connection.send(json.dumps(ask))
        assert refused_by(connection) in (4401, 4400)


@contextmanager
def subscription(guarded: Guarded, who: Login, document: str) -> Iterator[ClientConnection]:
    init = {"type": "connection_init", "payload": {"Authorization": f"Bearer {who.token}"}}
    with socket(guarded.port, "/graphql", subprotocols=["graphql-transport-ws"]) as connection:
        connection.send(json.dumps(init))
        assert message(connection)["type"] == "connection_ack"
        connection.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": document}}))
        yield connection


def told_next(connection: ClientConnection) -> Any:
    """The next message that is about an operation."""
    while (told := message(connection))["type"] in ("ping", "pong"):
        pass
    return told


def test_a_subscription_tells_what_may_be_read_and_ends_with_the_token(guarded: Guarded) -> None:
    who = guarded.login("attacker")
    with subscription(guarded, who, 'subscription { kvWatchKey(key: "open/door") { key } }') as connection:
        assert told_next(connection)["payload"]["data"]["kvWatchKey"]["key"] == "open/door"
        guarded.by_admin("PUT", "/kv/open/door", {"value": "ajar"})
        assert told_next(connection)["type"] == "next"
        guarded.by_admin("DELETE", f"/auth/users/{who.user_id}")
        assert closed_with(connection) in (REVOKED, 4403)


def test_a_subscription_beyond_the_rules(guarded: Guarded, attacker: Login) -> None:
    for document in (
        f'subscription {{ kvWatchKey(key: "{CROWN}") {{ key value }} }}',
        f'subscription {{ kvChanged(key: "{CROWN}") {{ key }} }}',
    ):
        with subscription(guarded, attacker, document) as connection:
            guarded.by_admin("PUT", "/kv/vault/nudge", {"value": "1"})
            told = told_next(connection)
            assert told["type"] in ("error", "complete") or "errors" in told.get("payload", {}), told
            assert CROWN_VALUE not in json.dumps(told)


@pytest.mark.parametrize(
    "first",
    [
        {"type": "subscribe", "channels": ["kv", "services", "health"]},
        {"type": "auth"},
        {"type": "auth", "token": ""},
        {"type": "auth", "token": "x"},
        {"type": "auth", "token": 5},
        {"type": "auth", "token": None},
        {"type": "ping"},
    ],
    ids=range(7),
)
def test_updates_without_a_good_identity(guarded: Guarded, first: dict[str, Any]) -> None:
    """Whatever comes before a good credential is refused, at once or in words, and no change is told."""
    with socket(guarded.port, "/ws/updates") as connection:
        connection.send(json.dumps(first))
        guarded.by_admin("PUT", "/kv/open/untold", {"value": "x"})
        if first["type"] == "ping":
            assert message(connection)["channel"] in ("error", "system")
            connection.send(json.dumps({"type": "subscribe", "channels": ["kv"]}))
        told = next(told_by(connection), b"")
        assert not told or json.loads(told)["channel"] == "error", told


def test_updates_tell_what_may_be_read_and_end_with_the_token(guarded: Guarded) -> None:
    who = guarded.login("attacker")
    with socket(guarded.port, "/ws/updates") as connection:
        connection.send(json.dumps({"type": "auth", "token": who.token}))
        connection.send(json.dumps({"type": "subscribe", "channels": ["kv"]}))
        while message(connection).get("data", {}).get("type") != "subscribed":
            pass
        guarded.by_admin("PUT", "/kv/vault/unseen", {"value": "not for you"})
        guarded.by_admin("PUT", "/kv/open/seen", {"value": "for you"})
        assert message(connection)["data"]["key"] == "open/seen"
        guarded.by_admin("DELETE", f"/auth/users/{who.user_id}")
        assert closed_with(connection) == REVOKED


def test_a_socket_that_never_says_who_it_is_is_ended(guarded: Guarded) -> None:
    """After ten seconds; here only that it ends by itself, and with which code."""
    with (
        socket(guarded.port, "/ws/updates") as silent,
        socket(guarded.port, "/graphql", subprotocols=["graphql-transport-ws"]) as also,
    ):
        assert closed_with(silent) in (4401, 4408)
        assert closed_with(also) in (4401, 4408)


def test_a_refused_token_is_refused_on_a_stream_that_goes_on(guarded: Guarded) -> None:
    """Last-Event-ID and `since` are no way to come back."""
    who = guarded.login("attacker")
    guarded.ask("POST", "/auth/logout", {}, who.headers)
    for headers in (who.headers | {"Last-Event-ID": "1"}, bearer(who.token)):
        assert guarded.get("/kv/watch/open/**?since=1", headers).status == 401
