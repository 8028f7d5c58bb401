"""What each service says it needs, and one row about all of it."""

from __future__ import annotations

from typing import Final

from konsul.kernel.schema import Row, index, key, table

GRAPH: Final = "@graph"
"""The key of the row about the whole graph: no service can be called so."""


@table("dependencies", id=21)
class Dependencies(Row):
    """The services that one service needs. They belong to the service and not to its instances: what is down
    is what one wants to know the dependents of."""

    service: str = key()
    depends_on: list[str] = index(each=True, default=[])
    """Sorted, so that equal declarations are equal cells."""
    edges: int = 0
    """Of the row `GRAPH` only: how many dependencies there are in all."""
    declarations: int = 0
    """Of the row `GRAPH` only: grows with every change, so that the row is another after each."""
