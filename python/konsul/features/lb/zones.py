"""Zone-aware choosing: the client's own zone first, and others for what that zone cannot carry."""

from __future__ import annotations

from typing import Final

from konsul.features.lb.hashing import BASIS

MIN_PERCENT: Final = 70
"""From this share of serving instances on a zone keeps all of its clients. Envoy's overprovisioning factor of
1.4 draws the same line at 71 percent."""


def stays_of(serving: int, known: int, min_percent: int) -> int:
    """How many of BASIS selections stay in the zone, of whose `known` instances `serving` serve.

    All while the share is at least `min_percent`; below it what the rest can carry, in proportion, so that
    the last instances of a zone are not crushed by all of its clients. None of none.
    """
    if serving <= 0 or known <= 0:
        return 0
    return min(BASIS, serving * BASIS * 100 // (known * max(1, min_percent)))
