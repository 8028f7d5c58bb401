"""A tree becomes closures over a row, each bound to its kind; and what of it an index can answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from konsul.kernel.filters.parser import parse
from konsul.kernel.filters.patterns import searching
from konsul.kernel.filters.problem import FilterError, shown
from konsul.kernel.filters.selectors import Filter, Kind, Selector, Selectors
from konsul.kernel.filters.tree import And, Expression, Match, Not, Op, Or, path_text

R = TypeVar("R")
Test: TypeAlias = Callable[[Any], bool]
WHERE_MAX: Final = 32
"""The most a scan of the core takes."""
INDEXED_MAX_BYTES: Final = 760
"""What an index holds, less its escapes; nothing longer can be asked of it."""
_NEGATED: Final = {
    Op.NE: Op.EQ,
    Op.NOT_IN: Op.IN,
    Op.NOT_EMPTY: Op.EMPTY,
    Op.NOT_MATCHES: Op.MATCHES,
}
_EQUAL: Final = (Op.EQ, Op.NE)
_WITHIN: Final = (Op.IN, Op.NOT_IN)
_EMPTY: Final = (Op.EMPTY, Op.NOT_EMPTY)
_ALLOWED: Final[Mapping[Kind, tuple[Op, ...]]] = {
    Kind.TEXT: tuple(Op),
    Kind.NUMBER: _EQUAL,
    Kind.BOOLEAN: _EQUAL,
    Kind.TEXTS: _WITHIN + _EMPTY,
    Kind.TEXT_MAP: _WITHIN + _EMPTY,
}
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def compile_filter(text: str, selectors: Selectors[R]) -> Filter[R]:
    """The filter that the text is, for rows of that kind.

    Raises:
        FilterError: it is none; a selector is unknown; an operator or a value does not fit its kind.
    """
    return compile_tree(text, parse(text), selectors)


def compile_tree(text: str, tree: Expression, selectors: Selectors[R]) -> Filter[R]:
    """As `compile_filter`, of a tree that was made of the text and then changed. Raises as it."""
    compiling = _Compiling(text, selectors)
    accepts = compiling.of(tree)
    return Filter(text, accepts, compiling.where(tree), compiling.terms, compiling.patterns)


class _Compiling:
    def __init__(self, text: str, selectors: Selectors[Any]) -> None:
        self._text = text
        self._selectors = selectors
        self.terms = 0
        self.patterns = 0

    def of(self, tree: Expression) -> Test:
        match tree:
            case And(terms):
                return _all_of(tuple(map(self.of, terms)))
            case Or(terms):
                return _any_of(tuple(map(self.of, terms)))
            case Not(term):
                return _none_of(self.of(term))
            case Match():
                self.terms += 1
                return self._match(tree)

    def where(self, tree: Expression) -> tuple[tuple[int, bytes], ...]:
        """What the top-level `and` asks of indexes."""
        terms = tree.terms if isinstance(tree, And) else (tree,)
        found = [self._indexed(term) for term in terms if isinstance(term, Match)]
        return tuple(dict.fromkeys(one for one in found if one is not None))[:WHERE_MAX]

    def _indexed(self, match: Match) -> tuple[int, bytes] | None:
        selector, rest = self._resolved(match)
        if selector.index is None or not match.value or "\0" in match.value:
            return None
        value: str | None = None
        if match.op is Op.EQ and selector.kind is Kind.TEXT:
            value = match.value
        elif match.op is Op.EQ and selector.kind is Kind.TEXT_MAP and "\0" not in rest[0]:
            value = f"{rest[0]}={match.value}"
        elif match.op is Op.IN and selector.kind is Kind.TEXTS:
            value = match.value
        if value is None or len(value.encode()) > INDEXED_MAX_BYTES:
            return None
        return selector.index, value.encode()

    def _resolved(self, match: Match) -> tuple[Selector[Any], tuple[str, ...]]:
        found = self._selectors.find(match.selector)
        if found is None:
            named = f'unknown selector "{shown(path_text(match.selector))}"'
            raise FilterError(self._text, match.at, f"{named}: expected {', '.join(self._selectors.names())}")
        selector, rest = found
        if len(rest) > (selector.kind is Kind.TEXT_MAP):
            problem = f"{selector.names[0]} is {selector.kind.value}: it has no {shown('.'.join(rest))}"
            raise FilterError(self._text, match.at, problem)
        return selector, rest

    def _match(self, match: Match) -> Test:
        selector, rest = self._resolved(match)
        kind = Kind.TEXT if rest else selector.kind
        if match.op not in _ALLOWED[kind]:
            expected = ", ".join(_ALLOWED[kind])
            name = path_text(match.selector)
            raise FilterError(
                self._text,
                match.at,
                f'{shown(name)} is {kind.value}: found "{match.op}", expected {expected}',
            )
        positive = _NEGATED.get(match.op, match.op)
        if rest:
            test = self._of_entry(match, positive, selector.read, rest[0])
        else:
            test = self._of_value(match, positive, selector)
        return test if positive is match.op else _none_of(test)

    def _of_value(self, match: Match, op: Op, selector: Selector[Any]) -> Test:
        read, value = selector.read, match.value
        if selector.kind is Kind.NUMBER:
            number = self._number(match)
            return lambda row: read(row) == number
        if selector.kind is Kind.BOOLEAN:
            wanted = self._boolean(match)
            return lambda row: read(row) is wanted
        if op is Op.EQ:
            return lambda row: read(row) == value
        if op is Op.IN:
            # In a text a piece of it, in a list an item, in a map a key.
            return lambda row: value in read(row)
        if op is Op.EMPTY:
            return lambda row: not read(row)
        search = self._pattern(match)
        return lambda row: search(read(row))

    def _of_entry(self, match: Match, op: Op, read: Callable[[Any], Mapping[str, str]], key: str) -> Test:
        value = match.value
        if op is Op.EQ:
            return lambda row: read(row).get(key) == value
        if op is Op.IN:
            return lambda row: key in (entries := read(row)) and value in entries[key]
        if op is Op.EMPTY:
            return lambda row: not read(row).get(key)
        search = self._pattern(match)
        return lambda row: key in (entries := read(row)) and search(entries[key])

    def _number(self, match: Match) -> int:
        if not _INTEGER.fullmatch(match.value):
            raise self._misfit(match, "a whole number")
        return int(match.value)

    def _boolean(self, match: Match) -> bool:
        if match.value not in _BOOLEANS:
            raise self._misfit(match, "true or false")
        return _BOOLEANS[match.value]

    def _misfit(self, match: Match, expected: str) -> FilterError:
        found = f'found "{shown(match.value)}", expected {expected}'
        return FilterError(self._text, match.value_at, f"{path_text(match.selector)} is compared: {found}")

    def _pattern(self, match: Match) -> Callable[[str], bool]:
        self.patterns += 1
        try:
            return searching(match.value)
        except ValueError as error:
            raise FilterError(self._text, match.value_at, str(error)) from None


def _all_of(tests: tuple[Test, ...]) -> Test:
    def test(row: Any) -> bool:
        # Not all(): its generator costs as much as the tests.
        for one in tests:  # noqa: SIM110
            if not one(row):
                return False
        return True

    return test


def _any_of(tests: tuple[Test, ...]) -> Test:
    def test(row: Any) -> bool:
        for one in tests:  # noqa: SIM110
            if one(row):
                return True
        return False

    return test


def _none_of(test: Test) -> Test:
    return lambda row: not test(row)
