"""Plain conversions for plain parameters.

typer (0.29) converts every argument through pydantic, which costs 200 ms of import: more than all the
rest of konsulctl's start. Text, whole numbers, choices and lists of text need none of it. Anything else,
and everything that is wrong, takes typer's own way, so that messages stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from typing import Any, Final

TYPERS_TURN: Final = object()


def lighten(parameters: Iterable[Any]) -> None:
    """Give click parameters, as typer built them, the short way."""
    for one in parameters:
        descriptor = getattr(one, "type_descriptor", None)
        if descriptor is not None and "process_value" not in vars(one):
            one.process_value = partial(_process, one, one.process_value, descriptor.annotation)


def _process(parameter: Any, typers_way: Any, annotation: Any, ctx: Any, value: Any) -> Any:
    several = parameter.multiple or parameter.nargs == -1
    quick = _several(annotation, value) if several else _one(annotation, value)
    missing = quick is None or quick == ()
    if quick is TYPERS_TURN or (missing and parameter.required):
        return typers_way(ctx, value)
    return quick if parameter.callback is None else parameter.callback(ctx, parameter, quick)


def _several(annotation: Any, value: Any) -> Any:
    if value is None:
        return ()
    return tuple(value) if annotation == list[str] and isinstance(value, (list, tuple)) else TYPERS_TURN


def _one(annotation: Any, value: Any) -> Any:
    if value is None or (annotation is str and isinstance(value, str)):
        return value
    if annotation is int and isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum) and isinstance(value, str):
        return next((member for member in annotation if member.value == value), TYPERS_TURN)
    return TYPERS_TURN
