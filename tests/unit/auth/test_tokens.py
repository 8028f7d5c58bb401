"""Tokens: what is signed is checked, claim by claim; what forgers try first does not work."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from konsul.errors import Unauthenticated
from konsul.features.auth.config import AuthSettings
from konsul.features.auth.signing import Keys, OneAlgorithm, load_keys
from konsul.features.auth.tokens import Tokens

SECRET = "x" * 32
NOW = 1_800_000_000
SETTINGS = AuthSettings(jwt_secret=SECRET, jwt_leeway_ms=5_000)
KEYS = load_keys(SETTINGS)
WHO: dict[str, Any] = {
    "user_id": "alice",
    "username": "Alice",
    "roles": ["user"],
    "policies": ["dev"],
    "login_id": "the-login",
    "index": 7,
}


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def tokens(keys: Keys = KEYS, clock: Clock | None = None, settings: AuthSettings = SETTINGS) -> Tokens:
    return Tokens(settings, lambda: keys, now_s=clock or Clock())


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return cast(dict[str, Any], json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def header_of(token: str) -> dict[str, Any]:
    part = token.split(".")[0]
    return cast(dict[str, Any], json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(changes: dict[str, Any], *without: str, header: dict[str, Any] | None = None) -> str:
    """A token with the right signature and other claims."""
    claims = claims_of(tokens().issue("access", **WHO)) | changes
    kept = {name: value for name, value in claims.items() if name not in without}
    key = KEYS.signer
    return jwt.encode(
        header or {"alg": key.algorithm, "kid": key.kid}, kept, key.key, registry=OneAlgorithm("HS256")
    )


def refused(token: str, purpose: Any = "access", clock: Clock | None = None) -> str:
    with pytest.raises(Unauthenticated) as raised:
        tokens(clock=clock).read(token, purpose)
    return str(raised.value)


def test_the_claims_are_those_of_the_contract() -> None:
    issued = tokens().issue("access", **WHO)
    claims = claims_of(issued)
    assert header_of(issued) == {"alg": "HS256", "typ": "JWT", "kid": KEYS.signer.kid}
    assert {name: claims[name] for name in ("user_id", "sub", "username", "roles", "policies")} == {
        "user_id": "alice",
        "sub": "alice",
        "username": "Alice",
        "roles": ["user"],
        "policies": ["dev"],
    }
    assert (claims["iss"], claims["aud"], claims["typ"]) == ("konsul", "konsul", "access")
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (NOW, NOW, NOW + 900)
    read = tokens().read(issued, "access")
    assert (read.user_id, read.login_id, read.index, read.expires_at_s) == (
        "alice",
        "the-login",
        7,
        NOW + 900,
    )
    assert read.token_id == claims["jti"]


def test_without_policies_there_is_no_such_claim() -> None:
    assert "policies" not in claims_of(tokens().issue("access", **(WHO | {"policies": []})))


def test_two_tokens_of_one_second_differ() -> None:
    one, other = tokens().issue("refresh", **WHO), tokens().issue("refresh", **WHO)
    assert one != other
    assert claims_of(one)["jti"] != claims_of(other)["jti"]


def test_a_token_is_good_for_its_purpose_only() -> None:
    access, refresh = tokens().issue("access", **WHO), tokens().issue("refresh", **WHO)
    assert refused(refresh, "access") == "invalid token"
    assert refused(access, "refresh") == "invalid token"
    assert tokens().read(refresh, "refresh").user_id == "alice"


def test_it_expires_when_the_slowest_clock_says_so() -> None:
    clock = Clock()
    issued = tokens(clock=clock).issue("access", **WHO)
    clock.now = NOW + 900 + 4.9
    assert tokens(clock=clock).read(issued, "access").user_id == "alice"
    clock.now = NOW + 900 + 5
    assert refused(issued, clock=clock) == "token expired"


def test_a_token_from_a_fast_clock_is_taken_within_the_leeway() -> None:
    clock = Clock()
    issued = tokens(clock=clock).issue("access", **WHO)
    clock.now = NOW - 5
    assert tokens(clock=clock).read(issued, "access").user_id == "alice"
    clock.now = NOW - 6
    assert refused(issued, clock=clock) == "invalid token"


@pytest.mark.parametrize(
    "missing",
    ["exp", "nbf", "iat", "iss", "aud", "sub", "typ", "jti", "sid", "idx", "cid", "user_id", "username"],
)
def test_every_claim_is_mandatory(missing: str) -> None:
    assert refused(signed({}, missing)) == "invalid token"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "elsewhere"},
        {"aud": "elsewhere"},
        {"aud": ["konsul", "elsewhere"]},
        {"sub": "mallory"},
        {"exp": None},
        {"exp": str(NOW + 900)},
        {"exp": NOW + 900.5},
        {"exp": True},
        {"exp": [NOW + 900]},
        {"nbf": NOW + 100},
        {"iat": NOW + 100},
        {"typ": "refresh"},
        {"typ": None},
        {"jti": "of-another-key.abc"},
        {"jti": 7},
        {"user_id": ""},
        {"user_id": ["alice"]},
        {"roles": "admin"},
        {"roles": [1]},
        {"policies": None},
        {"idx": "7"},
        {"cid": None},
    ],
)
def test_a_claim_of_another_value_or_kind_is_refused(changes: dict[str, Any]) -> None:
    assert refused(signed(changes)) == "invalid token"


def test_unsigned_tokens_are_refused() -> None:
    body = signed({}).split(".")[1]
    for alg in ("none", "None", "NONE", "", None):
        head = encoded({"alg": alg, "typ": "JWT", "kid": KEYS.signer.kid})
        for signature in ("", "AAAA"):
            assert refused(f"{head}.{body}.{signature}") == "invalid token"


@pytest.mark.parametrize("alg", ["HS384", "HS512", "RS256", "EdDSA", "Ed25519", "hs256"])
def test_the_header_does_not_choose_the_algorithm(alg: str) -> None:
    key = OctKey.import_key(SECRET)
    header = {"alg": alg, "kid": KEYS.signer.kid}
    if alg.startswith("HS"):
        forged = jwt.encode(header, claims_of(signed({})), key, algorithms=[alg])
    else:
        forged = ".".join((encoded(header), *signed({}).split(".")[1:]))
    assert refused(forged) == "invalid token"


@pytest.mark.parametrize(
    "more",
    [
        {"kid": None},
        {"kid": ["x"]},
        {"kid": "../../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {"crit": ["exp"]},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jku": "https://elsewhere.example/jwks"},
        {"x5u": "https://elsewhere.example/cert"},
        {"b64": False},
        {"typ": "at+jwt"},
    ],
)
def test_a_header_that_brings_its_own_key_or_rules_is_refused(more: dict[str, Any]) -> None:
    head, body, signature = signed({}).split(".")
    header = header_of(f"{head}..") | more
    assert refused(f"{encoded(header)}.{body}.{signature}") == "invalid token"


def test_a_header_without_a_key_id_is_refused() -> None:
    assert refused(signed({}, header={"alg": "HS256"})) == "invalid token"


def test_a_changed_body_breaks_the_signature() -> None:
    head, _, signature = signed({}).split(".")
    body = encoded(claims_of(signed({})) | {"roles": ["admin"]})
    assert refused(f"{head}.{body}.{signature}") == "invalid token"


def test_another_secret_signs_for_nobody() -> None:
    others = load_keys(AuthSettings(jwt_secret="y" * 32))
    assert refused(tokens(others).issue("access", **WHO)) == "invalid token"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.é.é",
        "{}.{}.{}",
        f"{encoded([])}.{encoded({})}.AAAA",
        f"{encoded({'alg': 'HS256', 'kid': KEYS.signer.kid})}.{encoded([1])}.AAAA",
        "x" * 9_000,
    ],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    assert refused(text) == "invalid token"


def test_a_body_that_is_too_deep_is_refused() -> None:
    key = KEYS.signer
    head = encoded({"alg": key.algorithm, "kid": key.kid})
    body = base64.urlsafe_b64encode(b"[" * 3_000).rstrip(b"=").decode()
    assert refused(f"{head}.{body}.AAAA") == "invalid token"
