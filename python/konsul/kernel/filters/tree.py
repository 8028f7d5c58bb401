"""What an expression is, and how it is written back as text that means the same."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_/]*|[0-9]+", re.ASCII)
"""What may stand behind a dot; anything else goes in brackets."""
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class Op(StrEnum):
    """How a selector is compared. `x in S` and `S contains x` are one."""

    EQ = "=="
    NE = "!="
    IN = "in"
    NOT_IN = "not in"
    EMPTY = "is empty"
    NOT_EMPTY = "is not empty"
    MATCHES = "matches"
    NOT_MATCHES = "not matches"


@dataclass(frozen=True, slots=True)
class Match:
    """One comparison. `at` and `value_at`: where selector and value stand in the text, from 0."""

    selector: tuple[str, ...]
    op: Op
    value: str = ""
    at: int = field(default=0, compare=False)
    value_at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more."""

    terms: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more."""

    terms: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not this."""

    term: Expression


Expression: TypeAlias = Match | And | Or | Not


def quoted(text: str) -> str:
    """The text in double quotes."""
    return '"' + "".join(_ESCAPES.get(char, char) for char in text) + '"'


def path_text(selector: tuple[str, ...]) -> str:
    """A selector as it is written."""
    first, *rest = selector
    return first + "".join(f".{one}" if PLAIN.fullmatch(one) else f"[{quoted(one)}]" for one in rest)


def write(expression: Expression) -> str:
    """Text that parses to an equal expression."""
    match expression:
        case Match(selector, Op.EMPTY | Op.NOT_EMPTY as op):
            return f"{path_text(selector)} {op}"
        case Match(selector, Op.IN | Op.NOT_IN as op, value):
            return f"{quoted(value)} {op} {path_text(selector)}"
        case Match(selector, op, value):
            return f"{path_text(selector)} {op} {quoted(value)}"
        case Not(term):
            return f"not {_within(term, And | Or)}"
        case And(terms):
            return " and ".join(_within(term, And | Or) for term in terms)
        case Or(terms):
            return " or ".join(_within(term, Or) for term in terms)


def _within(term: Expression, grouped: object) -> str:
    text = write(term)
    return f"({text})" if isinstance(term, grouped) else text  # type: ignore[arg-type]
