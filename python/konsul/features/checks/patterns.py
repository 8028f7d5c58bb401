"""Patterns over answers, each compiled once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from konsul.kernel.filters.patterns import searching

_KEPT_MAX: Final = 1_024


@lru_cache(_KEPT_MAX)
def _searching(pattern: str) -> Callable[[str], bool]:
    return searching(pattern)


def holds(pattern: str, text: bytes) -> bool:
    """Whether the pattern is found in the text. Raises ValueError for a pattern that is none."""
    return _searching(pattern)(text.decode("utf-8", "replace"))
