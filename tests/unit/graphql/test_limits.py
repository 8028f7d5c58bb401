"""What a document costs and how deep it goes, counted on a schema made for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from graphql import build_schema

from konsul.doors.graphql.documents import Broken, Documents, root_fields
from konsul.doors.graphql.refusals import Refused
from konsul.kernel.graphql_settings import GraphqlSettings

SCHEMA = build_schema(
    """
    type Query { node: Node nodes(limit: Int): [Node!]! page(limit: Int = 20): Page! tags: [String!]!
                 _entities(representations: [String!]!): [Node]! }
    type Page { items: [Node!]! total: Int! }
    type Node { id: ID name: String node: Node nodes(first: Int): [Node!]! }
    type Mutation { a: Int b: Int }
    """
)


def prepared(
    settings: GraphqlSettings, query: str, variables: dict[str, Any] | None = None
) -> tuple[int, int]:
    """Its cost and its depth."""

    async def run() -> tuple[int, int]:
        documents = Documents(SCHEMA, settings)
        document = await documents.prepare(query)
        operation = document.pick("")
        return documents.cost(document, operation, variables or {}), max(document.depths.values())

    return asyncio.run(run())


SETTINGS = GraphqlSettings(max_complexity=1_000_000, max_page_size=1_000, list_size=10, max_depth=100)


@pytest.mark.parametrize(
    ("query", "variables", "cost", "depth"),
    [
        ("{ node { id } }", {}, 2, 2),
        ("{ node { id name node { id } } }", {}, 5, 3),
        ("{ __typename }", {}, 1, 1),
        ("{ tags }", {}, 1, 1),
        ("{ nodes { id name } }", {}, 1 + 10 * 2, 2),
        ("{ nodes(limit: 100) { id name } }", {}, 1 + 100 * 2, 2),
        ("{ nodes(limit: 0) { id } }", {}, 1, 2),
        ("{ nodes(limit: -5) { id } }", {}, 1, 2),
        ("query Q($n: Int) { nodes(limit: $n) { id } }", {"n": 30}, 31, 2),
        ("query Q($n: Int = 40) { nodes(limit: $n) { id } }", {}, 41, 2),
        ("query Q($n: Int = 40) { nodes(limit: $n) { id } }", {"n": None}, 11, 2),
        ("query Q($n: Int) { nodes(limit: $n) { id } }", {}, 11, 2),
        ("{ page { items { id } total } }", {}, 1 + 1 + 20 + 1, 3),
        ("{ page(limit: 50) { items { id name } } }", {}, 1 + 1 + 50 * 2, 3),
        ("{ nodes(limit: 10) { nodes(first: 20) { id } } }", {}, 1 + 10 * (1 + 20), 3),
        ('{ _entities(representations: ["a" "b" "c"]) { id name } }', {}, 1 + 3 * 2, 2),
        ("query Q($r: [String!]!) { _entities(representations: $r) { id } }", {"r": ["a"] * 7}, 8, 2),
        ("{ ...A ...A } fragment A on Query { node { ...B } } fragment B on Node { id name }", {}, 6, 2),
        ("{ node { ... on Node { id } ... { name } } }", {}, 3, 2),
        ("{ nodes { ...B } } fragment B on Node { id node { id } }", {}, 1 + 10 * 3, 3),
        ("{ page { ...P } } fragment P on Page { items { id } }", {}, 1 + 1 + 20, 3),
    ],
)
def test_cost_and_depth(query: str, variables: dict[str, Any], cost: int, depth: int) -> None:
    assert prepared(SETTINGS, query, variables) == (cost, depth)


@pytest.mark.parametrize("inside", ["id", "...A", "... { id }"])
def test_a_document_is_refused_from_one_field_too_deep_on(inside: str) -> None:
    rest = " fragment A on Node { id }" if inside == "...A" else ""
    settings = GraphqlSettings(max_depth=10)
    fits = "{ node { " + "node { " * 8 + inside + " }" * 8 + " } }" + rest
    assert prepared(settings, fits)[1] == 10
    with pytest.raises(Refused) as refused:
        prepared(settings, "{ node { " + "node { " * 9 + inside + " }" * 9 + " } }" + rest)
    assert refused.value.code == "DEPTH_LIMIT_EXCEEDED"


def test_a_thousand_fields_fit_and_one_more_does_not() -> None:
    settings = GraphqlSettings(max_complexity=1_000, max_aliases=2_000, max_tokens=10_000)

    def query(fields: int) -> str:
        return "{" + " ".join(f"a{number}: tags" for number in range(fields)) + "}"

    assert prepared(settings, query(1_000))[0] == 1_000
    with pytest.raises(Refused) as refused:
        prepared(settings, query(1_001))
    assert refused.value.code == "COMPLEXITY_LIMIT_EXCEEDED"


def test_fragments_that_multiply_cost_what_they_would_answer() -> None:
    chain = "".join(
        f"fragment F{n} on Node {{ a{n}: node {{ ...F{n + 1} }} b{n}: node {{ ...F{n + 1} }} }} "
        for n in range(20)
    )
    query = "{ node { ...F0 } } " + chain + "fragment F20 on Node { id }"
    with pytest.raises(Refused) as refused:
        prepared(SETTINGS, query)
    assert refused.value.code == "COMPLEXITY_LIMIT_EXCEEDED"


def test_documents_are_kept_up_to_a_number_and_a_size() -> None:
    async def kept(settings: GraphqlSettings) -> int:
        documents = Documents(SCHEMA, settings)
        for number in range(50):
            await documents.prepare(f"query Q{number} {{ __typename }}")
        first = await documents.prepare("query Q49 { __typename }")
        assert first is await documents.prepare("query Q49 { __typename }") or not settings.documents_kept
        return len(documents)

    assert asyncio.run(kept(GraphqlSettings(documents_kept=7))) == 7
    assert asyncio.run(kept(GraphqlSettings(documents_kept_bytes=100))) == 4
    assert asyncio.run(kept(GraphqlSettings(documents_kept=0))) == 0


def test_what_is_refused_is_not_kept() -> None:
    async def run() -> int:
        documents = Documents(SCHEMA, GraphqlSettings())
        for query in ("{ nothing }", "{", "{ " + "tags @skip(if: true) " * 60 + "}"):
            with pytest.raises((Broken, Refused)):
                await documents.prepare(query)
        return len(documents)

    assert asyncio.run(run()) == 0


def test_root_fields_are_counted_through_fragments() -> None:
    async def run() -> int:
        documents = Documents(SCHEMA, GraphqlSettings())
        document = await documents.prepare(
            "mutation { a ...M ... { c: b } } fragment M on Mutation { b d: a }"
        )
        return root_fields(document, document.pick(""))

    assert asyncio.run(run()) == 4
