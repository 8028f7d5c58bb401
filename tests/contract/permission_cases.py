"""For every route and every GraphQL field one sound request, so that only the permission can refuse it.

A route or a field without a case here fails `test_permissions.py`, and so does a case for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SERVICE: Final = {"name": "svc", "address": "10.0.0.1", "port": 80}
CHECKED: Final = SERVICE | {"name": "svc", "checks": [{"id": "alive", "name": "alive", "ttl": "1h"}]}
POLICY: Final = {"name": "made", "kv": [{"path": "a", "capabilities": ["read"]}]}
QUERY: Final = {"name": "made", "service": {"service": "svc"}}
ASKED: Final = {"policies": ["all"], "resource": "kv", "path": "a", "capability": "read"}
FILLED: Final[Mapping[str, str]] = {
    "{key:path}": "a/b",
    "{pattern:path}": "a/b",
    "{tag:path}": "web",
    "{type}": "ip",
    "{ip}": "10.1.2.3",
}
"""What stands for a parameter in a path; every other parameter is the word `absent`."""
BODIES: Final[Mapping[tuple[str, str], Any]] = {
    ("PUT", "/kv/{key:path}"): {"value": "v"},
    ("POST", "/transaction"): {"operations": [{"type": "set", "key": "a", "value": "v"}]},
    ("POST", "/batch/kv/get"): {"keys": ["a"]},
    ("POST", "/batch/kv/set"): {"items": {"a": "v"}},
    ("POST", "/batch/kv/delete"): {"keys": ["a"]},
    ("POST", "/batch/kv/set-cas"): {"items": {"a": "v"}, "expected_indices": {"a": 0}},
    ("POST", "/batch/kv/delete-cas"): {"keys": ["a"], "expected_indices": {"a": 1}},
    ("PUT", "/register"): SERVICE,
    ("POST", "/register"): SERVICE,
    ("POST", "/batch/services/get"): {"names": ["svc"]},
    ("POST", "/batch/services/register"): {"services": [SERVICE]},
    ("POST", "/batch/services/deregister"): {"names": ["svc"]},
    ("POST", "/services/{name}/dependencies"): {"dependencies": ["db"]},
    ("PUT", "/services/{name}/dependencies"): {"dependencies": ["db"]},
    ("POST", "/query"): QUERY,
    ("PUT", "/query/{id}"): QUERY | {"name": "absent"},
    ("POST", "/health/check"): {"service": "svc", "id": "made", "ttl": "1h"},
    ("PUT", "/health/check/{id}/definition"): {"ttl": "1h"},
    ("PUT", "/health/check/{id}/update"): {"status": "passing"},
    ("PUT", "/lb/strategy"): {"strategy": "random"},
    ("PUT", "/lb/rules/{service:path}"): {"strategy": "random"},
    ("PUT", "/lb/rules/{service:path}/active"): {"active": "blue"},
    ("PUT", "/lb/service/{tag:path}/split"): {"rules": [{"name": "canary", "percent": 5, "tags": ["next"]}]},
    ("PUT", "/lb/report/{name}"): {"connections": 1},
    ("POST", "/lb/reports"): {"reports": [{"name": "svc", "connections": 1}]},
    ("POST", "/acl/policies"): POLICY,
    ("PUT", "/acl/policies/{name}"): POLICY | {"name": "absent"},
    ("POST", "/acl/test"): ASKED,
    ("POST", "/acl/validate"): POLICY,
    ("POST", "/acl/explain"): ASKED,
}
"""What is sent where a body is needed to get as far as the verb; elsewhere `{}`."""
QUERIES: Final[Mapping[tuple[str, str], bytes]] = {
    ("DELETE", "/kv"): b"prefix=a&recurse=true",
    ("GET", "/kv/watch"): b"key=a",
    ("GET", "/services/query"): b"tags=web",
    ("PUT", "/nodes/{name}/maintenance"): b"enable=true",
    ("PUT", "/services/{name}/maintenance"): b"enable=true",
    ("GET", "/services/query/tags"): b"tags=web",
    ("GET", "/services/query/metadata"): b"a=b",
    ("GET", "/lb/tags"): b"tags=web",
    ("GET", "/lb/metadata"): b"a=b",
    ("GET", "/lb/query"): b"tags=web",
    ("GET", "/lb/strategy"): b"",
}
NO_VERB: Final = frozenset((("PUT", "/kv"),))
"""Routes that answer 400 to everybody who is somebody: they have no verb that could be refused."""
ENDED_BY_ITSELF: Final = frozenset((("POST", "/auth/bootstrap"),))
"""Public, and refused with 403 or 409 to everybody once it is over."""

SVC: Final = '(name: "svc")'
INPUT: Final = '(input: {name: "svc", address: "10.0.0.1", port: 80})'
FIELDS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "query": {
        "_entities": ('(representations: [{__typename: "KVPair", key: "a"}]) { __typename }', "kv:read"),
        "_service": ("{ sdl }", "authenticated"),
        "health": ("{ status }", "authenticated"),
        "healthCheck": ('(id: "c") { id }', "health:read"),
        "healthChecks": ('(service: "svc") { id }', "health:read"),
        "service": (f"{SVC} {{ name }}", "service:read"),
        "services": ("{ name }", "service:list"),
        "serviceInstances": (f"{SVC} {{ name }}", "service:read"),
        "servicesCount": ("", "service:list"),
        "loadBalance": ('(service: "svc") { name }', "service:read"),
        "searchServices": ('(filter: "Port == 80") { services { name } }', "service:list"),
        "servicesByTags": ('(tags: ["web"]) { name }', "service:list"),
        "servicesByMetadata": ('(filters: [{key: "a", value: "b"}]) { name }', "service:list"),
        "servicesByQuery": ('(tags: ["web"]) { name }', "service:list"),
        "kv": ('(key: "a") { key }', "kv:read"),
        "kvList": ("{ items { key } }", "kv:read"),
        "kvTree": ('(prefix: "a") { key }', "kv:read"),
    },
    "mutation": {
        "registerService": (f"{INPUT} {{ name }}", "service:register"),
        "deregisterService": (SVC, "service:deregister"),
        "updateServiceCheck": (
            '(serviceId: "svc", checkId: "alive", status: PASSING) { id }',
            "service:write health:read",
        ),
        "updateHeartbeat": (f"{SVC} {{ name }}", "service:write service:read"),
        "kvSet": ('(key: "a", value: "v") { key }', "kv:write"),
        "kvDelete": ('(key: "a")', "kv:delete"),
        "kvCAS": ('(key: "a", value: "v", index: 0) { key }', "kv:write"),
        "kvSetCAS": ('(key: "a", value: "v", modifyIndex: 0) { __typename }', "kv:write"),
        "kvDeleteCAS": ('(key: "a", modifyIndex: 1)', "kv:delete"),
        "kvDeleteTree": ('(prefix: "a") { __typename }', "kv:delete"),
    },
    "subscription": {
        "serviceChanged": ('(name: "svc", since: 0) { __typename }', "service:read"),
        "allServicesChanged": ("(since: 0) { __typename }", "service:read"),
        "serviceHealthChanged": ('(name: "svc", since: 0) { __typename }', "service:read"),
        "healthCheckChanged": ('(service: "svc", since: 0) { __typename }', "health:read"),
        "kvChanged": ('(key: "a", since: 0) { __typename }', "kv:read"),
        "kvWatchKey": ('(key: "a") { __typename }', "kv:read"),
    },
}
"""Kind of operation -> field -> what follows its name, and what it needs: what it does, and what it tells."""
