"""GraphQL is a door like the others: each field is decided where its data is, however often it is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ask import Answer
from tests.security.guarded import CROWN, Guarded, Login, leaks, names

KEY = f'"{CROWN}"'


def query(guarded: Guarded, document: object, headers: dict[str, str]) -> Answer:
    body: Any = {"query": document} if isinstance(document, str) else document
    return guarded.ask("POST", "/graphql", body, headers)


def closed(guarded: Guarded, document: object, headers: dict[str, str]) -> None:
    """The document is refused for who asks, and would be answered to an admin."""
    answer = query(guarded, document, headers)
    assert not leaks(answer), answer.body
    assert answer.status < 500, answer.body
    assert answer.status != 200 or b'"errors"' in answer.body, answer.body


def test_nobody_gets_in(guarded: Guarded) -> None:
    for document in (
        "{ __typename }",
        "{ __schema { types { name } } }",
        f"{{ kv(key: {KEY}) {{ value }} }}",
    ):
        assert query(guarded, document, {}).status == 401
    assert guarded.get("/graphql?query={__typename}").status == 401
    assert guarded.get("/graphql").status == 401
    assert guarded.get("/graphql/playground").status == 401


READS = [
    f"{{ kv(key: {KEY}) {{ value }} }}",
    f"query A {{ a: kv(key: {KEY}) {{ value }} b: kv(key: {KEY}) {{ key value }} }}",
    f"query A {{ ...F }} fragment F on Query {{ kv(key: {KEY}) {{ value }} }}",
    f"{{ ... on Query {{ kv(key: {KEY}) {{ value }} }} }}",
    f"{{ kv(key: {KEY}) @include(if: true) {{ value }} }}",
    f'{{ ok: kv(key: "open/door") {{ value }} bad: kv(key: {KEY}) {{ value }} }}',
    '{ service(name: "vault-svc") { address port } }',
    '{ serviceInstances(name: "vault-svc") { address } }',
]


@pytest.mark.parametrize("document", READS)
def test_a_read_beyond_the_rules(guarded: Guarded, attacker: Login, document: str) -> None:
    control = query(guarded, document, guarded.admin)
    assert "errors" not in control.json(), control.body
    closed(guarded, document, attacker.headers)


def test_aliases_by_the_hundred(guarded: Guarded, attacker: Login) -> None:
    document = "{" + " ".join(f"a{number}: kv(key: {KEY}) {{ value }}" for number in range(500)) + "}"
    closed(guarded, document, attacker.headers)


def test_the_allowed_part_of_a_document_is_answered(guarded: Guarded, attacker: Login) -> None:
    document = f'{{ ok: kv(key: "open/door") {{ value }} bad: kv(key: {KEY}) {{ value }} }}'
    answer = query(guarded, document, attacker.headers).json()
    assert answer["data"]["ok"] == {"value": "ajar"}
    assert answer["data"]["bad"] is None
    (error,) = answer["errors"]
    assert error["path"] == ["bad"]
    assert error["extensions"]["code"] == "FORBIDDEN"


def test_a_batch_of_operations(guarded: Guarded, attacker: Login) -> None:
    batch = [{"query": '{ kv(key: "open/door") { value } }'}, {"query": READS[0]}] * 5
    answer = query(guarded, batch, attacker.headers)
    assert not leaks(answer)
    assert answer.status in (200, 400)


@pytest.mark.parametrize("name", ["kvSet", "kvDelete"])
def test_a_write_beyond_the_rules(guarded: Guarded, attacker: Login, name: str) -> None:
    call = f'kvSet(key: {KEY}, value: "taken") {{ key }}' if name == "kvSet" else f"kvDelete(key: {KEY})"
    for document in (
        f"mutation {{ {call} }}",
        f'mutation {{ a: kvSet(key: "open/a", value: "b") {{ key }} b: {call} }}',
    ):
        closed(guarded, document, attacker.headers)


def test_a_mutation_by_get(guarded: Guarded, attacker: Login) -> None:
    document = 'mutation{kvSet(key:"open/by-get",value:"x"){__typename}}'
    answer = guarded.get(
        "/graphql?query=" + document.replace('"', "%22").replace(" ", "%20"), attacker.headers
    )
    assert answer.status in (405, 406)
    assert "open/by-get" not in guarded.stored()


LISTS = [
    "{ kvList { items { key value } total } }",
    '{ kvList(prefix: "vault") { items { key value } total } }',
    "{ services { name address } }",
    "{ servicesCount }",
    '{ kvTree(prefix: "") { key value } }',
    '{ kvTree(prefix: "vault") { key value } }',
    "{ services(limit: 100, offset: 0) { name } }",
    "{ health { services { total } kvStore { totalKeys } } }",
]


@pytest.mark.parametrize("document", LISTS)
def test_lists_hold_what_may_be_seen(guarded: Guarded, attacker: Login, document: str) -> None:
    assert "errors" not in query(guarded, document, guarded.admin).json()
    answer = query(guarded, document, attacker.headers)
    assert not names(answer.body)
    assert answer.status < 500


@pytest.mark.parametrize(
    "document",
    [
        "{" + "a { " * 5_000,
        "query " + "(" * 50_000,
        "{ a(x: " + "[" * 50_000 + "]" * 50_000 + ") }",
        "{ a(x: " + "9" * 100_000 + ") }",
        "{ " + "a " * 50_000 + "}",
        "fragment A on Query { ...A } { ...A }",
        "fragment A on Query { ...B } fragment B on Query { ...A } { ...A }",
        "{ __typename " + "@skip(if: false) " * 10_000 + "}",
        "\ufeff" * 10_000 + "{ __typename }",
        "#" * 100_000 + "\n{ __typename }",
        "{ __schema { types { fields { type { fields { type { fields { type { name } } } } } } } } }",
    ],
    ids=range(11),
)
def test_documents_that_cost_much_are_refused(guarded: Guarded, attacker: Login, document: str) -> None:
    answer = query(guarded, document, attacker.headers)
    assert answer.status < 500, answer.body[:300]
    assert answer.status != 200 or "errors" in answer.json() or "data" in answer.json()


def test_variables_that_are_bombs(guarded: Guarded, attacker: Login) -> None:
    document = "query A($k: String!) { kv(key: $k) { value } }"
    bombs: list[Any] = ["k" * 1_000_000, ["a"] * 1_000, {"a": {"b": {}}}, 10**400, None, True]
    for value in bombs:
        body = json.dumps({"query": document, "variables": {"k": value}}).encode()
        answer = guarded.ask(
            "POST", "/graphql", body, attacker.headers | {"Content-Type": "application/json"}
        )
        assert answer.status < 500
        assert answer.status != 200 or b"errors" in answer.body
