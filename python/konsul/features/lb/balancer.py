"""What one node remembers to choose well: its strategy, turns, earnings of weights. All bounded."""

from __future__ import annotations

import asyncio
import heapq
from array import array
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from konsul.features.lb import hashing, strategies
from konsul.features.lb.latency import by_latency
from konsul.features.lb.loads import Loads, loads_of
from konsul.features.lb.pools import Pool
from konsul.features.lb.strategies import Strategy

if TYPE_CHECKING:
    from konsul.engine import Engine
    from konsul.features.catalog.candidates import Candidate

GROUPS_MAX: Final = 10_000
"""Questions whose turns are remembered; past it the one not asked for longest starts over."""
EARNINGS_MAX: Final = 50_000
"""Instances, over all questions, whose place in the smooth order is remembered."""
RINGS_MAX: Final = 10_000
"""Instances whose points on the ring are remembered, 1,200 bytes each."""
_RINGS_PER_STEP: Final = 50
"""Rings built before other requests get their turn: a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What a choice may depend on besides the candidates."""

    group: Hashable
    """The question: requests with the same one share a rotation."""
    client_addr: str = ""
    session: str = ""
    region: str = ""
    load_factor: float | None = None
    """How far above the mean an instance of `ring-hash` may be loaded; None: as it comes."""
    warned_percent: int = strategies.FULL_PERCENT
    """What of its weight an instance with a warning keeps."""


class Turns:
    """Counts choices by group. A group is kept as its hash, so that long questions cost no memory."""

    def __init__(self, most: int = GROUPS_MAX) -> None:
        self._most = most
        self._next: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._next)

    def take(self, group: Hashable) -> int:
        """The group's turn, from 0."""
        cell = hash(group)
        turn = self._next.get(cell, 0)
        self._next[cell] = turn + 1
        self._next.move_to_end(cell)
        if len(self._next) > self._most:
            self._next.popitem(last=False)
        return turn


class Earnings:
    """The state of smooth weighted round-robin by group, at most `most` instances over all groups."""

    def __init__(self, most: int = EARNINGS_MAX) -> None:
        self._most = most
        self._size = 0
        self._groups: OrderedDict[int, dict[bytes, int]] = OrderedDict()

    def __len__(self) -> int:
        return self._size

    def choose(self, group: Hashable, weights: Mapping[bytes, int]) -> bytes:
        """The key of the instance whose turn it is."""
        cell = hash(group)
        current = self._groups.pop(cell, {})
        self._size -= len(current)
        chosen = strategies.smooth(weights, current)
        self._groups[cell] = current
        self._size += len(current)
        while self._size > self._most:
            _, forgotten = self._groups.popitem(last=False)
            self._size -= len(forgotten)
        return chosen

    def richest(self, group: Hashable, most: int) -> list[bytes]:
        """Whose turns come next, as it stands."""
        current = self._groups.get(hash(group), {})
        return heapq.nlargest(most, current, key=current.__getitem__)


