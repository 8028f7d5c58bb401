"""Documents that want too much, with the status and the code they are refused with (None: answered)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_LEAVES: Final = "name kind description specifiedByURL "
_TYPE: Final = "type { " + _LEAVES + "ofType { " + _LEAVES


def _each(number: int, text: Callable[[int], str]) -> str:
    return " ".join(text(one) for one in range(number))


def _fields(inside: str) -> str:
    return "fields { name description args { name } type { " + inside + " ofType { " + inside + " } } }"


BOMBS: Final[dict[str, tuple[str, int, str | None]]] = {
    "100,000 braces": ("{a" * 100_000, 422, "QUERY_TOO_LARGE"),
    "30,000 braces": ("{a" * 30_000, 422, "GRAPHQL_PARSE_FAILED"),
    "only braces": ("{" * 60_000, 422, "GRAPHQL_PARSE_FAILED"),
    "nested lists": ("{ kv(key: " + "[" * 30_000, 422, "GRAPHQL_PARSE_FAILED"),
    "nested objects": ("{ kv(key: " + "{a:" * 20_000, 422, "GRAPHQL_PARSE_FAILED"),
    "comments": ("#\n" * 20_000 + "{ __typename }", 422, "TOKEN_LIMIT_EXCEEDED"),
    "words": ("{ " + "a " * 20_000 + "}", 422, "TOKEN_LIMIT_EXCEEDED"),
    "aliases": (
        "{" + _each(200, lambda i: f"a{i}: health {{ status }}") + "}",
        200,
        "ALIAS_LIMIT_EXCEEDED",
    ),
    "one field, 200 times": ("{" + "health { status } " * 200 + "}", 200, "ALIAS_LIMIT_EXCEEDED"),
    "one field in 200 fragments": ("{" + "... { __typename } " * 200 + "}", 200, "ALIAS_LIMIT_EXCEEDED"),
    "directives": ("{ __typename " + "@skip(if: false) " * 500 + "}", 200, "DIRECTIVE_LIMIT_EXCEEDED"),
    "unknown directives": ("{ __typename " + "@x " * 500 + "}", 200, "DIRECTIVE_LIMIT_EXCEEDED"),
    "a huge list argument": (
        "{ servicesByTags(tags: [" + '"x" ' * 2_000 + "]) { name } }",
        200,
        "LIST_LIMIT_EXCEEDED",
    ),
    "circular fragments": (
        "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A __typename }",
        422,
        "GRAPHQL_VALIDATION_FAILED",
    ),
    "a fragment of itself": ("{ ...A } fragment A on Query { ...A }", 422, "GRAPHQL_VALIDATION_FAILED"),
    "fragments": (
        "{ __typename } " + _each(300, lambda i: f"fragment F{i} on Query {{ __typename }}"),
        200,
        "FRAGMENT_LIMIT_EXCEEDED",
    ),
    "operations": (_each(300, lambda i: f"query Q{i} {{ __typename }}"), 200, "FRAGMENT_LIMIT_EXCEEDED"),
    "fragments that double 40 times": (
        "{ ...F0 } "
        + _each(40, lambda i: f"fragment F{i} on Query {{ ...F{i + 1} ... {{ ...F{i + 1} }} }}")
        + " fragment F40 on Query { __typename }",
        200,
        "COMPLEXITY_LIMIT_EXCEEDED",
    ),
    "__schema in depth": (
        "{ __schema { types" + " { fields { type" * 10 + " { name }" + " } }" * 10 + " } }",
        200,
        "DEPTH_LIMIT_EXCEEDED",
    ),
    "lists in lists of __schema": (
        "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
        422,
        "GRAPHQL_VALIDATION_FAILED",
    ),
    "__schema 20 times": (
        "{" + _each(20, lambda i: f"a{i}: __schema {{ types {{ name }} }}") + "}",
        200,
        "INTROSPECTION_LIMIT_EXCEEDED",
    ),
    "the schema of each type of each field": (
        "{ __schema { types { " + _fields(_LEAVES + _fields(_LEAVES)) + " } } }",
        200,
        "COMPLEXITY_LIMIT_EXCEEDED",
    ),
    "a long page": ("{ services(limit: 1000) { name address port } }", 200, "COMPLEXITY_LIMIT_EXCEEDED"),
    "an endless page": ("{ services(limit: 2000000000) { name } }", 200, "PAGE_LIMIT_EXCEEDED"),
    "lists in lists, few": ("{ services { checks { name } metadata { key } tags } }", 200, None),
    "too deep": (
        "{ a { ...A } } fragment A on Service { b { ... { ...B } } } fragment B on Service { c { d } }",
        200,
        "DEPTH_LIMIT_EXCEEDED",
    ),
}
