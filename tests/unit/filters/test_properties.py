"""What holds of every filter: nothing but FilterError, written text means the same, bounded work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from konsul.kernel.filters.compiler import compile_filter
from konsul.kernel.filters.parser import parse
from konsul.kernel.filters.problem import FilterError
from konsul.kernel.filters.tree import Expression, write
from tests.unit.filters.expressions import ROWS, Row, expressions, means, rows

_SPACED = 'and or not in is empty contains matches == != ( ) [ ] . " ` \\ Name Tags Meta Port Meta.k "x" `[`'
_WORDS = st.sampled_from([*_SPACED.split(), "80", "-", "1.5", " ", "\n", "é", "\0"])


def _refusal(text: str) -> FilterError | None:
    try:
        compile_filter(text, ROWS).accepts(Row())
    except FilterError as error:
        return error
    return None


@given(
    st.one_of(
        st.text(max_size=80), st.lists(_WORDS, max_size=30).map(" ".join), st.lists(_WORDS).map("".join)
    )
)
def test_any_text_is_a_filter_or_a_filter_error_with_a_place_in_it(text: str) -> None:
    error = _refusal(text)
    if error is not None:
        lines = text.split("\n")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1


@given(expressions)
def test_what_is_written_parses_to_the_same(tree: Expression) -> None:
    assert parse(write(tree)) == tree


@given(expressions, rows)
def test_what_is_compiled_says_what_the_slow_interpreter_says(tree: Expression, row: Row) -> None:
    assert compile_filter(write(tree), ROWS).accepts(row) is means(tree, row)


@given(expressions, rows)
def test_a_row_costs_at_most_one_look_per_comparison(tree: Expression, row: Row) -> None:
    found = compile_filter(write(tree), ROWS)
    found.accepts(row)
    assert row.reads <= found.terms


@given(expressions, rows)
def test_an_accepted_row_has_all_that_is_asked_of_indexes(tree: Expression, row: Row) -> None:
    found = compile_filter(write(tree), ROWS)
    pairs = [f"{key}={value}" for key, value in row.meta.items()]
    held = {1: [row.name], 5: row.tags, 6: pairs}
    if found.accepts(row):
        assert all(value.decode() in held[column] for column, value in found.where)
