"""A filled pipeline, played: known credentials, a rate that tells what it was asked, a list of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from konsul.errors import Blocked, Forbidden, RateLimited, Unauthenticated
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import ANONYMOUS, Headers, Identity

NO_POLICIES: Final = "no policies attached to token"


class PlayedGrant:
    """May do everything to what begins with `app/`."""

    def __init__(self) -> None:
        self.asked = 0

    def first_refused(self, _needs: str, keys: list[str]) -> int:
        self.asked += 1
        return next((at for at, key in enumerate(keys) if not key.startswith("app/")), -1)


GRANT: Final = PlayedGrant()
_AS_ONE: Final[Any] = GRANT
KNOWN: Final = {
    b"Bearer ann": Identity("user", "u1", "ann", ("user",), ("app",), "jwt"),
    b"Bearer granted": Identity("user", "u2", "granted", ("user",), ("app",), "jwt", grant=_AS_ONE),
    b"Bearer root": Identity("user", "u3", "root", ("admin",), (), "jwt"),
    b"Bearer bare": Identity("user", "u4", "bare", ("user",), (), "jwt"),
    b"Bearer poor": Identity("user", "u5", "poor", ("user",), ("app",), "jwt"),
    b"Bearer listed": Identity("user", "u6", "listed", ("user",), ("app",), "jwt"),
    b"ApiKey k1": Identity("api_key", "k1", "ci", ("user",), ("app",), "api_key"),
}


class PlayedGuard:
    """One node's filled pipeline; `install` puts it in."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.has_room = True
        self.asked_of_once = 0

    def install(self, kernel: Kernel) -> None:
        pipeline = kernel.pipeline
        pipeline.identify, pipeline.limit = self.identify, self.limit
        pipeline.authorise, pipeline.audit = self.authorise, self

    def identify(
        self, authorization: bytes | None, api_key: bytes | None, certificate: bytes | None
    ) -> Identity:
        if authorization is not None and api_key is not None:
            one, other = self.identify(authorization, None, None), self.identify(None, api_key, None)
            if (one.kind, one.id) != (other.kind, other.id):
                raise Unauthenticated("invalid authorization header format")
            return one
        if api_key is not None:
            authorization = b"ApiKey " + api_key
        if authorization is None:
            return ANONYMOUS if certificate is None else KNOWN[b"Bearer ann"]
        if authorization == b"Bearer old":
            raise Unauthenticated("token expired")
        if authorization == b"Bearer once":
            # Holds when it is looked at first, and is revoked before it is looked at again.
            self.asked_of_once += 1
            if self.asked_of_once % 2 == 0:
                raise Unauthenticated("token revoked")
            return KNOWN[b"Bearer ann"]
        if authorization == b"Bearer turns":
            # Loses its policies before it is looked at again.
            self.asked_of_once += 1
            return KNOWN[b"Bearer ann" if self.asked_of_once % 2 else b"Bearer bare"]
        known = KNOWN.get(authorization)
        if known is None:
            raise Unauthenticated("invalid token")
        return known

    def limit(self, identity: Identity, client_addr: str, route_class: str, cost: int) -> Headers:
        told = [
            (b"x-ratelimit-limit", b"20"),
            (b"x-ratelimit-remaining", b"%d" % cost),
            (b"x-played-class", f"{route_class} {identity.id or client_addr}".encode()),
        ]
        if identity.id == "u6":
            raise Blocked(identifier="ip:192.0.2.7", reason="listed")
        if identity.id == "u5" or (cost > 3 and not identity.is_admin):
            raise RateLimited(
                identifier="ip:192.0.2.7", retry_after_s=2, reset_at=1_767_225_600, headers=told
            )
        return told

    def authorise(self, identity: Identity, needs: str, resource: str) -> str:
        if identity.is_admin:
            return "admin"
        if identity.kind == "anonymous":
            if needs.startswith("admin:"):
                raise Unauthenticated("unauthorized")
            return "default policy"
        if not identity.policies:
            raise Forbidden(NO_POLICIES, needs=needs, resource=resource, reason="no policies")
        if needs.startswith("admin:") or (resource and not resource.startswith(("app/", "app-"))):
            raise Forbidden(needs=needs, resource=resource, reason=f"no rule for {resource or needs}")
        return f"policy app allows {resource or needs}"

    def admits(self) -> bool:
        return self.has_room

    def record(
        self,
        identity: Identity,
        client: str,
        verb: str,
        resources: Sequence[str] | None = None,
        outcome: str = "",
        reason: str = "",
        *,
        method: str,
        path: bytes,
        status: int,
        took_ns: int,
        request_id: bytes,
        body: bytes | None = None,
    ) -> None:
        if isinstance(resources, bytes | str):
            resources = [resources]  # the compiled front hands one over as it is
        names = [each.decode() if isinstance(each, bytes) else each for each in resources or ()]
        assert took_ns > 0
        assert request_id
        self.events.append(
            (identity.id, client, verb, names, outcome, reason, method, path, status, body or None)
        )
