"""Policies over HTTP: how they are kept, what they decide, and how fast a change holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.doors.guarded import Guarded, guarded
from tests.doors.metrics_page import sample
from tests.waiting import until

DEV: dict[str, Any] = {
    "name": "dev",
    "description": "text",
    "kv": [
        {"path": "app/**", "capabilities": ["read", "list", "write"]},
        {"path": "app/secret/**", "capabilities": ["deny"]},
    ],
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("acl")) as found:
        yield found


def refused(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 403, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_policy_is_created_read_replaced_and_deleted(node: Guarded, space: str) -> None:
    document = DEV | {"name": space}
    created = node.admin.post("/acl/policies", json=document)
    assert (created.status_code, created.json()) == (201, {"message": "policy created", "policy": document})
    again = node.admin.post("/acl/policies", json=document)
    assert (again.status_code, again.json()["error"], again.json()["message"]) == (
        409,
        "Conflict",
        "Policy already exists",
    )
    assert node.admin.get(f"/acl/policies/{space}").json() == document | {"source": "api"}
    listed = node.admin.get("/acl/policies").json()
    assert listed["count"] == len(listed["policies"])
    assert space in listed["policies"]
    assert listed["policies"] == sorted(listed["policies"])

    smaller = {"name": space, "description": ""}
    replaced = node.admin.put(f"/acl/policies/{space}", json=smaller)
    assert (replaced.status_code, replaced.json()) == (200, {"message": "policy updated", "policy": smaller})
    deleted = node.admin.delete(f"/acl/policies/{space}")
    assert (deleted.status_code, deleted.json()) == (200, {"message": "policy deleted", "policy": space})
    for answer in (
        node.admin.get(f"/acl/policies/{space}"),
        node.admin.delete(f"/acl/policies/{space}"),
        node.admin.put(f"/acl/policies/{space}", json=smaller),
    ):
        assert (answer.status_code, answer.json()["message"]) == (404, "Policy not found")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Invalid JSON body"),
        (b"[]", "Invalid JSON body"),
        (b"{}", "Invalid policy: invalid policy"),
        (b'{"name":""}', "Invalid policy: invalid policy"),
        (b'{"name":"../../x"}', 'Invalid policy: name is "../../x": expected 1 to 64 of A-Z a-z 0-9 _ -'),
        (
            b'{"name":"p","kv":[{"path":"a","capabilities":["reed"]}]}',
            'Invalid policy: kv[0].capabilities[0] is "reed": expected read, write, list, delete or deny',
        ),
        (b'{"name":"p","extra":1}', "Invalid policy: extra: no such member: expected name, description, kv"),
        (b" " * 300_000, "Invalid policy: the document is over 262144 bytes"),
    ],
)
def test_what_is_no_policy_is_refused_and_not_stored(node: Guarded, body: bytes, message: str) -> None:
    before = node.admin.get("/acl/policies").json()
    answer = node.admin.post("/acl/policies", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert answer.json()["message"].startswith(message)
    assert node.admin.get("/acl/policies").json() == before


def test_a_policy_is_replaced_under_its_own_name_only(node: Guarded, space: str) -> None:
    for body in ({"name": "other"}, {}):
        answer = node.admin.put(f"/acl/policies/{space}", json=body)
        assert answer.status_code == 400
        assert answer.json()["message"] == "Policy name in body must match URL parameter"


def test_policies_decide_and_a_denial_wins(node: Guarded, space: str) -> None:
    node.policy(space, kv=DEV["kv"])
    with node.user(space, space) as ann:
        assert ann.put("/kv/app/a", json={"value": "1"}).status_code == 200
        assert ann.get("/kv/app/a").json()["value"] == "1"
        denied = refused(ann.get("/kv/app/secret/a"))
        assert denied == {
            "error": "forbidden",
            "message": "insufficient permissions",
            "resource": "kv",
            "capability": "read",
            "path": "app/secret/a",
        }
        assert refused(ann.get("/kv/web"))["path"] == "web"
        assert refused(ann.delete("/kv/app/a"))["capability"] == "delete"
        # Fixed resources are refused before anything is read, and have no path.
        assert refused(ann.get("/acl/policies")) == {
            "error": "forbidden",
            "message": "insufficient permissions",
            "resource": "admin",
            "capability": "read",
        }


def test_who_has_no_policy_is_told_so(node: Guarded, space: str) -> None:
    with node.user(space) as nobody, node.user(f"{space}-2", "no-such-policy") as lost:
        for client in (nobody, lost):
            told = refused(client.get("/kv/app/a"))
            assert told == {"error": "forbidden", "message": "no policies attached to token"}


def test_without_credentials_there_is_nothing(node: Guarded) -> None:
    with node.client(None) as stranger:
        for path in ("/kv/app/a", "/kv/", "/acl/policies", "/acl/explain", "/auth/users"):
            assert stranger.get(path).status_code == 401, path


def test_a_change_holds_with_the_answer_that_tells_it(node: Guarded, space: str) -> None:
    node.policy(space, kv=[{"path": "app/**", "capabilities": ["read"]}])
    with node.user(space, space) as ann:
        node.admin.put("/kv/app/b", json={"value": "1"}).raise_for_status()
        assert ann.get("/kv/app/b").status_code == 200
        node.policy(space, kv=[{"path": "app/b", "capabilities": ["deny"]}])
        assert ann.get("/kv/app/b").status_code == 403
        node.policy(space, kv=[{"path": "app/**", "capabilities": ["read"]}])
        assert ann.get("/kv/app/b").status_code == 200
        node.admin.delete(f"/acl/policies/{space}").raise_for_status()
        assert ann.get("/kv/app/b").status_code == 403


def test_policies_are_tried(node: Guarded, space: str) -> None:
    node.policy(space, kv=DEV["kv"], health=[{"capabilities": ["read"]}])

    def tried(**changes: Any) -> httpx.Response:
        question = {"policies": [space], "resource": "kv", "path": "app/a", "capability": "read"}
        return node.admin.post("/acl/test", json=question | changes)

    assert tried().json() == {
        "allowed": True,
        "policies": [space],
        "resource": "kv",
        "path": "app/a",
        "capability": "read",
    }
    assert tried(resource="health", path="").json()["allowed"]
    changes: dict[str, Any]
    for changes in (
        {"path": "app/secret/a"},
        {"capability": "delete"},
        {"capability": "no-such"},
        {"capability": "deny"},
        {"policies": ["no-such"]},
        {"policies": []},
        {"resource": "admin"},
    ):
        assert not tried(**changes).json()["allowed"], changes
    wrong = tried(resource="planet")
    assert (wrong.status_code, wrong.json()["message"]) == (400, "Invalid resource type")
    assert tried(policies=[f"p{n}" for n in range(65)]).status_code == 400


def test_a_document_is_validated_and_stored_nowhere(node: Guarded) -> None:
    before = node.admin.get("/acl/policies").json()
    sound = node.admin.post("/acl/validate", json=DEV)
    assert sound.json() == {"valid": True, "problems": []}
    wrong = node.admin.post("/acl/validate", json={"name": "!", "kv": [{"path": "a", "capabilities": ["x"]}]})
    assert wrong.status_code == 200
    assert [one["at"] for one in wrong.json()["problems"]] == ["name", "kv[0].capabilities[0]"]
    assert wrong.json()["problems"][0]["value"] == '"!"'
    assert node.admin.get("/acl/policies").json() == before


def test_the_files_of_the_directory_are_policies_of_their_own(node: Guarded, space: str) -> None:
    file = node.policies / f"{space}.json"
    name = f"file-{space}"

    def write(path: str) -> None:
        rules = [{"path": path, "capabilities": ["read"]}]
        beside = file.with_suffix(".new")
        beside.write_text(json.dumps({"name": name, "kv": rules}))
        beside.replace(file)

    def source() -> str | None:
        found: str | None = node.admin.get("/acl/policies").json()["sources"].get(name)
        return found

    write("app/**")
    until(lambda: source() == "directory", "the file to be taken over")
    assert node.admin.get(f"/acl/policies/{name}").json()["source"] == "directory"
    for answer in (
        node.admin.delete(f"/acl/policies/{name}"),
        node.admin.put(f"/acl/policies/{name}", json={"name": name}),
    ):
        assert answer.status_code == 409
        assert "policy directory" in answer.json()["message"]
    assert node.admin.post("/acl/policies", json={"name": name}).status_code == 409

    node.admin.put("/kv/app/c", json={"value": "1"}).raise_for_status()
    with node.user(space, name) as ann:
        assert ann.get("/kv/app/c").status_code == 200
        write("web/**")
        until(lambda: ann.get("/kv/app/c").status_code == 403, "the changed file to hold")
        file.unlink()
        until(lambda: source() is None, "the file to be gone")


def test_a_file_that_is_no_policy_changes_nothing_and_is_counted(node: Guarded, space: str) -> None:
    def errors() -> float:
        return sample(node.server.port, "konsul_acl_policy_load_errors_total")

    before, listed = errors(), node.admin.get("/acl/policies").json()
    file = node.policies / f"{space}.json"
    file.write_text('{"name":"bad","kv":7}')
    until(lambda: errors() > before, "the error to be counted")
    assert node.admin.get("/acl/policies").json() == listed
    file.unlink()


def test_what_is_decided_is_counted(node: Guarded, space: str) -> None:
    node.policy(space, kv=DEV["kv"])
    with node.user(space, space) as ann:
        ann.get("/kv/app/a")
        ann.get("/kv/app/secret/a")
    for result in ("allow", "deny"):
        labels = {"resource_type": "kv", "capability": "read", "result": result}
        assert sample(node.server.port, "konsul_acl_evaluations_total", **labels) >= 1
    assert sample(node.server.port, "konsul_acl_policies_loaded") >= 1
