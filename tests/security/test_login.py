"""The login: who guesses learns nothing, gets slower, and a stolen refresh token ends itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.ask import Answer
from tests.security.forge import parts
from tests.security.guarded import PASSWORD, Guarded, Login, credentials
from tests.waiting import until

WRONG = "a wrong passphrase"


@pytest.fixture
def own(tmp_path: Path) -> Guarded:
    """A server of one test, with the limits of attempts that everybody has."""
    return Guarded(tmp_path / "own", {"KONSUL_LOGIN_ATTEMPTS": "5"})


def tried(server: Guarded, user_id: str, password: str = WRONG) -> Answer:
    return server.ask("POST", "/auth/login", credentials(user_id, password))


def metric(server: Guarded, name: str) -> float:
    """A series' value, all its labels together."""
    page = server.get("/metrics").body.decode()
    found = [line for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    assert found, f"no series {name}"
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_unknown_disabled_and_wrong_answer_alike_and_cost_the_same_hash(tmp_path: Path) -> None:
    """No times are compared: that each try costs one argon2id verification is counted."""
    with Guarded(tmp_path / "own") as own:
        own.furnish()
        known, disabled = own.add_user("attacker"), own.add_user("attacker")
        own.by_admin("PUT", f"/auth/users/{disabled}", {"enabled": False})
        answers = []
        for who in (known, disabled, "nobody-of-this-name", "\u202eevil", "a" * 100):
            before = metric(own, "konsul_auth_password_hashes_total")
            answers.append(tried(own, who))
            assert metric(own, "konsul_auth_password_hashes_total") == before + 1, who
        assert {(answer.status, answer.body) for answer in answers} == {
            (401, b'{"error":"invalid credentials"}')
        }
        assert len({frozenset(answer.headers) for answer in answers}) == 1
        # Also the right password of a disabled user says no more.
        assert tried(own, disabled, PASSWORD).body == answers[0].body


def test_who_guesses_is_slowed_by_name_and_by_address(own: Guarded) -> None:
    with own:
        victim, other = own.add_user(), own.add_user()
        found = [tried(own, victim).status for _ in range(8)]
        assert found.count(401) == 5
        assert found[5:] == [429] * 3
        refused = tried(own, victim, PASSWORD)
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert PASSWORD.encode() not in refused.body
        # The address is spent for every name; and a refused try costs no hash.
        before = metric(own, "konsul_auth_password_hashes_total")
        assert tried(own, other).status == 429
        assert metric(own, "konsul_auth_password_hashes_total") == before
        # Whoever is logged in already is not kept out by it.
        assert own.get("/kv/open/none", own.admin).status == 404


def test_a_hundred_guessers_at_once_are_held_and_others_are_answered(own: Guarded) -> None:
    with own:
        victim = own.add_user()
        hits = threading.Barrier(20)

        def guess(number: int) -> int:
            hits.wait(30)
            return tried(own, victim, f"{WRONG} {number}").status

        with ThreadPoolExecutor(20) as pool:
            found = list(pool.map(guess, range(100)))
        assert set(found) <= {401, 429, 503}
        assert found.count(401) <= 7
        assert own.get("/health/live").status == 200
        assert own.get("/kv", own.admin).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user_id": ""},
        {"user_id": "a"},
        {"user_id": "a", "username": "a"},
        {"user_id": "a", "username": "a", "password": ""},
        {"user_id": "a", "username": "a", "password": "p" * 2_000},
        {"user_id": "a" * 100_000, "username": "a", "password": PASSWORD},
        {"user_id": ["a"], "username": "a", "password": PASSWORD},
        {"user_id": "a", "username": {"$ne": ""}, "password": {"$gt": ""}},
        {"user_id": "a' OR '1'='1", "username": "a", "password": "' OR '1'='1"},
        {"user_id": "a\u0000", "username": "a", "password": PASSWORD},
        {"user_id": "*", "username": "*", "password": PASSWORD},
        {"user_id": True, "username": True, "password": True},
    ],
    ids=range(13),
)
def test_bodies_that_log_nobody_in(guarded: Guarded, body: dict[str, object]) -> None:
    for path in ("/auth/login", "/auth/refresh"):
        answer = guarded.ask("POST", path, body)
        assert answer.status in (400, 401, 429), answer.body
        assert b"token" not in answer.body or b"refresh_token is required" in answer.body


