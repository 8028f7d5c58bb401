"""What an operator can switch off."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.conftest import SMALL, LiveServer
from tests.doors.graphql.conftest import Asks
from tests.doors.graphql.speaking import code_of

SETTINGS = {
    "KONSUL_GRAPHQL_INTROSPECTION_ENABLED": "false",
    "KONSUL_GRAPHQL_MUTATIONS_ENABLED": "false",
    "KONSUL_GRAPHQL_SUBSCRIPTIONS_ENABLED": "false",
    "KONSUL_GRAPHQL_PLAYGROUND_ENABLED": "false",
    "KONSUL_GRAPHQL_PERSISTED_MODE": "off",
    "KONSUL_GRAPHQL_MAX_BATCH": "1",
    "KONSUL_GRAPHQL_MUTATION_RATE_LIMIT": "0",
    "KONSUL_GRAPHQL_DOCUMENTS_KEPT": "0",
}


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("{ __schema { types { name } } }", 422, "INTROSPECTION_DISABLED"),
        ('{ __type(name: "Query") { name } }', 422, "INTROSPECTION_DISABLED"),
        ("{ ...A } fragment A on Query { __schema { types { name } } }", 422, "INTROSPECTION_DISABLED"),
        ('mutation { kvDelete(key: "x") }', 200, "MUTATIONS_DISABLED"),
        ("subscription { kvChanged { key } }", 200, "SUBSCRIPTIONS_DISABLED"),
    ],
)
def test_what_is_off_is_refused(asks: Asks, query: str, status: int, code: str) -> None:
    found, body = asks(query)
    assert (found, code_of(body)) == (status, code)


def test_what_is_on_goes_on(asks: Asks) -> None:
    for _ in range(2):
        assert asks("{ __typename }") == (200, {"data": {"__typename": "Query"}})


def test_without_introspection_errors_name_no_fields(asks: Asks) -> None:
    _, body = asks("{ servicez { name } }")
    assert body["errors"][0]["message"] == "Cannot query field 'servicez' on type 'Query'."


def test_without_a_playground_there_is_none(http: httpx.Client) -> None:
    assert http.get("/graphql/playground").status_code == 404
    assert http.get("/graphql/playground/page.js").status_code == 404


def test_without_persisted_documents_a_hash_alone_is_refused(asks: Asks) -> None:
    named = {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}
    status, body = asks("", extensions=named)
    assert (status, code_of(body)) == (422, "PERSISTED_QUERY_NOT_SUPPORTED")
    assert asks("{ __typename }", extensions=named)[0] == 200


def test_without_batches_two_operations_are_too_many(http: httpx.Client) -> None:
    answer = http.post("/graphql", json=[{"query": "{ __typename }"}] * 2)
    assert (answer.status_code, code_of(answer.json())) == (422, "BATCH_LIMIT_EXCEEDED")


def test_the_door_can_be_closed(tmp_path: Path) -> None:
    settings = SMALL | {"KONSUL_GRAPHQL_ENABLED": "false"}
    with LiveServer(tmp_path / "data", settings) as running:
        for path in ("/graphql", "/graphql/playground"):
            assert running.status_of(path) == 404
