"""Plain conversions for plain parameters.

typer (0.29) converts every argument through pydantic, which costs 200 ms of import: more than all the
rest of konsulctl's start. Text, whole numbers, choices and lists of text need none of it. Anything else,
takes typer's own way.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from typing import Any, Final

from typer import BadParameter

TYPERS_TURN: Final = object()
MOST: Final = 2**64 - 1
MOST_DIGITS: Final = 20
"""Numbers go to the server as 64 bits; int() of a longer text would only cost time."""


def lighten(parameters: Iterable[Any]) -> None:
    """Give click parameters, as typer built them, the short way."""
    for one in parameters:
        descriptor = getattr(one, "type_descriptor", None)
        if descriptor is not None and "process_value" not in vars(one):
            one.process_value = partial(_process, one, one.process_value, descriptor.annotation)


def _process(parameter: Any, typers_way: Any, annotation: Any, ctx: Any, value: Any) -> Any:
    if isinstance(value, str):
        value = _checked(parameter, annotation, ctx, value)
    several = parameter.multiple or parameter.nargs == -1
    quick = _several(annotation, value) if several else _one(annotation, value)
    missing = quick is None or quick == ()
    if quick is TYPERS_TURN or (missing and parameter.required):
        return typers_way(ctx, value)
    return quick if parameter.callback is None else parameter.callback(ctx, parameter, quick)


def _checked(parameter: Any, annotation: Any, ctx: Any, value: str) -> Any:
    """A whole number in its bounds, or a choice; what is wrong is said with the value."""
    if annotation is int:
        low, high = parameter.min or 0, parameter.max or MOST
        number = int(value) if value.isascii() and value.isdecimal() and len(value) <= MOST_DIGITS else -1
        if not low <= number <= high:
            raise BadParameter(f"{value!r} is not a whole number from {low} to {high}.", ctx, parameter)
        return number
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        names = [member.value for member in annotation]
        if value not in names:
            raise BadParameter(f"{value!r} is not one of {', '.join(names)}.", ctx, parameter)
        return annotation(value)
    return value


def _several(annotation: Any, value: Any) -> Any:
    if value is None:
        return ()
    return tuple(value) if annotation == list[str] and isinstance(value, (list, tuple)) else TYPERS_TURN


def _one(annotation: Any, value: Any) -> Any:
    if value is None or (isinstance(annotation, type) and isinstance(value, annotation)):
        return value
    return TYPERS_TURN
