"""Every way to write one path: what the rule is asked about is what the handler reads."""

from __future__ import annotations

import json

import pytest

from tests.security.guarded import CROWN, Guarded, Login, leaks
from tests.security.wire import Reply, head, lines, replies, said

TRICKS = [
    "/kv/%76ault/crown",
    "/kv/vault%2Fcrown",
    "/kv/vault%2fcrown",
    "/kv/vault%252Fcrown",
    "/kv/open/../vault/crown",
    "/kv/open/%2e%2e/vault/crown",
    "/kv/open/%2E%2E/vault/crown",
    "/kv/open/..%2Fvault/crown",
    "/kv/open/%252e%252e/vault/crown",
    "/kv/open/..;/vault/crown",
    "/kv/open/.%2e/vault/crown",
    "/kv/open%2f..%2fvault%2fcrown",
    "/kv//vault/crown",
    "/kv///vault/crown",
    "//kv/vault/crown",
    "/kv/./vault/crown",
    "/./kv/vault/crown",
    "/open/../kv/vault/crown",
    "/kv/vault//crown",
    "/kv/vault/crown/",
    "/kv/vault/crown//",
    "/kv/vault/crown%2F",
    "/kv/vault/crown/.",
    "/kv/vault/crown%00",
    "/kv/open/door%00/../../vault/crown",
    "/kv/vault/crown%20",
    "/kv/vault/crown%09",
    "/kv/vault/crown%0a",
    "/kv/vault/crown;a=b",
    "/kv/vault/crown?",
    "/kv/vault/crown?x=/kv/open/door",
    "/kv/vault/crown#/kv/open/door",
    "/KV/vault/crown",
    "/Kv/vault/crown",
    "/kv/VAULT/crown",
    "/kv/Vault/Crown",
    "/\u212av/vault/crown",
    "/%e2%84%aav/vault/crown",
    "/kv/vault/cro\uff37n",
    "/kv/v\u0430ult/crown",
    "/kv/vault\u2215crown",
    "/kv/vault%c0%afcrown",
    "/kv/vault%ef%bc%8fcrown",
    "/kv/%c0%ae%c0%ae/vault/crown",
    "/kv/vault\\crown",
    "/kv/open\\..\\vault\\crown",
    "/v1/kv/vault/crown",
    "/V1/kv/vault/crown",
    "/v1/v1/kv/vault/crown",
    "/v1//kv/vault/crown",
    "/v1/../kv/vault/crown",
    "/kv/watch/../vault/crown",
    "/kv/watch%2Fvault/crown",
    "/kv/WATCH/vault/crown",
    "http://127.0.0.1/kv/vault/crown",
    "http://elsewhere.example/kv/vault/crown",
    "/health/../kv/vault/crown",
    "/health/live/../../kv/vault/crown",
    "/metrics/../kv/vault/crown",
    "/admin/assets/../../kv/vault/crown",
    "/admin/assets/%2e%2e/%2e%2e/kv/vault/crown",
    "/admin/assets/..%2f..%2fkv/vault/crown",
    "/auth/login/../../kv/vault/crown",
    "/kv/vault/crown?token=",
    "/kv/vault/cr%6Fwn",
    "/%6bv/vault/crown",
    "/kv/vault/crown%",
    "/kv/vault/crown%2",
    "/kv/vault/crown%zz",
    "/kv/%u0076ault/crown",
]


def asked(
    guarded: Guarded, method: str, target: str, headers: dict[str, str], body: bytes = b""
) -> Reply | None:
    """One request with its target as it is; None when the server just closed."""
    sent = ["Connection: close", *lines(headers)]
    if body:
        sent += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    found = replies(said(guarded.port, head(method, target, *sent) + body))
    return found[0] if found else None


@pytest.mark.parametrize("target", TRICKS)
def test_no_way_of_writing_a_path_opens_the_key(guarded: Guarded, attacker: Login, target: str) -> None:
    for headers in ({}, attacker.headers):
        answer = asked(guarded, "GET", target, headers)
        if answer is not None:
            assert not leaks(answer.body), (target, answer)
            assert answer.status < 500, (target, answer)


