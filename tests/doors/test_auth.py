"""Logging in, refreshing, verifying, logging out, the first token: `/auth` on a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.ask import Answer, ask
from tests.conftest import SMALL, LiveServer
from tests.security.forge import parts, unb64
from tests.security.guarded import PASSWORD, Guarded, bearer
from tests.waiting import until

ADMIN = ("admin",)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Auth on, the ACL off: who is known may use the data, who is an administrator the rest."""
    attempts = {"KONSUL_LOGIN_ATTEMPTS": "1000"}
    with Guarded(tmp_path_factory.mktemp("auth"), {"KONSUL_ACL_ENABLED": "false"} | attempts) as running:
        yield running


def login(guarded: Guarded, **body: object) -> Answer:
    return guarded.ask("POST", "/auth/login", body)


def error(answer: Answer) -> tuple[int, str]:
    """The status and the text of a refusal, which says nothing else."""
    told = answer.json()
    assert set(told) == {"error"}
    return answer.status, told["error"]


def test_a_login_answers_tokens_that_no_cache_keeps(guarded: Guarded) -> None:
    user = guarded.add_user()
    answer = login(guarded, user_id=user, username=user, password=PASSWORD)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert set(told) == {"token", "refresh_token", "expires_in", "refresh_expires_in"}
    assert (told["expires_in"], told["refresh_expires_in"]) == (900, 604_800)
    assert guarded.get("/kv", bearer(told["token"])).status == 200


def test_what_the_body_says_of_roles_is_not_listened_to(guarded: Guarded) -> None:
    user = guarded.add_user()
    claimed = {"roles": ["admin"], "policies": ["root"]}
    answer = login(guarded, user_id=user, username="root", password=PASSWORD, **claimed)
    verified = guarded.get("/auth/verify", bearer(answer.json()["token"])).json()
    assert (verified["roles"], verified["policies"], verified["username"]) == (["user"], [], user)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "invalid request body"),
        (b"[]", 400, "invalid request body"),
        (b"{", 400, "invalid request body"),
        (b'{"user_id":1,"username":"a"}', 400, "invalid request body"),
        (b"{}", 400, "user_id and username are required"),
        (b'{"user_id":"a"}', 400, "user_id and username are required"),
        (b'{"username":"a"}', 400, "user_id and username are required"),
        (b'{"user_id":"nobody","username":"a"}', 401, "invalid credentials"),
        (b'{"user_id":"no/such user","username":"a","password":"x"}', 401, "invalid credentials"),
        (b'{"user_id":"%s","username":"a","password":"x"}' % (b"x" * 5_000), 401, "invalid credentials"),
    ],
)
def test_logins_that_are_none(guarded: Guarded, body: bytes, status: int, text: str) -> None:
    sent = {"Content-Type": "application/json"}
    assert error(ask(guarded.port, "POST", "/auth/login", body, headers=sent)) == (status, text)


def test_a_wrong_guess_says_who_to_ask(guarded: Guarded) -> None:
    user = guarded.add_user()
    answer = login(guarded, user_id=user, username=user, password="wrong")
    assert error(answer) == (401, "invalid credentials")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="konsul"')


def test_refreshing_renews_both_tokens_once(guarded: Guarded) -> None:
    first = guarded.log_in(guarded.add_user())
    answer = guarded.ask("POST", "/auth/refresh", {"refresh_token": first.refresh_token})
    assert answer.status == 200
    second = answer.json()
    assert set(second) == {"token", "refresh_token", "expires_in", "refresh_expires_in"}
    assert second["token"] != first.token
    assert second["refresh_token"] != first.refresh_token
    again = guarded.ask("POST", "/auth/refresh", {"refresh_token": first.refresh_token})
    assert error(again) == (401, "invalid refresh token")
    for token in (first.token, second["token"]):
        assert error(guarded.get("/kv", bearer(token))) == (401, "token revoked")


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "refresh_token is required"),
        ([], 400, "invalid request body"),
        ({"refresh_token": 5}, 400, "invalid request body"),
        ({"refresh_token": "a.b.c"}, 401, "invalid refresh token"),
    ],
)
def test_refreshes_that_are_none(guarded: Guarded, body: object, status: int, text: str) -> None:
    assert error(guarded.ask("POST", "/auth/refresh", body)) == (status, text)


