"""A feature's part of the GraphQL schema: where it is, what it holds, and the scalars that all of them share.

Nothing here imports strawberry: it costs start-up time and memory that a node without GraphQL clients never
has to spend. `Graph` only names a module; `parts` imports it when the first operation arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Generic, NewType, TypeVar, cast

Long = NewType("Long", int)
"""An index of 64 bits, which GraphQL's `Int` cannot hold."""
Time = NewType("Time", int)
"""A moment as milliseconds since 1970; RFC 3339 text with whole seconds outside."""
Duration = NewType("Duration", int)
"""Milliseconds; Go's duration text outside, such as `30s` or `5m0s`."""
JsonObject = NewType("JsonObject", dict[str, Any])
"""A map as it is."""

S = TypeVar("S")
T = TypeVar("T")

TURN: Final = 50
"""So many items of a list are answered before the loop is given back: a thousand at once take it for long."""
BATCH_MAX: Final = 100
"""The most keys a DataLoader asks for at once."""


class Compacted(Exception):
    """A subscription ends: changes up to `index` may be missing. The client lists again and goes on."""

    def __init__(self, index: int) -> None:
        super().__init__(f"changes up to {index} may be missing: list again and subscribe with since {index}")
        self.index = index


class _InTurns(Generic[S, T]):
    """May be read more than once: a query may have the same list under two names."""

    def __init__(self, items: Sequence[S], make: Callable[[S], T]) -> None:
        self._items = items
        self._make = make

    async def __aiter__(self) -> AsyncIterator[T]:
        for number, item in enumerate(self._items, 1):
            yield self._make(item)
            if number % TURN == 0:
                await asyncio.sleep(0)


def in_turns(items: Sequence[S], make: Callable[[S], T]) -> list[T]:
    """`make` of every item, as a field of a list type answers it.

    Typed as the list that the schema is built from; a long one is an asynchronous iterable.
    """
    if len(items) <= TURN:
        return [make(item) for item in items]
    return cast(list[T], _InTurns(items, make))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Strawberry types whose fields are merged into the schema's root types, and types nothing refers to."""

    queries: tuple[type, ...] = ()
    mutations: tuple[type, ...] = ()
    subscriptions: tuple[type, ...] = ()
    types: tuple[type, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """Declares that the module of this name holds `parts = Parts(...)`."""

    module: str

    def parts(self) -> Parts:
        """Imports it. Slow the first time: call it in a thread. Raises TypeError if it holds no parts."""
        found = getattr(import_module(self.module), "parts", None)
        if not isinstance(found, Parts):
            raise TypeError(f"{self.module} must hold `parts = Parts(...)`")
        return found
