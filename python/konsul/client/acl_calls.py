"""The calls of policies. Documents come as the server words them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from konsul.client.model import Document
from konsul.client.request import JSON, Answer, Call, Request, option, segment
from konsul.errors import Invalid

SUBJECTS = ("token", "api_key", "user", "policies", "document")


def policies() -> Call[dict[str, str]]:
    """Every policy's name, sorted, with where it comes from: api or directory."""
    return Call(_get("/acl/policies"), _sources)


def policy(name: str) -> Call[Document]:
    """A policy's document, with its `source`. The result raises NotFound."""
    return Call(_get(_path(name), "/acl/policies/{name}"), Answer.json)


def create_policy(document: Mapping[str, Any]) -> Call[Document]:
    """Store a new policy; answers it as stored. Conflict if there is one of this name."""
    return Call(_body("POST", "/acl/policies", document), _policy)


def update_policy(document: Mapping[str, Any]) -> Call[Document]:
    """Replace the policy that the document names. The result raises NotFound."""
    name = str(document.get("name") or "")
    request = _body("PUT", _path(name), document, "/acl/policies/{name}", repeatable=True)
    return Call(request, _policy)


def delete_policy(name: str) -> Call[Document]:
    """Remove a policy. The result raises NotFound, and Conflict for one of the directory."""
    return Call(Request("DELETE", _path(name), "DELETE /acl/policies/{name}"), Answer.json)


def validate(document: Any) -> Call[tuple[Document, ...]]:
    """All that is wrong with a policy document, each with its place; nothing is stored."""
    request = _body("POST", "/acl/validate", document, repeatable=True)
    return Call(request, lambda answer: tuple(answer.json()["problems"]))


def test(policies: Sequence[str], resource: str, path: str, capability: str) -> Call[bool]:
    """What these policies would decide together."""
    question = {"policies": list(policies), "resource": resource, "path": path, "capability": capability}
    request = _body("POST", "/acl/test", question, repeatable=True)
    return Call(request, lambda answer: bool(answer.json()["allowed"]))


def explain(resource: str, path: str, capability: str, **subject: Any) -> Call[Document]:
    """Which rule decides, and for what reason: for the caller, or one of `SUBJECTS`."""
    given = {name: value for name, value in subject.items() if value is not None}
    question = {"resource": resource, "path": path, "capability": capability}
    if not given:
        params = tuple(pair for name, value in question.items() for pair in option(name, value))
        request = Request("GET", "/acl/explain", "GET /acl/explain", params, repeatable=True)
    else:
        request = _body("POST", "/acl/explain", question | given, repeatable=True)
    return Call(request, Answer.json)


def _get(path: str, template: str | None = None) -> Request:
    return Request("GET", path, f"GET {template or path}", repeatable=True, kind="read")


def _body(
    method: str, path: str, body: Any, template: str | None = None, *, repeatable: bool = False
) -> Request:
    packed = json.dumps(body).encode()
    headers = {"Content-Type": JSON}
    return Request(method, path, f"{method} {template or path}", (), headers, packed, repeatable)


def _path(name: str) -> str:
    if not name:
        raise Invalid("a policy has a name")
    return f"/acl/policies/{segment(name)}"


def _policy(answer: Answer) -> Document:
    return dict(answer.json()["policy"])


def _sources(answer: Answer) -> dict[str, str]:
    members = answer.json()
    known = members.get("sources") or {}
    return {str(name): str(known.get(name, "")) for name in members["policies"]}
