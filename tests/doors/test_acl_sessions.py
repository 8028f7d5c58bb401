"""Whose sessions may be seen, made and ended, and what acquiring a lock takes."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.doors.guarded import Guarded, guarded

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("sessions")) as found:
        found.admin.put("/nodes/n1", json={"address": "10.0.0.1"}).raise_for_status()
        found.policy(
            "web",
            session=[
                {"name": "web-*", "capabilities": ["read", "write"]},
                {"name": "web-secret", "capabilities": ["deny"]},
                {"name": "n1", "capabilities": ["list", "write"]},
            ],
            kv=[{"path": "web/**", "capabilities": ["read", "write"]}],
        )
        found.policy("keys", kv=[{"path": "web/**", "capabilities": ["write"]}])
        yield found


@pytest.fixture(scope="module")
def web(node: Guarded) -> Iterator[httpx.Client]:
    with node.user("web", "web") as client:
        yield client


@pytest.fixture(scope="module")
def keys(node: Guarded) -> Iterator[httpx.Client]:
    with node.user("keys", "keys") as client:
        yield client


def made(client: httpx.Client, **body: str) -> str:
    session: str = client.post("/sessions", json=body).raise_for_status().json()["id"]
    return session


def test_a_session_is_named_by_its_name_or_else_its_node(node: Guarded, web: httpx.Client) -> None:
    own = made(web, name="web-1")
    assert web.get(f"/sessions/{own}").status_code == 200
    assert web.put(f"/sessions/{own}/renew").status_code == 200
    assert web.delete(f"/sessions/{own}").status_code == 200
    of_node = made(web, node="n1")
    assert web.get(f"/sessions/{of_node}").status_code == 403, "listing is not reading"
    for body in ({"name": "db-1"}, {"name": "web-secret"}, {}, {"name": "db", "node": "n1"}):
        assert web.post("/sessions", json=body).status_code == 403, body
    other = made(node.admin, name="db-1")
    for answer in (
        web.get(f"/sessions/{other}"),
        web.put(f"/sessions/{other}/renew"),
        web.delete(f"/sessions/{other}"),
        web.get(f"/sessions/{UNKNOWN}"),
    ):
        assert answer.status_code == 403
    assert node.admin.get(f"/sessions/{UNKNOWN}").status_code == 404


def test_a_list_shows_what_may_be_seen(node: Guarded, web: httpx.Client, keys: httpx.Client) -> None:
    shown = {made(web, name="web-2"), made(node.admin, node="n1")}
    hidden = {made(node.admin, name="web-secret"), made(node.admin, name="db-2"), made(node.admin)}
    seen = {one["id"] for one in web.get("/sessions").json()}
    assert shown <= seen
    assert not hidden & seen
    assert shown | hidden <= {one["id"] for one in node.admin.get("/sessions").json()}
    page = web.get("/sessions?limit=1")
    assert page.json()[0]["id"] == page.headers["x-konsul-next-after"], "no hidden session's id is told"
    assert keys.get("/sessions").status_code == 403


def test_a_lock_takes_the_right_to_write_the_key(
    node: Guarded, web: httpx.Client, keys: httpx.Client
) -> None:
    own = made(web, name="web-3")
    assert web.put(f"/kv/db/lock?acquire={own}").status_code == 403
    assert web.put(f"/kv/web/lock?acquire={own}").json()["acquired"]
    assert keys.put(f"/kv/web/lock?release={own}").json()["released"], "a session's id is no credential"
    assert keys.post("/transaction", json={"operations": [lock_of("db/lock", own)]}).status_code == 403
    assert keys.post("/transaction", json={"operations": [lock_of("web/lock", own)]}).status_code == 200
    check = {"type": "check-session", "key": "web/lock", "session": own}
    assert keys.post("/transaction", json={"operations": [check]}).status_code == 403, "asking is reading"
    assert web.post("/transaction", json={"operations": [check]}).status_code == 200
    with httpx.Client(base_url=node.server.base_url, trust_env=False) as nobody:
        for path in (f"/sessions/{own}", f"/sessions/{UNKNOWN}", "/sessions"):
            assert nobody.get(path).status_code == 401


def lock_of(key: str, session: str) -> dict[str, str]:
    return {"type": "lock", "key": key, "session": session}
