"""Whose bucket a request spends once it is known who asks, and who may administer the rates then."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conftest import LiveServer
from tests.doors.rate_limited import ADMIN, BURST, RATE_LIMITED, address, caller, left, members, spend

PASSWORD = "a long enough passphrase"


@dataclass
class Guarded:
    """A server with authentication and rate limits on, and its administrator."""

    server: LiveServer
    root: httpx.Client

    def key(self, **more: Any) -> tuple[str, dict[str, str]]:
        """A new API key's id, and the header with it."""
        answer = self.root.post("/auth/apikeys", json={"name": "k", **more})
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["api_key"]["id"], {"X-API-Key": answer.json()["key"]}

    def user(self) -> tuple[str, dict[str, str]]:
        """A new user's id, and the header with its token."""
        user_id = f"u-{secrets.token_hex(4)}"
        body = {"user_id": user_id, "username": user_id, "password": PASSWORD}
        assert self.root.post("/auth/users", json=body).status_code in (200, 201)
        with caller(self.server) as http:
            answer = http.post("/auth/login", json=body)
        assert answer.status_code == 200, answer.text
        return user_id, {"Authorization": f"Bearer {answer.json()['token']}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    token = folder / "token"
    token.write_text(secrets.token_hex(32), encoding="utf-8")
    settings = RATE_LIMITED | {
        "KONSUL_AUTH_ENABLED": "true",
        "KONSUL_BOOTSTRAP_TOKEN_FILE": str(token),
        "KONSUL_JWT_SECRET": secrets.token_hex(32),
        "KONSUL_RATE_LIMIT_BY_APIKEY": "true",
    }
    headers = {"X-API-Key": token.read_text(encoding="utf-8")}
    with (
        LiveServer(folder / "data", settings) as server,
        httpx.Client(base_url=server.base_url, trust_env=False, timeout=30, headers=headers) as root,
    ):
        body = {"identifier": "127.0.0.1", "type": "ip"}
        assert root.post(f"{ADMIN}/whitelist", json=body).status_code == 200
        yield Guarded(server, root)


@pytest.mark.parametrize("kind", ["apikey", "user"])
def test_who_is_known_has_one_bucket_wherever_it_asks_from(guarded: Guarded, kind: str) -> None:
    id, headers = guarded.key() if kind == "apikey" else guarded.user()
    statuses = []
    for _ in range(BURST + 1):
        with caller(guarded.server) as http:
            http.headers.update(headers)
            statuses.append(http.get("/kv/nothing").status_code)
            last = http.get("/health/live")
    assert statuses == [404] * BURST + [429]
    assert last.status_code == 200
    with caller(guarded.server) as http:
        http.headers.update(headers)
        assert http.get("/kv/nothing").json()["identifier"] == f"{kind}:{id}"
    found = members(guarded.root.get(f"{ADMIN}/client/{id}"), "client")
    assert (found["type"], found["identifier"]) == (kind, id)
    assert guarded.root.post(f"{ADMIN}/reset/{kind}/{id}").status_code == 200
    with caller(guarded.server) as http:
        http.headers.update(headers)
        assert left(http.get("/kv/nothing")) == BURST - 1


def test_the_callers_behind_one_address_do_not_spend_each_others(guarded: Guarded) -> None:
    client = address()
    with caller(guarded.server, client) as one, caller(guarded.server, client) as other:
        one.headers.update(guarded.key()[1])
        other.headers.update(guarded.key()[1])
        assert spend(one, BURST + 1)[-1] == 429
        assert spend(other, 1) == [404]


def test_credentials_that_do_not_hold_spend_the_addresss(guarded: Guarded) -> None:
    with caller(guarded.server) as http:
        for guess in range(BURST):
            answer = http.get("/kv/nothing", headers={"X-API-Key": f"konsul_{guess:064x}"})
            assert (answer.status_code, left(answer)) == (401, BURST - 1 - guess)
        answer = http.get("/kv/nothing", headers={"X-API-Key": "konsul_" + "f" * 64})
        assert answer.status_code == 429


def test_who_brings_nothing_spends_the_addresss(guarded: Guarded) -> None:
    with caller(guarded.server) as http:
        assert [http.get("/kv/nothing").status_code for _ in range(BURST + 1)] == [401] * BURST + [429]


def test_keys_and_users_are_listed_by_their_id(guarded: Guarded) -> None:
    for kind, (id, headers) in (("apikey", guarded.key()), ("user", guarded.user())):
        entry = {"identifier": id, "type": kind, "reason": "lost", "duration": "1h"}
        assert members(guarded.root.post(f"{ADMIN}/blacklist", json=entry), "entry")["added_by"] != "unknown"
        with caller(guarded.server) as http:
            answer = http.get("/kv/nothing", headers=headers)
            assert (answer.status_code, answer.json()["identifier"]) == (403, f"{kind}:{id}")
            assert http.get("/kv/nothing").status_code == 401
        assert guarded.root.delete(f"{ADMIN}/blacklist/{id}").status_code == 200
        assert guarded.root.post(f"{ADMIN}/whitelist", json=entry).status_code == 200
        with caller(guarded.server) as http:
            http.headers.update(headers)
            assert spend(http, 2 * BURST) == [404] * (2 * BURST)


def test_a_key_may_have_a_rate_of_its_own(guarded: Guarded) -> None:
    id, headers = guarded.key()
    own = {"rate": 0.001, "burst": 3}
    answer = guarded.root.put(f"{ADMIN}/client/apikey/{id}", json=own)
    assert members(answer, "config") == own | {"duration": "1h"}
    with caller(guarded.server) as http:
        http.headers.update(headers)
        assert spend(http, 4) == [404, 404, 404, 429]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "stats"),
        ("GET", "config"),
        ("GET", "clients"),
        ("GET", "client/10.0.0.1"),
        ("GET", "status/ip/10.0.0.1"),
        ("GET", "top"),
        ("GET", "events"),
        ("GET", "whitelist"),
        ("GET", "blacklist"),
        ("PUT", "config"),
        ("DELETE", "config"),
        ("PUT", "client/ip/10.0.0.1"),
        ("DELETE", "client/ip/10.0.0.1"),
        ("POST", "reset/ip/10.0.0.1"),
        ("POST", "reset/apikey/k"),
        ("POST", "reset/user/u"),
        ("POST", "reset/all"),
        ("POST", "whitelist"),
        ("POST", "blacklist"),
        ("DELETE", "whitelist/127.0.0.1"),
        ("DELETE", "blacklist/127.0.0.1"),
    ],
)
def test_only_administrators_administer(guarded: Guarded, method: str, path: str) -> None:
    """Also from the machine itself, which is enough only where nobody has an identity."""
    with httpx.Client(base_url=guarded.server.base_url, trust_env=False) as http:
        assert http.request(method, f"{ADMIN}/{path}", json={"burst": 1}).status_code == 401
        answer = http.request(method, f"{ADMIN}/{path}", json={"burst": 1}, headers=guarded.key()[1])
        assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
    config = members(guarded.root.get(f"{ADMIN}/config"), "config")
    assert config["burst"] == BURST
