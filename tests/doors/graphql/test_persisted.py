"""Documents by their hash: registered by clients as they go, or by the operator beforehand and no others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SMALL, LiveServer
from tests.doors.graphql.conftest import Asks
from tests.doors.graphql.speaking import Speaker, code_of

SETTINGS = {"KONSUL_GRAPHQL_PERSISTED_MAX": "3"}
HELLO = "query Hello { __typename }\n"


def named(query: str) -> dict[str, Any]:
    digest = hashlib.sha256(query.encode()).hexdigest()
    return {"persistedQuery": {"version": 1, "sha256Hash": digest}}


def by_hash(http: httpx.Client, query: str) -> Any:
    """Asks with nothing but the hash."""
    answer = http.post("/graphql", json={"extensions": named(query)})
    assert answer.status_code == 200
    return answer.json()


def test_a_document_is_asked_for_once_and_then_known(http: httpx.Client, asks: Asks) -> None:
    query = "query Once { __typename }"
    refused = by_hash(http, query)
    assert code_of(refused) == "PERSISTED_QUERY_NOT_FOUND"
    assert refused["errors"][0]["message"] == "PersistedQueryNotFound"
    assert asks(query, extensions=named(query)) == (200, {"data": {"__typename": "Query"}})
    assert by_hash(http, query) == {"data": {"__typename": "Query"}}
    given = {"extensions": json.dumps(named(query))}
    assert http.get("/graphql", params=given).json() == {"data": {"__typename": "Query"}}


def test_a_hash_of_another_document_is_refused(asks: Asks) -> None:
    status, body = asks("{ __typename }", extensions=named("{ health { status } }"))
    assert (status, code_of(body)) == (422, "PERSISTED_QUERY_HASH_MISMATCH")


def test_what_is_not_valid_is_not_kept(http: httpx.Client, asks: Asks) -> None:
    query = "{ nothing }"
    assert asks(query, extensions=named(query))[0] == 422
    assert code_of(by_hash(http, query)) == "PERSISTED_QUERY_NOT_FOUND"


def test_the_oldest_makes_room(http: httpx.Client, asks: Asks) -> None:
    queries = [f"query Q{number} {{ __typename }}" for number in range(4)]
    for query in queries:
        asks(query, extensions=named(query))
    assert code_of(by_hash(http, queries[0])) == "PERSISTED_QUERY_NOT_FOUND"
    assert by_hash(http, queries[3]) == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    "extensions",
    [
        {"persistedQuery": 7},
        {"persistedQuery": {}},
        {"persistedQuery": {"version": 1, "sha256Hash": "short"}},
        {"persistedQuery": {"version": 2, "sha256Hash": "0" * 64}},
    ],
)
def test_a_hash_that_is_none(asks: Asks, extensions: dict[str, Any]) -> None:
    status, body = asks("{ __typename }", extensions=extensions)
    assert (status, code_of(body)) == (400, "BAD_REQUEST")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that answers only what stands in a directory."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "deep").mkdir()
    (folder / "deep" / "hello.graphql").write_text(HELLO)
    settings = {"KONSUL_GRAPHQL_PERSISTED_MODE": "allow-list", "KONSUL_GRAPHQL_PERSISTED_DIR": str(folder)}
    with LiveServer(tmp_path_factory.mktemp("guarded") / "data", SMALL | settings) as running:
        yield running


@pytest.mark.parametrize(
    "body",
    [
        {"query": HELLO},
        {"query": HELLO.strip()},
        {"extensions": named(HELLO)},
        {"extensions": named(HELLO.strip())},
        {"query": HELLO, "extensions": named(HELLO)},
    ],
)
def test_a_registered_document_is_answered(guarded: LiveServer, body: dict[str, Any]) -> None:
    answer = httpx.post(f"{guarded.base_url}/graphql", json=body, trust_env=False)
    assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    "body",
    [
        {"query": "{ __typename }"},
        {"query": "{ __schema { types { name } } }"},
        {"query": HELLO + "# more"},
        {"extensions": named("{ __typename }")},
        {"query": "{ __typename }", "extensions": named("{ __typename }")},
    ],
)
def test_any_other_document_is_not(guarded: LiveServer, body: dict[str, Any]) -> None:
    answer = httpx.post(f"{guarded.base_url}/graphql", json=body, trust_env=False)
    assert (answer.status_code, code_of(answer.json())) == (422, "PERSISTED_QUERY_NOT_ALLOWED")


def test_a_socket_has_no_other_rule(guarded: LiveServer) -> None:
    one = Speaker(guarded.port).begin()
    try:
        assert one.answer("1", HELLO) == {"data": {"__typename": "Query"}}
        one.start("2", "{ __typename }")
        message = one.hear()
        assert message["payload"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_ALLOWED"
    finally:
        one.hang_up()


@pytest.mark.parametrize(
    "manifest",
    [
        {hashlib.sha256(HELLO.encode()).hexdigest(): HELLO},
        {
            "format": "apollo-persisted-query-manifest",
            "version": 1,
            "operations": [{"id": "x", "body": HELLO}],
        },
    ],
)
def test_a_manifest_registers_documents(tmp_path: Path, manifest: Any) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    settings = {"KONSUL_GRAPHQL_PERSISTED_MODE": "allow-list", "KONSUL_GRAPHQL_PERSISTED_DIR": str(path)}
    with LiveServer(tmp_path / "data", SMALL | settings) as running:
        answer = httpx.post(f"{running.base_url}/graphql", json={"extensions": named(HELLO)}, trust_env=False)
        assert answer.json() == {"data": {"__typename": "Query"}}
