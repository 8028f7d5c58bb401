"""How many of something each client has open."""

from __future__ import annotations


class PerClient:
    """Holds only clients that have one."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def of(self, client: str) -> int:
        """How many are this client's."""
        return self._counts.get(client, 0)

    def add(self, client: str) -> None:
        """One more."""
        self._counts[client] = self._counts.get(client, 0) + 1

    def drop(self, client: str) -> None:
        """One less; does nothing if there is none."""
        left = self._counts.pop(client, 0) - 1
        if left > 0:
            self._counts[client] = left
