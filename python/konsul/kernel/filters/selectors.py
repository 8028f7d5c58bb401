"""What a kind of row offers to filters: names, what they hold, how that is read, and which index knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from konsul.errors import Invalid
from konsul.kernel.filters.problem import FilterError

R = TypeVar("R")
FILTERS_KEPT: Final = 256
WITH_PATTERNS_KEPT: Final = 16
"""At most 16 filters of 8 patterns of 256 KiB stay in memory: 32 MiB."""
_NESTED_MAX: Final = 2
"""Words in the longest name of a selector."""


class Kind(Enum):
    """What a selector reads."""

    TEXT = "a text"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    TEXTS = "a list of texts"
    TEXT_MAP = "a map of texts"


@dataclass(frozen=True, slots=True)
class Selector(Generic[R]):
    """One thing that can be asked of a row.

    Attributes:
        names: the first is the one shown; compared without regard to case. One may hold a dot.
        read: of a row; never fails, and is never None.
        index: the column whose index finds equal texts, items of lists, and `key=value` of maps.
    """

    names: tuple[str, ...]
    kind: Kind
    read: Callable[[R], Any]
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Filter(Generic[R]):
    """A question about a row."""

    text: str
    accepts: Callable[[R], bool]
    where: tuple[tuple[int, bytes], ...]
    """What every accepted row has in its indexes: `(column, index value)`."""
    terms: int
    """How many comparisons a row can cost at most."""
    patterns: int


class Selectors(Generic[R]):
    """All that can be asked of one kind of row."""

    def __init__(self, selectors: Sequence[Selector[R]]) -> None:
        self.all: Final = tuple(selectors)
        self._by_name: Mapping[str, Selector[R]] = {
            name.lower(): one for one in selectors for name in one.names
        }
        self._plain = lru_cache(FILTERS_KEPT)(self._compiled_plain)
        self._patterned = lru_cache(WITH_PATTERNS_KEPT)(self.compiled)

    def names(self) -> list[str]:
        """The name of each that is shown, sorted."""
        return sorted(one.names[0] for one in self.all)

    def find(self, path: tuple[str, ...]) -> tuple[Selector[R], tuple[str, ...]] | None:
        """The selector with the longest name that the path begins with, and the rest of the path."""
        for size in range(min(len(path), _NESTED_MAX), 0, -1):
            found = self._by_name.get(".".join(path[:size]).lower())
            if found is not None:
                return found, path[size:]
        return None

    def compiled(self, text: str) -> Filter[R]:
        """The filter that the text is. Raises FilterError."""
        from konsul.kernel.filters.compiler import compile_filter

        return compile_filter(text, self)

    def filter(self, text: str) -> Filter[R]:
        """As `compiled`, from those used last.

        Raises:
            Invalid: it cannot be understood; with line, column, and what was expected.
        """
        try:
            return self._plain(text) or self._patterned(text)
        except FilterError as error:
            raise Invalid(str(error)) from None

    def _compiled_plain(self, text: str) -> Filter[R] | None:
        """None: it has patterns, and is kept elsewhere."""
        found = self.compiled(text)
        return None if found.patterns else found
