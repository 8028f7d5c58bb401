"""What is wrong with a filter, and where."""

from __future__ import annotations

from typing import Final

_SHOWN_MAX: Final = 40


class FilterError(ValueError):
    """A filter that cannot be understood. `line` and `column` count from 1, in characters."""

    def __init__(self, text: str, at: int, problem: str) -> None:
        """`at`: the place in `text`, from 0."""
        before = text[:at]
        self.line = before.count("\n") + 1
        self.column = at - (before.rfind("\n") + 1) + 1
        self.problem = problem
        super().__init__(f"Invalid filter: line {self.line}, column {self.column}: {problem}")


def shown(text: str) -> str:
    """A piece of a filter, short and printable enough for a message."""
    cut = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
