"""Ways around the rules: many keys in one body, lists and counts, names in bodies, policies as weapons."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from tests.security.guarded import CROWN, Guarded, Login, names
from tests.waiting import until

STOLEN = "taken"


def refused(guarded: Guarded, who: Login, method: str, path: str, body: object) -> None:
    """403, nothing of the request is done, and nothing is told."""
    before = guarded.stored()
    answer = guarded.ask(method, path, body, who.headers)
    assert answer.status == 403, (path, answer.status, answer.body[:300])
    assert answer.json()["error"] == "forbidden"
    assert guarded.stored() == before


KV_BATCHES: list[tuple[str, dict[str, Any]]] = [
    ("/batch/kv/get", {"keys": ["open/door", CROWN]}),
    ("/batch/kv/get", {"keys": [CROWN] + [f"open/{n}" for n in range(400)]}),
    ("/batch/kv/set", {"items": {"open/first": "x", CROWN: STOLEN}}),
    ("/batch/kv/set", {"items": {CROWN: STOLEN, "open/last": "x"}}),
    ("/batch/kv/delete", {"keys": ["open/door", CROWN]}),
    (
        "/batch/kv/set-cas",
        {"items": {"open/n": "x", CROWN: STOLEN}, "expected_indices": {"open/n": 0, CROWN: 1}},
    ),
    ("/batch/kv/delete-cas", {"keys": ["open/door", CROWN], "expected_indices": {"open/door": 1, CROWN: 1}}),
]


@pytest.mark.parametrize(("path", "body"), KV_BATCHES, ids=range(len(KV_BATCHES)))
def test_a_batch_is_decided_key_by_key_and_done_whole(
    guarded: Guarded, attacker: Login, path: str, body: dict[str, Any]
) -> None:
    refused(guarded, attacker, "POST", path, body)


@pytest.mark.parametrize(("path", "body"), KV_BATCHES[:5], ids=range(5))
def test_a_batch_whose_members_have_odd_names(
    guarded: Guarded, attacker: Login, path: str, body: dict[str, Any]
) -> None:
    """Names match in any case and the last one counts: what is decided is what is done."""
    (name,) = body
    text = json.dumps(body[name])
    harmless = '["open/door"]' if isinstance(body[name], list) else '{"open/z":"x"}'
    for raw in (
        f'{{"{name.upper()}":{text}}}',
        f'{{"{name}":{harmless},"{name}":{text}}}',
        f'{{"{name}":{harmless},"{name.upper()}":{text}}}',
    ):
        answer = guarded.ask(
            "POST", path, raw.encode(), attacker.headers | {"Content-Type": "application/json"}
        )
        assert answer.status == 403, raw
        assert "the-crown" not in answer.body.decode()


@pytest.mark.parametrize(
    "operations",
    [
        [{"type": "set", "key": "open/t", "value": "x"}, {"type": "set", "key": CROWN, "value": STOLEN}],
        [{"type": "set", "key": "open/t", "value": "x"}, {"type": "delete", "key": CROWN}],
        [{"type": "delete", "key": CROWN}, {"type": "set", "key": "open/t", "value": "x"}],
        [{"TYPE": "set", "Key": CROWN, "VALUE": STOLEN}],
        [{"type": "get", "key": CROWN}],
        [{"type": "check", "key": CROWN, "index": 0}],
    ],
    ids=range(6),
)
def test_a_transaction_is_decided_per_operation(
    guarded: Guarded, attacker: Login, operations: list[dict[str, Any]]
) -> None:
    before = guarded.stored()
    answer = guarded.ask("POST", "/transaction", {"operations": operations}, attacker.headers)
    known = {"set", "delete"}
    expected = 403 if all(str(one.get("type", "set")) in known for one in operations) else (400, 403)
    assert answer.status == expected or (isinstance(expected, tuple) and answer.status in expected), (
        answer.body
    )
    assert guarded.stored() == before


def test_a_recursive_delete_stays_within_the_rules(guarded: Guarded, attacker: Login) -> None:
    for prefix in ("", "v", "vault", "vault/", "o", "ope"):
        before = guarded.stored()
        answer = guarded.ask("DELETE", f"/kv/?prefix={prefix}&recurse=true", None, attacker.headers)
        assert answer.status in (400, 403), (prefix, answer.status)
        assert guarded.stored() == before


def test_a_recursive_delete_spares_what_a_rule_denies_below(guarded: Guarded) -> None:
    """A prefix that may be deleted may hold keys that may not."""
    guarded.add_policy(
        {
            "name": "mostly",
            "kv": [
                {"path": "open/**", "capabilities": ["read", "list", "delete"]},
                {"path": "open/held/**", "capabilities": ["deny"]},
            ],
        }
    )
    who = guarded.login("mostly")
    tree = {"query": 'mutation { kvDeleteTree(prefix: "open/h") { deleted keys } }'}
    for method, path, body in (
        ("DELETE", "/kv/?prefix=open/h&recurse=true", None),
        ("DELETE", "/kv/?prefix=open/held/&recurse=true", None),
        ("POST", "/graphql", tree),
    ):
        guarded.by_admin("POST", "/batch/kv/set", {"items": {"open/held/x": "kept", "open/ha": "gone"}})
        answer = guarded.ask(method, path, body, who.headers)
        assert answer.status < 500
        assert "open/held/x" in guarded.stored(), (path, answer.status, answer.body)
        assert answer.status in (400, 403) or b"held" not in answer.body
    guarded.by_admin("POST", "/batch/kv/delete", {"keys": ["open/held/x", "open/ha"]})


SERVICES: list[tuple[str, str, object]] = [
    ("PUT", "/register", {"name": "vault-svc", "address": "6.6.6.6", "port": 1}),
    ("POST", "/register", {"NAME": "vault-svc", "address": "6.6.6.6", "port": 1}),
    ("PUT", "/heartbeat/vault-svc", None),
    ("DELETE", "/deregister/vault-svc", None),
    ("GET", "/services/vault-svc", None),
    ("GET", "/services/vault-svc/instances", None),
    ("POST", "/batch/services/get", {"names": ["vault-svc"]}),
    ("POST", "/batch/services/deregister", {"names": ["open-a", "vault-svc"]}),
    (
        "POST",
        "/batch/services/register",
        {"services": [{"name": "vault-svc", "address": "6.6.6.6", "port": 1}]},
    ),
    ("PUT", "/lb/strategy", {"strategy": "random"}),
    ("GET", "/cluster/status", None),
    ("POST", "/cluster/join", {"node_id": "n9", "address": "6.6.6.6:1"}),
    ("DELETE", "/cluster/leave/n1", None),
    ("POST", "/cluster/snapshot", None),
    ("GET", "/acl/policies", None),
    ("POST", "/acl/policies", {"name": "own", "kv": [{"path": "**", "capabilities": ["read"]}]}),
    ("DELETE", "/acl/policies/attacker", None),
    ("POST", "/acl/test", {"policies": ["attacker"], "resource": "kv", "path": CROWN, "capability": "read"}),
    ("GET", "/auth/users", None),
    ("POST", "/auth/users", {"user_id": "m", "username": "m", "password": "p" * 12, "roles": ["admin"]}),
    ("POST", "/auth/users/somebody/passwd", {"password": "p" * 12, "old_password": ""}),
    ("PUT", "/auth/users/somebody", {"roles": ["admin"]}),
    ("GET", "/auth/apikeys", None),
    ("POST", "/auth/apikeys", {"name": "mine", "permissions": ["*"]}),
    ("GET", "/audit/events", None),
]


@pytest.mark.parametrize(("method", "path", "body"), SERVICES, ids=[f"{m} {p}" for m, p, _ in SERVICES])
def test_what_else_no_rule_gives(
    guarded: Guarded, attacker: Login, method: str, path: str, body: object
) -> None:
    refused(guarded, attacker, method, path, body)


def test_lists_and_their_pages_hold_what_may_be_seen(guarded: Guarded, attacker: Login) -> None:
    for path in (
        "/kv",
        "/kv/",
        "/kv/?prefix=",
        "/kv/?prefix=v",
        "/kv/?prefix=vault/",
        "/kv/?recurse=true",
        "/kv/?recurse=true&prefix=vault",
        "/kv/?separator=/",
        "/kv/?prefix=va&separator=u",
        "/kv/?prefix=vault/&separator=/",
        "/kv/?limit=1",
        "/kv/?limit=1&after=u",
        "/kv/?limit=1&after=vault/crow",
        "/kv/?after=open/zzz",
        "/kv/?consistency=stale",
        "/kv?metadata=true",
        "/services/",
        "/services/?limit=1",
        "/services/?limit=1&after=u",
        "/services/?prefix=vault",
        "/services/query?tags=none",
        "/services/query/tags?tags=none",
        "/services/query/metadata?a=b",
    ):
        answer = guarded.get(path, attacker.headers)
        assert answer.status in (200, 400, 403), (path, answer.status)
        assert answer.status != 200 or not names(answer), path
        assert b"vault" not in answer.body or answer.status in (400, 403), (path, answer.body)


def test_a_page_says_nothing_of_what_it_leaves_out(guarded: Guarded, attacker: Login) -> None:
    """Between two keys that may be seen lie a hundred that may not: no count, mark or page tells of them."""
    hidden = {f"open2/{number:03}": "x" for number in range(100)}
    guarded.by_admin("POST", "/batch/kv/set", {"items": hidden})
    seen: list[str] = []
    after = ""
    for _ in range(300):
        page = guarded.get(f"/kv/?limit=1&after={after}", attacker.headers)
        assert b"open2" not in page.body
        assert not any("open2" in value for value in page.headers.values())
        keys = page.json() if isinstance(page.json(), list) else page.json()["keys"]
        seen += keys
        if not keys:
            break
        after = keys[-1]
    assert seen == sorted(set(seen))
    assert all(key.startswith("open/") for key in seen)
    guarded.by_admin("POST", "/batch/kv/delete", {"keys": list(hidden)})


def test_what_is_not_there_and_what_may_not_be_seen_answer_alike(guarded: Guarded, attacker: Login) -> None:
    there = guarded.get(f"/kv/{CROWN}", attacker.headers)
    absent = guarded.get("/kv/vault/absent", attacker.headers)
    assert (
        (there.status, there.json()["message"])
        == (absent.status, absent.json()["message"])
        == (403, "insufficient permissions")
    )
    for headers in ({}, attacker.headers):
        by_cas = guarded.ask("PUT", f"/kv/{CROWN}", {"value": "x", "cas": 1}, headers)
        assert by_cas.status in (401, 403)


def test_a_selected_instance_is_one_that_may_be_seen(guarded: Guarded, attacker: Login) -> None:
    guarded.by_admin(
        "PUT", "/register", {"name": "vault-lb", "address": "10.9.9.8", "port": 1, "tags": ["lb"]}
    )
    for path in ("/lb/tags?tags=lb", "/lb/service/vault-lb", "/lb/query?tags=lb", "/lb/service/vault-svc"):
        answer = guarded.get(path, attacker.headers)
        assert answer.status in (400, 403, 404, 503), (path, answer.status, answer.body)
        assert b"10.9.9." not in answer.body


NAMES = [
    "../../x",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "a\x00b",
    "a b",
    "x" * 65,
    "a\n",
    "%2e%2e",
    "~root",
    "con.json",
    "-" * 65,
    "é",
    "🔑",
    "*",
]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_policys_name_leads_nowhere(guarded: Guarded, name: str) -> None:
    folder = guarded.data_dir.parent
    before = {str(path) for path in folder.rglob("*") if "data" not in path.parts[-2:]}
    document = {"name": name, "kv": [{"path": "**", "capabilities": ["read"]}]}
    answer = guarded.ask("POST", "/acl/policies", document, guarded.admin)
    assert answer.status == 400, answer.body
    assert guarded.by_admin("POST", "/acl/validate", document)["valid"] is False
    from urllib.parse import quote

    for method in ("PUT", "GET", "DELETE"):
        answer = guarded.ask(method, "/acl/policies/" + quote(name, safe=""), document, guarded.admin)
        assert 400 <= answer.status < 500 or name == "", (method, answer.status)
    made = {str(path) for path in folder.rglob("*.json")} - before
    assert made == set()
    assert name not in guarded.by_admin("GET", "/acl/policies")["policies"]


BAD_POLICIES: list[dict[str, Any]] = [
    {"kv": [{"path": "a" * 2_000, "capabilities": ["read"]}]},
    {"kv": [{"path": "*" * 1_000, "capabilities": ["read"]}]},
    {"kv": [{"path": "*a" * 17, "capabilities": ["read"]}]},
    {"kv": [{"path": "a", "capabilities": ["read"]}] * 1_001},
    {"kv": [{"path": "a", "capabilities": ["reed"]}]},
    {"kv": [{"path": "a", "capabilities": []}]},
    {"kv": [{"path": "a"}]},
    {"kv": [{"path": 5, "capabilities": ["read"]}]},
    {"kv": [{"path": "a", "capabilities": "read"}]},
    {"kv": [{"path": "a", "capabilities": ["read"], "extra": 1}]},
    {"kv": {"path": "a", "capabilities": ["read"]}},
    {"kv": [{"name": "a", "capabilities": ["read"]}]},
    {"service": [{"name": "a", "capabilities": ["restore"]}]},
    {"admin": [{"capabilities": ["*"]}]},
    {"root": [{"capabilities": ["read"]}]},
    {"description": "d" * 300_000},
]


@pytest.mark.parametrize("rules", BAD_POLICIES, ids=range(len(BAD_POLICIES)))
def test_policies_that_are_none_are_refused_whole(guarded: Guarded, rules: dict[str, Any]) -> None:
    name = f"bad-{secrets.token_hex(4)}"
    answer = guarded.ask("POST", "/acl/policies", {"name": name} | rules, guarded.admin)
    assert answer.status in (400, 413), answer.body[:300]
    assert guarded.get(f"/acl/policies/{name}", guarded.admin).status == 404


BOMBS = [
    "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
    "**a**a**a**a**a**a**a**b",
    "a*" * 16,
    "*/" * 15 + "b",
    "**/" * 7 + "**",
]


def test_globs_that_are_bombs_decide_as_any_other(guarded: Guarded) -> None:
    """A thousand of the worst patterns there may be, asked with the worst key: answered, and not in
    exponential time, or the bystander would wait for ever."""
    rules = [
        {"path": f"{BOMBS[number % 5][:-2]}{number}", "capabilities": ["read"]} for number in range(1_000)
    ]
    rules = [rule for rule in rules if str(rule["path"]).count("*") <= 16]
    guarded.add_policy({"name": "bombs", "kv": rules})
    who = guarded.login("bombs")
    for key in ("a" * 1_000, "a/" * 500, "/" * 1_000 + "a", "a" * 500 + "/" + "a" * 499):
        for path in (f"/kv/{key}", f"/kv/?prefix={key}"):
            assert guarded.get(path, who.headers).status in (200, 400, 403), path[:20]
    guarded.by_admin("DELETE", "/acl/policies/bombs")


LITERAL = ["zz|q", "(a+)+$", "^a", "a$", "a.c", "[ab]", "a?c", "\\q", "{a,b}", "a\\*"]


@pytest.mark.parametrize("pattern", LITERAL)
def test_nothing_but_stars_is_special_in_a_pattern(guarded: Guarded, pattern: str) -> None:
    name = f"lit-{secrets.token_hex(4)}"
    guarded.add_policy({"name": name, "kv": [{"path": pattern, "capabilities": ["read"]}]})

    def allows(key: str) -> bool:
        asked = {"policies": [name], "resource": "kv", "path": key, "capability": "read"}
        return bool(guarded.by_admin("POST", "/acl/test", asked)["allowed"])

    if "*" not in pattern:
        assert allows(pattern)
    for key in ("zz", "q", "zz-anything", "a", "aaaa", "abc", "b", "a*", CROWN):
        assert not allows(key) or key == pattern, (pattern, key)


def test_a_deny_wins_wherever_it_stands(guarded: Guarded) -> None:
    guarded.add_policy({"name": "wide", "kv": [{"path": "**", "capabilities": ["read", "list"]}]})
    guarded.add_policy({"name": "narrow", "kv": [{"path": "vault/**", "capabilities": ["deny", "read"]}]})
    for policies in (("wide", "narrow"), ("narrow", "wide"), ("wide", "narrow", "wide")):
        who = guarded.login(*policies)
        assert guarded.get("/kv/open/door", who.headers).status == 200
        assert guarded.get(f"/kv/{CROWN}", who.headers).status == 403
        assert not names(guarded.get("/kv/?recurse=true", who.headers))


def test_unknown_policies_give_nothing(guarded: Guarded) -> None:
    key = guarded.key("no-such-policy", "read", "write", "admin-of-nothing")
    assert guarded.get("/kv/open/door", key.headers).status == 403
    assert guarded.get("/kv", key.headers).status == 403
    nothing = guarded.login()
    answer = guarded.get("/kv/open/door", nothing.headers)
    assert answer.json() == {"error": "forbidden", "message": "no policies attached to token"}


def test_what_is_taken_away_is_gone_at_once(guarded: Guarded) -> None:
    """Keys revoked, deleted and expired, policies and users deleted: the very next request knows."""
    guarded.add_policy({"name": "passing", "kv": [{"path": "open/**", "capabilities": ["read"]}]})
    revoked, deleted, by_policy = (guarded.key("passing") for _ in range(3))
    brief = guarded.key("passing", expires_in_s=2)
    who = guarded.login("passing")
    everyone = (revoked.headers, deleted.headers, by_policy.headers, who.headers, brief.headers)
    assert [guarded.get("/kv/open/door", one).status for one in everyone] == [200] * 5
    guarded.by_admin("POST", f"/auth/apikeys/{revoked.id}/revoke", {})
    guarded.by_admin("DELETE", f"/auth/apikeys/{deleted.id}")
    assert guarded.get("/kv/open/door", revoked.headers).status == 401
    assert guarded.get("/kv/open/door", deleted.headers).status == 401
    guarded.by_admin("DELETE", "/acl/policies/passing")
    assert guarded.get("/kv/open/door", by_policy.headers).status == 403
    assert guarded.get("/kv/open/door", who.headers).status == 403
    guarded.by_admin("DELETE", f"/auth/users/{who.user_id}")
    assert guarded.get("/kv/open/door", who.headers).status == 401
    until(lambda: guarded.get("/kv/open/door", brief.headers).status == 401, "the key to expire")
    assert guarded.get("/kv/open/door", brief.headers).json()["error"] == "API key expired"


def test_who_is_deleted_and_made_again_is_somebody_else(guarded: Guarded) -> None:
    old = guarded.login("attacker")
    guarded.by_admin("DELETE", f"/auth/users/{old.user_id}")
    made = {"user_id": old.user_id, "username": old.user_id, "password": "another long passphrase"}
    guarded.by_admin("POST", "/auth/users", made | {"roles": ["admin"], "policies": []})
    assert guarded.get("/kv/open/door", old.headers).status == 401
    assert guarded.ask("POST", "/auth/refresh", {"refresh_token": old.refresh_token}).status == 401
