"""Each rule of the house as a test, and the scanners they rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.tidy import code, rooms
from tests.tidy.tree import Function, Source, functions, sources

RUST = """
fn short() -> char { '{' }
fn declared(&self) -> usize;
pub(crate) fn long<T>(
    one: T,
) -> &'static str
where
    T: Clone,
{
    let text = "} not the end";
    // } nor this
    r#"} nor "this" }"#
}
"""
CYTHON = """
cdef class Front:
    cdef inline object answer(self,
                              object scope):
        if scope:
            return 1

        return 2

def after(
    one,
):
    return one
"""


@pytest.mark.parametrize("rule", [*code.RULES, *rooms.RULES], ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rule(rule: Callable[[], Iterator[str]]) -> None:
    assert list(rule()) == []


def test_the_scanners_measure_functions_of_all_three_languages() -> None:
    assert list(functions(Source("a.rs", RUST))) == [
        Function("short", 2, 1),
        Function("declared", 3, 1),
        Function("long", 4, 10),
    ]
    assert list(functions(Source("a.pyx", CYTHON))) == [Function("answer", 3, 6), Function("after", 10, 4)]
    assert list(functions(Source("a.py", "def f():\n    return (\n        1\n    )\n"))) == [
        Function("f", 1, 4)
    ]


def test_the_scanners_see_the_code_there_is() -> None:
    seen = {source.suffix for source in sources() if any(functions(source))}
    assert {".py", ".pyi", ".pyx", ".rs"} <= seen
