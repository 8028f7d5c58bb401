"""The filter language: what it means, what it refuses and where."""

from __future__ import annotations

import pytest

from konsul.errors import Invalid
from konsul.kernel.filters.compiler import compile_filter
from konsul.kernel.filters.problem import FilterError
from tests.unit.filters.expressions import ROWS, Row

WEB = Row("web-1", 80, True, ["v2", "eu"], {"env": "prod", "k.v": "x y", "empty": ""})


@pytest.mark.parametrize(
    "text",
    [
        "Name == `web-1`",
        'Service == "web-1"',
        "name != other",
        'Service.Name contains "eb-"',
        '"web" in Name',
        '"api" not in Name',
        "Port == 80",
        "Port != 8080",
        "Up == true",
        'Up != "false"',
        "v2 in Tags",
        "Tags contains eu",
        "Tags not contains us",
        '"us" not in Service.Tags',
        "Tags is not empty",
        "Meta.env == prod",
        'Meta["k.v"] == "x y"',
        'Meta[ "k.v" ] matches `^x\\s`',
        "env in Meta",
        '"nope" not in Meta',
        "Meta.nope is empty",
        "Meta.empty is empty and empty in Meta",
        "Meta.nope != prod",
        "Meta.nope not matches `.`",
        "not Meta.nope == x",
        "not not Port == 80",
        "Name matches `^web-[0-9]+$`",
        'Name matches "WEB" or Name matches `(?i)WEB`',
        "Port == 1 or Port == 80 and Up == true",
        'Name == "web\\u002d1" and Name == "web\\x2d1"',
        "(Port == 80 or Port == 1) and (\n\tUp == true\n)",
    ],
)
def test_it_accepts(text: str) -> None:
    assert compile_filter(text, ROWS).accepts(WEB)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("", 1, 1, "found the end, expected a selector such as Service"),
        ("Port == 80 and", 1, 15, "found the end"),
        ("Port = 80", 1, 6, 'found "="'),
        ("Port == 80 &&", 1, 12, 'found "&"'),
        ("Port == 80 Up == true", 1, 12, 'found "Up", expected and, or, or the end'),
        ("(Port == 80", 1, 12, "found the end, expected and, or, or )"),
        ("Port == 80\n  or Nope == 1", 2, 6, 'unknown selector "Nope": expected Meta, Name, Port, Tags, Up'),
        ("Port == abc", 1, 9, 'found "abc", expected a whole number'),
        ("Port == 1.5", 1, 9, 'found "1.5", expected a whole number'),
        ("Up == maybe", 1, 7, 'found "maybe", expected true or false'),
        ("Port matches `8`", 1, 1, 'Port is a number: found "matches", expected ==, !='),
        ("Tags == v2", 1, 1, "Tags is a list of texts"),
        ("Name.first == x", 1, 1, "Name is a text: it has no first"),
        ("Meta.a.b == x", 1, 1, "Meta is a map of texts"),
        ("Meta.a-b == x", 1, 7, 'Meta["a-b"]'),
        ("Meta.", 1, 6, "expected a name behind the dot"),
        ("Meta[k] == x", 1, 6, "expected a key in quotes"),
        ('Meta["k" == x', 1, 10, "expected ]"),
        ("Name is nothing", 1, 9, "expected empty or not empty"),
        ("Name not == x", 1, 10, "expected in, contains or matches"),
        ("Name ==", 1, 8, "expected a value"),
        ('"x" == Name', 1, 5, "expected in or not in, behind a value"),
        ('"x" in "Tags"', 1, 8, "expected a selector such as Tags"),
        ("Name == 'x'", 1, 9, "double quotes or backticks"),
        ('Name == "x', 1, 9, "this string has no end"),
        ("Name == `x", 1, 9, "this string has no end"),
        ('Name matches "\\d"', 1, 15, "backticks"),
        ('Name == "\\ud800"', 1, 10, "hexadecimal digits"),
        ("Name matches `(`", 1, 14, "expected a regular expression (RE2)"),
        ("Name matches `(?=a)`", 1, 14, "expected a regular expression (RE2)"),
        ("Name matches `" + "((a{1,100}){1,100}){1,100}`", 1, 14, "expected a regular expression (RE2)"),
        ("Name matches `" + "a" * 513 + "`", 1, 14, "a pattern of at most 512 bytes"),
        ("Name == `" + "a" * 2_048 + "`", 1, 1, "expected at most 2048 bytes, found 2058"),
        ("(" * 33 + "Port == 1" + ")" * 33, 1, 33, "at most 32 groups"),
        ("not " * 33 + "Port == 1", 1, 129, "at most 32 groups"),
        (" or ".join(["Up == 1"] * 65), 1, 705, "at most 64 comparisons"),
        (" or ".join(["Name matches a"] * 9), 1, 150, "at most 8 patterns"),
        ("Name == \ud800", 1, 9, "half a character"),
    ],
)
def test_it_refuses_and_says_where(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter(text, ROWS)
    assert (caught.value.line, caught.value.column) == (line, column), str(caught.value)
    assert words in str(caught.value)


def test_the_limits_themselves_are_allowed() -> None:
    assert compile_filter("(" * 32 + "Port == 80" + ")" * 32, ROWS).accepts(WEB)
    assert compile_filter(" and ".join(["Port == 80"] * 64), ROWS).terms == 64
    assert compile_filter("Name == `" + "a" * 2_038 + "`", ROWS).accepts(WEB) is False


def test_a_feature_is_told_of_a_bad_filter_as_of_any_bad_input() -> None:
    with pytest.raises(Invalid, match=r"^Invalid filter: line 1, column 6: found"):
        ROWS.filter("Port = 80")


def test_equalities_of_the_top_are_asked_of_indexes_and_nothing_else_is() -> None:
    found = compile_filter('Service == web and "v2" in Tags and Meta.env == prod and Port == 80', ROWS)
    assert found.where == ((1, b"web"), (5, b"v2"), (6, b"env=prod"))
    for text in (
        "Name == a or Name == b",
        "not Name == a",
        "Name != a",
        'Name == ""',
        "a in Name",
        "a in Meta",
    ):
        assert compile_filter(text, ROWS).where == ()
    assert compile_filter("Name == `" + "a" * 761 + "`", ROWS).where == ()


def test_filters_are_kept_and_those_with_patterns_apart() -> None:
    assert ROWS.filter("Port == 7") is ROWS.filter("Port == 7")
    kept = ROWS.filter("Name matches `kept`")
    assert ROWS.filter("Name matches `kept`") is kept
    for number in range(16):
        ROWS.filter(f"Name matches `{number}`")
    assert ROWS.filter("Name matches `kept`") is not kept
