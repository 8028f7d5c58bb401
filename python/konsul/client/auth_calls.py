"""The calls of identities: logging in, users, API keys. Documents come as the server words them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from konsul.client.model import Document
from konsul.client.request import JSON, Answer, Call, Flow, Request, option, segment
from konsul.errors import Invalid

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login or a refresh gives. The refresh token is good once. Lifetimes in seconds."""

    token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_s: int
    refresh_expires_in_s: int | None = None


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made: `key`, the secret, is shown this once."""

    key: str = field(repr=False)
    document: Document


def login(user_id: str, password: str) -> Call[Tokens]:
    """Log in. The result raises Unauthenticated for a wrong name or password."""
    body = {"user_id": _id(user_id), "username": user_id, "password": password}
    return Call(_body("POST", "/auth/login", body), _tokens)


def refresh(refresh_token: str) -> Call[Tokens]:
    """Exchange a refresh token. The result raises Unauthenticated for one that was used before."""
    return Call(_body("POST", "/auth/refresh", {"refresh_token": refresh_token}), _tokens)


def logout() -> Call[Document]:
    """End the login of the token in use."""
    return _post("/auth/logout")


def verify() -> Call[Document]:
    """Whose the credentials in use are, and until when they hold."""
    return _get("/auth/verify")


def bootstrap() -> Call[Document]:
    """Make the first API key, which may do everything; once per cluster. Conflict if it was made before."""
    return _post("/auth/bootstrap")


def jwks() -> Call[Document]:
    """The public keys that tokens are signed with."""
    return _get("/auth/jwks")


def create_user(
    user_id: str,
    password: str | None = None,
    username: str | None = None,
    roles: Sequence[str] | None = None,
    policies: Sequence[str] | None = None,
) -> Call[Document]:
    """Make a user; without a password nobody can log in as it. Conflict if there is one."""
    body = {"user_id": _id(user_id), "password": password, "username": username}
    request = _body("POST", "/auth/users", body | _lists(roles=roles, policies=policies))
    return Call(request, lambda answer: _document(answer.json()["user"]))


def users() -> Flow[tuple[Document, ...]]:
    """Every user, by id."""
    return (yield from _all("/auth/users", "users"))


def user(user_id: str) -> Call[Document]:
    """One user. The result raises NotFound."""
    return _get(_path("users", user_id), "/auth/users/{id}")


def update_user(
    user_id: str,
    username: str | None = None,
    roles: Sequence[str] | None = None,
    policies: Sequence[str] | None = None,
) -> Call[Document]:
    """Change what is given; holds at once, also for tokens that are out."""
    body = {"username": username} | _lists(roles=roles, policies=policies)
    request = _body("PUT", _path("users", user_id), body, "/auth/users/{id}", repeatable=True)
    return Call(request, lambda answer: _document(answer.json()["user"]))


def set_password(user_id: str, password: str, old_password: str | None = None) -> Call[Document]:
    """Change a password, one's own with the old one; ends every login of the user."""
    body = {"password": password, "old_password": old_password}
    path = _path("users", user_id)
    return Call(_body("POST", f"{path}/passwd", body, "/auth/users/{id}/passwd"), Answer.json)


def disable_user(user_id: str) -> Call[Document]:
    """End a user's logins and let none in. Conflict for the last administrator."""
    return _post(f"{_path('users', user_id)}/disable", "/auth/users/{id}/disable", repeatable=True)


def enable_user(user_id: str) -> Call[Document]:
    """Let a disabled user log in again."""
    return _post(f"{_path('users', user_id)}/enable", "/auth/users/{id}/enable", repeatable=True)


def delete_user(user_id: str) -> Call[Document]:
    """Remove a user with all logins. Conflict for the last administrator."""
    return _delete(_path("users", user_id), "/auth/users/{id}")


