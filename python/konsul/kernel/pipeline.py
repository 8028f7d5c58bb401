"""The stations every request passes: identify, limit, authorise, audit. Open until a feature fills them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, TypeVar

from konsul.errors import Conflict, KonsulError, NotFound
from konsul.kernel.writing import send_to_leader

if TYPE_CHECKING:
    from konsul.engine import Grant
    from konsul.kernel.command import AnyVerb, Verb
    from konsul.kernel.context import Context

P = ParamSpec("P")
T = TypeVar("T")
Headers = Mapping[bytes, bytes]
ADMIN: Final = "admin"
"""The role that every permission check lets pass."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. `kind`: anonymous, user, api_key, or inside (the node itself)."""

    kind: str = "anonymous"
    id: str = ""
    """The user id, or the id of the API key."""
    name: str = ""
    roles: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    """Names of the policies assigned on the server's side, sorted."""
    method: str = ""
    """How it was proven: jwt, api_key or certificate."""
    token_id: str = ""
    """The `jti` of the access token, or the id of the API key: names the credential, is none."""
    login_id: str = ""
    """The login an access token belongs to; it ends with it."""
    expires_at_s: float | None = None
    """Unix time from which the credential no longer holds; None: not by itself."""
    grant: Grant | None = field(default=None, compare=False, repr=False)
    """What the policies add up to, kept current by the ACL; None while it is off."""

    @property
    def is_admin(self) -> bool:
        """True for who may do everything, whatever policies say."""
        return ADMIN in self.roles


ANONYMOUS: Final = Identity()


class Identify(Protocol):
    """Finds out who calls. Raises Unauthenticated for credentials that do not hold."""

    def __call__(self, headers: Headers, client_addr: str) -> Identity: ...


class Limit(Protocol):
    """Spends one request of the caller's rate. Raises RateLimited."""

    def __call__(self, identity: Identity, client_addr: str) -> None: ...


class Authorise(Protocol):
    """Lets pass or raises Forbidden. `needs` is `resource type:capability`."""

    def __call__(self, identity: Identity, needs: str, resource: str) -> None: ...


class Audit(Protocol):
    """Records what a verb did. `outcome`: success, not_found, cas_conflict or error."""

    def __call__(self, context: Context, verb: AnyVerb, resources: list[str], outcome: str) -> None: ...


def nobody(headers: Headers, client_addr: str) -> Identity:  # noqa: ARG001
    """The open identify slot: everybody is anonymous."""
    return ANONYMOUS


@dataclass(slots=True)
class Tally:
    """Counts verbs by outcome, and by resource where a metric asks for it. Bounded; one thread only."""

    by_resource: frozenset[str] = frozenset()
    max_resources: int = 1_000
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """`(verb name, outcome)` -> times."""
    resources: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """`(verb name, resource, outcome)` -> times; past the cap the resource is `other`."""
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def add(self, verb: str, outcome: str, resource: str = "") -> None:
        """Counts one call."""
        self.counts[verb, outcome] = self.counts.get((verb, outcome), 0) + 1
        if verb not in self.by_resource:
            return
        if (verb, resource) not in self._seen:
            if len(self._seen) >= self.max_resources:
                resource = "other"
            else:
                self._seen.add((verb, resource))
        cell = (verb, resource, outcome)
        self.resources[cell] = self.resources.get(cell, 0) + 1


def outcome_of(error: BaseException | None) -> str:
    """The `status` label of an operation that ended so."""
    if error is None:
        return "success"
    if isinstance(error, NotFound):
        return "not_found"
    return "cas_conflict" if isinstance(error, Conflict) else "error"


@dataclass(slots=True)
class Pipeline:
    """The slots; None is an open slot that costs nothing."""

    identify: Identify = nobody
    limit: Limit | None = None
    authorise: Authorise | None = None
    audit: Audit | None = None
    tally: Tally = field(default_factory=Tally)

    def is_open(self) -> bool:
        """True while no slot is filled, so that the front may skip them."""
        filled = self.limit or self.authorise or self.audit
        return self.identify is nobody and filled is None

    async def run(self, context: Context, verb: Verb[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Passes one verb through authorise, count and audit."""
        touched = _touched(verb, kwargs)
        error: BaseException | None = None
        try:
            if self.authorise is not None:
                for needs, resource in touched or [(verb.needs, "")]:
                    self.authorise(context.identity, needs, resource)
            # Only after that: who may not write is not told where the leader is.
            if context.terms.redirect and verb.kind == "command" and not verb.local:
                send_to_leader(context.engine)
            return await verb.call(context, *args, **kwargs)
        except KonsulError as caught:
            error = caught
            raise
        except Exception as caught:
            error = caught
            raise
        finally:
            outcome = outcome_of(error)
            resources = [resource for _, resource in touched]
            self.tally.add(verb.name, outcome, resources[0] if resources else "")
            if self.audit is not None and verb.audit:
                self.audit(context, verb, resources, outcome)


def _touched(verb: AnyVerb, kwargs: Mapping[str, object]) -> list[tuple[str, str]]:
    """`(need, resource)` for all a call touches; a verb with several needs passes such pairs itself."""
    value = kwargs.get(verb.resource) if verb.resource is not None else None
    if value is None:
        return []
    if isinstance(value, str):
        return [(verb.needs, value)]
    if isinstance(value, Iterable):
        return [(item[0], item[1]) if isinstance(item, tuple) else (verb.needs, str(item)) for item in value]
    raise TypeError(f"the resource argument {verb.resource} is neither a text nor several")
