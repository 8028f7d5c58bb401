"""A good token in the wrong place opens nothing, and a token never comes out where others read."""

from __future__ import annotations

import pytest

from tests.security.guarded import CROWN, Guarded, Key, Login, leaks
from tests.security.wire import head, lines, replies, said

ORDINARY = (
    f"/kv/{CROWN}",
    "/kv",
    "/services/",
    "/cluster/status",
    "/auth/verify",
    "/acl/policies",
    "/openapi.json",
)


@pytest.fixture(scope="module")
def admin(guarded: Guarded) -> Login:
    return guarded.login(roles=("admin",))


@pytest.fixture(scope="module")
def key(guarded: Guarded) -> Key:
    return guarded.key("*")


def closed(guarded: Guarded, path: str, headers: dict[str, str]) -> None:
    answer = guarded.get(path, headers)
    assert answer.status == 401, (path, headers, answer.status)
    assert not leaks(answer)


@pytest.mark.parametrize("path", ORDINARY)
def test_a_token_in_the_query_opens_no_ordinary_route(
    guarded: Guarded, admin: Login, key: Key, path: str
) -> None:
    for name in ("token", "access_token", "api_key", "apikey", "key", "authorization", "jwt", "X-API-Key"):
        for value in (admin.token, key.text, guarded.admin_key):
            closed(guarded, f"{path}?{name}={value}", {})


def test_a_token_in_the_query_of_graphql_or_metrics(guarded: Guarded, admin: Login) -> None:
    closed(guarded, "/graphql?query={__typename}&token=" + admin.token, {})
    answer = guarded.ask("POST", f"/graphql?token={admin.token}", {"query": "{ __typename }"})
    assert answer.status == 401


def test_a_token_in_a_cookie_another_header_or_the_body(guarded: Guarded, admin: Login, key: Key) -> None:
    for value in (admin.token, key.text):
        for name in (
            "Cookie",
            "Proxy-Authorization",
            "X-Authorization",
            "X-Auth-Token",
            "X-Access-Token",
            "X-Konsul-Token",
            "X-Consul-Token",
            "Api-Key",
            "X_API_Key",
            "X-Forwarded-Authorization",
            "X-User",
            "X-Remote-User",
            "X-Konsul-Identity",
            "X-SSL-Client-CN",
        ):
            for text in (value, f"Bearer {value}", f"token={value}"):
                closed(guarded, f"/kv/{CROWN}", {name: text})
        answer = guarded.ask("PUT", f"/kv/{CROWN}", {"value": "x", "token": value, "authorization": value})
        assert answer.status == 401


@pytest.mark.parametrize(
    "value",
    [
        "bearer {0}",
        "BEARER {0}",
        "Bearer  {0}",
        "Bearer\t{0}",
        "Bearer {0} {0}",
        "Bearer {0},{0}",
        "Bearer {0}, Bearer {0}",
        "Bearer",
        "Bearer ",
        "{0}",
        "Token {0}",
        "JWT {0}",
        "Basic {0}",
        "Bearer: {0}",
        "Bearer={0}",
        'Bearer "{0}"',
    ],
)
def test_another_shape_of_the_header(guarded: Guarded, admin: Login, value: str) -> None:
    closed(guarded, f"/kv/{CROWN}", {"Authorization": value.format(admin.token)})


def test_a_jwt_is_no_api_key(guarded: Guarded, admin: Login) -> None:
    closed(guarded, f"/kv/{CROWN}", {"X-API-Key": admin.token})
    closed(guarded, f"/kv/{CROWN}", {"Authorization": f"ApiKey {admin.token}"})


def test_an_api_key_is_good_in_its_places_only(guarded: Guarded, key: Key) -> None:
    for headers in (
        {"X-API-Key": key.text},
        {"Authorization": f"ApiKey {key.text}"},
        {"Authorization": f"Bearer {key.text}"},
    ):
        assert guarded.get(f"/kv/{CROWN}", headers).status == 200
    for text in (
        key.text[:-1],
        key.text + "0",
        key.text.upper(),
        key.text[:7],
        f" {key.text}x",
        "konsul_",
        "*",
        "",
    ):
        if text:
            closed(guarded, f"/kv/{CROWN}", {"X-API-Key": text})
    closed(guarded, f"/kv/{CROWN}", {"Authorization": f"apikey {key.text}"})


def test_the_hash_of_a_key_is_no_key(guarded: Guarded, key: Key) -> None:
    import hashlib

    digest = hashlib.sha256(key.text.encode()).hexdigest()
    for text in (digest, f"konsul_{digest}", key.id):
        closed(guarded, f"/kv/{CROWN}", {"X-API-Key": text})
    listed = guarded.by_admin("GET", "/auth/apikeys")
    assert key.text not in repr(listed)
    assert digest not in repr(listed)


def test_two_credentials_are_not_chosen_from(
    guarded: Guarded, admin: Login, key: Key, attacker: Login
) -> None:
    """A second one is refused whatever it is: a proxy in front may have looked at the other."""
    good, other = f"Authorization: Bearer {admin.token}", f"Authorization: Bearer {attacker.token}"
    for pair in (
        (good, other),
        (other, good),
        (good, good),
        (f"X-API-Key: {key.text}", f"X-API-Key: {key.text}"),
        (f"X-API-Key: {key.text}", other),
        (f"x-api-key: {guarded.admin_key}", f"X-API-KEY: {key.text}"),
    ):
        (answer,) = replies(said(guarded.port, head("GET", f"/kv/{CROWN}", *pair)))
        assert answer.status == 401, pair
        assert not leaks(answer.body)


def test_no_token_comes_out_in_a_log_or_an_answer(guarded: Guarded, admin: Login, key: Key) -> None:
    for secret in (admin.token, admin.refresh_token, key.text):
        answer = guarded.get(f"/kv/a?token={secret}", {"X-API-Key": secret, "X-Request-ID": "seen"})
        assert secret.encode() not in answer.body
        guarded.get(f"/kv/watch/open?token={secret}x")
        guarded.ask("POST", "/auth/refresh", {"refresh_token": secret + "x"})
        guarded.ask("POST", "/auth/login", {"user_id": "a", "username": "a", "password": secret})
        for path in (f"/no/such?key={secret}", f"/graphql?token={secret}"):
            assert secret.encode() not in guarded.get(path).body
        assert secret not in guarded.output()
        assert secret not in repr(guarded.audited())
    assert guarded.admin_key not in guarded.output()
    assert guarded.signing_secret not in guarded.output()


def test_answers_set_no_cookie_and_offer_no_credentials_to_other_sites(
    guarded: Guarded, admin: Login
) -> None:
    """Cookie-less by design: a page of another site has nothing that a browser would send along."""
    origin = {"Origin": "https://elsewhere.example"}
    for headers in (origin, origin | admin.headers):
        for path in ORDINARY:
            answer = guarded.get(path, headers)
            assert "set-cookie" not in answer.headers
            assert "access-control-allow-credentials" not in answer.headers
    raw = said(guarded.port, head("GET", "/auth/verify", "Connection: close", *lines(admin.headers)))
    assert b"set-cookie" not in raw.lower()
