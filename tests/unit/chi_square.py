"""Whether counts follow the probabilities they should: Pearson's chi-square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ONE_IN_TEN_THOUSAND = 3.719
ONE_IN_A_BILLION = 6.0
"""Quantiles of the normal distribution: for chances with a fixed seed, and for those a server draws anew."""


def statistic(counts: Mapping[Any, int], expected: Mapping[Any, float]) -> float:
    """The sum of squared deviations; `expected`: a probability for everything that may be counted."""
    total = sum(counts.values())
    assert not counts.keys() - expected.keys(), "something was counted that cannot be"
    return sum((counts.get(one, 0) - total * p) ** 2 / (total * p) for one, p in expected.items())


def critical(freedom: int, rarity: float = ONE_IN_TEN_THOUSAND) -> float:
    """What the statistic passes by chance as rarely as `rarity` says, after Wilson and Hilferty (1931)."""
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + rarity * part**0.5) ** 3)


def follows(
    counts: Mapping[Any, int], expected: Mapping[Any, float], rarity: float = ONE_IN_TEN_THOUSAND
) -> bool:
    """True unless the counts are further off than chance is but once in so many times. With a fixed seed what
    follows once follows always."""
    assert abs(sum(expected.values()) - 1) < 1e-9, "probabilities that are not 1 together"
    return statistic(counts, expected) < critical(len(expected) - 1, rarity)
