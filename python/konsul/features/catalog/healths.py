"""How healthy an instance must be to be given to somebody, as conditions that an index answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from konsul.features.catalog.tables import CRITICAL, STATUSES, WARNING, Instance
from konsul.features.catalog.tables import PASSING as PASSING_STATUS

Health: TypeAlias = Literal["passing", "serving", "any"]
PASSING: Final = "passing"
SERVING: Final = "serving"
"""Passing or warning: what is given out unless somebody asks otherwise."""
ANY: Final = "any"
HEALTHS: Final[tuple[Health, ...]] = (PASSING, SERVING, ANY)

RANKS: Final[dict[str, int]] = {status: rank for rank, status in enumerate(STATUSES)}
"""Of each status: 0 is the best."""
_COLUMN: Final = Instance.column("health")
_CONDITIONS: Final[dict[str, tuple[tuple[tuple[int, bytes], ...], ...]]] = {
    PASSING: (((_COLUMN, PASSING_STATUS.encode()),),),
    SERVING: (((_COLUMN, PASSING_STATUS.encode()),), ((_COLUMN, WARNING.encode()),)),
    ANY: ((),),
    WARNING: (((_COLUMN, WARNING.encode()),),),
    CRITICAL: (((_COLUMN, CRITICAL.encode()),),),
}


def conditions(health: str) -> Sequence[tuple[tuple[int, bytes], ...]]:
    """The `where` of each scan that together finds what is as healthy; each finds others. `health`: a
    `Health`, or warning or critical for exactly those."""
    return _CONDITIONS[health]


def serves(health: Health, status: str) -> bool:
    """Whether an instance of this status is healthy enough."""
    return health == ANY or status == PASSING_STATUS or (health == SERVING and status == WARNING)


def worst(statuses: Sequence[str]) -> str:
    """The worst of them; passing when there is none."""
    return STATUSES[max(map(RANKS.__getitem__, statuses), default=0)]
