"""The names of the strategies, and those that go by turns, chance and weight, as functions of what they see.

Each answers positions in the candidates, best first, as many as are wanted and there are. Candidates are
never empty. Nothing is remembered here: what a strategy keeps is in `balancer`. The ring is in `hashing`.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Hashable, Mapping, Sequence
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
    ZONE_AWARE = "zone-aware"


WEIGHT_MAX: Final = 1_000_000
"""Heavier counts as this: sums stay small numbers whatever metadata says."""
WEIGHT: Final = "weight"
WARNING_WEIGHT: Final = "weight_warning"
"""The names of the metadata that hold weights."""
FULL_PERCENT: Final = 100
REGION_TAG: Final = "region:"
_WEIGHT: Final = re.compile(r"\+?[0-9]+", re.ASCII)


def weight_of(meta: Mapping[str, str], name: str = WEIGHT) -> int:
    """The weight in an instance's metadata: a whole number from 1 to WEIGHT_MAX, 1 for anything else."""
    text = meta.get(name, "")
    if not _WEIGHT.fullmatch(text):
        return 1
    # Zero is no weight: an instance that should get nothing is deregistered, or a rule's percentage is 0.
    return min(int(text[:20]), WEIGHT_MAX) or 1


def share_of(meta: Mapping[str, str], *, is_warned: bool, warned_percent: int) -> int:
    """The weight in hundredths. An instance with a warning has its own `weight_warning` if it names one, else
    `warned_percent` of its weight."""
    if not is_warned:
        return weight_of(meta) * FULL_PERCENT
    if WARNING_WEIGHT in meta:
        return weight_of(meta, WARNING_WEIGHT) * FULL_PERCENT
    return weight_of(meta) * warned_percent


def round_robin(count: int, turn: int, most: int = 1) -> list[int]:
    """The candidate whose turn it is, then those whose turns come next."""
    return [(turn + step) % count for step in range(min(most, count))]


def uniform(count: int, rng: Random, most: int = 1) -> list[int]:
    """Any candidates, each as likely."""
    return [rng.randrange(count)] if most == 1 else rng.sample(range(count), min(most, count))


def least_connections(connections: Sequence[int], turn: int, most: int = 1) -> list[int]:
    """The candidates with the fewest connections; those with equally few take turns."""
    if most == 1:
        fewest = min(connections)
        tied = [at for at, number in enumerate(connections) if number == fewest]
        return [tied[turn % len(tied)]]
    count = len(connections)
    return heapq.nsmallest(most, range(count), key=lambda at: (connections[at], (at - turn) % count))


def smooth(weights: Mapping[K, int], current: dict[K, int]) -> K:
    """The next of nginx's smooth weighted round-robin.

    Everybody gains its weight, the richest is chosen (the first among equals) and pays the sum of all
    weights. In a full round of that many choices each is chosen `weight` times, spread evenly.
    `current` holds what each has; who left is forgotten.
    """
    if len(current) > len(weights) or current.keys() - weights.keys():
        for gone in current.keys() - weights.keys():
            del current[gone]
    total = 0
    richest: int | None = None
    for one, weight in weights.items():
        total += weight
        has = current[one] = current.get(one, 0) + weight
        if richest is None or has > richest:
            richest, chosen = has, one
    current[chosen] -= total
    return chosen


def weighted_random(weights: Sequence[int], rng: Random, most: int = 1) -> list[int]:
    """Any candidates, as likely as they are heavy.

    Several are drawn without putting back, by the keys of Efraimidis and Spirakis (2006): the largest of
    `u ** (1 / weight)`.
    """
    if most == 1:
        return [rng.choices(range(len(weights)), weights)[0]]
    keys = [rng.random() ** (1 / weight) for weight in weights]
    return heapq.nlargest(most, range(len(weights)), key=keys.__getitem__)
