"""The eight ways of choosing, as functions of what they look at: each answers a position in the candidates.

Candidates are never empty. Nothing is remembered here; what a strategy keeps is in `balancer`.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Final, TypeVar

K = TypeVar("K", bound=Hashable)


class Strategy(StrEnum):
    """Every strategy, by its name on the wire."""

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    LEAST_CONNECTIONS = "least-connections"
    WEIGHTED_ROUND_ROBIN = "weighted-round-robin"
    WEIGHTED_RANDOM = "weighted-random"
    IP_HASH = "ip-hash"
    RING_HASH = "ring-hash"
    LATENCY_BASED = "latency-based"


VIRTUAL_NODES: Final = 150
WEIGHT_MAX: Final = 1_000_000
"""Heavier counts as this: sums stay small numbers whatever metadata says."""
REGION_TAG: Final = "region:"
_WEIGHT: Final = re.compile(r"\+?[0-9]+", re.ASCII)
_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_U64: Final = 2**64 - 1


def weight_of(meta: Mapping[str, str]) -> int:
    """The weight in an instance's metadata: a whole number from 1 to WEIGHT_MAX, 1 for anything else."""
    text = meta.get("weight", "")
    if not _WEIGHT.fullmatch(text):
        return 1
    # Zero is no weight: an instance that should get nothing is deregistered.
    return min(int(text), WEIGHT_MAX) or 1


def fnv1a_64(data: bytes, state: int = _FNV_OFFSET) -> int:
    """FNV-1a with 64 bits (Fowler, Noll, Vo; RFC 9923), going on from `state`."""
    for byte in data:
        state = (state ^ byte) * _FNV_PRIME & _U64
    return state


def round_robin(count: int, turn: int) -> int:
    """The candidate whose turn it is."""
    return turn % count


def uniform(count: int, rng: Random) -> int:
    """Any candidate, each as likely."""
    return rng.randrange(count)


def least_connections(connections: Sequence[int], turn: int) -> int:
    """The candidate with the fewest connections; those with equally few take turns."""
    fewest = min(connections)
    tied = [at for at, number in enumerate(connections) if number == fewest]
    return tied[turn % len(tied)]


def smooth(weights: Mapping[K, int], current: dict[K, int]) -> K:
    """The next of nginx's smooth weighted round-robin.

    Everybody gains its weight, the richest is chosen (the first among equals) and pays the sum of all
    weights. In a full round of that many choices each is chosen `weight` times, spread evenly.
    `current` holds what each has; who left is forgotten.
    """
    for gone in current.keys() - weights.keys():
        del current[gone]
    for one, weight in weights.items():
        current[one] = current.get(one, 0) + weight
    chosen = max(weights, key=current.__getitem__)
    current[chosen] -= sum(weights.values())
    return chosen


def weighted_random(weights: Sequence[int], rng: Random) -> int:
    """Any candidate, as likely as it is heavy."""
    return rng.choices(range(len(weights)), weights)[0]


def ip_hash(count: int, client_addr: str) -> int:
    """The same candidate for the same client address, as long as their number stays."""
    return fnv1a_64(client_addr.encode()) % count


def ring_points(node: str) -> array[int]:
    """Where the virtual nodes `node:0` to `node:149` stand on the ring, ascending."""
    start = fnv1a_64(f"{node}:".encode())
    points: list[int] = []
    for number in range(VIRTUAL_NODES):
        # FNV goes byte by byte, so `node:14` goes on from `node:1`: a step per point instead of a whole hash.
        before = points[number // 10] if number >= 10 else start
        points.append((before ^ ord("0") + number % 10) * _FNV_PRIME & _U64)
    return array("Q", sorted(points))


def ring_hash(rings: Sequence[array[int]], session: str) -> int:
    """The candidate that owns the first point at or after the session's hash, past the end the first of all.

    One search per candidate instead of one merged ring: nothing has to be rebuilt when instances come and go.
    """
    place = fnv1a_64(session.encode())

    def distance(at: int) -> int:
        points = rings[at]
        found = bisect_left(points, place)
        return (points[found % len(points)] - place) & _U64

    return min(range(len(rings)), key=distance)


def latency_based(tags: Iterable[Sequence[str]], region: str, count: int, rng: Random) -> int:
    """The first candidate tagged with the client's region; without one, or without a region, any."""
    wanted = REGION_TAG + region
    if region:
        for at, own in enumerate(tags):
            if wanted in own:
                return at
    return uniform(count, rng)
