"""`--passing` and `--health` of the commands that list instances. Imports the client's side only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from konsul.errors import Invalid

HEALTHS = ("passing", "serving", "any")
Passing = Annotated[bool, typer.Option("--passing", help="Short for --health passing.")]
Health = Annotated[
    str | None,
    typer.Option("--health", metavar="|".join(HEALTHS), help="Only such instances; serving: not critical."),
]


def health_of(passing: bool, health: str | None, words: Sequence[str] = HEALTHS) -> str | None:
    """What both flags ask for together. Raises Invalid, also for a health that is none of `words`."""
    if health is not None and health not in words:
        raise Invalid(f"--health is {health!r}: expected {', '.join(words[:-1])} or {words[-1]}")
    if passing and health not in (None, "passing"):
        raise Invalid(f"--passing cannot be combined with --health {health}")
    return "passing" if passing else health
