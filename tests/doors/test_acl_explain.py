"""Why something is allowed or refused: for the caller, for others, and for policies nobody has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.doors.guarded import Guarded, guarded

RULES: list[dict[str, Any]] = [
    {"path": "app/**", "capabilities": ["read", "list"]},
    {"path": "app/secret/**", "capabilities": ["deny"]},
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("explain")) as found:
        found.policy("app", kv=RULES)
        yield found


def explained(node: Guarded, status: int = 200, **question: Any) -> dict[str, Any]:
    asked = {"resource": "kv", "path": "app/a", "capability": "read"} | question
    answer = node.admin.post("/acl/explain", json=asked)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_rule_that_decides_is_named_and_every_other_that_matches(node: Guarded) -> None:
    found = explained(node, policies=["app"], path="app/secret/a")
    assert not found["allowed"]
    assert (found["decided_by"], found["reason"]) == ("rule", "policy app rule 1 (kv app/secret/**)")
    assert found["rule"] == {
        "policy": "app",
        "source": "api",
        "rule": "kv[1]",
        "pattern": "app/secret/**",
        "capabilities": ["deny"],
        "effect": "deny",
        "decides": True,
    }
    assert [(one["rule"], one["effect"], one["decides"]) for one in found["matching"]] == [
        ("kv[0]", "allow", False),
        ("kv[1]", "deny", True),
    ]


def test_no_rule_no_policy_and_the_role_are_reasons_too(node: Guarded) -> None:
    assert explained(node, policies=["app"], path="web")["decided_by"] == "default"
    none = explained(node, policies=["no-such"])
    assert (none["decided_by"], none["unknown_policies"]) == ("no_policies", ["no-such"])
    own = explained(node)
    assert (own["allowed"], own["decided_by"], own["subject"]["kind"]) == (True, "admin", "api_key")
    other = explained(node, policies=["app"], capability="write")
    assert (other["allowed"], other["matching"][0]["effect"]) == (False, "none")


def test_it_says_what_the_door_does(node: Guarded, space: str) -> None:
    node.admin.put("/kv/app/a", json={"value": "1"}).raise_for_status()
    with node.user(space, "app") as ann:
        for path, allowed in (("app/a", True), ("app/secret/a", False), ("web", False)):
            found = explained(node, user=space, path=path)
            assert found["allowed"] == allowed
            assert (ann.get(f"/kv/{path}").status_code == 403) == (not allowed)
            own = ann.get("/acl/explain", params={"resource": "kv", "path": path, "capability": "read"})
            assert own.json() == found, "who asks for itself is told the same"
        assert ann.post("/acl/explain", json={}).status_code == 403, "of others only administrators are told"


def test_it_explains_for_users_keys_and_tokens(node: Guarded, space: str) -> None:
    node.user(space, "app").close()
    made = node.admin.post("/auth/apikeys", json={"name": space, "permissions": ["app"]}).json()
    subjects = {
        "user": space,
        "api_key": made["api_key"]["id"],
        "token": node.login(space)["token"],
    }
    for kind, value in subjects.items():
        found = explained(node, **{kind: value})
        assert (found["allowed"], found["subject"]["policies"]) == (True, ["app"]), kind
    assert explained(node, token=made["key"])["subject"]["kind"] == "api_key"

    node.admin.post(f"/auth/users/{space}/disable").raise_for_status()
    assert explained(node, user=space)["decided_by"] == "disabled"


def test_a_document_is_explained_without_being_stored(node: Guarded) -> None:
    document = {"name": "draft", "kv": [{"path": "x/*", "capabilities": ["write"]}]}
    found = explained(node, document=document, path="x/1", capability="write")
    assert (found["allowed"], found["rule"]["source"], found["unknown_policies"]) == (True, "document", [])
    assert "draft" not in node.admin.get("/acl/policies").json()["policies"]


def test_a_list_is_decided_by_what_can_be_seen(node: Guarded) -> None:
    for path, allowed in (("", True), ("ap", True), ("app/x", True), ("web", False)):
        found = explained(node, policies=["app"], path=path, capability="list")
        assert found["allowed"] == allowed, path


@pytest.mark.parametrize(
    ("question", "status", "words"),
    [
        ({"resource": "planet"}, 400, "Invalid resource type"),
        ({"capability": "fly"}, 400, "Invalid capability: expected read, write, list, delete"),
        ({"user": "a", "api_key": "b"}, 400, "at most one"),
        ({"user": "no-such"}, 404, "user not found"),
        ({"user": "a/b"}, 404, "user not found"),
        ({"api_key": "no-such"}, 404, "API key not found"),
        ({"token": "no-such"}, 400, "the token does not hold"),
        ({"document": {"name": "!"}}, 400, "name is"),
        ({"policies": ["p"] * 65}, 400, "at most 64"),
    ],
)
def test_a_question_without_sense_is_refused(
    node: Guarded, question: dict[str, Any], status: int, words: str
) -> None:
    assert words in explained(node, status, **question)["message"]


def test_an_allowing_default_decides_where_no_rule_does_and_never_about_administration(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = {"KONSUL_ACL_DEFAULT_POLICY": "allow", "KONSUL_REQUIRE_AUTH": "false"}
    with guarded(tmp_path_factory.mktemp("allow"), **settings) as node:
        node.policy("app", kv=RULES)
        with node.user("ann", "app") as ann, node.user("bob") as bob, node.client(None) as stranger:
            for client in (ann, bob, stranger):
                assert client.put("/kv/web", json={"value": "1"}).status_code == 200
                assert client.get("/kv/").json() == ["web"]
            assert ann.get("/kv/app/secret/a").status_code == 403
            assert stranger.get("/kv/app/secret/a").status_code == 404
            assert [client.get("/acl/policies").status_code for client in (ann, bob, stranger)] == [
                403,
                403,
                401,
            ]
        assert explained(node, user="bob", path="web")["decided_by"] == "default"
        assert not explained(node, user="bob", resource="admin", capability="write")["allowed"]
