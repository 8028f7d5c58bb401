"""The ten callers of the matrix of permissions, on one node in this process, and what each may expect."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from konsul.kernel.pipeline import AUTHENTICATED, PUBLIC
from tests.contract.front_ways import Call, Reply, Way

SECRET: Final = "s" * 40
ENVIRON: Final = {
    "KONSUL_AUTH_ENABLED": "true",
    "KONSUL_ACL_ENABLED": "true",
    "KONSUL_JWT_SECRET": SECRET,
    "KONSUL_AUDIT_ENABLED": "false",
}
PASSWORD: Final = "a long enough passphrase"
RESOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "kv": ("read", "write", "list", "delete"),
    "service": ("read", "write", "list", "register", "deregister"),
    "health": ("read", "write"),
    "backup": ("create", "restore", "export", "import", "list", "delete"),
    "admin": ("read", "write"),
    "session": ("read", "write", "list"),
    "query": ("read", "write", "list"),
    "agent": ("read", "write", "list"),
}
"""Every resource type that is asked for, with the capabilities it has."""
_NAME: Final = ("name", "*")
SELECTORS: Final = {
    "kv": ("path", "**"),
    "service": _NAME,
    "agent": _NAME,
    "query": _NAME,
    "session": _NAME,
}
READING: Final = frozenset(("read", "list"))
REFUSED_IDENTITY: Final = ("none", "bad", "expired", "revoked", "wrong type")
CALLERS: Final = (*REFUSED_IDENTITY, "no policies", "deny rule", "read only", "exact permission", "admin")
IN, UNKNOWN, FORBIDDEN = "0 in", "401", "403"
"""In the order of which says more."""


def expected(caller: str, needs: str) -> str:
    """What a caller gets from whatever declares these needs: IN, UNKNOWN (401) or FORBIDDEN (403).

    Several, with a space between, are all needed.
    """
    if " " in needs:
        return max(expected(caller, one) for one in needs.split())
    if needs == PUBLIC:
        return IN
    if caller in REFUSED_IDENTITY:
        return UNKNOWN
    if needs == AUTHENTICATED or caller in ("exact permission", "admin"):
        return IN
    if caller == "read only":
        return IN if needs.partition(":")[2] in READING else FORBIDDEN
    return FORBIDDEN


def is_declared(needs: str) -> bool:
    """True for what some rule of a policy could grant, and for the two words beside."""
    if " " in needs:
        return all(is_declared(one) for one in needs.split())
    resource, _, capability = needs.partition(":")
    return needs in (PUBLIC, AUTHENTICATED) or capability in RESOURCES.get(resource, ())


def alone(needs: str) -> str:
    """The name of the policy that gives just this."""
    return "only-" + needs.replace(":", "-").replace(" ", "-")


def rule(resource: str, capabilities: Iterable[str]) -> dict[str, Any]:
    """One rule over everything of a resource type."""
    found: dict[str, Any] = {"capabilities": list(capabilities)}
    if resource in SELECTORS:
        member, everything = SELECTORS[resource]
        found[member] = everything
    return found


def policy(name: str, rules: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    return {"name": name} | {resource: [rule(resource, given)] for resource, given in rules.items()}


def policies() -> list[dict[str, Any]]:
    """`all`, `denying`, `reading`, and one of each single permission."""
    made = [
        policy("all", RESOURCES),
        policy("denying", {resource: ["deny"] for resource in RESOURCES}),
        policy("reading", {resource: READING & set(given) for resource, given in RESOURCES.items()}),
    ]
    made += [
        policy(alone(f"{resource}:{one}"), {resource: [one]})
        for resource, given in RESOURCES.items()
        for one in given
    ]
    both = policy(alone("service:write service:read"), {"service": ["write", "read"]})
    told = policy(alone("service:write health:read"), {"service": ["write"], "health": ["read"]})
    return [*made, both, told]


@dataclass
class Callers:
    """Makes the callers through the front itself. `headers` of one for some needs: `of`."""

    way: Way
    admin: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    bearers: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: object = None, key: str = "") -> Reply:
        sent = [(b"content-type", b"application/json")]
        if key:
            sent.append((b"x-api-key", key.encode()))
        payload = b"" if body is None else json.dumps(body).encode()
        return await self.way(Call(method, path.encode(), body=payload, headers=tuple(sent)))

    async def _made(self, method: str, path: str, body: object = None) -> Any:
        reply = await self.ask(method, path, body, self.admin)
        assert reply.status < 300, (method, path, reply.status, reply.body)
        return json.loads(reply.body) if reply.body else None

    async def _key(self, *attached: str) -> tuple[str, str]:
        made = await self._made("POST", "/auth/apikeys", {"name": "k", "permissions": list(attached)})
        return made["key"], made["api_key"]["id"]

    async def make(self) -> None:
        """Everybody, once."""
        self.admin = (await self._made("POST", "/auth/bootstrap", {}))["token"]
        for document in policies():
            await self._made("POST", "/acl/policies", document)
            self.keys[document["name"]], _ = await self._key(document["name"])
        self.keys["no policies"], _ = await self._key()
        self.keys["deny rule"], _ = await self._key("all", "denying")
        self.keys["revoked"], revoked = await self._key("all")
        await self._made("POST", f"/auth/apikeys/{revoked}/revoke", {})
        user = {"user_id": "u", "username": "u", "password": PASSWORD}
        await self._made("POST", "/auth/users", user | {"roles": ["admin"], "policies": []})
        login = await self._made("POST", "/auth/login", user)
        self.bearers["wrong type"] = login["refresh_token"]
        self.bearers["expired"] = expired(login["token"])
        self.bearers["bad"] = login["token"][:-6] + "AAAAAA"

    def of(self, caller: str, needs: str) -> tuple[tuple[bytes, bytes], ...]:
        """The headers that a caller sends where these needs are asked for."""
        if caller == "none":
            return ()
        if caller in self.bearers:
            return ((b"authorization", b"Bearer " + self.bearers[caller].encode()),)
        key = self.keys.get(caller, self.admin)
        if caller == "read only":
            key = self.keys["reading"]
        if caller == "exact permission" and ":" in needs:
            key = self.keys[alone(needs)]
        if caller == "exact permission" and needs == AUTHENTICATED:
            key = self.keys["no policies"]
        return ((b"x-api-key", key.encode()),)


def expired(token: str) -> str:
    """The same token with an end long ago, signed rightly."""
    header, claims, _ = token.split(".")
    known = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps(known | {"exp": known["iat"] - 3_600}).encode()).rstrip(
        b"="
    )
    signed = header.encode() + b"." + changed
    mac = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def verdict(status: int) -> str:
    """What an answer's status says about the permission: everything but 401 and 403 is inside."""
    return {401: UNKNOWN, 403: FORBIDDEN}.get(status, IN)
