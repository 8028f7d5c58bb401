"""From a question to instances: candidates, the service's rules, the zone, and then the strategy."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakKeyDictionary

from konsul.engine import Engine
from konsul.errors import Invalid
from konsul.features.catalog.candidates import (
    ANY,
    PASSING,
    SERVING,
    Candidate,
    Health,
    candidates_of,
    candidates_with,
)
from konsul.features.lb.asked import Wishes
from konsul.features.lb.balancer import Asking, Balancer, balancer_of
from konsul.features.lb.config import LbSettings
from konsul.features.lb.hashing import BASIS, point_of
from konsul.features.lb.pools import Kept, Pool
from konsul.features.lb.rulebook import rules_for
from konsul.features.lb.rules import DROP, NOTHING, Rules
from konsul.features.lb.splits import REST, share_at
from konsul.features.lb.strategies import Strategy
from konsul.features.lb.zones import stays_of
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.context import Context

CANDIDATES_MAX: Final = 10_000
"""The first so many by name take part; one selection is bounded by it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for: by `service` (a tag, else a name), or with every tag and metadata pair."""

    service: str | None
    tags: frozenset[str]
    metadata: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Prospect:
    """Whom one request may choose among, and how. `rule`: the named rule whose instances these are."""

    pool: Pool
    strategy: Strategy
    asking: Asking
    rule: str = REST


class Selecting:
    """The selections of one request, on what the tables hold now."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._settings = ctx.config.of(LbSettings)
        self._kept = _kept_of(ctx.engine, self._settings)
        self._index = ctx.engine.contact()[2]
        self._is_shared = ctx.visible("service:read") is None
        self.balancer: Balancer = balancer_of(ctx.engine)

    def prospect(self, question: Question, wishes: Wishes) -> Prospect:
        """Whom to choose among; the pool is empty where nobody serves.

        Raises:
            Invalid: too many filters, or a rule was named that the service does not have.
        """
        name = question.service or ""
        rules = self._rules(name)
        pool = self._pool(question, self._health(rules, wishes))
        if rules is None:
            name = pool.only_service() or name
            rules = self._rules(name) or NOTHING
            if wishes.warning is None and rules.warning == DROP:
                pool = self._pool(question, PASSING)
        strategy = wishes.strategy or rules.strategy or self.balancer.strategy
        part, rule = self._part(pool, rules, wishes, name)
        zone = self._zone(strategy, rules, wishes)
        inside: bool | None = None
        if zone:
            part, inside = self._in_zone(part, question, rules, rule, zone, wishes.session)
        asking = Asking(
            group=(question, rule, inside),
            client_addr=wishes.client_ip or self._ctx.client_addr,
            session=wishes.session,
            region=wishes.region,
            load_factor=wishes.load_factor or rules.load_factor,
            warned_percent=rules.warning_percent,
        )
        return Prospect(part, strategy, asking, rule)

    async def order(self, prospect: Prospect, most: int) -> list[int]:
        """Positions in the prospect's pool, best first."""
        return await self.balancer.order(prospect.strategy, prospect.pool, prospect.asking, most)

    def without(self, prospect: Prospect, at: int) -> Prospect:
        """The same when a candidate has gone since."""
        return replace(prospect, pool=prospect.pool.without(prospect.pool.found[at]))

    def _health(self, rules: Rules | None, wishes: Wishes) -> Health:
        warning = wishes.warning or (rules.warning if rules is not None else None)
        return PASSING if warning == DROP else SERVING

    def _rules(self, service: str) -> Rules | None:
        return rules_for(self._ctx.engine, service) if service else None

    def _pool(self, question: Question, health: Health) -> Pool:
        key: Hashable = (question, health)
        pool = self._kept.get(self._index, key) if self._is_shared else None
        if pool is None:
            pool = Pool(self._candidates(question, health))
            # Of what is not there nothing is kept: it may be any text that a client thinks of.
            if self._is_shared and pool.found:
                self._kept.put(self._index, key, pool, len(pool))
        return pool

    def _candidates(self, question: Question, health: Health) -> list[Candidate]:
        ctx, service = self._ctx, question.service
        if service is None:
            return candidates_with(
                ctx, sorted(question.tags), sorted(question.metadata), CANDIDATES_MAX, health
            )
        tagged = candidates_with(ctx, [service], (), CANDIDATES_MAX, health)
        return tagged or candidates_of(ctx, service, CANDIDATES_MAX, health)

    def _part(self, pool: Pool, rules: Rules, wishes: Wishes, service: str) -> tuple[Pool, str]:
        """The candidates that the request is for, and the rule whose they are."""
        if wishes.rule:
            if rules.share(wishes.rule) is None:
                raise Invalid(f"there is no rule {wishes.rule!r} for what is asked")
            return pool.part(rules.shares, wishes.rule), wishes.rule
        if rules.active is not None:
            name = rules.active
        elif any(share.basis is not None for share in rules.shares):
            name = share_at(rules.shares, self._point(wishes.session, f"split {service}"))
        else:
            return pool, REST
        part = pool.part(rules.shares, name)
        if part.found or rules.strict:
            return part, name
        rest = pool.part(rules.shares, REST)
        return (rest if rest.found else pool), REST

    def _zone(self, strategy: Strategy, rules: Rules, wishes: Wishes) -> str:
        if strategy is not Strategy.ZONE_AWARE and not rules.zone_first:
            return ""
        return wishes.zone or self._ctx.config.of(ClusterSettings).zone

    def _in_zone(
        self, pool: Pool, question: Question, rules: Rules, rule: str, zone: str, session: str
    ) -> tuple[Pool, bool | None]:
        """The candidates of the client's zone, or the others where these have to help."""
        own = pool.zone(zone, inside=True)
        if not own.found or len(own) == len(pool):
            return pool, None
        others = pool.zone(zone, inside=False)
        known = self._pool(question, ANY)
        if pool is not known and rule != REST:
            known = known.part(rules.shares, rule)
        min_percent = rules.zone_min_percent or self._settings.zone_min_percent
        stays = stays_of(len(own), len(known.zone(zone, inside=True)), min_percent)
        is_inside = self._point(session, f"zone {zone}") < stays
        return (own if is_inside else others), is_inside

    def _point(self, session: str, salt: str) -> int:
        return point_of(session, salt) if session else self.balancer.rng.randrange(BASIS)


_KEPT: WeakKeyDictionary[Engine, Kept[Pool]] = WeakKeyDictionary()


def _kept_of(engine: Engine, settings: LbSettings) -> Kept[Pool]:
    kept = _KEPT.get(engine)
    if kept is None:
        kept = _KEPT[engine] = Kept(settings.kept_candidates)
    return kept
