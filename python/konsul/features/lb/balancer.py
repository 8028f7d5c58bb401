"""What one node remembers to choose well: its strategy, turns, earnings of weights. All bounded."""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from konsul.features.lb import strategies
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

    def choose(self, group: Hashable, weights: dict[bytes, int]) -> bytes:
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
                points = strategies.ring_points(node)
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

    def __init__(self, rng: Random | None = None) -> None:
        self.strategy = Strategy.ROUND_ROBIN
        self.rng = rng or SystemRandom()
        self.turns = Turns()
        self.earnings = Earnings()
        self.rings = Rings()

    async def choose(self, strategy: Strategy, found: Sequence[Candidate], asking: Asking) -> int:
        """The position of one of the candidates, which are in order of name and id and not empty."""
        count = len(found)
        match strategy:
            case Strategy.ROUND_ROBIN:
                return strategies.round_robin(count, self.turns.take(asking.group))
            case Strategy.RANDOM:
                return strategies.uniform(count, self.rng)
            case Strategy.LEAST_CONNECTIONS:
                # Nobody reports connections to the server, so every instance has as many as the others.
                return strategies.least_connections([0] * count, self.turns.take(asking.group))
            case Strategy.WEIGHTED_ROUND_ROBIN:
                weights = {one.key: strategies.weight_of(one.meta) for one in found}
                chosen = self.earnings.choose(asking.group, weights)
                return list(weights).index(chosen)
            case Strategy.WEIGHTED_RANDOM:
                return strategies.weighted_random([strategies.weight_of(one.meta) for one in found], self.rng)
            case Strategy.IP_HASH:
                return strategies.ip_hash(count, asking.client_addr)
            case Strategy.RING_HASH:
                rings = await self.rings.of([node_of(one) for one in found])
                return strategies.ring_hash(rings, asking.session or asking.client_addr)
            case Strategy.LATENCY_BASED:
                tags = (one.tags for one in found)
                return strategies.latency_based(tags, asking.region, count, self.rng)


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
        balancer = _OF[engine] = Balancer()
    return balancer
