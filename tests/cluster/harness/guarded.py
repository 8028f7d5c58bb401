"""Three nodes that ask who calls, and the ways to be somebody there."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node

PASSWORD = "a long enough passphrase"


class GuardedTrio:
    """Three nodes with auth on, and their administrator."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """Not running yet; `settings`: besides those that turn auth on."""
        token, secret = folder / "token", folder / "secret"
        for file in (token, secret):
            file.write_text(secrets.token_hex(32), encoding="utf-8")
        own = {
            "KONSUL_AUTH_ENABLED": "true",
            "KONSUL_BOOTSTRAP_TOKEN_FILE": str(token),
            "KONSUL_JWT_SECRET_FILE": str(secret),
            "KONSUL_LOGIN_ATTEMPTS": "1000",
        }
        self.admin = {"X-API-Key": token.read_text(encoding="utf-8")}
        self.cluster = Cluster(folder, settings=own | dict(settings or {}))
        for node in self.cluster.nodes.values():
            node.headers = self.admin

    def nodes(self) -> list[Node]:
        """The leader first."""
        leader = self.cluster.until_leader()
        return [leader, *(node for node in self.cluster.nodes.values() if node is not leader)]

    def by_admin(self, node: Node, method: str, path: str, body: object = None) -> Any:
        """What an administrator's request answers; it must succeed."""
        answer = node.ask(method, path, body, self.admin)
        assert answer.status < 300, (method, path, answer.status, answer.body)
        return answer.json() if answer.body else None

    def user(self, node: Node) -> str:
        """A new user's id."""
        user_id = f"u-{secrets.token_hex(6)}"
        made = {"user_id": user_id, "username": user_id, "password": PASSWORD}
        self.by_admin(node, "POST", "/auth/users", made)
        return user_id

    def log_in(self, node: Node, user_id: str) -> dict[str, str]:
        """What a login answers."""
        asked = {"user_id": user_id, "username": user_id, "password": PASSWORD}
        answer = node.ask("POST", "/auth/login", asked)
        assert answer.status == 200, answer.body
        return dict(answer.json())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
