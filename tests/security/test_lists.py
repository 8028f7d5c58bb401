"""Who is on the blacklist gets in by no name that is on it, however rates are counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ask import Answer
from tests.security.guarded import Guarded, credentials
from tests.waiting import until


@pytest.fixture(scope="module", params=["by address", "by name", "by both"])
def counted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A guarded server with rate limits of each kind; by address is the default."""
    by_name = {"KONSUL_RATE_LIMIT_BY_APIKEY": "true"}
    more = {"by address": {}, "by name": by_name | {"KONSUL_RATE_LIMIT_BY_IP": "false"}, "by both": by_name}
    rates = {"KONSUL_RATE_LIMIT_ENABLED": "true", "KONSUL_RATE_LIMIT_BURST": "1000000"}
    with Guarded(tmp_path_factory.mktemp("counted") / "node", rates | more[request.param]) as server:
        server.furnish()
        yield server


def bar(server: Guarded, kind: str, name: str) -> None:
    entry = {"type": kind, "identifier": name, "duration": "1h", "reason": "a test"}
    server.by_admin("POST", "/admin/ratelimit/blacklist", entry)


def is_barred(answer: Answer, identifier: str) -> bool:
    return answer.status == 403 and answer.json().get("identifier") == identifier


def test_a_barred_user_is_let_in_by_no_login(counted: Guarded) -> None:
    who, other = counted.login("attacker"), counted.login("attacker")
    assert counted.get("/kv/open/door", who.headers).status == 200
    bar(counted, "user", who.user_id)
    until(
        lambda: is_barred(counted.get("/kv/open/door", who.headers), f"user:{who.user_id}"),
        "the list to hold",
    )
    again = counted.log_in(who.user_id)
    for method, path, body in (
        ("GET", "/kv/open/door", None),
        ("PUT", "/kv/open/new", {"value": "x"}),
        ("POST", "/graphql", {"query": "{ __typename }"}),
        ("GET", "/auth/verify", None),
    ):
        answer = counted.ask(method, path, body, again.headers)
        assert is_barred(answer, f"user:{who.user_id}"), (method, path, answer)
    assert counted.get("/kv/open/door", other.headers).status == 200


def test_a_barred_key_is_let_in_by_no_header(counted: Guarded) -> None:
    key, other = counted.key("attacker"), counted.key("attacker")
    bar(counted, "apikey", key.id)
    until(
        lambda: is_barred(counted.get("/kv/open/door", key.headers), f"apikey:{key.id}"), "the list to hold"
    )
    for headers in ({"Authorization": f"Bearer {key.text}"}, {"Authorization": f"ApiKey {key.text}"}):
        assert is_barred(counted.get("/kv/open/door", headers), f"apikey:{key.id}")
    assert counted.get("/kv/open/door", other.headers).status == 200


def test_a_barred_address_is_let_in_with_nobodys_credentials(counted: Guarded) -> None:
    """The last of this file: nobody else gets in here after it."""
    who = counted.login("attacker")
    bar(counted, "ip", "127.0.0.0/8")
    until(lambda: counted.get("/kv/open/door", who.headers).status == 403, "the list to hold")
    for headers in ({}, who.headers, counted.admin, {"Authorization": "Bearer x.y.z"}):
        for path in ("/kv/open/door", "/metrics", "/health", "/nowhere"):
            assert is_barred(counted.get(path, headers), "ip:127.0.0.1"), (path, headers)
    tried = counted.ask("POST", "/auth/login", credentials("somebody", "some password"))
    assert is_barred(tried, "ip:127.0.0.1")
