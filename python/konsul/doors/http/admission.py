"""Who is let in: the client's address, its credentials, its rate. In plain Python, and told to the compiled
front, which does the same (ext/konsul_ext/admission.pyx)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import parse_qsl

from starlette.types import Scope

from konsul.errors import Unauthenticated
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.pipeline import ANONYMOUS, PUBLIC, Headers, Identity, Pipeline, nobody
from konsul.kernel.route_classes import class_of
from konsul.kernel.routing import StayingRoute

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

AMBIGUOUS: Final = "invalid authorization header format"
MISSING: Final = "missing authorization header"
NO_ROOM: Final = "the audit log has no room: try again"
_PROBES: Final = frozenset(("/health/live", "/health/ready"))
UNRECORDED: Final = _PROBES | {"/metrics"}
"""Where they are public, nothing of them is recorded: they need no room and say why there is none."""
_ASKING: Final = frozenset(("/graphql", "/ws/updates"))
"""WebSockets that ask for credentials themselves: a browser can send no header."""
_PEERS_MAX: Final = 10_000
_V4_MAPPED: Final = "::ffff:"
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddresses:
    """Who the client is behind trusted proxies: the last of `X-Forwarded-For` that is none of them."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._networks: tuple[_Network, ...] = tuple(
            ipaddress.ip_network(each, strict=False) for each in trusted
        )
        self._known: dict[str, bool] = {}

    def __call__(self, peer: str, forwarded: bytes) -> str:
        """The client's address; the nearest proxy's where what it passed on is no address."""
        client = peer
        for item in reversed(forwarded.decode("latin-1").split(",")):
            if not self._is_trusted(client):
                break
            try:
                client = _address(item.strip())
            except ValueError:
                break
        return client

    def _is_trusted(self, address: str) -> bool:
        known = self._known.get(address)
        if known is None:
            try:
                parsed = ipaddress.ip_address(address.removeprefix(_V4_MAPPED))
            except ValueError:
                return False
            known = any(parsed in network for network in self._networks)
            if len(self._known) >= _PEERS_MAX:
                self._known.clear()
            self._known[address] = known
        return known


def _address(text: str) -> str:
    """The address of an item, without the port some proxies add. Raises ValueError."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    if "%" in text:
        raise ValueError(text)
    return str(ipaddress.ip_address(text))


@dataclass(frozen=True, slots=True)
class PublicPaths:
    """What needs no credentials: what the operator says, and the routes where credentials are come by."""

    exact: frozenset[str]
    prefixes: tuple[str, ...]
    routes: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, kernel: Kernel) -> PublicPaths:
        """As configured, and as the features' routes say."""
        paths = kernel.config.of(GuardSettings).public_paths
        found = [
            (method, route.path)  # type: ignore[attr-defined]
            for feature in kernel.features
            for route in (feature.router.routes if feature.router else ())
            if getattr(route, "needs", None) == PUBLIC
            for method in route.methods  # type: ignore[attr-defined]
        ]
        return cls(
            frozenset(path.rstrip("/") or "/" for path in paths if not path.endswith("/*")),
            tuple(path[:-1] for path in paths if path.endswith("/*")),
            frozenset(found),
        )

    def cover(self, method: str, path: str) -> bool:
        """True for a path, as routes see it, that anybody may ask."""
        method = "GET" if method == "HEAD" else method
        return path in self.exact or path.startswith(self.prefixes) or (method, path) in self.routes


@dataclass(frozen=True, slots=True)
class StayingPaths:
    """Watches, whose credentials may stand in the query: what opens them in a browser can send no header."""

    exact: frozenset[str]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, kernel: Kernel) -> StayingPaths:
        """As the features' routes say, without those that ask for credentials themselves."""
        found = [
            route.path
            for feature in kernel.features
            for route in (feature.router.routes if feature.router else ())
            if isinstance(route, StayingRoute) and route.path not in _ASKING
        ]
        return cls(
            frozenset(path for path in found if "{" not in path),
            tuple(path.partition("{")[0] for path in found if "{" in path),
        )

    def cover(self, path: str) -> bool:
        """True for the path of a watch, as routes see it."""
        return path in self.exact or path.startswith(self.prefixes)