def test_the_two_kinds_of_tokens_do_not_pass_for_each_other(guarded: Guarded) -> None:
    held = guarded.log_in(guarded.add_user())
    assert error(guarded.get("/kv", bearer(held.refresh_token))) == (401, "invalid token")
    asked = guarded.ask("POST", "/auth/refresh", {"refresh_token": held.token})
    assert error(asked) == (401, "invalid refresh token")


def test_verify_says_whose_and_until_when(guarded: Guarded) -> None:
    user = guarded.add_user(roles=ADMIN)
    answer = guarded.get("/auth/verify", guarded.log_in(user).headers)
    told = answer.json()
    assert answer.status == 200
    assert (told["user_id"], told["username"], told["roles"]) == (user, user, ["admin"])
    assert (told["issuer"], type(told["expires"])) == ("konsul", int)
    key = guarded.get("/auth/verify", guarded.key().headers).json()
    assert (key["type"], "expires" in key) == ("api_key", False)
    assert error(guarded.get("/auth/verify")) == (401, "missing authorization header")


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "missing authorization header"),
        ({"Authorization": "Token abc"}, "invalid authorization header format"),
        ({"Authorization": "bearer a.b.c"}, "invalid authorization header format"),
        ({"Authorization": "Bearer a b"}, "invalid authorization header format"),
        ({"Authorization": "Bearer a.b.c"}, "invalid token"),
        ({"X-API-Key": "konsul_none"}, "invalid API key"),
        ({"Authorization": "ApiKey konsul_none"}, "invalid API key"),
    ],
)
@pytest.mark.parametrize("path", ["/kv/x", "/services", "/auth/verify", "/cluster/status"])
def test_who_is_nobody_is_told_so(guarded: Guarded, path: str, headers: dict[str, str], text: str) -> None:
    answer = guarded.get(path, headers)
    assert error(answer) == (401, text)
    expected = 'Bearer realm="konsul"' + (', error="invalid_token"' if headers else "")
    assert answer.headers["www-authenticate"] == expected


def test_logging_out_ends_the_login(guarded: Guarded) -> None:
    user = guarded.add_user()
    held, other = guarded.log_in(user), guarded.log_in(user)
    answer = guarded.ask("POST", "/auth/logout", None, held.headers)
    assert (answer.status, answer.json()) == (200, {"message": "logged out"})
    assert error(guarded.get("/kv", held.headers)) == (401, "token revoked")
    assert error(guarded.ask("POST", "/auth/logout", None, held.headers)) == (401, "token revoked")
    asked = guarded.ask("POST", "/auth/refresh", {"refresh_token": held.refresh_token})
    assert error(asked) == (401, "invalid refresh token")
    assert guarded.get("/kv", other.headers).status == 200
    assert guarded.ask("POST", "/auth/logout", None, guarded.key().headers).status == 400


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/auth/users/{}/passwd", {"password": "another long passphrase"}),
        ("PUT", "/auth/users/{}", {"enabled": False}),
        ("DELETE", "/auth/users/{}", None),
    ],
)
def test_a_login_ends_with_what_it_rests_on(guarded: Guarded, method: str, path: str, body: object) -> None:
    held = guarded.log_in(guarded.add_user())
    assert guarded.get("/kv", held.headers).status == 200
    guarded.by_admin(method, path.format(held.user_id), body)
    until(lambda: guarded.get("/kv", held.headers).status == 401, "the token to end")
    assert error(guarded.get("/kv", held.headers)) == (401, "token revoked")


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("POST", "/auth/apikeys/{}/revoke", "API key disabled"),
        ("DELETE", "/auth/apikeys/{}", "invalid API key"),
    ],
)
def test_a_key_ends_when_it_is_revoked(guarded: Guarded, method: str, path: str, text: str) -> None:
    key = guarded.key()
    assert guarded.get("/kv", key.headers).status == 200
    guarded.by_admin(method, path.format(key.id))
    until(lambda: guarded.get("/kv", key.headers).status == 401, "the key to end")
    assert error(guarded.get("/kv", key.headers)) == (401, text)


def test_administration_is_for_administrators(guarded: Guarded) -> None:
    plain, admin = guarded.log_in(guarded.add_user()), guarded.log_in(guarded.add_user(roles=ADMIN))
    assert guarded.get("/auth/users", plain.headers).status == 403
    assert guarded.get("/auth/users", admin.headers).status == 200
    assert guarded.ask("PUT", "/kv/x", {"value": "1"}, plain.headers).status == 200