@pytest.mark.parametrize("target", TRICKS)
def test_what_is_decided_is_what_is_written_and_deleted(
    guarded: Guarded, attacker: Login, target: str
) -> None:
    """A write that is allowed lands below `open/`, and nowhere else."""
    before = set(guarded.stored())
    for method, body in (("PUT", b'{"value": "taken"}'), ("DELETE", b"")):
        for headers in ({}, attacker.headers):
            answer = asked(guarded, method, target, headers, body)
            assert answer is None or answer.status < 500, (method, target)
            strange = set(guarded.stored()) ^ before
            assert {key for key in strange if not key.startswith("open/")} == set(), (method, target)
    for key in set(guarded.stored()) - before:
        guarded.by_admin("POST", "/batch/kv/delete", {"keys": [key]})


@pytest.mark.parametrize("target", TRICKS)
def test_who_is_nobody_gets_in_by_no_path(guarded: Guarded, target: str) -> None:
    answer = asked(guarded, "GET", target, {})
    if answer is not None and not target.startswith(("/metrics/", "/health/", "/admin/")):
        assert answer.status in (400, 401, 404), (target, answer.status)


def test_keys_that_look_like_paths_are_the_keys_they_are(guarded: Guarded, attacker: Login) -> None:
    """`open/../vault/crown` is a key below `open/`: decided, stored and read as that, and not the other."""
    odd = ("open/../vault/crown", "open//x", "open/./x", "open/%2e", "open/\u212a", "open/a\\b", "open/ x ")
    for key in odd:
        made = guarded.ask("POST", "/batch/kv/set", {"items": {key: "odd"}}, attacker.headers)
        assert made.status == 200, (key, made.body)
        read = guarded.ask("POST", "/batch/kv/get", {"keys": [key]}, attacker.headers)
        assert key in json.dumps(read.json(), ensure_ascii=False).replace("\\\\", "\\")
    assert set(odd) <= set(guarded.stored())
    guarded.by_admin("POST", "/batch/kv/delete", {"keys": list(odd)})


PUBLIC = ("/health", "/health/live", "/health/ready", "/metrics")


@pytest.mark.parametrize("path", PUBLIC)
def test_public_paths_are_public_to_the_letter(guarded: Guarded, path: str) -> None:
    assert guarded.get(path).status == 200
    for other in (
        f"{path}x",
        f"{path}/x",
        f"{path}%2Fx",
        f"{path}%20",
        f"{path};x",
        f"{path}%00",
        f"x{path}",
    ):
        answer = asked(guarded, "GET", other if other.startswith("/") else f"/{other}", {})
        assert answer is None or answer.status in (400, 401, 404), (other, answer.status)
        assert answer is None or answer.status != 404 or not leaks(answer.body)


@pytest.mark.parametrize(
    "path",
    [
        "/health/checks",
        "/health/service/vault-svc",
        "/cluster/metrics",
        "/openapi.json",
        "/graphql/playground",
        "/auth/verify",
    ],
)
def test_what_lies_beside_a_public_path_is_not(guarded: Guarded, path: str) -> None:
    assert guarded.get(path).status == 401
    assert guarded.get(path.upper()).status == 401
    assert guarded.get(path + "/").status == 401


@pytest.mark.parametrize(
    "method", ["HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "GET\u200b", "X" * 20]
)
def test_other_methods_open_nothing(guarded: Guarded, attacker: Login, method: str) -> None:
    for headers in ({}, attacker.headers):
        answer = asked(guarded, method, f"/kv/{CROWN}", headers)
        assert answer is None or (400 <= answer.status < 500 and not leaks(answer.body)), answer


def test_a_method_in_another_header_is_not_taken(guarded: Guarded, attacker: Login) -> None:
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer = guarded.get("/kv/open/door", attacker.headers | {name: "DELETE"})
        assert answer.status == 200
    for name in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Prefix"):
        answer = guarded.get("/kv/open/door", attacker.headers | {name: f"/kv/{CROWN}"})
        assert answer.json()["key"] == "open/door"
    assert guarded.get("/kv/open/door", attacker.headers).status == 200
