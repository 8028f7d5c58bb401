"""A server that asks who calls and what they may do, and the ways to be somebody there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import SMALL, LiveServer

SETTINGS: dict[str, str] = {
    "KONSUL_AUTH_ENABLED": "true",
    "KONSUL_ACL_ENABLED": "true",
    "KONSUL_JWT_SECRET": "only for tests, and of no use elsewhere",
}
PASSWORD = "correct horse battery"


class Guarded:
    """A guarded server; `admin` is a client that may do everything."""

    def __init__(self, server: LiveServer, policies: Path) -> None:
        self.server = server
        self.policies = policies
        """The directory of its own policies."""
        self.admin = self.client(None)
        self.key = str(self.admin.post("/auth/bootstrap").raise_for_status().json()["token"])
        self.admin.headers["x-api-key"] = self.key

    def client(self, token: str | None) -> httpx.Client:
        """A client with a bearer token, or of nobody."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.server.base_url, timeout=30, trust_env=False, headers=headers)

    def policy(self, name: str, **rules: list[dict[str, Any]]) -> None:
        """Stores a policy, or replaces it."""
        document = {"name": name, **rules}
        if self.admin.put(f"/acl/policies/{name}", json=document).status_code == 404:
            self.admin.post("/acl/policies", json=document).raise_for_status()

    def user(self, user_id: str, *policies: str, roles: Iterable[str] = ("user",)) -> httpx.Client:
        """Makes a user and logs it in."""
        made = {"user_id": user_id, "password": PASSWORD, "roles": list(roles), "policies": list(policies)}
        self.admin.post("/auth/users", json=made).raise_for_status()
        return self.client(self.login(user_id)["token"])

    def login(self, user_id: str, password: str = PASSWORD) -> dict[str, Any]:
        """Tokens of a user."""
        body = {"user_id": user_id, "username": user_id, "password": password}
        with self.client(None) as stranger:
            found: dict[str, Any] = stranger.post("/auth/login", json=body).raise_for_status().json()
        return found


@contextmanager
def guarded(tmp_path: Path, **settings: str) -> Iterator[Guarded]:
    """A guarded server, running."""
    policies = tmp_path / "policies"
    policies.mkdir(exist_ok=True)
    own = {"KONSUL_ACL_POLICY_DIR": str(policies)}
    with LiveServer(tmp_path / "data", SMALL | SETTINGS | own | settings) as running:
        found = Guarded(running, policies)
        try:
            yield found
        finally:
            found.admin.close()