def test_the_key_set_is_public_and_holds_no_secret(guarded: Guarded) -> None:
    for path in ("/auth/jwks", "/.well-known/jwks.json"):
        answer = guarded.get(path)
        assert (answer.status, answer.json()) == (200, {"keys": []})


def test_the_first_token_is_the_operators(guarded: Guarded) -> None:
    answer = guarded.ask("POST", "/auth/bootstrap")
    assert answer.status == 409
    assert "KONSUL_BOOTSTRAP_TOKEN_FILE" in answer.json()["error"]


def test_last_use_of_a_key_is_there_for_its_administrator(guarded: Guarded) -> None:
    key = guarded.key()
    guarded.get("/kv", key.headers)
    shown = f"/auth/apikeys/{key.id}"
    until(lambda: "last_used_at" in guarded.by_admin("GET", shown), "the last use to be written", 30)
    told = guarded.by_admin("GET", shown)["last_used_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", told)


def test_what_happened_is_counted(guarded: Guarded) -> None:
    page = guarded.get("/metrics").body.decode()
    for name in (
        'konsul_auth_attempts_total{result="success"}',
        'konsul_auth_attempts_total{result="failed"}',
        'konsul_jwt_token_generated_total{type="access"}',
        "konsul_jwt_token_refreshed_total",
        "konsul_auth_refresh_replays_total",
        'konsul_jwt_token_validation_errors_total{reason="invalid token"}',
        'konsul_apikey_validation_errors_total{reason="invalid API key"}',
        "konsul_auth_identities_remembered",
        "konsul_apikey_created_total",
    ):
        found = re.search(rf"^{re.escape(name)} ([0-9.]+)$", page, re.MULTILINE)
        assert found is not None, name
        assert float(found[1]) > 0, name


def test_secrets_are_in_no_log(guarded: Guarded) -> None:
    held, key = guarded.log_in(guarded.add_user()), guarded.key()
    guarded.get("/kv", held.headers)
    guarded.get("/kv", key.headers)
    guarded.get(f"/kv/x?token={held.token}", {})
    login(guarded, user_id=held.user_id, username="x", password="hunter2hunter2")
    written = guarded.output() + guarded.audit_file.read_text(encoding="utf-8")
    for secret in (
        held.token,
        held.refresh_token,
        key.text,
        PASSWORD,
        "hunter2hunter2",
        guarded.admin_key,
        guarded.signing_secret,
    ):
        assert secret not in written


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"KONSUL_ACL_ENABLED": "false"}) as server:
        held, key = server.log_in(server.add_user()), server.key()
        ended = server.log_in(held.user_id)
        assert server.ask("POST", "/auth/logout", None, ended.headers).status == 200
        server.restart()
        assert server.get("/kv", held.headers).status == 200
        assert server.get("/kv", key.headers).status == 200
        assert error(server.get("/kv", ended.headers)) == (401, "token revoked")
        assert server.ask("POST", "/auth/refresh", {"refresh_token": held.refresh_token}).status == 200


def test_the_first_token_by_the_api_is_shown_once(tmp_path: Path) -> None:
    settings = {"KONSUL_AUTH_ENABLED": "true", "KONSUL_JWT_SECRET": "x" * 32}
    with LiveServer(tmp_path / "data", SMALL | settings) as server:
        answer = ask(server.port, "POST", "/auth/bootstrap")
        assert answer.status == 201
        token = answer.json()["token"]
        assert re.fullmatch("konsul_[0-9a-f]{64}", token)
        assert ask(server.port, "GET", "/auth/apikeys", headers={"X-API-Key": token}).status == 200
        again = ask(server.port, "POST", "/auth/bootstrap")
        assert (again.status, set(again.json())) == (409, {"error"})
        server.restart()
        assert ask(server.port, "POST", "/auth/bootstrap").status == 409
        assert ask(server.port, "GET", "/kv", headers=bearer(token)).status == 200
        assert token not in server.output()
        assert "x" * 32 not in server.output()


