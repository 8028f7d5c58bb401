"""A feature's part of the GraphQL schema: where it is, what it holds, and the scalars that all of them share.

Nothing here imports strawberry: it costs start-up time and memory that a node without GraphQL clients never
has to spend. `Graph` only names a module; `parts` imports it when the first operation arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, NewType

Long = NewType("Long", int)
"""An index of 64 bits, which GraphQL's `Int` cannot hold."""
Time = NewType("Time", int)
"""A moment as milliseconds since 1970; RFC 3339 text with whole seconds outside."""
Duration = NewType("Duration", int)
"""Milliseconds; Go's duration text outside, such as `30s` or `5m0s`."""
JsonObject = NewType("JsonObject", dict[str, Any])
"""A map as it is."""

BATCH_MAX: Final = 100
"""The most keys a DataLoader asks for at once."""


class Compacted(Exception):
    """A subscription ends: changes up to `index` may be missing. The client lists again and goes on."""

    def __init__(self, index: int) -> None:
        super().__init__(f"changes up to {index} may be missing: list again and subscribe with since {index}")
        self.index = index


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
