"""With auth and ACL on: who was let in and who was not, by which credential, at every door."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doors.graphql.speaking import Speaker
from tests.doors.streams import Stream, message, socket
from tests.doors.trail import Event, brief, events, of_request
from tests.security.guarded import PASSWORD, READER, Guarded, Login, credentials
from tests.waiting import until


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    more = {"KONSUL_AUDIT_FLUSH_INTERVAL": "20ms", "KONSUL_LOGIN_ATTEMPTS": "1000"}
    with Guarded(tmp_path_factory.mktemp("audit"), more) as running:
        running.add_policy(READER)
        yield running


@pytest.fixture(scope="module")
def reader(guarded: Guarded) -> Login:
    """May use keys below `open/` and services called `open-*`."""
    return guarded.login("attacker")


def told(guarded: Guarded, **asked: object) -> list[Event]:
    return events(guarded.port, guarded.admin, **asked)


def asked(
    guarded: Guarded, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, list[Event]]:
    """The status of a call, and its events."""
    answer = guarded.ask(method, path, body, headers)
    return answer.status, of_request(guarded.port, answer.headers["x-request-id"], guarded.admin)


CALLS = [
    ("GET", "/kv/open/x", None, "kv.get", "open/x"),
    ("PUT", "/kv/open/x", {"value": "1"}, "kv.set", "open/x"),
    ("DELETE", "/kv/open/x", None, "kv.delete", "open/x"),
    ("POST", "/batch/kv/get", {"keys": ["open/x", "open/y"]}, "batch.kv.get", ["open/x", "open/y"]),
    ("POST", "/batch/kv/set", {"items": {"open/x": "1"}}, "batch.kv.set", "open/x"),
    ("GET", "/services/open-x", None, "service.get", "open-x"),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "action", "resource"), CALLS, ids=[f"{each[0]} {each[1]}" for each in CALLS]
)
def test_a_call_says_who_made_it_and_why_it_was_let_in(
    guarded: Guarded, reader: Login, method: str, path: str, body: Any, action: str, resource: Any
) -> None:
    status, (event,) = asked(guarded, method, path, body, reader.headers)
    assert status in (200, 404)
    assert (event["action"], brief(event)[2]) == (action, resource)
    assert event["actor"]["type"] == "user"
    assert event["actor"]["id"] == event["actor"]["name"] == reader.user_id
    assert event["actor"]["roles"] == ["user"]
    assert event["auth_method"] == "jwt"
    assert event["actor"]["token_id"] not in ("", reader.token)
    if status == 200:
        assert "attacker" in event["reason"]


@pytest.mark.parametrize(
    ("method", "path", "body", "action", "resource"), CALLS, ids=[f"{each[0]} {each[1]}" for each in CALLS]
)
def test_a_refused_call_is_recorded_with_what_it_wanted(
    guarded: Guarded, reader: Login, method: str, path: str, body: Any, action: str, resource: Any
) -> None:
    def shut(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("open", "vault"))

    status, (event,) = asked(guarded, method, shut(path), shut(body), reader.headers)
    assert status == 403
    assert brief(event) == (action, "denied", shut(resource))
    assert event["actor"]["id"] == reader.user_id
    assert event["reason"]
    status, (event,) = asked(guarded, method, path, body)
    assert status == 401
    assert (event["action"], event["result"], event["actor"]) == (
        "auth.failed",
        "denied",
        {"type": "anonymous"},
    )


def test_an_api_key_is_named_by_its_id(guarded: Guarded) -> None:
    key = guarded.key("attacker")
    status, (event,) = asked(guarded, "GET", "/kv/open/door", None, key.headers)
    assert status == 404
    assert (event["actor"]["type"], event["actor"]["id"]) == ("api_key", key.id)
    assert event["auth_method"] == "api_key"
    assert key.text not in json.dumps(event)


def test_credentials_that_do_not_hold_are_a_failed_authentication(guarded: Guarded) -> None:
    for headers in ({"Authorization": "Bearer nonsense"}, {"X-API-Key": "konsul_" + "0" * 64}):
        status, (event,) = asked(guarded, "GET", "/kv/open/x", None, headers)
        assert status == 401
        assert (event["action"], event["result"]) == ("auth.failed", "denied")
        assert event["reason"]
        assert "nonsense" not in json.dumps(event)


def test_logins_that_succeed_and_that_fail(guarded: Guarded) -> None:
    user = guarded.add_user("attacker")
    status, (event,) = asked(guarded, "POST", "/auth/login", credentials(user, PASSWORD))
    assert status == 200
    assert brief(event) == ("auth.login", "success", user)
    status, (event,) = asked(guarded, "POST", "/auth/login", credentials(user, "wrong-" + PASSWORD))
    assert status == 401
    assert brief(event) == ("auth.login", "denied", user)
    # The hash of a body with a password in it would let the password be guessed.
    assert "request_hash" not in event


def test_a_refresh_and_its_replay(guarded: Guarded) -> None:
    login = guarded.login("attacker")
    body = {"refresh_token": login.refresh_token}
    status, (event,) = asked(guarded, "POST", "/auth/refresh", body)
    assert (status, event["action"], event["result"]) == (200, "auth.refresh", "success")
    status, (event,) = asked(guarded, "POST", "/auth/refresh", body)
    assert (status, event["action"], event["result"]) == (401, "auth.refresh", "denied")


def test_administration_is_recorded_by_what_it_did(guarded: Guarded, reader: Login) -> None:
    name = f"p-{secrets.token_hex(4)}"
    status, (event,) = asked(guarded, "POST", "/acl/policies", {"name": name}, guarded.admin)
    assert (status, brief(event)) == (201, ("acl.policy.create", "success", name))
    assert event["actor"]["type"] == "api_key"
    status, (event,) = asked(guarded, "POST", "/acl/policies", {"name": name}, reader.headers)
    assert (status, event["result"], event["actor"]["id"]) == (403, "denied", reader.user_id)
    status, (event,) = asked(guarded, "DELETE", f"/acl/policies/{name}", None, guarded.admin)
    assert brief(event) == ("acl.policy.delete", "success", name)


def test_each_refused_field_of_a_graphql_request(guarded: Guarded, reader: Login) -> None:
    guarded.by_admin("PUT", "/kv/open/there", {"value": "1"})
    query = '{ a: kv(key: "open/there") { value } b: kv(key: "vault/crown") { value } }'
    status, found = asked(guarded, "POST", "/graphql", {"query": query}, reader.headers)
    assert status == 200
    # Both are asked for at once first, which is refused, then each by itself.
    told = {(event["resource"].get("id"), event["result"], event["reason"]) for event in found}
    assert ("vault/crown", "denied", "no rule allows it") in told
    assert ("open/there", "success", "policy attacker rule 0 (kv open/**)") in told
    assert {event["action"] for event in found} == {"kv.get"}


def test_refused_watches(guarded: Guarded, reader: Login) -> None:
    mark = secrets.token_hex(4)
    with Stream(guarded.port, f"/kv/watch/vault-{mark}/*?token={reader.token}") as stream:
        assert stream.status == 403
    with socket(guarded.port, f"/kv/watch/vault-{mark}/*?token={reader.token}") as connection:
        assert message(connection)["error"] == "forbidden"
    until(lambda: len(told(guarded, resource=f"vault-{mark}/*")) == 2, "both refusals")
    found = told(guarded, resource=f"vault-{mark}/*")
    told_as = [(event["action"], event["result"], event["http_status"]) for event in found]
    # A WebSocket is told in words, after it was opened.
    assert told_as == [("kv.watch", "denied", 403), ("kv.watch", "denied", 101)]
    assert {event["actor"]["id"] for event in found} == {reader.user_id}
    with Stream(guarded.port, f"/kv/watch/open/{mark}/*?token={reader.token}") as stream:
        assert stream.status == 200
    (event,) = told(guarded, resource=f"open/{mark}/*")
    assert (event["result"], event["actor"]["id"]) == ("success", reader.user_id)
    assert reader.token not in guarded.audit_file.read_text()


def test_operations_of_a_websocket_are_its_users(guarded: Guarded, reader: Login) -> None:
    mark = secrets.token_hex(4)
    speaker = Speaker(guarded.port).begin({"Authorization": f"Bearer {reader.token}"})
    try:
        for space in ("open", "vault"):
            key = f"{space}/{mark}"
            speaker.start(space, f'mutation {{ kvSet(key: "{key}", value: "1") {{ modifyIndex }} }}')
            until(lambda key=key: told(guarded, resource=key), f"the event of {key}")  # type: ignore[misc]
    finally:
        speaker.socket.close()
    found = told(guarded, resource=f"open/{mark}") + told(guarded, resource=f"vault/{mark}")
    assert [brief(event)[:2] for event in found] == [("kv.set", "success"), ("kv.set", "denied")]
    assert {event["actor"]["id"] for event in found} == {reader.user_id}


def test_a_socket_without_credentials_is_a_failed_authentication(guarded: Guarded) -> None:
    before = len(told(guarded, action="auth.failed"))
    speaker = Speaker(guarded.port)
    try:
        speaker.say("connection_init", payload={"Authorization": "Bearer nonsense"})
        speaker.ended()
    finally:
        speaker.socket.close()
    until(lambda: len(told(guarded, action="auth.failed")) > before, "the event of the refused socket")


def test_the_trail_is_for_administrators(guarded: Guarded, reader: Login) -> None:
    assert guarded.get("/audit/events").status == 401
    assert guarded.get("/audit/events", reader.headers).status == 403
    assert guarded.get("/audit/stats", reader.headers).status == 403
    allowed = guarded.login(guarded.add_policy({"name": "auditor", "admin": [{"capabilities": ["read"]}]}))
    assert guarded.get("/audit/events?limit=1", allowed.headers).status == 200
    assert guarded.get("/audit/stats", allowed.headers).status == 200
    found = told(guarded, action="audit.*", actor=allowed.user_id)
    assert [event["action"] for event in found] == ["audit.events.read", "audit.stats.read"]
