"""The arithmetic of a graph of services: cycles, reach, order, depth, and its text for Graphviz. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

Neighbours: TypeAlias = Callable[[str], Iterable[str]]
Edges: TypeAlias = Mapping[str, Sequence[str]]
"""Service -> what it needs. Each edge once."""

NAMED_MAX: Final = 16
"""So many services of a cycle are named; a longer one is cut in the middle."""


def cycle(name: str, needed: Iterable[str], neighbours: Neighbours) -> tuple[str, ...] | None:
    """The shortest way from `name` over one of `needed` back to itself, both ends included; None without one.

    Breadth first, so a cycle of many is told by its shortest form, and no depth of recursion is needed. Every
    service is looked at once.
    """
    came_from: dict[str, str] = {}
    waiting: deque[str] = deque()
    for first in sorted(set(needed)):
        if first == name:
            return (name, name)
        came_from[first] = name
        waiting.append(first)
    while waiting:
        at = waiting.popleft()
        for following in sorted(neighbours(at)):
            if following == name:
                way = [name]
                while at != name:
                    way.append(at)
                    at = came_from[at]
                return (name, *reversed(way))
            if following not in came_from:
                came_from[following] = at
                waiting.append(following)
    return None


def told(way: Sequence[str], sees: Callable[[str], bool] = lambda _: True) -> str:
    """A cycle as text, `web -> api -> db -> web`; what the reader may not see is `(hidden)`."""
    names = [name if sees(name) else "(hidden)" for name in way]
    if len(names) > NAMED_MAX:
        half = NAMED_MAX // 2
        names[half:-half] = [f"({len(names) - NAMED_MAX} more)"]
    return " -> ".join(names)


def reach(name: str, neighbours: Neighbours) -> dict[str, int]:
    """What is reached from `name`, without it, and over how many edges at least; nearest first, then by
    name."""
    found: dict[str, int] = {}
    level = [name]
    depth = 0
    while level:
        depth += 1
        following = sorted({one for at in level for one in neighbours(at)} - found.keys() - {name})
        found.update(dict.fromkeys(following, depth))
        level = following
    return found


def order(edges: Edges) -> list[str]:
    """Every service after all that it needs (Kahn 1962), by name where that leaves a choice. What is in or
    above a cycle is left out."""
    missing = {name: len(needed) for name, needed in edges.items()}
    above: dict[str, list[str]] = {}
    for name, needed in edges.items():
        for one in needed:
            above.setdefault(one, []).append(name)
            missing.setdefault(one, 0)
    ready = [name for name, count in missing.items() if not count]
    heapify(ready)
    ordered: list[str] = []
    while ready:
        name = heappop(ready)
        ordered.append(name)
        for one in above.get(name, ()):
            missing[one] -= 1
            if not missing[one]:
                heappush(ready, one)
    return ordered


def depths(edges: Edges) -> dict[str, int]:
    """How many edges the longest chain below each service has; 0 of one that needs nothing."""
    found: dict[str, int] = {}
    for name in order(edges):
        found[name] = max((found[one] + 1 for one in edges.get(name, ())), default=0)
    return found


def dot(names: Iterable[tuple[str, str]], edges: Iterable[tuple[str, str]]) -> str:
    """The graph in Graphviz's language; `names` come with their health."""
    lines = ["digraph services {", "  rankdir=LR;", "  node [shape=box, style=filled];"]
    for name, health in names:
        color = _COLORS.get(health, "white")
        label = _quoted(f"{name}\n{health}")
        lines.append(f"  {_quoted(name)} [label={label}, fillcolor={_quoted(color)}];")
    lines += [f"  {_quoted(one)} -> {_quoted(other)};" for one, other in edges]
    return "\n".join([*lines, "}", ""])


_COLORS: Final = {"passing": "palegreen", "warning": "khaki", "critical": "lightcoral", "absent": "lightgray"}


def _quoted(text: str) -> str:
    """A quoted string of Graphviz: only the quote and the backslash are special in it, and a line end is
    written `\\n`."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
