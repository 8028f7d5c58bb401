"""Queries for many names: the name asked for, taken apart, goes into the query's texts.

`${name.full}` the whole name, `${name.prefix}` what the template is called, `${name.suffix}` the rest,
`${match(N)}` what the regular expression found: group N, 0 for all of it, nothing if there is none.
`$${` is `${` itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from konsul.kernel.filters.patterns import compile_pattern
from konsul.kernel.filters.tree import And, Expression, Match, Not, Or

PREFIX_MATCH: Final = "name_prefix_match"
_PART: Final = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAMES: Final = ("name.full", "name.prefix", "name.suffix")
_GROUP: Final = re.compile(r"match\(\s*([0-9]{1,2})\s*\)", re.ASCII)
EXPECTED: Final = "expected ${name.full}, ${name.prefix}, ${name.suffix} or ${match(N)}; $${ is ${ itself"


@dataclass(frozen=True, slots=True)
class Template:
    """What a query is a template by. `regexp`: for `match`; empty: there is none."""

    regexp: str = ""
    remove_empty_tags: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """A name, taken apart."""

    full: str
    prefix: str
    groups: tuple[str, ...] = ()

    def value(self, word: str) -> str:
        """What stands for the word between `${` and `}`. Raises ValueError for one that means nothing."""
        found = _GROUP.fullmatch(word)
        if found is not None:
            number = int(found[1])
            return self.groups[number] if number < len(self.groups) else ""
        if word not in _NAMES:
            raise ValueError(EXPECTED)
        suffix = self.full[len(self.prefix) :]
        return dict(zip(_NAMES, (self.full, self.prefix, suffix), strict=True))[word]


def parts_of(template: Template, prefix: str, name: str) -> Parts:
    """The name that was asked for, taken apart by the template called `prefix`."""
    if not template.regexp:
        return Parts(name, prefix)
    found = compile_pattern(template.regexp).search(name)
    return Parts(
        name, prefix, () if found is None else tuple(one or "" for one in (found[0], *found.groups()))
    )


def fill(text: str, parts: Parts) -> str:
    """The text with its words replaced. Raises ValueError for a word that means nothing."""

    def replaced(found: re.Match[str]) -> str:
        if found[1] is None:
            return "${"
        if not found[2]:
            raise ValueError(EXPECTED)
        return parts.value(found[1].strip())

    return _PART.sub(replaced, text)


def fill_tree(tree: Expression, put: Callable[[str], str]) -> Expression:
    """A filter whose values and keys are filled: a name that is asked for can compare differently, but cannot
    become another expression."""
    match tree:
        case And(terms):
            return And(tuple(fill_tree(term, put) for term in terms))
        case Or(terms):
            return Or(tuple(fill_tree(term, put) for term in terms))
        case Not(term):
            return Not(fill_tree(term, put))
        case Match(selector, _, value):
            path = (selector[0], *map(put, selector[1:]))
            return replace(tree, selector=path, value=put(value))
