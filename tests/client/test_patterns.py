"""Patterns on the client's side mean what they mean on the server's."""

from __future__ import annotations

import pytest

from konsul.client import pattern as patterns

KEYS = (
    "a",
    "a/b",
    "a/b/c",
    "a/b/x/c",
    "ab",
    "a/c",
    "a/xc",
    "a/",
    "/",
    "é",
    "[",
    "]",
    "-",
    "a.b$",
    "axb",
    "b\n",
)


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("a", ["a"]),
        ("*", ["a", "ab", "é", "[", "]", "-", "a.b$", "axb", "b\n"]),
        ("a*", ["a", "ab", "a.b$", "axb"]),
        ("a/*", ["a/b", "a/c", "a/xc", "a/"]),
        ("*/c", ["a/c"]),
        ("**", list(KEYS)),
        ("a/**", ["a/b", "a/b/c", "a/b/x/c", "a/c", "a/xc", "a/"]),
        ("a/**/c", ["a/b/c", "a/b/x/c", "a/c"]),
        ("a/**/**/c", ["a/b/c", "a/b/x/c", "a/c"]),
        ("**/c", ["a/b/c", "a/b/x/c", "a/c"]),
        ("a**c", ["a/b/c", "a/b/x/c", "a/c", "a/xc"]),
        ("?", ["a", "é", "[", "]", "-"]),
        ("[a-c]", ["a"]),
        ("[!a-c]", ["é", "[", "]", "-"]),
        ("[^a-c]", ["é", "[", "]", "-"]),
        ("[]a]", ["a", "]"]),
        ("[a-]", ["a", "-"]),
        ("[c-a]", []),
        ("[", ["["]),
        ("a.b$", ["a.b$"]),
    ],
)
def test_what_matches(pattern: str, matching: list[str]) -> None:
    matches = patterns.matcher(pattern)
    assert [key for key in KEYS if matches(key)] == matching
    assert all(key.startswith(patterns.prefix(pattern)) for key in matching)


@pytest.mark.parametrize(
    ("pattern", "prefix", "exact"),
    [
        ("a/b", "a/b", True),
        ("a[b", "a[b", True),
        ("a/x*", "a/x", False),
        ("a/?", "a/", False),
        ("a/[b]", "a/", False),
        ("a/**/b", "a/", False),
        ("**", "", False),
    ],
)
def test_the_literal_beginning(pattern: str, prefix: str, exact: bool) -> None:
    assert (patterns.prefix(pattern), patterns.is_exact(pattern)) == (prefix, exact)