def test_rights_that_a_login_asks_for_are_not_given(guarded: Guarded) -> None:
    user_id = guarded.add_user("attacker")
    wish = {"roles": ["admin"], "policies": ["admin"], "is_admin": True, "exp": 10**10}
    answer = guarded.ask("POST", "/auth/login", credentials(user_id, PASSWORD) | wish)
    _, claims, _ = parts(answer.json()["token"])
    assert claims["roles"] == ["user"]
    assert claims.get("policies", []) in (["attacker"], [])
    assert guarded.get("/acl/policies", {"Authorization": f"Bearer {answer.json()['token']}"}).status == 403


def refresh(server: Guarded, token: str) -> Answer:
    return server.ask("POST", "/auth/refresh", {"refresh_token": token})


def test_a_spent_refresh_token_ends_the_whole_family(guarded: Guarded) -> None:
    first = guarded.login("attacker")
    answer = refresh(guarded, first.refresh_token).json()
    second = Login(first.user_id, answer["token"], answer["refresh_token"])
    assert guarded.get("/kv/open/door", second.headers).status == 200
    assert refresh(guarded, first.refresh_token).status == 401
    # Whoever replayed it, thief or owner: nothing of this login holds any more.
    until(lambda: guarded.get("/kv/open/door", second.headers).status == 401, "the family to be revoked")
    assert refresh(guarded, second.refresh_token).status == 401
    assert guarded.get("/kv/open/door", first.headers).status == 401


def test_one_refresh_token_at_once_is_taken_once(guarded: Guarded) -> None:
    login = guarded.login("attacker")
    together = threading.Barrier(8)

    def race(_number: int) -> int:
        together.wait(30)
        return refresh(guarded, login.refresh_token).status

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(race, range(8)))
    assert found.count(200) <= 1
    assert set(found) <= {200, 401, 429}


def test_a_login_does_not_outlive_logout_password_change_or_its_user(guarded: Guarded) -> None:
    for end in ("logout", "password", "disable", "delete"):
        login = guarded.login("attacker")
        assert guarded.get("/kv/open/door", login.headers).status == 200
        if end == "logout":
            assert guarded.ask("POST", "/auth/logout", {}, login.headers).status < 300
        elif end == "password":
            path = f"/auth/users/{login.user_id}/passwd"
            guarded.by_admin("POST", path, {"password": PASSWORD + "!"})
        elif end == "disable":
            guarded.by_admin("PUT", f"/auth/users/{login.user_id}", {"enabled": False})
        else:
            guarded.by_admin("DELETE", f"/auth/users/{login.user_id}")
        assert guarded.get("/kv/open/door", login.headers).status == 401, end
        assert refresh(guarded, login.refresh_token).status == 401, end


def test_bootstrap_is_over_once_it_was(tmp_path: Path) -> None:
    settings = {"KONSUL_BOOTSTRAP_TOKEN_FILE": ""}
    with Fresh(tmp_path / "fresh", settings) as server:
        together = threading.Barrier(6)

        def race(_number: int) -> Answer:
            together.wait(30)
            return server.ask("POST", "/auth/bootstrap", {})

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(race, range(6)))
        won = [answer for answer in answers if answer.status < 300]
        assert len(won) == 1
        assert all(400 <= answer.status < 500 for answer in answers if answer not in won)
        server.restart()
        assert server.ask("POST", "/auth/bootstrap", {}).status in (403, 409)
        assert server.get("/kv", {"X-API-Key": won[0].json()["token"]}).status == 200


def test_asking_for_the_first_token_again_writes_nothing(tmp_path: Path) -> None:
    """Anybody may ask: it must not be a way to fill the log."""
    with Fresh(tmp_path / "fresh", {"KONSUL_BOOTSTRAP_TOKEN_FILE": ""}) as server:
        assert server.ask("POST", "/auth/bootstrap", {}).status == 201
        before = server.get("/health").json()["raft"]["last_index"]
        assert [server.ask("POST", "/auth/bootstrap", {}).status for _ in range(20)] == [409] * 20
        assert server.get("/health").json()["raft"]["last_index"] == before


class Fresh(Guarded):
    """A guarded server without an admin."""

    def start(self) -> None:
        super(Guarded, self).start()
