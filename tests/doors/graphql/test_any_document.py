"""Documents made from the schema itself, and texts that are none: refused or answered, never a defect."""

from __future__ import annotations

from typing import Any, Final

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis_graphql import from_schema, nodes

from tests.tidy.tree import ROOT

SETTINGS = {"KONSUL_GRAPHQL_MUTATION_RATE_LIMIT": "0", "KONSUL_ACCESS_LOG": "off"}
SCHEMA: Final = (ROOT / "docs" / "reference" / "graphql.graphql").read_text(encoding="utf-8")
TEXTS: Final = st.text(max_size=20).map(nodes.String)
VALID: Final = from_schema(
    # The federation's directive is declared elsewhere; documents have no use for it.
    "directive @link(url: String!, import: [String!]) on SCHEMA\n"
    "directive @key(fields: String!) on OBJECT\n" + SCHEMA,
    custom_scalars={
        "Long": st.integers(0, 2**64).map(nodes.Int),
        "Time": TEXTS,
        "Duration": st.sampled_from(["30s", "x", ""]).map(nodes.String),
        "JSONObject": TEXTS,
        "_Any": TEXTS,
    },
)
WORDS: Final = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "$",
    "@",
    "!",
    "...",
    "=",
    "|",
    "&",
    "kv",
    "key",
    "services",
    "on",
]
WORDS_TOO: Final = [
    "query",
    "mutation",
    "subscription",
    "fragment",
    "__schema",
    "Query",
    '"x"',
    "1",
    "-1.5e3",
    "\\",
]
NONSENSE: Final = st.lists(st.sampled_from([*WORDS, *WORDS_TOO]), max_size=60).map(" ".join)
MEMBERS: Final = ["query", "variables", "operationName", "extensions", "persistedQuery", "sha256Hash"]
BODIES: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(MEMBERS), inner),
)
CALM: Final = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def ask(http: httpx.Client, query: str) -> dict[str, Any]:
    """The answer to a document: of the right form, and no defect."""
    answer = http.post("/graphql", json={"query": query})
    assert answer.status_code in (200, 422), query
    body: dict[str, Any] = answer.json()
    codes = [error["extensions"]["code"] for error in body.get("errors", ())]
    assert "INTERNAL_ERROR" not in codes, (query, body)
    return body


@CALM
@given(query=VALID)
def test_a_document_of_the_schema(http: httpx.Client, query: object) -> None:
    assert "data" in ask(http, str(query))


@CALM
@given(query=st.one_of(NONSENSE, st.text(max_size=200)))
def test_a_text_of_any_kind(http: httpx.Client, query: str) -> None:
    assert "data" in ask(http, query)


@CALM
@given(body=BODIES)
def test_a_body_of_any_form(http: httpx.Client, body: object) -> None:
    answer = http.post("/graphql", json=body)
    assert answer.status_code in (200, 400, 422)
    told = answer.json()
    for one in told if isinstance(told, list) else [told]:
        assert all(error["extensions"]["code"] != "INTERNAL_ERROR" for error in one.get("errors", ()))