class Rings:
    """Points of instances on the ring, built once and kept for those asked for last."""

    def __init__(self, most: int = RINGS_MAX) -> None:
        self._most = most
        self._points: OrderedDict[str, array[int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._points)

    async def of(self, nodes: Sequence[str]) -> list[array[int]]:
        """The points of every node, in their order."""
        rings: list[array[int]] = []
        built = 0
        for node in nodes:
            points = self._points.get(node)
            if points is None:
                points = hashing.ring_points(node)
                built += 1
            self._points[node] = points
            self._points.move_to_end(node)
            if len(self._points) > self._most:
                self._points.popitem(last=False)
            rings.append(points)
            if built == _RINGS_PER_STEP:
                built = 0
                await asyncio.sleep(0)
        return rings


class Balancer:
    """The choices of one node."""

    def __init__(self, rng: Random | None = None, loads: Loads | None = None) -> None:
        self.strategy = Strategy.ROUND_ROBIN
        self.rng = rng or SystemRandom()
        self.turns = Turns()
        self.earnings = Earnings()
        self.rings = Rings()
        self.loads = Loads() if loads is None else loads

    async def choose(self, strategy: Strategy, found: Sequence[Candidate], asking: Asking) -> int:
        """The position of one of the candidates, which are in order of name and id and not empty."""
        return (await self.order(strategy, Pool(found), asking))[0]

    async def order(self, strategy: Strategy, pool: Pool, asking: Asking, most: int = 1) -> list[int]:
        """The positions of up to `most` candidates of the pool, which is not empty, best first."""
        found = pool.found
        count = len(found)
        match strategy:
            case Strategy.ROUND_ROBIN | Strategy.ZONE_AWARE:
                return strategies.round_robin(count, self.turns.take(asking.group), most)
            case Strategy.RANDOM:
                return strategies.uniform(count, self.rng, most)
            case Strategy.LEAST_CONNECTIONS:
                active = self.loads.active_of([one.key for one in found])
                chosen = strategies.least_connections(active, self.turns.take(asking.group), most)
                self.loads.assign(found[chosen[0]].key)
                return chosen
            case Strategy.WEIGHTED_ROUND_ROBIN:
                return self._by_earnings(pool, asking, most)
            case Strategy.WEIGHTED_RANDOM:
                weights = list(pool.weights(asking.warned_percent).values())
                return strategies.weighted_random(weights, self.rng, most)
            case Strategy.IP_HASH:
                return hashing.ip_hash(count, asking.client_addr, most)
            case Strategy.RING_HASH:
                return await self._on_ring(pool, asking, most)
            case Strategy.LATENCY_BASED:
                return self._by_latency(pool, asking, most)

    def _by_earnings(self, pool: Pool, asking: Asking, most: int) -> list[int]:
        weights = pool.weights(asking.warned_percent)
        keys = list(weights)
        chosen = self.earnings.choose(asking.group, weights)
        if most == 1:
            return [keys.index(chosen)]
        next_ones = self.earnings.richest(asking.group, most) or keys
        order = dict.fromkeys((chosen, *next_ones, *keys))
        places = {key: at for at, key in enumerate(keys)}
        return [places[key] for key in islice(order, most)]

    async def _on_ring(self, pool: Pool, asking: Asking, most: int) -> list[int]:
        if pool.rings is None:
            pool.rings = await self.rings.of([node_of(one) for one in pool.found])
        session = asking.session or asking.client_addr
        if asking.load_factor is None:
            return hashing.ring_hash(pool.rings, session, most)
        active = self.loads.active_of([one.key for one in pool.found])
        chosen = hashing.bounded_ring_hash(pool.rings, session, active, asking.load_factor, most)
        self.loads.assign(pool.found[chosen[0]].key)
        return chosen

    def _by_latency(self, pool: Pool, asking: Asking, most: int) -> list[int]:
        """By what was measured, of those in the client's region if there are any. Nothing measured: the first
        in the region; no region: anyone."""
        region = pool.tagged(strategies.REGION_TAG + asking.region) if asking.region else None
        if region is None or not region.found:
            chosen = self._fastest(pool, most)
            return strategies.uniform(len(pool), self.rng, most) if chosen is None else chosen
        chosen = self._fastest(region, most)
        near = [region.found[at].key for at in (chosen if chosen is not None else range(len(region)))]
        places = {one.key: at for at, one in enumerate(pool.found)}
        first = [places[key] for key in near]
        return (
            [*first, *(at for at in range(len(pool)) if at not in set(first))][:most]
            if most > 1
            else first[:1]
        )

    def _fastest(self, pool: Pool, most: int) -> list[int] | None:
        if not self.loads.has_latencies():
            return None
        return by_latency([self.loads.latency_ms(one.key) for one in pool.found], self.rng, most)


def node_of(candidate: Candidate) -> str:
    """What an instance is called on the ring: `name:address`, with its id behind the name if it has its own.

    Without the id, instances of one service on one address would stand on the same points.
    """
    name = candidate.name if candidate.id is None else f"{candidate.name}/{candidate.id}"
    return f"{name}:{candidate.address}"


_OF: WeakKeyDictionary[Engine, Balancer] = WeakKeyDictionary()


def balancer_of(engine: Engine) -> Balancer:
    """The node's balancer; goes with the node's engine."""
    balancer = _OF.get(engine)
    if balancer is None:
        balancer = _OF[engine] = Balancer(loads=loads_of(engine))
    return balancer
