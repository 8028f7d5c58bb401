"""Who looks at rows when: one search at a time for a moment, then everybody else, then the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from konsul.engine import Engine
    from konsul.kernel.filters.selectors import Filter

STEPS: Final = 2_000
"""What a search does in one turn: about a millisecond. A step is a comparison."""
_PER_ROW: Final = 28
"""Unpacking a row, in steps."""
_PER_PATTERN: Final = 4
_TURNS: Final[WeakKeyDictionary[Engine, asyncio.Lock]] = WeakKeyDictionary()


def slice_of(filter_: Filter[Any] | None) -> int:
    """How many rows one turn looks at, when each costs what the filter can cost."""
    if filter_ is None:
        return STEPS // _PER_ROW
    return STEPS // (_PER_ROW + filter_.terms + _PER_PATTERN * filter_.patterns)


def turn_of(engine: Engine) -> asyncio.Lock:
    """Held by the search whose turn it is, also while it gives way: ten at once hold up a request no longer
    than one does."""
    turn = _TURNS.get(engine)
    if turn is None:
        turn = _TURNS[engine] = asyncio.Lock()
    return turn
