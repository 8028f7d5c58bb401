"""The calls of identities and policies: paths, bodies and answers, against played answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from konsul.client import NewApiKey, Tokens
from konsul.errors import Conflict, Invalid, NotFound, Unauthenticated
from tests.client.played import Doing, Played, ok, refusal, run

BOTH = pytest.mark.parametrize("both", ["sync", "async"])
ONE = {"user_id": "ann"}
CALLS: list[tuple[Doing, str, str, Any]] = [
    (lambda c: c.auth.logout(), "POST", "/auth/logout", None),
    (lambda c: c.auth.verify(), "GET", "/auth/verify", None),
    (lambda c: c.auth.bootstrap(), "POST", "/auth/bootstrap", None),
    (lambda c: c.auth.jwks(), "GET", "/auth/jwks", None),
    (lambda c: c.auth.users.get("a@b"), "GET", "/auth/users/a%40b", None),
    (lambda c: c.auth.users.disable("ann"), "POST", "/auth/users/ann/disable", None),
    (lambda c: c.auth.users.enable("ann"), "POST", "/auth/users/ann/enable", None),
    (lambda c: c.auth.users.delete("ann"), "DELETE", "/auth/users/ann", None),
    (
        lambda c: c.auth.users.set_password("ann", "new", old_password="old"),
        "POST",
        "/auth/users/ann/passwd",
        {"password": "new", "old_password": "old"},
    ),
    (
        lambda c: c.auth.users.set_password("ann", "new"),
        "POST",
        "/auth/users/ann/passwd",
        {"password": "new"},
    ),
    (lambda c: c.auth.api_keys.get("k1"), "GET", "/auth/apikeys/k1", None),
    (lambda c: c.auth.api_keys.revoke("k1"), "POST", "/auth/apikeys/k1/revoke", None),
    (lambda c: c.auth.api_keys.enable("k1"), "POST", "/auth/apikeys/k1/enable", None),
    (lambda c: c.auth.api_keys.delete("k1"), "DELETE", "/auth/apikeys/k1", None),
    (
        lambda c: c.auth.api_keys.update("k1", permissions=[]),
        "PUT",
        "/auth/apikeys/k1",
        {"permissions": []},
    ),
    (lambda c: c.acl.policy("dev"), "GET", "/acl/policies/dev", None),
    (lambda c: c.acl.delete_policy("dev"), "DELETE", "/acl/policies/dev", None),
    (
        lambda c: c.acl.explain("kv", "a", "read", user="ann"),
        "POST",
        "/acl/explain",
        {"resource": "kv", "path": "a", "capability": "read", "user": "ann"},
    ),
]


@BOTH
@pytest.mark.parametrize(("doing", "method", "path", "body"), CALLS)
def test_a_call_sends_what_was_given_and_hands_out_the_document(
    both: str, doing: Doing, method: str, path: str, body: Any
) -> None:
    played = Played(ok({"some": "thing"}))
    assert run(played, doing, both=both) == {"some": "thing"}
    seen = played.seen[0]
    assert (seen.method, seen.url.raw_path.decode()) == (method, path)
    assert (json.loads(seen.content) if seen.content else None) == body


@BOTH
def test_a_login_gives_tokens_that_no_repr_shows(both: str) -> None:
    said = {"token": "t-1", "refresh_token": "r-1", "expires_in": 900, "refresh_expires_in": 60}
    played = Played(ok(said))
    found = run(played, lambda c: c.auth.login("ann", "a secret"), both=both)
    assert found == Tokens("t-1", "r-1", 900, 60)
    assert "t-1" not in repr(found)
    assert "r-1" not in repr(found)
    sent = {"user_id": "ann", "username": "ann", "password": "a secret"}
    assert json.loads(played.seen[0].content) == sent
    assert run(Played(ok(said)), lambda c: c.auth.refresh("r-0"), both=both) == found


@BOTH
def test_a_refused_login_is_unauthenticated(both: str) -> None:
    played = Played(httpx.Response(401, json={"error": "invalid credentials"}))
    with pytest.raises(Unauthenticated, match="invalid credentials"):
        run(played, lambda c: c.auth.login("ann", "no"), both=both)
    assert len(played.seen) == 1, "asking again would only cost an attempt"


@BOTH
def test_a_new_key_is_there_once_and_in_no_repr(both: str) -> None:
    played = Played(httpx.Response(201, json={"key": "konsul_1", "api_key": {"id": "k1"}}))
    found = run(
        played, lambda c: c.auth.api_keys.create("ci", permissions=["dev"], expires_in_s=60), both=both
    )
    assert found == NewApiKey("konsul_1", {"id": "k1"})
    assert "konsul_1" not in repr(found)
    assert json.loads(played.seen[0].content) == {"name": "ci", "expires_in": 60, "permissions": ["dev"]}


@BOTH
def test_a_list_goes_on_to_its_last_page(both: str) -> None:
    first, last = {"users": [ONE], "after": "ann"}, {"users": [{"user_id": "ben"}]}
    played = Played(ok(first), ok(last))
    assert run(played, lambda c: c.auth.users.list(), both=both) == (ONE, {"user_id": "ben"})
    assert [dict(one.url.params) for one in played.seen] == [
        {"limit": "1000"},
        {"limit": "1000", "after": "ann"},
    ]


@BOTH
def test_a_user_is_made_and_changed(both: str) -> None:
    made = Played(httpx.Response(201, json={"user": ONE}))
    doing: Doing = lambda c: c.auth.users.create("ann", password="s", roles=["user"])  # noqa: E731
    assert run(made, doing, both=both) == ONE
    assert json.loads(made.seen[0].content) == {"user_id": "ann", "password": "s", "roles": ["user"]}
    changed = Played(ok({"message": "user updated", "user": ONE}))
    assert run(changed, lambda c: c.auth.users.update("ann", policies=[]), both=both) == ONE
    assert json.loads(changed.seen[0].content) == {"policies": []}


@BOTH
def test_policies_are_stored_listed_and_tried(both: str) -> None:
    listed = Played(ok({"count": 2, "policies": ["a", "b"], "sources": {"a": "api", "b": "directory"}}))
    assert run(listed, lambda c: c.acl.policies(), both=both) == {"a": "api", "b": "directory"}
    stored = Played(ok({"message": "policy updated", "policy": {"name": "a"}}))
    assert run(stored, lambda c: c.acl.update_policy({"name": "a"}), both=both) == {"name": "a"}
    assert (stored.seen[0].method, stored.seen[0].url.path) == ("PUT", "/acl/policies/a")
    tried = Played(ok({"allowed": True}))
    assert run(tried, lambda c: c.acl.test(["a"], "kv", "x", "read"), both=both) is True
    wrong = Played(ok({"valid": False, "problems": [{"at": "kv", "problem": "p", "value": ""}]}))
    assert run(wrong, lambda c: c.acl.validate({"kv": 1}), both=both)[0]["at"] == "kv"


@BOTH
def test_the_caller_explains_for_itself_without_a_body(both: str) -> None:
    played = Played(ok({"allowed": False}))
    assert run(played, lambda c: c.acl.explain("kv", "a b", "read"), both=both) == {"allowed": False}
    seen = played.seen[0]
    assert (seen.method, dict(seen.url.params)) == (
        "GET",
        {"resource": "kv", "path": "a b", "capability": "read"},
    )


@BOTH
def test_what_has_no_name_is_refused_before_it_is_sent(both: str) -> None:
    played = Played(ok())
    doings: list[Doing] = [
        lambda c: c.auth.users.get(""),
        lambda c: c.acl.policy(""),
        lambda c: c.acl.update_policy({}),
    ]
    for doing in doings:
        with pytest.raises(Invalid):
            run(played, doing, both=both)
    assert played.seen == []


@BOTH
def test_refusals_are_errors_of_their_kind(both: str) -> None:
    gone = httpx.Response(409, json={"error": "this is the last enabled user with the role admin"})
    with pytest.raises(Conflict, match="last enabled"):
        run(Played(gone), lambda c: c.auth.users.delete("ann"), both=both)
    with pytest.raises(NotFound):
        run(Played(refusal(404, "Not Found", "Policy not found")), lambda c: c.acl.policy("x"), both=both)
