"""Generated expressions, rows, and an interpreter that shares nothing with the compiler."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hypothesis import strategies as st

from konsul.kernel.filters.selectors import Kind, Selector, Selectors
from konsul.kernel.filters.tree import And, Expression, Match, Not, Op, Or


@dataclass(slots=True)
class Row:
    """What the filters of these tests are asked of; counts how often it was looked into."""

    name: str = ""
    port: int = 0
    up: bool = False
    tags: list[str] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    reads: int = 0

    def read(self, name: str) -> object:
        self.reads += 1
        return getattr(self, name)


def _reader(name: str):  # type: ignore[no-untyped-def]
    return lambda row: row.read(name)


ROWS: Selectors[Row] = Selectors(
    (
        Selector(("Name", "Service", "Service.Name"), Kind.TEXT, _reader("name"), 1),
        Selector(("Port",), Kind.NUMBER, _reader("port")),
        Selector(("Up",), Kind.BOOLEAN, _reader("up")),
        Selector(("Tags", "Service.Tags"), Kind.TEXTS, _reader("tags"), 5),
        Selector(("Meta",), Kind.TEXT_MAP, _reader("meta"), 6),
    )
)

texts = st.one_of(st.sampled_from(["", "a", "b", "ab", "web", "v 2", 'q"\\', "é\n"]), st.text(max_size=6))
keys = st.one_of(st.sampled_from(["k", "k.v", "in", "a-b", "9", ""]), st.text(max_size=4))
rows = st.builds(
    Row,
    name=texts,
    port=st.integers(0, 3),
    up=st.booleans(),
    tags=st.lists(texts, max_size=3),
    meta=st.dictionaries(keys, texts, max_size=3),
)
_patterns = st.sampled_from(["", "a", "^a", "b$", "a|b", "[a-w]+b?", "."])


def _matches() -> st.SearchStrategy[Expression]:
    text_ops = st.sampled_from([Op.EQ, Op.NE, Op.IN, Op.NOT_IN])
    pattern_ops = st.sampled_from([Op.MATCHES, Op.NOT_MATCHES])
    empty_ops = st.sampled_from([Op.EMPTY, Op.NOT_EMPTY])
    named = st.sampled_from([("Name",), ("service",), ("Service", "Name")])
    text_paths = st.one_of(named, st.tuples(st.just("Meta"), keys))
    return st.one_of(
        st.builds(Match, text_paths, text_ops, texts),
        st.builds(Match, text_paths, pattern_ops, _patterns),
        st.builds(Match, st.just(("Port",)), st.sampled_from([Op.EQ, Op.NE]), st.sampled_from("0123")),
        st.builds(
            Match, st.just(("Up",)), st.sampled_from([Op.EQ, Op.NE]), st.sampled_from(["true", "false"])
        ),
        st.builds(Match, st.sampled_from([("Tags",), ("Meta",)]), st.sampled_from([Op.IN, Op.NOT_IN]), texts),
        st.builds(Match, st.one_of(text_paths, st.sampled_from([("Tags",), ("Meta",)])), empty_ops),
    )


expressions: st.SearchStrategy[Expression] = st.recursive(
    _matches(),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


def means(tree: Expression, row: Row) -> bool:
    """What the expression says of the row, worked out the slow way."""
    match tree:
        case And(terms):
            return all(means(term, row) for term in terms)
        case Or(terms):
            return any(means(term, row) for term in terms)
        case Not(term):
            return not means(term, row)
        case Match(selector, op, value):
            if op in (Op.NE, Op.NOT_IN, Op.NOT_EMPTY, Op.NOT_MATCHES):
                opposite = {"!=": Op.EQ, "not in": Op.IN, "is not empty": Op.EMPTY, "not matches": Op.MATCHES}
                return not means(Match(selector, opposite[op.value], value), row)
            return _says(_held(selector, row), op, value)


def _held(selector: tuple[str, ...], row: Row) -> object:
    first = selector[0].lower()
    if first == "meta":
        return row.meta.get(selector[1]) if len(selector) == 2 else row.meta
    return getattr(row, "name" if first == "service" else first)


def _says(held: object, op: Op, value: str) -> bool:
    if held is None:
        return op is Op.EMPTY
    if op is Op.EMPTY:
        return held in ("", [], {})
    if isinstance(held, bool | int):
        return str(held).lower() == value
    if op is Op.EQ:
        return held == value
    if op is Op.IN:
        return isinstance(held, str | list | dict) and value in held
    return isinstance(held, str) and re.search(value.replace("$", r"\Z"), held) is not None
