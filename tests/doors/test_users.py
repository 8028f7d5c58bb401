"""Users over HTTP: made, changed, disabled, deleted; whatever changes holds at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.doors.guarded import PASSWORD, Guarded, guarded

OTHER = "battery staple horse"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("users")) as found:
        # Everything below may lose users with the role admin but for this one.
        found.user("root", roles=("admin",)).close()
        yield found


def error_of(answer: httpx.Response) -> tuple[int, str]:
    assert set(answer.json()) == {"error"}, "the shape of every refusal below /auth"
    return answer.status_code, str(answer.json()["error"])


def test_a_user_is_made_listed_and_shown_without_its_hash(node: Guarded, space: str) -> None:
    body = {"user_id": space, "password": PASSWORD, "username": "Ann", "policies": ["b", "a", "a"]}
    made = node.admin.post("/auth/users", json=body)
    assert made.status_code == 201
    user: dict[str, Any] = made.json()["user"]
    moments = {user.pop("created_at"), user.pop("updated_at")}
    assert len(moments) == 1
    assert user == {
        "user_id": space,
        "username": "Ann",
        "roles": ["user"],
        "policies": ["a", "b"],
        "enabled": True,
        "has_password": True,
    }
    shown = node.admin.get(f"/auth/users/{space}")
    assert shown.json()["username"] == "Ann"
    listed = node.admin.get("/auth/users").json()
    assert listed["count"] == len(listed["users"])
    assert "argon2" not in made.text + shown.text + node.admin.get("/auth/users").text
    assert made.headers["cache-control"] == "no-store"
    assert error_of(node.admin.post("/auth/users", json=body)) == (409, "user already exists")


def test_a_list_comes_in_pages(node: Guarded, space: str) -> None:
    for number in range(3):
        made = node.admin.post("/auth/users", json={"user_id": f"{space}-{number}"})
        assert made.json()["user"]["has_password"] is False
    every = [one["user_id"] for one in node.admin.get("/auth/users").json()["users"]]
    found: list[str] = []
    after: str | None = None
    while True:
        params = {"limit": "2"} | ({} if after is None else {"after": after})
        page = node.admin.get("/auth/users", params=params).json()
        found += [one["user_id"] for one in page["users"]]
        after = page.get("after")
        if after is None:
            break
    assert found == every
    for limit in ("0", "1001", "x"):
        assert node.admin.get("/auth/users", params={"limit": limit}).status_code == 400


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user_id": ""}, "user_id is required"),
        ({"user_id": "a/b"}, "user_id: expected"),
        ({"user_id": "-a"}, "user_id: expected"),
        ({"password": "short"}, "password: expected at least 8 characters"),
        ({"password": "x" * 1_025}, "password: expected at most 1024 bytes"),
        ({"roles": ["root"]}, "roles: 'root' is none: expected user or admin"),
        ({"policies": ["../x"]}, "policies: '../x' names no policy"),
        ({"policies": [f"p{n}" for n in range(65)]}, "policies: expected at most 64"),
        ({"username": "x" * 257}, "username: expected at most 256"),
        ({"roles": "admin"}, "invalid request body"),
        ({"password": 7}, "invalid request body"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    node: Guarded, space: str, changes: dict[str, Any], words: str
) -> None:
    status, text = error_of(node.admin.post("/auth/users", json={"user_id": space} | changes))
    assert (status, text[: len(words)]) == (400, words)
    assert node.admin.get(f"/auth/users/{space}").status_code == 404


def test_roles_and_policies_hold_for_tokens_that_are_out(node: Guarded, space: str) -> None:
    node.policy(space, kv=[{"path": "app/**", "capabilities": ["write"]}])
    with node.user(space) as ann:
        assert ann.put("/kv/app/a", json={"value": "1"}).status_code == 403
        changed = node.admin.put(f"/auth/users/{space}", json={"policies": [space]})
        assert changed.json()["user"]["policies"] == [space]
        assert ann.put("/kv/app/a", json={"value": "1"}).status_code == 200
        node.admin.put(f"/auth/users/{space}", json={"roles": ["admin"]}).raise_for_status()
        assert ann.get("/auth/users").status_code == 200
        node.admin.put(f"/auth/users/{space}", json={"roles": ["user"], "policies": []}).raise_for_status()
        assert ann.get("/auth/users").status_code == 403
        assert ann.put("/kv/app/a", json={"value": "1"}).status_code == 403


def test_a_disabled_user_is_out_and_can_come_back(node: Guarded, space: str) -> None:
    with node.user(space) as ann:
        assert ann.get("/auth/verify").status_code == 200
        disabled = node.admin.post(f"/auth/users/{space}/disable")
        assert disabled.json() == {"message": "user disabled", "user_id": space}
        assert ann.get("/auth/verify").status_code == 401
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            node.login(space)
        assert node.admin.post(f"/auth/users/{space}/enable").status_code == 200
        assert ann.get("/auth/verify").status_code == 401, "the login is over for good"
        assert node.login(space)["token"]


def test_a_deleted_user_is_gone_with_its_logins(node: Guarded, space: str) -> None:
    with node.user(space) as ann:
        deleted = node.admin.delete(f"/auth/users/{space}")
        assert deleted.json() == {"message": "user deleted", "user_id": space}
        assert ann.get("/auth/verify").status_code == 401
        node.user(space).close()
        assert ann.get("/auth/verify").status_code == 401, "another user of that name is another user"
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/disable"), ("POST", "/enable")):
        answer = node.admin.request(method, f"/auth/users/{space}-none{path}")
        assert error_of(answer) == (404, "user not found")


def test_the_own_password_is_changed_with_the_old_one(node: Guarded, space: str) -> None:
    with node.user(space) as ann:
        path = f"/auth/users/{space}/passwd"
        wrong = ann.post(path, json={"password": OTHER, "old_password": "not it"})
        assert (wrong.status_code, wrong.json()["message"]) == (403, "the old password is wrong")
        weak = ann.post(path, json={"password": "weak", "old_password": PASSWORD})
        assert error_of(weak)[0] == 400
        assert node.login(space)["token"], "nothing has changed so far"
        changed = ann.post(path, json={"password": OTHER, "old_password": PASSWORD})
        assert changed.json() == {"message": "password changed: log in again", "user_id": space}
        assert ann.get("/auth/verify").status_code == 401, "every login is over"
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        node.login(space)
    assert node.login(space, OTHER)["token"]


def test_the_password_of_others_is_for_administrators(node: Guarded, space: str) -> None:
    with node.user(space) as ann, node.user(f"{space}-2") as ben:
        taken = ann.post(f"/auth/users/{space}-2/passwd", json={"password": OTHER, "old_password": PASSWORD})
        assert taken.status_code == 403
        assert ben.get("/auth/verify").status_code == 200
        node.admin.post(f"/auth/users/{space}-2/passwd", json={"password": OTHER}).raise_for_status()
        assert ben.get("/auth/verify").status_code == 401
    assert node.login(f"{space}-2", OTHER)["token"]
    assert error_of(node.admin.post(f"/auth/users/{space}/passwd", json={})) == (400, "password is required")


def test_the_last_administrator_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    with guarded(tmp_path_factory.mktemp("last")) as node:
        node.user("root", roles=("admin",)).close()
        node.user("other", roles=("admin",)).close()
        assert node.admin.post("/auth/users/other/disable").status_code == 200
        for method, path, body in (
            ("DELETE", "", None),
            ("POST", "/disable", None),
            ("PUT", "", {"roles": ["user"]}),
            ("PUT", "", {"enabled": False}),
        ):
            answer = node.admin.request(method, f"/auth/users/root{path}", json=body)
            assert error_of(answer)[0] == 409
            assert "last enabled user with the role admin" in answer.json()["error"]
        assert node.admin.put("/auth/users/root", json={"username": "R"}).status_code == 200
        node.admin.post("/auth/users/other/enable").raise_for_status()
        assert node.admin.delete("/auth/users/root").status_code == 200


def test_an_old_password_is_not_to_be_guessed(tmp_path_factory: pytest.TempPathFactory) -> None:
    with guarded(tmp_path_factory.mktemp("guess")) as node, node.user("ann") as ann:
        tried = [
            ann.post("/auth/users/ann/passwd", json={"password": OTHER, "old_password": f"guess {number}"})
            for number in range(6)
        ]
        assert [one.status_code for one in tried] == [403] * 5 + [429]
        assert int(tried[-1].headers["retry-after"]) >= 1
        right = ann.post("/auth/users/ann/passwd", json={"password": OTHER, "old_password": PASSWORD})
        assert right.status_code == 429, "who guesses is not told when it is right"


def test_with_auth_off_there_are_no_such_routes(http: httpx.Client) -> None:
    for path in ("/auth/users", "/auth/users/a", "/auth/apikeys", "/acl/policies", "/acl/explain"):
        answer = http.get(path)
        assert (answer.status_code, answer.text) == (404, f"Cannot GET {path}")
