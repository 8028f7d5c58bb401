"""A server with every guard on, and who may do what on it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ask import Answer, ask
from tests.conftest import SMALL, LiveServer
from tests.waiting import until

CROWN = "vault/crown"
"""A key that only admins may touch; its value never leaves the server during an attack."""
CROWN_VALUE = "the-crown-jewels-of-this-node"
ADDRESS = "10.9.9.9"
"""Of a service that only admins may see."""
PASSWORD = "a long enough passphrase"
OPEN_SPACE = "open/"
"""Where the attackers may read and write, so that it is the rule that stops them elsewhere."""

READER = {
    "name": "attacker",
    "kv": [{"path": "open/**", "capabilities": ["read", "write", "list", "delete"]}],
    "service": [{"name": "open-*", "capabilities": ["read", "write", "list", "register", "deregister"]}],
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass(frozen=True)
class Login:
    """What a login answered."""

    user_id: str
    token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.token)


@dataclass(frozen=True)
class Key:
    """An API key, shown once."""

    id: str
    text: str

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.text}


class Guarded(LiveServer):
    """Auth and ACL on, an admin's key from a file, and `more` settings."""

    def __init__(self, folder: Path, more: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.admin_key = secrets.token_hex(32)
        self.signing_secret = secrets.token_hex(32)
        bootstrap, signing = folder / "bootstrap.token", folder / "jwt.secret"
        for path, text in ((bootstrap, self.admin_key), (signing, self.signing_secret)):
            path.write_text(text + "\n", encoding="utf-8")
            path.chmod(0o600)
        settings = {
            "KONSUL_AUTH_ENABLED": "true",
            "KONSUL_ACL_ENABLED": "true",
            "KONSUL_BOOTSTRAP_TOKEN_FILE": str(bootstrap),
            "KONSUL_JWT_SECRET_FILE": str(signing),
            "KONSUL_ACL_POLICY_DIR": str(folder / "policies"),
            # Tests log in more often than people do; what the limits do has a test with those of everybody.
            "KONSUL_LOGIN_ATTEMPTS": "1000",
            "KONSUL_AUDIT_ENABLED": "true",
            "KONSUL_AUDIT_FLUSH_INTERVAL": "20ms",
            "KONSUL_AUDIT_FILE_PATH": str(folder / "audit.log"),
        }
        self.audit_file = folder / "audit.log"
        super().__init__(folder / "data", SMALL | settings | dict(more or {}))

    @property
    def admin(self) -> dict[str, str]:
        """The headers of who may do everything."""
        return {"X-API-Key": self.admin_key}

    def start(self) -> None:
        super().start()
        until(lambda: self.get("/kv", self.admin).status == 200, "the admin's key from the file")

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; without `headers` nobody's."""
        return ask(self.port, method, path, body, headers=headers)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.ask("GET", path, None, headers)

    def by_admin(self, method: str, path: str, body: object = None) -> Any:
        """What an admin's request answers; it must succeed."""
        answer = self.ask(method, path, body, self.admin)
        assert answer.status < 300, (method, path, answer.status, answer.body[:500])
        return answer.json() if answer.body else None

    def add_policy(self, document: Mapping[str, Any]) -> str:
        """Creates or replaces a policy; returns its name."""
        name = str(document["name"])
        answer = self.ask("POST", "/acl/policies", document, self.admin)
        if answer.status == 409:
            self.by_admin("PUT", f"/acl/policies/{name}", document)
        else:
            assert answer.status == 201, answer.body
        return name

    def add_user(self, *policies: str, roles: tuple[str, ...] = ("user",)) -> str:
        """A new user's id; the name is the same."""
        user_id = f"u-{secrets.token_hex(6)}"
        made = {"user_id": user_id, "username": user_id, "password": PASSWORD}
        self.by_admin("POST", "/auth/users", made | {"roles": list(roles), "policies": list(policies)})
        return user_id

    def log_in(self, user_id: str, password: str = PASSWORD) -> Login:
        answer = self.ask("POST", "/auth/login", credentials(user_id, password))
        assert answer.status == 200, answer.body
        body = answer.json()
        return Login(user_id, body["token"], body["refresh_token"])

    def login(self, *policies: str, roles: tuple[str, ...] = ("user",)) -> Login:
        """A new user with these policies, logged in."""
        return self.log_in(self.add_user(*policies, roles=roles))

    def key(self, *policies: str, expires_in_s: int | None = None) -> Key:
        """A new API key that these policies are attached to."""
        asked: dict[str, Any] = {"name": f"k-{secrets.token_hex(4)}", "permissions": list(policies)}
        if expires_in_s is not None:
            asked["expires_in"] = expires_in_s
        made = self.by_admin("POST", "/auth/apikeys", asked)
        return Key(made["api_key"]["id"], made["key"])

    def furnish(self) -> None:
        """What the attacks aim at."""
        self.add_policy(READER)
        self.by_admin("PUT", f"/kv/{CROWN}", {"value": CROWN_VALUE})
        self.by_admin("PUT", "/kv/open/door", {"value": "ajar"})
        self.by_admin("PUT", "/register", {"name": "vault-svc", "address": ADDRESS, "port": 999})

    def crown(self) -> tuple[str, int]:
        """The guarded key's value and its modify_index: neither changes while it is guarded."""
        row = self.by_admin("GET", f"/kv/{CROWN}?metadata=true")
        return row["value"], row["modify_index"]

    def stored(self) -> list[str]:
        """Every key there is."""
        keys: list[str] = self.by_admin("GET", "/kv")
        return keys

    def audited(self) -> list[dict[str, Any]]:
        """Every whole event of the audit file."""
        if not self.audit_file.exists():
            return []
        text = self.audit_file.read_bytes()
        return [json.loads(line) for line in text.split(b"\n")[:-1]]


def credentials(user_id: str, password: str) -> dict[str, str]:
    return {"user_id": user_id, "username": user_id, "password": password}


def leaks(answer: bytes | Answer) -> bool:
    """True if what only admins may read is in it."""
    body = answer if isinstance(answer, bytes) else answer.body + repr(answer.headers).encode()
    return CROWN_VALUE.encode() in body or ADDRESS.encode() in body


def names(answer: bytes | Answer) -> bool:
    """True if it even tells that such a thing is there; a refusal may repeat what was asked for."""
    body = answer if isinstance(answer, bytes) else answer.body + repr(answer.headers).encode()
    return leaks(answer) or b"crown" in body or b"vault-svc" in body
