"""What a watch has handed out: which changes are new when a server tells some of them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class Seen:
    """Changes come in the order of their indices; several keys of one entry share one.

    `floor`: every matching change at or before it was handed out; a new connection asks for what follows. Of
    the entry after it some may have been handed out already: they are counted, and left out when they come
    again.
    """

    def __init__(self, floor: int = 0) -> None:
        self.floor = floor
        self._at = floor
        self._told: Counter[str] = Counter()
        self._again: Counter[str] = Counter()
        self._listed: dict[str, int] = {}

    def relisted(self, index: int, newer: Mapping[str, int]) -> None:
        """Everything up to `index` was listed, and of `newer` keys what their row's index names too."""
        self.floor = self._at = index
        self._told.clear()
        self._again.clear()
        self._listed = dict(newer)

    def reconnected(self) -> None:
        """The server begins again after `floor`."""
        self._again = Counter(self._told)

    def is_new(self, index: int, key: str) -> bool:
        """Notes a change; False when it, or what it led to, was handed out before."""
        if index <= self.floor:
            return False
        if index > self._at:
            # All of the entry before is through: the next one has begun.
            self.floor = max(self.floor, self._at)
            self._at = index
            self._told.clear()
            self._again.clear()
        elif index == self._at and self._again[key]:
            self._again[key] -= 1
            return False
        self._told[key] += 1
        return self._listed.get(key, 0) < index

    def passed(self, index: int) -> None:
        """Every matching change at or before `index` is through."""
        self.floor = max(self.floor, index)
