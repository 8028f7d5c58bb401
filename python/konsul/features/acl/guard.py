"""The decision at every door: the authorise and visible slots of the pipeline while the ACL is on."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from konsul.engine import Access, Engine, Grant
from konsul.errors import Forbidden, Unauthenticated
from konsul.features.acl.policy import CAPABILITIES, DENY
from konsul.kernel.pipeline import ADMIN, AUTHENTICATED, Identity

if TYPE_CHECKING:
    from konsul.engine import Sight

NO_POLICIES: Final = "no policies attached to token"
REFUSED: Final = "insufficient permissions"
BY_DEFAULT: Final = "default policy"
_PLAIN: Final = frozenset(
    f"{resource}:{one}"
    for resource, capabilities in CAPABILITIES.items()
    for one in capabilities
    if one not in (DENY, "list")
)
"""What one question to a grant decides."""
LISTS: Final = frozenset(("kv:list", "service:list", "agent:list", "query:list", "session:list"))
"""Asked with a beginning of names: refused only if nothing that begins so could be shown."""
TIMED_EVERY: Final = 64
"""One decision of so many is timed: the clock would cost more than the decision."""
DURATIONS_S: Final = (0.000_001, 0.000_01, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1)
"""Bounds of the histogram of durations."""
_ALLOWED: Final = 1
_UNKNOWN: Final = 2
_ADMINISTRATION: Final = "admin:"


class Timed:
    """How long some decisions took, as a histogram over `DURATIONS_S`."""

    __slots__ = ("_counts", "count", "sum_s")

    def __init__(self) -> None:
        self._counts = [0] * len(DURATIONS_S)
        self.count = 0
        self.sum_s = 0.0

    def add(self, took_s: float) -> None:
        """Counts one."""
        self.count += 1
        self.sum_s += took_s
        place = bisect_left(DURATIONS_S, took_s)
        if place < len(DURATIONS_S):
            self._counts[place] += 1

    def upto(self, bound_s: float) -> int:
        """How many took at most so long; `bound_s` is one of `DURATIONS_S`."""
        return sum(self._counts[: DURATIONS_S.index(bound_s) + 1])


class Guard:
    """Decides. Called for every request, from two threads; keeps no decision, so none can be out of date."""

    def __init__(self, access: Access, *, requires_auth: bool, default_allow: bool) -> None:
        self._access = access
        self._requires_auth = requires_auth
        self._default_allow = default_allow
        self.allowed: defaultdict[str, int] = defaultdict(int)
        """What was needed -> times it was allowed."""
        self.denied: defaultdict[str, int] = defaultdict(int)
        self.timed: dict[str, Timed] = {}
        """Those that were timed, by resource type."""
        self._until_timed = TIMED_EVERY

    def authorise(self, identity: Identity, needs: str, resource: str) -> str:
        """See `konsul.kernel.pipeline.Authorise`."""
        if ADMIN in identity.roles:
            return ADMIN
        grant = identity.grant
        self._until_timed -= 1
        # What nearly every request is: the long way below decides the same, and says no in words.
        if grant is not None and needs in _PLAIN and self._until_timed > 0:
            verdict, reason = grant.decide(needs, resource)
            if verdict == _ALLOWED:
                self.allowed[needs] += 1
                return reason
        if needs == AUTHENTICATED:
            return self._somebody(identity)
        return self._counted(identity, needs, resource)

    def _counted(self, identity: Identity, needs: str, resource: str) -> str:
        began_ns = perf_counter_ns() if self._until_timed <= 0 else 0
        try:
            reason = self._decide(identity, needs, resource)
        except (Forbidden, Unauthenticated):
            self.denied[needs] += 1
            raise
        finally:
            if began_ns:
                self._until_timed = TIMED_EVERY
                self._took(needs, perf_counter_ns() - began_ns)
        self.allowed[needs] += 1
        return reason

    def visible(self, identity: Identity, needs: str) -> Sight | None:
        """See `konsul.kernel.pipeline.Visible`."""
        if ADMIN in identity.roles:
            return None
        grant = identity.grant
        # Without policies: nothing, or what the default allows; never everything for want of an answer.
        return (self._access.grant(identity.policies) if grant is None else grant).sight(needs)

    def _decide(self, identity: Identity, needs: str, resource: str) -> str:
        if identity.kind == "anonymous":
            return self._of_nobody(needs)
        grant = self._grant(identity)
        if grant is None:
            return self._without_policies(needs, resource)
        if needs in LISTS:
            if grant.could_list(needs, resource):
                return "some of it may be seen"
            if grant.decide(needs, resource)[0] == _UNKNOWN:
                return self._without_policies(needs, resource)
            raise Forbidden(REFUSED, needs=needs, resource=resource, reason="no rule lets any of it be seen")
        verdict, reason = grant.decide(needs, resource)
        if verdict == _ALLOWED:
            return reason or ""
        if verdict == _UNKNOWN:
            return self._without_policies(needs, resource)
        raise Forbidden(REFUSED, needs=needs, resource=resource, reason=reason or "no rule")

    def _somebody(self, identity: Identity) -> str:
        if self._requires_auth and identity.kind == "anonymous":
            raise Unauthenticated("unauthorized")
        return ""

    def _of_nobody(self, needs: str) -> str:
        if self._requires_auth or not self._default_allow or needs.startswith(_ADMINISTRATION):
            raise Unauthenticated("unauthorized")
        return BY_DEFAULT

    def _without_policies(self, needs: str, resource: str) -> str:
        if self._default_allow and not needs.startswith(_ADMINISTRATION):
            return BY_DEFAULT
        raise Forbidden(NO_POLICIES, needs=needs, resource=resource, reason="no policies")

    def _grant(self, identity: Identity) -> Grant | None:
        if identity.grant is None and identity.policies:
            return self._access.grant(identity.policies)
        return identity.grant

    def _took(self, needs: str, took_ns: int) -> None:
        self.timed.setdefault(needs.partition(":")[0], Timed()).add(took_ns / 1e9)


_GUARDS: Final[WeakKeyDictionary[Engine, Guard]] = WeakKeyDictionary()


def keep(engine: Engine, guard: Guard) -> None:
    """Makes it the node's."""
    _GUARDS[engine] = guard


def guard_of(engine: Engine) -> Guard | None:
    """What decides on this node; None while the ACL is off."""
    return _GUARDS.get(engine)
