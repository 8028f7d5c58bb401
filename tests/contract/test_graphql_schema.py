"""The GraphQL schema keeps the names and types that clients of the first Konsul use, and says all it has.

`CONTRACT` is what was promised; `docs/reference/graphql.graphql` is what there is, kept up by `make fix`.
"""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    build_schema,
    is_required_argument,
    is_required_input_field,
)

from konsul.doors.graphql.schema import build
from konsul.features import FEATURES
from konsul.kernel.feature import load_all

CONTRACT = """
scalar Time
scalar Duration
enum ServiceStatus { ACTIVE EXPIRED }
enum HealthCheckType { HTTP TCP GRPC TTL }
enum HealthCheckStatus { PASSING WARNING CRITICAL }
enum KVEventType { SET DELETE }
enum ServiceEventType { REGISTERED DEREGISTERED HEARTBEAT }
type SystemHealth {
  status: String! version: String! uptime: String! timestamp: Time!
  services: ServiceStats! kvStore: KVStats!
}
type ServiceStats { total: Int! active: Int! expired: Int! }
type KVStats { totalKeys: Int! }
type KVPair { key: String! value: String! createdAt: Time updatedAt: Time }
type KVListResponse { items: [KVPair!]! total: Int! hasMore: Boolean! }
type KVChangeEvent { type: KVEventType! key: String! value: String oldValue: String timestamp: Time! }
# expiresAt: null of one that stays until it is deregistered, which there was none of.
type Service {
  name: String! address: String! port: Int! status: ServiceStatus! expiresAt: Time tags: [String!]!
  metadata: [MetadataEntry!]! checks: [HealthCheck!]!
}
type MetadataEntry { key: String! value: String! }
type HealthCheck {
  id: String! serviceId: String! name: String!
  type: HealthCheckType! status: HealthCheckStatus! output: String
  interval: Duration timeout: Duration lastChecked: Time
}
type ServiceChangeEvent { type: ServiceEventType! service: Service! timestamp: Time! }
input MetadataFilter { key: String! value: String! }
input MetadataInput { key: String! value: String! }
input RegisterServiceInput {
  name: String! address: String! port: Int! tags: [String!] metadata: [MetadataInput!]
}
type Query {
  health: SystemHealth!
  kv(key: String!): KVPair
  kvList(prefix: String, limit: Int, offset: Int): KVListResponse!
  service(name: String!): Service
  services(limit: Int, offset: Int): [Service!]!
  servicesCount: Int!
  servicesByTags(tags: [String!]!): [Service!]!
  servicesByMetadata(filters: [MetadataFilter!]!): [Service!]!
  servicesByQuery(tags: [String!], metadata: [MetadataFilter!]): [Service!]!
}
type Mutation {
  kvSet(key: String!, value: String!): KVPair!
  kvDelete(key: String!): Boolean!
  kvCAS(key: String!, value: String!, index: Int!): KVPair
  registerService(input: RegisterServiceInput!): Service!
  deregisterService(name: String!): Boolean!
  updateHeartbeat(name: String!): Service!
}
type Subscription {
  kvChanged(key: String, prefix: String): KVChangeEvent!
  serviceChanged(name: String): ServiceChangeEvent!
}
"""


@functools.cache
def promised() -> GraphQLSchema:
    return build_schema(CONTRACT)


@functools.cache
def found() -> GraphQLSchema:
    return build_schema(build(load_all(FEATURES)).as_str(), assume_valid=True)


NAMES = sorted(name for name in promised().type_map if not name.startswith("__"))


@pytest.mark.parametrize("name", NAMES)
def test_what_was_promised_is_there_with_its_type(name: str) -> None:
    wanted, given = promised().type_map[name], found().type_map[name]
    assert type(given) is type(wanted)
    if isinstance(wanted, GraphQLScalarType):
        return
    if isinstance(wanted, GraphQLEnumType):
        assert isinstance(given, GraphQLEnumType)
        assert set(wanted.values) <= set(given.values)
        return
    assert isinstance(wanted, GraphQLObjectType | GraphQLInputObjectType)
    assert isinstance(given, GraphQLObjectType | GraphQLInputObjectType)
    for field, promise in wanted.fields.items():
        assert str(given.fields[field].type) == str(promise.type), field


@pytest.mark.parametrize("name", ["Query", "Mutation", "Subscription"])
def test_arguments_are_the_promised_ones_and_no_other_is_needed(name: str) -> None:
    wanted, given = promised().type_map[name], found().type_map[name]
    assert isinstance(wanted, GraphQLObjectType)
    assert isinstance(given, GraphQLObjectType)
    for field, promise in wanted.fields.items():
        arguments = given.fields[field].args
        for argument, kind in promise.args.items():
            assert str(arguments[argument].type) == str(kind.type), (field, argument)
            assert arguments[argument].default_value == kind.default_value, (field, argument)
        added = set(arguments) - set(promise.args)
        assert not [one for one in added if is_required_argument(arguments[one])], field


def test_inputs_need_nothing_that_was_not_promised() -> None:
    for name in ("MetadataFilter", "MetadataInput", "RegisterServiceInput"):
        wanted, given = promised().type_map[name], found().type_map[name]
        assert isinstance(wanted, GraphQLInputObjectType)
        assert isinstance(given, GraphQLInputObjectType)
        added = set(given.fields) - set(wanted.fields)
        assert not [one for one in added if is_required_input_field(given.fields[one])], name


def test_every_field_and_type_that_is_not_plain_says_what_it_is() -> None:
    silent = [
        f"{name}.{field}"
        for name in ("Query", "Mutation", "Subscription")
        for field, one in found().type_map[name].fields.items()  # type: ignore[attr-defined]
        if not one.description and not field.startswith("_")
    ]
    assert silent == []


def test_a_server_without_graphql_clients_never_loads_the_library() -> None:
    program = (
        "import sys\n"
        "import konsul.server.main\n"
        "from konsul.features import FEATURES\n"
        "from konsul.kernel.feature import load_all\n"
        "load_all(FEATURES)\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('strawberry', 'graphql')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
