"""GraphQL over HTTP: what may be sent, and which status answers it."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from tests.doors.graphql.conftest import Asks
from tests.doors.graphql.speaking import code_of


def test_a_query_is_answered(asks: Asks) -> None:
    assert asks("{ __typename }") == (200, {"data": {"__typename": "Query"}})


def test_a_write_can_be_read_through_every_door(asks: Asks, http: httpx.Client, space: str) -> None:
    query = 'mutation Set($key: String!) { kvSet(key: $key, value: "v") { key value } }'
    assert asks(query, {"key": space}) == (200, {"data": {"kvSet": {"key": space, "value": "v"}}})
    assert http.get(f"/kv/{space}").json()["value"] == "v"


def test_a_get_takes_everything_from_the_query_string(http: httpx.Client, space: str) -> None:
    http.put(f"/kv/{space}", json={"value": "v"})
    query = "query A($key: String!) { kv(key: $key) { value } } query B { __typename }"
    given = {"query": query, "operationName": "A", "variables": json.dumps({"key": space})}
    assert http.get("/graphql", params=given).json() == {"data": {"kv": {"value": "v"}}}


def test_a_get_never_writes(http: httpx.Client, space: str) -> None:
    query = f'mutation {{ kvSet(key: "{space}", value: "v") {{ key }} }}'
    answer = http.get("/graphql", params={"query": query})
    assert answer.status_code == 406
    assert answer.json()["errors"][0]["message"] == "GET requests only allow query operations"
    assert http.get(f"/kv/{space}").status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_no_transport(http: httpx.Client, method: str) -> None:
    answer = http.request(method, "/graphql")
    assert (answer.status_code, code_of(answer.json())) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"{", "application/json"),
        (b'"text"', "application/json"),
        (b'{"query": 7}', "application/json"),
        (b'{"query": "{ __typename }", "variables": []}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"query": "{ __typename }"}', "text/plain"),
        (b'{"query": "{ __typename }"}', "application/x-www-form-urlencoded"),
        (b"query=%7B__typename%7D", "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_that_is_not_json_of_the_right_form_is_400(
    http: httpx.Client, body: bytes, media: str
) -> None:
    answer = http.post("/graphql", content=body, headers={"content-type": media})
    assert (answer.status_code, code_of(answer.json())) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("query", "members", "code"),
    [
        ("{ health", {}, "GRAPHQL_PARSE_FAILED"),
        ("{ }", {}, "GRAPHQL_PARSE_FAILED"),
        ("", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("{ nothing }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename } query B { __typename }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename }", {"operationName": "B"}, "GRAPHQL_VALIDATION_FAILED"),
        ("query A($k: String!) { kv(key: $k) { key } }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("query A($k: String!) { kv(key: $k) { key } }", {"variables": {"k": 1}},
         "GRAPHQL_VALIDATION_FAILED"),
        ("mutation A($l: Long!) { kvDeleteCAS(key: \"k\", modifyIndex: $l) }", {"variables": {"l": "x"}},
         "GRAPHQL_VALIDATION_FAILED"),
        ("{ kv(key: 1) { key } }", {}, "GRAPHQL_VALIDATION_FAILED"),
    ],
)  # fmt: skip
def test_what_cannot_be_executed_is_422(
    http: httpx.Client, query: str, members: dict[str, Any], code: str
) -> None:
    answer = http.post("/graphql", json={"query": query, **members})
    assert answer.status_code == 422
    assert answer.json()["data"] is None
    assert code_of(answer.json()) == code


def test_an_empty_get_is_422(http: httpx.Client) -> None:
    assert http.get("/graphql").status_code == 422


def test_what_a_resolver_refuses_is_200_with_a_code_and_a_path(asks: Asks) -> None:
    status, body = asks('mutation { kvSet(key: "", value: "x") { key } }')
    assert (status, body["data"], code_of(body)) == (200, None, "INVALID_INPUT")
    assert body["errors"][0]["path"] == ["kvSet"]


def test_a_batch_is_answered_in_order_and_each_by_itself(http: httpx.Client, space: str) -> None:
    write = f'mutation {{ kvSet(key: "{space}", value: "v") {{ value }} }}'
    read = f'{{ kv(key: "{space}") {{ value }} }}'
    answer = http.post("/graphql", json=[{"query": write}, {"query": "{ nothing }"}, {"query": read}])
    assert answer.status_code == 200
    first, second, third = answer.json()
    assert first == {"data": {"kvSet": {"value": "v"}}}
    assert code_of(second) == "GRAPHQL_VALIDATION_FAILED"
    assert third == {"data": {"kv": {"value": "v"}}}


def test_an_empty_batch_asks_nothing(http: httpx.Client) -> None:
    assert http.post("/graphql", json=[]).status_code == 422


def test_a_subscription_needs_a_transport_that_streams(asks: Asks) -> None:
    status, body = asks("subscription { kvChanged { key } }")
    assert (status, code_of(body)) == (200, "SUBSCRIPTION_NEEDS_STREAM")


def test_every_field_of_one_request_is_written_once_under_an_idempotency_key(
    http: httpx.Client, asks: Asks, space: str
) -> None:
    fields = [f'{name}: kvSet(key: "{space}/{name}", value: "{name}") {{ key }}' for name in ("a", "b")]
    for _ in range(2):
        body = {"query": "mutation {" + " ".join(fields) + "}"}
        assert "errors" not in http.post("/graphql", json=body, headers={"idempotency-key": space}).json()
    _, found = asks(f'{{ kvList(prefix: "{space}/") {{ items {{ value createIndex modifyIndex }} }} }}')
    items = found["data"]["kvList"]["items"]
    assert [item["value"] for item in items] == ["a", "b"]
    assert [item["createIndex"] for item in items] == [item["modifyIndex"] for item in items]


def test_a_path_under_v1_and_in_capitals_is_the_same_door(http: httpx.Client) -> None:
    for path in ("/v1/graphql", "/GraphQL", "/graphql/"):
        assert http.get(path, params={"query": "{ __typename }"}).json() == {"data": {"__typename": "Query"}}


def test_the_log_and_the_metrics_never_show_what_was_asked(server: Any, http: httpx.Client) -> None:
    secret = "only-for-the-node"
    query = f'query Named {{ kv(key: "{secret}") {{ value }} }}'
    given = {"query": query, "variables": json.dumps({"x": secret})}
    assert http.get("/graphql", params=given).status_code == 200
    page = http.get("/metrics").text
    assert 'konsul_graphql_queries_total{query_name="Named",status="success"}' in page
    assert secret not in page
    assert secret not in server.output()


def test_operation_names_are_counted_up_to_a_bound(http: httpx.Client) -> None:
    for number in range(130):
        assert http.post("/graphql", json={"query": f"query N{number} {{ __typename }}"}).status_code == 200
    names = set(re.findall(r'konsul_graphql_queries_total\{query_name="(\w+)"', http.get("/metrics").text))
    assert "other" in names
    assert len(names) <= 102