class Admission:
    """What stands before every route."""

    def __init__(self, kernel: Kernel) -> None:
        guard = kernel.config.of(GuardSettings)
        self.pipeline: Pipeline = kernel.pipeline
        self.public = PublicPaths.of(kernel)
        self.staying = StayingPaths.of(kernel)
        self.requires_auth = guard.requires_auth
        self.client_of: Callable[[str, bytes], str] | None = (
            ClientAddresses(guard.trusted_proxies) if guard.trusted_proxies else None
        )

    @property
    def is_open(self) -> bool:
        """True if everybody is let in and nobody is asked anything."""
        return self.pipeline.is_open() and not self.requires_auth and self.client_of is None

    def terms(self) -> Any:
        """What the compiled front needs to know; None: nothing."""
        if self.is_open:
            return None
        return {
            "anonymous": ANONYMOUS,
            "unauthenticated": Unauthenticated,
            "class_of": class_of,
            "client_of": self.client_of,
            "requires_auth": self.requires_auth,
            "public_paths": self.public.exact,
            "public_prefixes": self.public.prefixes,
            "public_routes": self.public.routes,
            "staying_paths": self.staying.exact,
            "staying_prefixes": self.staying.prefixes,
            "probes": _PROBES,
            "unrecorded": UNRECORDED,
            "asking": _ASKING,
        }

    def place(self, scope: Scope) -> None:
        """Notes in the scope the client's address, and whether the path is public."""
        about = scope["konsul"]
        forwarded = b",".join(value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for")
        if self.client_of is not None and forwarded:
            about["client"] = self.client_of(about["client"], forwarded)
        about["public"] = self.public.cover(scope.get("method", "GET"), scope["path"])
        about["class"] = None
        if self.pipeline.limit is not None:
            about["class"] = class_of(scope.get("method", "GET"), scope["path"])

    def admit(self, scope: Scope) -> None:
        """Notes in the scope who asks and what is left of its rate.

        Raises:
            Unauthenticated, RateLimited, Blocked, and whatever else a slot raises.
        """
        about = scope["konsul"]
        failure: Exception | None = None
        try:
            about["identity"] = self._identify(scope)
        except Exception as error:
            failure = None if about["public"] else error
        identity: Identity = about["identity"]
        if self.pipeline.limit is not None and scope["path"] not in _PROBES:
            about["rate"] = self.pipeline.limit(identity, about["client"], about["class"], 1)
        if failure is not None:
            raise failure
        asks = scope["type"] == "websocket" and scope["path"] in _ASKING
        if self.requires_auth and identity.kind == "anonymous" and not about["public"] and not asks:
            raise Unauthenticated(MISSING)

    def admit_again(self, scope: Scope) -> None:
        """After a body that was waited for: it may be kept back until what let its head in holds no longer.

        Raises:
            Unauthenticated, and whatever else the identify slot raises.
        """
        about = scope["konsul"]
        before, about["identity"] = about["identity"], ANONYMOUS
        if before.kind == ANONYMOUS.kind:
            return
        try:
            about["identity"] = self._identify(scope)
        except Exception:
            if not about["public"]:
                raise

    def _identify(self, scope: Scope) -> Identity:
        """Raises what the identify slot does."""
        identify = self.pipeline.identify
        if identify is nobody:
            return ANONYMOUS
        headers: Headers = scope["headers"]
        bearers = [value for name, value in headers if name.lower() == b"authorization"]
        keys = [value for name, value in headers if name.lower() == b"x-api-key"]
        if len(bearers) > 1 or len(keys) > 1:
            raise Unauthenticated(AMBIGUOUS)
        authorization = bearers[0] if bearers else None
        key = keys[0] if keys else None
        if authorization is None and key is None:
            authorization = self._token(scope)
        return identify(authorization, key, (scope.get("tls") or {}).get("client_cert"))

    def _token(self, scope: Scope) -> bytes | None:
        """`?token=` of a watch, as a header."""
        if scope.get("method", "GET") != "GET" or not self.staying.cover(scope["path"]):
            return None
        query: bytes = scope["query_string"]
        for name, value in parse_qsl(query.decode("latin-1")):
            if name == "token" and value:
                return b"Bearer " + value.encode()
        return None
