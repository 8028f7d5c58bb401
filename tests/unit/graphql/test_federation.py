"""The schema as a subgraph of a federation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from graphql import build_schema, parse

from tests.unit.graphql.asked import node, schema, story

ENTITIES = """query($r: [_Any!]!) { _entities(representations: $r) {
  __typename ... on KVPair { key value } ... on Service { name port } } }"""


def test_the_service_tells_its_sdl(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            sdl = (await ask("{ _service { sdl } }"))["_service"]["sdl"]
            assert sdl == schema().as_str()
            parse(sdl)
            assert 'type KVPair @key(fields: "key")' in sdl
            assert 'type Service @key(fields: "name")' in sdl
            assert "https://specs.apollo.dev/federation/v2" in sdl

    story(told)


def test_a_client_can_rebuild_the_schema_from_introspection() -> None:
    from graphql import build_client_schema, print_schema

    found = schema().introspect()
    rebuilt = build_schema(print_schema(build_client_schema(cast(Any, found))))
    assert {"KVPair", "Service", "_Entity"} <= set(rebuilt.type_map)


def test_entities_are_resolved_by_their_keys(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await ask('mutation { kvSet(key: "k", value: "v") { key } }')
            await ask('mutation { registerService(input: {name: "web", address: "a", port: 80}) { name } }')
            wanted = [
                {"__typename": "Service", "name": "web"},
                {"__typename": "KVPair", "key": "none"},
                {"__typename": "KVPair", "key": "k", "value": "what the gateway knows"},
                {"__typename": "Service", "name": "none"},
            ]
            assert (await ask(ENTITIES, r=wanted))["_entities"] == [
                {"__typename": "Service", "name": "web", "port": 80},
                None,
                {"__typename": "KVPair", "key": "k", "value": "v"},
                None,
            ]

    story(told)


@pytest.mark.parametrize(
    ("representation", "message"),
    [
        ({"__typename": "Planet", "key": "k"}, "Planet is not an entity of this subgraph"),
        ({"__typename": "Query"}, "Query is not an entity of this subgraph"),
        ({"__typename": "HealthCheck", "id": "k"}, "HealthCheck is not an entity of this subgraph"),
        ({"__typename": "KVPair"}, "a representation of KVPair needs its key field key, a string"),
        ({"__typename": "KVPair", "key": 1}, "a representation of KVPair needs its key field key, a string"),
        (
            {"__typename": "Service", "key": "k"},
            "a representation of Service needs its key field name, a string",
        ),
        ({"key": "k"}, "a representation must be an object with __typename"),
        ({"__typename": 1}, "a representation must be an object with __typename"),
        ("KVPair", "a representation must be an object with __typename"),
        ({"__typename": "KVPair", "key": ""}, "key is required"),
    ],
)
def test_a_bad_representation_fails_alone(tmp_path: Path, representation: Any, message: str) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await ask('mutation { kvSet(key: "k", value: "v") { key } }')
            good = {"__typename": "KVPair", "key": "k"}
            data, (error,) = await ask.both(ENTITIES, r=[representation, good])
            assert data["_entities"] == [None, {"__typename": "KVPair", "key": "k", "value": "v"}]
            assert (error["message"], error["path"]) == (message, ["_entities", 0])
            assert error["extensions"]["code"] == "INVALID_INPUT"

    story(told)
