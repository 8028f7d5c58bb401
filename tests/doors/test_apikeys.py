"""API keys over HTTP: shown once, scoped by policies, useless from the moment they should be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.doors.guarded import Guarded, guarded
from tests.waiting import until


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("keys")) as found:
        found.policy("app", kv=[{"path": "app/**", "capabilities": ["read", "write"]}])
        yield found


def made(node: Guarded, **body: Any) -> tuple[str, dict[str, Any]]:
    """A new key and what is told of it."""
    answer = node.admin.post("/auth/apikeys", json={"name": "ci", **body})
    assert answer.status_code == 201, answer.text
    found = answer.json()
    return found["key"], found["api_key"]


def with_key(node: Guarded, key: str, path: str = "/kv/app/a") -> httpx.Response:
    with node.client(None) as client:
        return client.get(path, headers={"x-api-key": key})


def test_a_key_is_shown_once_and_kept_as_its_digest(node: Guarded) -> None:
    key, told = made(node, permissions=["app"], metadata={"a": "b"}, expires_in=3_600)
    assert re.fullmatch(r"konsul_[0-9a-f]{64}", key)
    assert (told["name"], told["permissions"], told["metadata"], told["enabled"]) == (
        "ci",
        ["app"],
        {"a": "b"},
        True,
    )
    assert told["expires_at"] > told["created_at"]
    assert "last_used_at" not in told
    one, every = node.admin.get(f"/auth/apikeys/{told['id']}"), node.admin.get("/auth/apikeys")
    assert one.json() == told
    assert told in every.json()["keys"]
    for answer in (one, every):
        assert "key_hash" not in answer.text
        assert key not in answer.text
    node.server.stop()
    stored = b"".join(path.read_bytes() for path in node.server.data_dir.rglob("*") if path.is_file())
    node.server.start()
    assert key.encode() not in stored
    assert with_key(node, key).status_code == 404, "it lives on in the tables, and may read"


def test_a_key_may_do_what_its_policies_say(node: Guarded) -> None:
    key, _ = made(node, permissions=["app"])
    node.admin.put("/kv/app/a", json={"value": "1"}).raise_for_status()
    assert with_key(node, key).status_code == 200
    assert with_key(node, key, "/kv/web").status_code == 403
    assert with_key(node, key, "/auth/apikeys").status_code == 403
    with node.client(key) as bearer:
        assert bearer.get("/kv/app/a").status_code == 200
    master, _ = made(node, permissions=["*"])
    assert with_key(node, master, "/auth/apikeys").status_code == 200


def test_a_key_without_policies_may_do_nothing(node: Guarded) -> None:
    key, told = made(node)
    assert (told["permissions"], told["metadata"]) == (None, None)
    assert with_key(node, key).json()["message"] == "no policies attached to token"


def test_a_change_holds_at_once(node: Guarded) -> None:
    node.admin.put("/kv/app/a", json={"value": "1"}).raise_for_status()
    key, told = made(node, permissions=["app"], metadata={"a": "b"})
    path = f"/auth/apikeys/{told['id']}"

    def change(**body: Any) -> None:
        answer = node.admin.put(path, json=body)
        assert (answer.status_code, answer.json()) == (200, {"message": "API key updated successfully"})

    change(name="", permissions=[])
    assert with_key(node, key).status_code == 403
    change(permissions=["app"], name="new")
    assert with_key(node, key).status_code == 200
    revoked = node.admin.post(f"{path}/revoke")
    assert revoked.json() == {"message": "API key revoked successfully"}
    assert (with_key(node, key).status_code, with_key(node, key).json()["error"]) == (401, "API key disabled")
    change(enabled=True)
    assert with_key(node, key).status_code == 200
    node.admin.post(f"{path}/revoke").raise_for_status()
    assert node.admin.post(f"{path}/enable").json() == {"message": "API key enabled successfully"}
    assert with_key(node, key).status_code == 200
    shown = node.admin.get(path).json()
    assert (shown["name"], shown["metadata"]) == ("new", {"a": "b"})
    assert node.admin.delete(path).json() == {"message": "API key deleted successfully"}
    assert with_key(node, key).status_code == 401


def test_the_last_use_is_noted(node: Guarded) -> None:
    key, told = made(node, permissions=["app"])
    with_key(node, key)
    path = f"/auth/apikeys/{told['id']}"
    until(lambda: "last_used_at" in node.admin.get(path).json(), "the use to be noted", 90)


def test_an_expired_key_is_said_to_be_so(node: Guarded) -> None:
    key, told = made(node, permissions=["app"], expires_in=1)
    until(lambda: with_key(node, key).status_code == 401, "the key to expire")
    assert with_key(node, key).json()["error"] == "API key expired"
    assert node.admin.get(f"/auth/apikeys/{told['id']}").status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "name is required"),
        ({"name": ""}, "name is required"),
        ({"name": "a", "expires_in": -5}, "expires_in is -5: expected 1 to 3153600000 seconds"),
        ({"name": "a", "expires_in": 0}, "expires_in is 0"),
        ({"name": "a", "expires_in": 10**15}, "expires_in is 1000000000000000"),
        ({"name": "a", "expires_in": 1.5}, "invalid request body"),
        ({"name": "a", "expires_in": True}, "invalid request body"),
        ({"name": "a", "permissions": ["a b"]}, "permissions: 'a b' names no policy"),
        ({"name": "a", "permissions": "read"}, "invalid request body"),
        ({"name": "a\u0007"}, "name: expected at most 256 printable characters"),
        ({"name": "a", "metadata": {"k": "v" * 513}}, "metadata: expected names of"),
        ({"name": "a", "metadata": {"k": 1}}, "invalid request body"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(node: Guarded, body: dict[str, Any], words: str) -> None:
    before = node.admin.get("/auth/apikeys").json()["count"]
    answer = node.admin.post("/auth/apikeys", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(words)
    assert node.admin.get("/auth/apikeys").json()["count"] == before


def test_a_request_that_comes_again_makes_no_second_key(node: Guarded) -> None:
    headers = {"idempotency-key": "k-1"}
    first = node.admin.post("/auth/apikeys", json={"name": "once"}, headers=headers)
    assert first.status_code == 201
    count = node.admin.get("/auth/apikeys").json()["count"]
    again = node.admin.post("/auth/apikeys", json={"name": "once"}, headers=headers)
    assert (again.status_code, "not shown again" in again.json()["error"]) == (409, True)
    assert node.admin.get("/auth/apikeys").json()["count"] == count


def test_there_is_no_key_of_that_id(node: Guarded) -> None:
    for key_id in ("no-such", "x" * 200):
        for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/revoke")):
            body: dict[str, Any] | None = {} if method == "PUT" else None
            answer = node.admin.request(method, f"/auth/apikeys/{key_id}{path}", json=body)
            assert (answer.status_code, answer.json()) == (404, {"error": "API key not found"})


def test_the_last_way_to_administer_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    with guarded(tmp_path_factory.mktemp("last")) as node:
        first = node.admin.get("/auth/apikeys").json()["keys"][0]["id"]
        path = f"/auth/apikeys/{first}"
        for answer in (
            node.admin.delete(path),
            node.admin.post(f"{path}/revoke"),
            node.admin.put(path, json={"permissions": ["app"]}),
            node.admin.put(path, json={"enabled": False}),
        ):
            assert answer.status_code == 409
            assert "last way to administer" in answer.json()["error"]
        node.user("root", roles=("admin",)).close()
        assert node.admin.delete(path).status_code == 200