def create_api_key(
    name: str,
    permissions: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
    expires_in_s: int | None = None,
) -> Call[NewApiKey]:
    """Make a key; the server shows it this once. `permissions` name policies, `*` is everything."""
    body = {"name": name, "metadata": metadata, "expires_in": expires_in_s}
    request = _body("POST", "/auth/apikeys", body | _lists(permissions=permissions))
    return Call(request, _new_key)


def api_keys() -> Flow[tuple[Document, ...]]:
    """Every key, without its secret."""
    return (yield from _all("/auth/apikeys", "keys"))


def api_key(key_id: str) -> Call[Document]:
    """One key, without its secret. The result raises NotFound."""
    return _get(_path("apikeys", key_id), "/auth/apikeys/{id}")


def update_api_key(
    key_id: str,
    name: str | None = None,
    permissions: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Call[Document]:
    """Change what is given; holds at once, on every node."""
    body = {"name": name, "metadata": metadata} | _lists(permissions=permissions)
    request = _body("PUT", _path("apikeys", key_id), body, "/auth/apikeys/{id}", repeatable=True)
    return Call(request, Answer.json)


def revoke_api_key(key_id: str) -> Call[Document]:
    """Make a key useless until it is enabled again."""
    return _post(f"{_path('apikeys', key_id)}/revoke", "/auth/apikeys/{id}/revoke", repeatable=True)


def enable_api_key(key_id: str) -> Call[Document]:
    """Undo a revocation."""
    return _post(f"{_path('apikeys', key_id)}/enable", "/auth/apikeys/{id}/enable", repeatable=True)


def delete_api_key(key_id: str) -> Call[Document]:
    """Remove a key."""
    return _delete(_path("apikeys", key_id), "/auth/apikeys/{id}")


def _all(path: str, member: str) -> Flow[tuple[Document, ...]]:
    """Page after page."""
    found: list[Document] = []
    after: str | None = None
    while True:
        params = (*option("limit", PAGE), *option("after", after))
        page: Document = yield Call(
            Request("GET", path, f"GET {path}", params, repeatable=True, kind="read"), Answer.json
        )
        found += page[member]
        after = page.get("after")
        if after is None:
            return tuple(found)


def _get(path: str, template: str | None = None) -> Call[Document]:
    return Call(Request("GET", path, f"GET {template or path}", repeatable=True), Answer.json)


def _delete(path: str, template: str) -> Call[Document]:
    return Call(Request("DELETE", path, f"DELETE {template}"), Answer.json)


def _post(path: str, template: str | None = None, *, repeatable: bool = False) -> Call[Document]:
    return Call(Request("POST", path, f"POST {template or path}", repeatable=repeatable), Answer.json)


def _body(
    method: str, path: str, body: Mapping[str, Any], template: str | None = None, *, repeatable: bool = False
) -> Request:
    present = {member: value for member, value in body.items() if value is not None}
    packed = json.dumps(present).encode()
    headers = {"Content-Type": JSON}
    return Request(method, path, f"{method} {template or path}", (), headers, packed, repeatable)


def _lists(**lists: Sequence[str] | None) -> dict[str, Any]:
    return {name: list(values) for name, values in lists.items() if values is not None}


def _path(kind: str, name: str) -> str:
    return f"/auth/{kind}/{segment(_id(name))}"


def _id(text: str) -> str:
    if not text:
        raise Invalid("an id is required")
    return text


def _document(members: Mapping[str, Any]) -> Document:
    return dict(members)


def _tokens(answer: Answer) -> Tokens:
    members = answer.json()
    later = members.get("refresh_expires_in")
    return Tokens(
        token=str(members["token"]),
        refresh_token=str(members["refresh_token"]),
        expires_in_s=int(members["expires_in"]),
        refresh_expires_in_s=None if later is None else int(later),
    )


def _new_key(answer: Answer) -> NewApiKey:
    members = answer.json()
    return NewApiKey(str(members["key"]), dict(members["api_key"]))
