"""From some rights to more of them: no request of a caller changes what it may do, and reading all of the
administration yields nothing to come in with."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.security.guarded import PASSWORD, Guarded
from tests.waiting import until

STRONGER = {"name": "attacker", "kv": [{"path": "**", "capabilities": ["read", "write", "list", "delete"]}]}
READS = (
    "/auth/users",
    "/auth/apikeys",
    "/acl/policies",
    "/audit/events?limit=500",
    "/audit/stats",
    "/cluster/status",
    "/cluster/config",
    "/cluster/join-token",
    "/admin/ratelimit/config",
    "/openapi.json",
    "/metrics",
    "/health",
)


def attempts(user_id: str, key_id: str) -> list[tuple[str, str, object]]:
    """What a caller could try to have more than it has."""
    return [
        ("POST", "/auth/apikeys", {"name": "mine", "permissions": ["*"]}),
        ("PUT", f"/auth/apikeys/{key_id}", {"permissions": ["*"]}),
        ("POST", f"/auth/apikeys/{key_id}/enable", {}),
        ("POST", "/auth/users", {"user_id": "mine", "password": PASSWORD, "roles": ["admin"]}),
        ("PUT", f"/auth/users/{user_id}", {"roles": ["admin"]}),
        ("PUT", f"/auth/users/{user_id}", {"policies": ["everything"]}),
        ("POST", f"/auth/users/{user_id}/enable", {"roles": ["admin"]}),
        ("POST", "/acl/policies", {"name": "mine", "admin": [{"capabilities": ["admin"]}]}),
        ("PUT", "/acl/policies/attacker", STRONGER),
        ("DELETE", "/acl/policies/attacker", None),
        ("POST", "/auth/bootstrap", {}),
        ("POST", "/cluster/join-token", {}),
        ("POST", "/v1/auth/apikeys", {"name": "mine", "permissions": ["*"]}),
        ("POST", "/AUTH/APIKEYS", {"name": "mine", "permissions": ["*"]}),
        ("POST", "/auth/apikeys/", {"name": "mine", "permissions": ["*"]}),
    ]


def state(server: Guarded) -> list[Any]:
    """Who there is, and what they may do."""
    keys = server.by_admin("GET", "/auth/apikeys")["keys"]
    told = [{name: value for name, value in key.items() if name != "last_used_at"} for key in keys]
    names = server.by_admin("GET", "/acl/policies")["policies"]
    policies = [server.by_admin("GET", f"/acl/policies/{name}") for name in names]
    return [told, server.by_admin("GET", "/auth/users"), policies]


@pytest.mark.parametrize("policy", [None, "attacker", "looks-on"])
@pytest.mark.parametrize("kind", ["user", "key"])
def test_nobody_gives_himself_more(guarded: Guarded, kind: str, policy: str | None) -> None:
    guarded.add_policy({"name": "looks-on", "admin": [{"capabilities": ["read"]}]})
    policies = [policy] if policy else []
    who, key = guarded.login(*policies), guarded.key(*policies)
    headers = who.headers if kind == "user" else key.headers
    before = state(guarded)
    for method, path, body in attempts(who.user_id, key.id):
        answer = guarded.ask(method, path, body, headers)
        assert answer.status in (403, 409), (method, path, answer)
        assert answer.status == 403 or path == "/auth/bootstrap", (method, path, answer)
    # What a login says of its own rights is not listened to, nor is a change of the own password.
    claims = {"roles": ["admin"], "policies": ["everything"], "permissions": ["*"]}
    login = {"user_id": who.user_id, "username": who.user_id, "password": PASSWORD}
    assert guarded.ask("POST", "/auth/login", login | claims).status == 200
    changed = {"old_password": PASSWORD, "password": PASSWORD + "!"}
    changing = guarded.ask("POST", f"/auth/users/{who.user_id}/passwd", changed | claims, who.headers)
    assert changing.status == 200
    for one in (after := state(guarded))[1]["users"]:
        one.pop("updated_at")
    for one in before[1]["users"]:
        one.pop("updated_at")
    assert after == before


def test_who_looks_on_learns_nothing_to_come_in_with(guarded: Guarded) -> None:
    guarded.add_policy({"name": "looks-on", "admin": [{"capabilities": ["read"]}]})
    looks_on, other = guarded.login("looks-on"), guarded.login(roles=("admin",))
    key = guarded.key("*")
    assert guarded.get("/kv", key.headers).status == 200
    secrets = [
        guarded.admin_key,
        guarded.signing_secret,
        key.text,
        other.token,
        other.refresh_token,
        PASSWORD,
    ]
    digests = [hashlib.sha256(one.encode()).hexdigest() for one in secrets]
    until(lambda: key.id in guarded.get(READS[3], looks_on.headers).body.decode(), "the key in the trail")
    for path in READS:
        answer = guarded.get(path, looks_on.headers)
        assert answer.status in (200, 404, 503), (path, answer.status)
        text = answer.body.decode()
        assert "argon2" not in text or path == "/openapi.json", path
        assert [one for one in (*secrets, *digests) if one in text] == [], path


def test_whoever_may_write_administration_may_do_everything(guarded: Guarded) -> None:
    """As said in the reference: it is not a way around the rules, it is the rule."""
    guarded.add_policy({"name": "manages", "admin": [{"capabilities": ["write"]}]})
    who = guarded.login("manages")
    assert guarded.get("/kv/vault/crown", who.headers).status == 403
    assert guarded.get("/auth/users", who.headers).status == 403
    made = guarded.ask("POST", "/auth/apikeys", {"name": "by a manager", "permissions": ["*"]}, who.headers)
    assert made.status == 201
    assert made.json()["api_key"]["created_by"] == who.user_id
    assert guarded.get("/auth/users", {"X-API-Key": made.json()["key"]}).status == 200
