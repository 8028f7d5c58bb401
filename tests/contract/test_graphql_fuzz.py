"""Operations made from the GraphQL schema itself: whatever is asked, none is a defect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from graphql import (
    FloatValueNode,
    IntValueNode,
    ObjectFieldNode,
    ObjectValueNode,
    StringValueNode,
    print_schema,
)
from graphql.language import NameNode, ValueNode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis_graphql import mutations, queries

from konsul.doors.graphql.failures import CODES, INTERNAL, VALIDATION_FAILED
from tests.unit.graphql.asked import Asked, node, schema

KNOWN = {*CODES.values(), VALIDATION_FAILED}
FEW = settings(
    max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def texts(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[ValueNode]:
    return strategy.map(lambda text: StringValueNode(value=text))


def representation(name: str, key: str, value: str) -> ValueNode:
    members = {"__typename": name, key: value}
    fields = [
        ObjectFieldNode(name=NameNode(value=member), value=StringValueNode(value=text))
        for member, text in members.items()
    ]
    return ObjectValueNode(fields=tuple(fields))


SCALARS: dict[str, st.SearchStrategy[ValueNode]] = {
    "Long": st.integers(-1, 2**65).map(lambda number: IntValueNode(value=str(number))),
    "Duration": texts(st.sampled_from(["1h", "0s", "-1s", "soon", "99999999h", ""])),
    "Time": st.just(FloatValueNode(value="1.5")),
    "JSONObject": st.just(ObjectValueNode(fields=())),
    "_Any": st.builds(
        representation,
        st.sampled_from(["KVPair", "Service", "Query", "Nothing"]),
        st.sampled_from(["key", "name", "other"]),
        st.text(max_size=5),
    ),
}
SDL = print_schema(schema()._schema)
"""Without the directives of federation, which the generator does not know."""
QUERIES = queries(SDL, custom_scalars=SCALARS)
MUTATIONS = mutations(SDL, custom_scalars=SCALARS)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Asked]]:
    """A node, and the loop it lives on."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        folder = tmp_path_factory.mktemp("fuzz")
        ask = runner.run(stack.enter_async_context(node(folder)))
        yield runner, ask
        runner.run(stack.aclose())


def check(asked: tuple[asyncio.Runner, Asked], operation: str) -> None:
    runner, ask = asked
    data, errors = runner.run(ask.both(operation))
    for error in errors:
        assert error["extensions"]["code"] in KNOWN, (operation, error)
        assert error["extensions"]["code"] != INTERNAL, (operation, error)
    assert data is not None or errors, operation


@FEW
@given(operation=QUERIES)
def test_no_query_is_a_defect(asked: tuple[asyncio.Runner, Asked], operation: str) -> None:
    check(asked, operation)


@FEW
@given(operation=MUTATIONS)
def test_no_mutation_is_a_defect(asked: tuple[asyncio.Runner, Asked], operation: str) -> None:
    check(asked, operation)
