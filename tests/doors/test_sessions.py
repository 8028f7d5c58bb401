"""`/sessions`, and what ends one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SMALL, LiveServer
from tests.waiting import until

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that lets sessions be short."""
    settings = SMALL | {"KONSUL_SESSION_TTL_MIN": "100ms", "KONSUL_SESSION_MAX_LOCKS": "3"}
    with LiveServer(tmp_path_factory.mktemp("sessions") / "data", settings) as running:
        yield running


def create(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/sessions", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["message"]


def test_a_session_is_made_read_listed_and_destroyed(http: httpx.Client) -> None:
    made = create(http, name="worker", ttl="20s", lock_delay="3s", behavior="delete")
    assert (made["ttl"], made["lock_delay"], made["behavior"], made["name"]) == (
        "20s",
        "3s",
        "delete",
        "worker",
    )
    assert http.get(f"/sessions/{made['id']}").json() == made
    assert made in http.get("/sessions").json()
    gone = http.delete(f"/sessions/{made['id']}")
    assert gone.json()["id"] == made["id"]
    assert int(gone.headers["x-konsul-index"]) == gone.json()["modify_index"] > made["modify_index"]
    for answer in (
        http.get(f"/sessions/{made['id']}"),
        http.delete(f"/sessions/{made['id']}"),
        http.put(f"/sessions/{made['id']}/renew"),
    ):
        assert refused(answer) == (404, "Session not found")


def test_without_a_body_everything_is_as_the_server_has_it(http: httpx.Client) -> None:
    made = http.post("/sessions").json()
    assert made["behavior"] == "release"
    assert made["lock_delay"] == "15s"
    assert not {"ttl", "name", "node", "checks"} & set(made)


def test_members_may_be_spelt_as_consul_spells_them(http: httpx.Client) -> None:
    made = create(http, Name="a", TTL="30s", LockDelay="1s", Behavior="delete")
    assert (made["name"], made["ttl"], made["lock_delay"], made["behavior"]) == ("a", "30s", "1s", "delete")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"ttl": "99ms"}, "invalid session ttl '99ms': expected a duration from 100ms to 24h"),
        ({"ttl": "25h"}, "invalid session ttl '25h': expected a duration from 100ms to 24h"),
        ({"ttl": "soon"}, "invalid session ttl 'soon': expected a duration from 100ms to 24h"),
        ({"lock_delay": "61s"}, "invalid lock_delay '61s': expected a duration from 0s to 60s"),
        ({"behavior": "keep"}, "invalid session behavior 'keep': expected release or delete"),
        (
            {"name": "a b"},
            "invalid session name: at most 128 characters, without spaces or control characters",
        ),
        ({"node": "nowhere"}, "unknown node 'nowhere'"),
        ({"checks": ["nothing"]}, "unknown check 'nothing'"),
        ({"checks": [""]}, "a check of a session needs its id"),
        ({"checks": ["c"] * 2 + [str(n) for n in range(64)]}, "too many checks: 65 (max 64)"),
        ({"name": 7}, "Invalid JSON body"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_its_reason(
    http: httpx.Client, body: dict[str, Any], problem: str
) -> None:
    assert refused(http.post("/sessions", json=body)) == (400, problem)


@pytest.mark.parametrize("path", ["absent", UNKNOWN, "%00", "a%20b"])
def test_what_can_be_no_session_is_not_found(http: httpx.Client, path: str) -> None:
    assert http.get(f"/sessions/{path}").status_code == 404
    assert http.put(f"/sessions/{path}/renew").status_code == 404
    assert http.delete(f"/sessions/{path}").status_code == 404


def test_a_repeated_request_makes_one_session(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    first = http.post("/sessions", json={"name": "once"}, headers=headers).json()
    again = http.post("/sessions", json={"name": "once"}, headers=headers).json()
    assert again == first


def test_sessions_are_listed_page_by_page_and_by_node(http: httpx.Client, space: str) -> None:
    assert http.put(f"/nodes/{space}", json={"address": "10.0.0.1"}).status_code == 200
    made = sorted(create(http, node=space)["id"] for _ in range(3))
    first = http.get(f"/sessions/node/{space}", params={"limit": "2"})
    rest = first.headers["x-konsul-next-after"]
    second = http.get("/sessions", params={"node": space, "after": rest})
    assert [one["id"] for one in (*first.json(), *second.json())] == made
    assert "x-konsul-next-after" not in second.headers
    assert refused(http.get("/sessions?limit=0"))[0] == 400
    assert refused(http.get("/sessions?after=x"))[0] == 400
    assert http.delete(f"/nodes/{space}").status_code == 200
    assert http.get(f"/sessions/node/{space}").json() == []


def test_renewals_keep_it_and_silence_ends_it(http: httpx.Client) -> None:
    made = create(http, ttl="3s")
    index = http.get("/sessions").headers["x-konsul-index"]
    for _ in range(20):
        renewed = http.put(f"/sessions/{made['id']}/renew")
        assert renewed.json() == made
    assert http.get("/sessions").headers["x-konsul-index"] == index, "a renewal is not written"
    until(lambda: http.get(f"/sessions/{made['id']}").status_code == 404, "the session to end")


def test_a_session_outlives_a_restart_and_then_ends_all_the_same(tmp_path: Path) -> None:
    settings = SMALL | {"KONSUL_SESSION_TTL_MIN": "100ms"}
    with LiveServer(tmp_path / "data", settings) as own:
        with httpx.Client(base_url=own.base_url, timeout=30, trust_env=False) as http:
            kept, brief = create(http)["id"], create(http, ttl="1s")["id"]
            assert http.put(f"/kv/held?acquire={kept}").json()["acquired"]
        own.restart()
        with httpx.Client(base_url=own.base_url, timeout=30, trust_env=False) as http:
            assert http.get("/kv/held?metadata=true").json()["session"] == kept
            until(lambda: http.get(f"/sessions/{brief}").status_code == 404, "the brief session to end")
            assert http.get(f"/sessions/{kept}").status_code == 200


def test_a_session_holds_only_so_many_locks(http: httpx.Client, space: str) -> None:
    made = create(http)["id"]
    for number in range(3):
        assert http.put(f"/kv/{space}/{number}?acquire={made}").json()["acquired"]
    answer = http.put(f"/kv/{space}/3?acquire={made}")
    assert refused(answer) == (409, f"session '{made}' holds 3 locks already (KONSUL_SESSION_MAX_LOCKS)")
    assert http.put(f"/kv/{space}/0?acquire={made}").json()["acquired"], "what it holds it may ask for again"


def register_checked(http: httpx.Client, name: str) -> str:
    """A service with one passing check; the check's id."""
    check = f"{name}-alive"
    definition = {"id": check, "name": "alive", "ttl": "1h", "initial_status": "passing"}
    body = {"name": name, "address": "10.0.0.1", "port": 80, "ttl": "0", "checks": [definition]}
    answer = http.put("/register", json=body)
    assert answer.status_code == 200, answer.text
    return check


def test_a_failing_check_ends_the_session_and_frees_its_locks_in_one_entry(
    http: httpx.Client, space: str
) -> None:
    check = register_checked(http, space)
    bound = create(http, checks=[check], lock_delay="0s")["id"]
    for key in ("a", "b"):
        assert http.put(f"/kv/{space}/{key}?acquire={bound}").json()["acquired"]
    assert http.put(f"/health/check/{check}/fail").status_code == 200
    assert http.get(f"/sessions/{bound}").status_code == 404
    rows = http.get("/kv/", params={"prefix": space, "recurse": "true"}).json()
    assert all("session" not in row for row in rows)
    assert len({row["modify_index"] for row in rows}) == 1, "one entry frees all of them"
    critical = http.post("/sessions", json={"checks": [check]})
    assert refused(critical) == (400, f"check '{check}' is critical")


def test_a_session_goes_with_its_check(http: httpx.Client, space: str) -> None:
    check = register_checked(http, space)
    bound = create(http, checks=[check])["id"]
    assert http.delete(f"/deregister/{space}").status_code == 200
    assert http.get(f"/sessions/{bound}").status_code == 404


def test_their_number_is_bounded(tmp_path: Path) -> None:
    with (
        LiveServer(tmp_path / "data", SMALL | {"KONSUL_SESSION_MAX": "2"}) as own,
        httpx.Client(base_url=own.base_url, timeout=30, trust_env=False) as http,
    ):
        first = create(http)["id"]
        create(http)
        assert refused(http.post("/sessions")) == (409, "too many sessions: 2 (KONSUL_SESSION_MAX)")
        http.delete(f"/sessions/{first}")
        create(http)