def test_while_auth_is_off_there_are_no_such_routes(server: LiveServer) -> None:
    for method, path in (
        ("POST", "/auth/login"),
        ("POST", "/auth/refresh"),
        ("GET", "/auth/verify"),
        ("POST", "/auth/logout"),
        ("GET", "/auth/jwks"),
        ("POST", "/auth/bootstrap"),
    ):
        answer = ask(server.port, method, path, {} if method == "POST" else None)
        assert (answer.status, answer.body.decode()) == (404, f"Cannot {method} {path}")
    page = ask(server.port, "GET", "/metrics").body.decode()
    assert "konsul_auth_" not in page


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "KONSUL_JWT_SECRET_FILE"),
        ({"KONSUL_JWT_SECRET": "x" * 31}, "KONSUL_JWT_SECRET"),
        ({"KONSUL_JWT_SECRET": "x" * 32, "KONSUL_REFRESH_EXPIRY": "1m"}, "KONSUL_REFRESH_EXPIRY"),
        (
            {"KONSUL_JWT_SECRET": "x" * 32, "KONSUL_BOOTSTRAP_TOKEN_FILE": "none"},
            "KONSUL_BOOTSTRAP_TOKEN_FILE",
        ),
        ({"KONSUL_JWT_SECRET": "x" * 32, "KONSUL_JWT_KEY_DIR": "none"}, "KONSUL_JWT_KEY_DIR"),
    ],
)
def test_settings_that_would_protect_nothing_stop_the_start(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    server = LiveServer(tmp_path / "data", SMALL | {"KONSUL_AUTH_ENABLED": "true"} | settings)
    assert server.refused() == 1
    assert named in server.output()
    assert "x" * 31 not in server.output()
    assert "Traceback" not in server.output()


def test_another_signing_secret_is_taken_without_a_restart(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"KONSUL_ACL_ENABLED": "false"}) as server:
        path = tmp_path / "jwt.secret"
        held = server.log_in(server.add_user())
        first = parts(held.token)[0]["kid"]
        path.write_text(f"{'n' * 40}\n{server.signing_secret}\n", encoding="utf-8")

        def kid() -> str:
            return str(parts(server.log_in(held.user_id).token)[0]["kid"])

        until(lambda: kid() != first, "the new secret to sign", 20)
        assert server.get("/kv", held.headers).status == 200, "the old one still verifies"
        path.write_text("n" * 40, encoding="utf-8")
        until(lambda: server.get("/kv", held.headers).status == 401, "the old one to be gone", 20)
        assert json.loads(server.get("/kv", held.headers).body) == {"error": "invalid token"}


def test_keys_of_a_directory_sign_for_everybody(tmp_path: Path) -> None:
    """Whoever reads the key set can tell that a token is ours."""
    keys = tmp_path / "keys"
    keys.mkdir()
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (keys / "2026-a.pem").write_bytes(pem)
    more = {"KONSUL_ACL_ENABLED": "false", "KONSUL_JWT_KEY_DIR": str(keys)}
    with Guarded(tmp_path / "node", more) as server:
        held = server.log_in(server.add_user())
        (found,) = server.get("/auth/jwks").json()["keys"]
        assert server.get("/.well-known/jwks.json").json() == {"keys": [found]}
        assert {name: found[name] for name in ("kid", "alg", "use", "kty", "crv")} == {
            "kid": "2026-a",
            "alg": "EdDSA",
            "use": "sig",
            "kty": "OKP",
            "crv": "Ed25519",
        }
        assert "d" not in found
        signed, _, signature = held.token.rpartition(".")
        public = Ed25519PublicKey.from_public_bytes(unb64(found["x"]))
        public.verify(unb64(signature), signed.encode())
        assert server.get("/kv", held.headers).status == 200


def test_where_nobody_has_to_say_who_they_are_a_wrong_word_is_still_wrong(tmp_path: Path) -> None:
    more = {"KONSUL_ACL_ENABLED": "false", "KONSUL_REQUIRE_AUTH": "false", "KONSUL_HOST": "127.0.0.1"}
    with Guarded(tmp_path, more) as server:
        assert server.get("/kv").status == 200
        assert server.ask("PUT", "/kv/x", {"value": "1"}).status == 200
        assert error(server.get("/kv", bearer("a.b.c"))) == (401, "invalid token")
        assert error(server.get("/auth/verify")) == (401, "missing authorization header")
        assert server.get("/auth/users").status == 401
        held = server.login()
        assert server.get("/auth/verify", held.headers).json()["user_id"] == held.user_id
        assert server.get("/auth/users", held.headers).status == 403
