"""Choosing by measured latency: a decaying average, and the better of two drawn at random."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from random import Random

Estimates = Sequence[float | None]
"""Milliseconds by candidate; None where nothing was measured lately."""


def averaged(average_ms: float, measured_ms: float, since_s: float, decay_s: float) -> float:
    """An exponentially weighted average, `since_s` after its last value: older ones count for less by time,
    not by number, so that who reports often does not count for more.

    A first value is taken as it is by whoever keeps the average.
    """
    kept = math.exp(-max(0.0, since_s) / decay_s)
    return average_ms * kept + measured_ms * (1 - kept)


def by_latency(estimates: Estimates, rng: Random, most: int = 1) -> list[int] | None:
    """The faster of two different candidates drawn at random, then the fastest of the others; None when
    nothing was measured of anybody.

    The power of two choices (Mitzenmacher 2001): everybody choosing the fastest would make it the slowest.
    Of n candidates the one of rank r (0: fastest) is chosen with 2(n-1-r) / n(n-1), the slowest never, until
    what is known of it is too old to count. Who was not measured counts as fast as the fastest: it is tried.
    """
    known = [one for one in estimates if one is not None]
    if not known:
        return None
    fastest = min(known)
    filled = [fastest if one is None else one for one in estimates]
    count = len(filled)
    if count == 1:
        return [0]
    one, other = rng.sample(range(count), 2)
    first = one if filled[one] <= filled[other] else other
    if most == 1:
        return [first]
    others = (at for at in range(count) if at != first)
    return [first, *heapq.nsmallest(most - 1, others, key=filled.__getitem__)]
