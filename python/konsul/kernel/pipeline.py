"""The stations every request passes: identify, limit, authorise, audit. Open until a feature fills them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar

from konsul.errors import (
    Blocked,
    Conflict,
    Forbidden,
    KonsulError,
    NotFound,
    RateLimited,
    Unauthenticated,
)
from konsul.kernel.route_classes import BATCH, ITEMS
from konsul.kernel.writing import send_to_leader

if TYPE_CHECKING:
    from konsul.engine import Grant, Sight
    from konsul.kernel.command import AnyVerb, Verb
    from konsul.kernel.context import Context

P = ParamSpec("P")
T = TypeVar("T")
Headers = list[tuple[bytes, bytes]]
ADMIN: Final = "admin"
"""The role that every permission check lets pass."""
PUBLIC: Final = "public"
"""What a route needs that anybody may ask, whatever is switched on."""
AUTHENTICATED: Final = "authenticated"
"""What a route needs that asks for an identity and no permission."""
_STATUS: Final = {"success": 200, "not_found": 404, "cas_conflict": 409, "denied": 403, "error": 500}
"""What is recorded as the status of an act on a connection that stays."""
_REFUSALS: Final = (Unauthenticated, Forbidden, Blocked, RateLimited)
"""What the slots raise."""
ACTS_MAX: Final = 100
"""Verbs of one request that are audited one by one; those after them are only counted."""


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
    mark: str = field(default="", repr=False)
    """Of an API key: what tells its secret from another one that is later stored under the same id."""

    @property
    def is_admin(self) -> bool:
        """True for who may do everything, whatever policies say."""
        return ADMIN in self.roles


ANONYMOUS: Final = Identity()
INSIDE: Final = Identity("inside", name="konsul", roles=(ADMIN,))
"""The node itself, at its own work."""


@dataclass(frozen=True, slots=True)
class Act:
    """One verb that a request ran, as the audit tells it."""

    action: str
    """The verb's name."""
    resources: tuple[str, ...]
    outcome: str
    """success, not_found, cas_conflict, denied or error."""
    reason: str = ""
    """Why it was allowed or refused, if somebody said so."""


class Identify(Protocol):
    """Finds out who calls by what the headers `Authorization` and `X-API-Key` hold, or by the certificate
    (DER) of the connection; ANONYMOUS without any. Both headers must be of one caller, and go before the
    certificate. Called on several threads.

    Raises:
        Unauthenticated: credentials were brought and do not hold, or are of two callers.
    """

    def __call__(
        self, authorization: bytes | None, api_key: bytes | None, certificate: bytes | None, /
    ) -> Identity: ...


class Renew(Protocol):
    """The same caller as of now: with the roles and policies it has by now. Anonymous and inside pass.

    Raises:
        Unauthenticated: what it was identified by no longer holds.
    """

    def __call__(self, identity: Identity, /) -> Identity: ...


class Limit(Protocol):
    """Spends of the caller's rate; answers the headers that tell how much is left, [] for none.

    `route_class` and `cost`: see `konsul.kernel.route_classes`. Called on several threads.

    Raises:
        RateLimited, Blocked.
    """

    def __call__(self, identity: Identity, client_addr: str, route_class: str, cost: int, /) -> Headers: ...


class Authorise(Protocol):
    """Lets pass and says why ("" for no particular reason). `needs` is `resource type:capability`, or
    AUTHENTICATED.

    Raises:
        Unauthenticated: somebody has to be asked for a name first. Forbidden.
    """

    def __call__(self, identity: Identity, needs: str, resource: str, /) -> str: ...


class Visible(Protocol):
    """What of a list the caller may see for `needs`; None: all of it."""

    def __call__(self, identity: Identity, needs: str, /) -> Sight | None: ...


class Audit(Protocol):
    """Where what was done is written down; both may be called on any thread and return at once."""

    def admits(self) -> bool:
        """False while there is no room and nothing may go unrecorded: the request is answered 503."""

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
        """Notes one act of a request that is over.

        Args:
            verb: what was run, or of a request that reached no verb `auth.failed` and the like.
            outcome: of the verb: success, not_found, cas_conflict, denied or error; empty: as the status.
            path: as sent, without its query.
            took_ns: since the request began, up to now.
            body: hashed, never kept.
        """


def nobody(
    authorization: bytes | None,  # noqa: ARG001
    api_key: bytes | None,  # noqa: ARG001
    certificate: bytes | None,  # noqa: ARG001
) -> Identity:
    """The open identify slot: everybody is anonymous."""
    return ANONYMOUS


def by_role(identity: Identity, needs: str, resource: str) -> str:
    """The authorise slot while identities have no policies: administration is for administrators."""
    if identity.is_admin:
        return "admin"
    if needs.startswith("admin:"):
        if identity.kind == "anonymous":
            raise Unauthenticated("unauthorized")
        raise Forbidden(needs=needs, resource=resource, reason="not an administrator")
    return ""


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
    renew: Renew | None = None
    limit: Limit | None = None
    authorise: Authorise | None = None
    visible: Visible | None = None
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
        reason = ""
        try:
            if self.limit is not None and touched and context.noted.get("class") == BATCH:
                self.charge(context, ITEMS, len(touched))
            if self.authorise is not None and verb.needs != PUBLIC:
                for needs, resource in touched or [(verb.needs, "")]:
                    reason = self.authorise(context.identity, needs, resource)
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
            # Names that were only tried would crowd out those that are there.
            named = "other" if isinstance(error, _REFUSALS) else resources[0] if resources else ""
            self.tally.add(verb.name, outcome, named)
            if self.audit is not None:
                note_act(context.noted, act_of(verb.name, resources, error, reason))

    def charge(self, context: Context, route_class: str, cost: int) -> None:
        """Spends more of the caller's rate than the request itself did; the answer's headers will tell.

        Raises:
            RateLimited, Blocked.
        """
        if self.limit is None:
            return
        try:
            context.noted["rate"] = self.limit(context.identity, context.client_addr, route_class, cost)
        except RateLimited as error:
            context.noted["rate"] = error.headers
            raise

    def record_acts(self, context: Context, path: bytes) -> None:
        """Tells the audit what was done on a connection that stays, where no answer ends a request."""
        acts: list[Act] = context.noted.pop("acts", [])
        if self.audit is None:
            return
        for act in acts:
            self.audit.record(
                context.identity,
                context.client_addr,
                act.action,
                list(act.resources),
                act.outcome,
                act.reason,
                method="GET",
                path=path,
                status=_STATUS[act.outcome],
                took_ns=0,
                request_id=context.request_id.encode(),
            )


def note_act(noted: MutableMapping[str, Any], act: Act) -> None:
    """Keeps what a request did until its final status is known: the front records it then."""
    acts: list[Act] = noted.setdefault("acts", [])
    if len(acts) < ACTS_MAX:
        acts.append(act)
    else:
        noted["more_acts"] = noted.get("more_acts", 0) + 1


def act_of(action: str, resources: Iterable[str], error: BaseException | None, reason: str) -> Act:
    """What was done to `resources`, or how it failed. `reason`: why it was allowed."""
    outcome = outcome_of(error)
    if isinstance(error, _REFUSALS):
        outcome = "denied"
        reason = getattr(error, "reason", "") or str(error)
    return Act(action, tuple(resources), outcome, reason)


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
