"""With the pipeline filled the compiled front and its plain twin answer alike, and tell the audit alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.contract.front_trio import Trio
from tests.contract.front_ways import Call, Reply
from tests.contract.played_guard import GRANT, PlayedGuard

JSON = (b"content-type", b"application/json")
MSGPACK = (b"content-type", b"application/msgpack")
ANN = ((b"authorization", b"Bearer ann"),)
ROOT = ((b"authorization", b"Bearer root"),)
WHO = {
    "nobody": (),
    "ann": ANN,
    "granted": ((b"authorization", b"Bearer granted"),),
    "root": ROOT,
    "bare": ((b"authorization", b"Bearer bare"),),
    "poor": ((b"authorization", b"Bearer poor"),),
    "blocked": ((b"authorization", b"Bearer listed"),),
    "key": ((b"x-api-key", b"k1"),),
    "key as bearer": ((b"authorization", b"ApiKey k1"),),
    "both the same": ((b"authorization", b"ApiKey k1"), (b"x-api-key", b"k1")),
    "both, different": ((b"authorization", b"Bearer ann"), (b"x-api-key", b"k1")),
    "expired": ((b"authorization", b"Bearer old"),),
    "unknown": ((b"authorization", b"Bearer nonsense"),),
    "two bearers": ((b"authorization", b"Bearer ann"), (b"authorization", b"Bearer root")),
    "two keys": ((b"x-api-key", b"k1"), (b"x-api-key", b"k1")),
    "empty": ((b"authorization", b""),),
    "no utf-8": ((b"authorization", b"Bearer \xff\xfe"),),
}


def body(path: bytes, value: object, method: str = "POST") -> tuple[str, bytes, bytes, bytes, Any]:
    return method, path, b"", orjson.dumps(value), (JSON,)


ASKED: dict[str, tuple[str, bytes, bytes, bytes, Any]] = {
    "get": ("GET", b"/kv/app/a", b"", b"", ()),
    "get metadata": ("GET", b"/kv/app/a", b"metadata=true", b"", ()),
    "get raw": ("GET", b"/kv/app/a", b"raw", b"", ()),
    "get elsewhere": ("GET", b"/kv/secret/a", b"", b"", ()),
    "get absent": ("GET", b"/kv/app/none", b"", b"", ()),
    "get under v1": ("GET", b"/v1/kv/app/a", b"", b"", ()),
    "get escaped": ("GET", b"/kv/secret%2Fa", b"", b"", ()),
    "get with odd query": ("GET", b"/kv/app/a", b"x=1", b"", ()),
    "head": ("HEAD", b"/kv/app/a", b"", b"", ()),
    "put": body(b"/kv/app/a", {"value": "1"}, "PUT"),
    "put elsewhere": body(b"/kv/secret/a", {"value": "1"}, "PUT"),
    "put not json": ("PUT", b"/kv/app/a", b"", b"{", (JSON,)),
    "put cas": body(b"/kv/app/a", {"value": "1", "cas": 99_999}, "PUT"),
    "delete": ("DELETE", b"/kv/app/d", b"", b"", ()),
    "delete elsewhere": ("DELETE", b"/kv/secret/d", b"", b"", ()),
    "service": ("GET", b"/services/app-web", b"", b"", ()),
    "service elsewhere": ("GET", b"/services/web", b"", b"", ()),
    "heartbeat": ("PUT", b"/heartbeat/app-web", b"", b"", ()),
    "heartbeat elsewhere": ("PUT", b"/heartbeat/web", b"", b"", ()),
    "deregister": ("DELETE", b"/deregister/app-none", b"", b"", ()),
    "deregister elsewhere": ("DELETE", b"/deregister/web", b"", b"", ()),
    "register": body(b"/register", {"name": "app-web", "address": "10.0.0.1", "port": 80}, "PUT"),
    "batch get": body(b"/batch/kv/get", {"keys": ["app/a", "app/none"]}),
    "batch get elsewhere": body(b"/batch/kv/get", {"keys": ["app/a", "secret/a"]}),
    "batch get of many": body(b"/batch/kv/get", {"keys": ["app/a", "app/b", "app/c", "app/d"]}),
    "batch get twice": body(b"/batch/kv/get", {"keys": ["app/a", "app/a"]}),
    "batch set": body(b"/batch/kv/set", {"items": {"app/b": "1", "app/c": "2"}}),
    "batch set elsewhere": body(b"/batch/kv/set", {"items": {"app/b": "1", "secret/c": "2", "other": "3"}}),
    "batch set of many": body(b"/batch/kv/set", {"items": {f"app/{n}": "1" for n in range(5)}}),
    "batch delete": body(b"/batch/kv/delete", {"keys": ["app/d", "app/e"]}),
    "batch delete elsewhere": body(b"/batch/kv/delete", {"keys": ["secret/d"]}),
    "batch set guarded": body(b"/batch/kv/set-cas", {"items": {"app/b": {"value": "1", "cas": 9}}}),
    "batch of services": body(b"/batch/services/get", {"names": ["app-web", "web"]}),
    "list": ("GET", b"/kv", b"limit=5", b"", ()),
    "services": ("GET", b"/services", b"", b"", ()),
    "admin": ("GET", b"/cluster/status", b"", b"", ()),
    "admin write": ("PUT", b"/lb/strategy", b"", b'{"strategy":"random"}', (JSON,)),
    "probe": ("GET", b"/health/live", b"", b"", ()),
    "ready": ("GET", b"/health/ready", b"", b"", ()),
    "ready with a slash": ("GET", b"/health/ready/", b"", b"", ()),
    "ready in capitals": ("GET", b"/health/READY", b"", b"", ()),
    "nothing": ("GET", b"/nothing/here", b"", b"", ()),
    "wrong method": ("PATCH", b"/kv/app/a", b"", b"", ()),
    "bad path": ("GET", b"/kv/%zz", b"", b"", ()),
    "token in a query": ("GET", b"/kv/app/a", b"token=ann", b"", ()),
    "options": ("OPTIONS", b"/kv/app/a", b"", b"", ()),
    "preflight": (
        "OPTIONS",
        b"/kv/app/a",
        b"",
        b"",
        ((b"origin", b"http://a"), (b"access-control-request-method", b"GET")),
    ),
    "graphql": body(b"/graphql", {"query": "{ __typename }"}),
}


class Guarded(Trio):
    """Three guarded nodes; each answer is compared, and what the audit was told."""

    def __init__(self, root: str, **environ: str) -> None:
        self.guards: list[PlayedGuard] = []

        def guard(kernel: Any) -> None:
            self.guards.append(PlayedGuard())
            self.guards[-1].install(kernel)

        super().__init__(root, lambda core: core, guard, KONSUL_AUTH_ENABLED="true", **environ)

    def ask(self, call: Call) -> Reply:
        reply = super().ask(call)
        expected, *others = [guard.events for guard in self.guards]
        for events in others:
            assert events == expected, call
        return reply

    def told(self) -> list[tuple[Any, ...]]:
        """The events since last asked."""
        events = self.guards[0].events[:]
        for guard in self.guards:
            guard.events.clear()
        return events


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Nodes that ask everybody for credentials."""
    nodes = Guarded(str(tmp_path_factory.mktemp("closed")), KONSUL_TRUSTED_PROXIES="192.0.2.0/24")
    yield nodes
    nodes.close()


@pytest.fixture(scope="module")
def half_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Nodes that let in whoever brings none."""
    nodes = Guarded(str(tmp_path_factory.mktemp("half")), KONSUL_REQUIRE_AUTH="false")
    yield nodes
    nodes.close()


def call(asked: str, who: str = "ann", *more: tuple[bytes, bytes]) -> Call:
    method, path, query, sent, headers = ASKED[asked]
    return Call(method, path, query, sent, (*headers, *WHO[who], *more))


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("asked", ASKED)
def test_all_ways_answer_and_record_the_same(closed: Guarded, asked: str, who: str) -> None:
    closed.ask(call(asked, who))


@pytest.mark.parametrize("who", ["nobody", "ann", "unknown", "poor", "two bearers"])
@pytest.mark.parametrize("asked", ASKED)
def test_also_where_credentials_are_optional(half_open: Guarded, asked: str, who: str) -> None:
    half_open.ask(call(asked, who))


def test_who_brings_nothing_is_told_how(closed: Guarded) -> None:
    closed.told()
    reply = closed.ask(call("get", "nobody"))
    assert (reply.status, orjson.loads(reply.body)) == (401, {"error": "missing authorization header"})
    headers = dict(reply.headers)
    assert headers[b"www-authenticate"] == b'Bearer realm="konsul"'
    assert headers[b"x-ratelimit-limit"] == b"20"
    assert closed.told() == [
        (
            "",
            "192.0.2.7",
            "auth.failed",
            [],
            "",
            "missing authorization header",
            "GET",
            b"/kv/app/a",
            401,
            None,
        )
    ]


def test_who_brings_what_does_not_hold_is_told_so(closed: Guarded) -> None:
    reply = closed.ask(call("get", "expired"))
    assert (reply.status, orjson.loads(reply.body)) == (401, {"error": "token expired"})
    headers = dict(reply.headers)
    assert headers[b"www-authenticate"] == b'Bearer realm="konsul", error="invalid_token"'
    # What failed is paid for by the address it came from.
    assert headers[b"x-played-class"] == b"read 192.0.2.7"


def test_a_refusal_says_what_was_missing(closed: Guarded) -> None:
    closed.told()
    reply = closed.ask(call("put elsewhere"))
    assert reply.status == 403
    assert orjson.loads(reply.body) == {
        "error": "forbidden",
        "message": "insufficient permissions",
        "resource": "kv",
        "capability": "write",
        "path": "secret/a",
    }
    ((*_, verb, names, outcome, reason, _, _, status, sent),) = closed.told()
    assert (verb, names, outcome, status) == ("kv.set", ["secret/a"], "denied", 403)
    assert (reason, sent) == ("no rule for secret/a", b'{"value":"1"}')
    bare = closed.ask(call("get", "bare"))
    assert orjson.loads(bare.body) == {"error": "forbidden", "message": "no policies attached to token"}
    admin = closed.ask(call("admin"))
    assert "path" not in orjson.loads(admin.body)


def test_over_the_rate_and_on_the_list(closed: Guarded) -> None:
    reply = closed.ask(call("get", "poor"))
    assert orjson.loads(reply.body) == {
        "error": "rate_limit_exceeded",
        "identifier": "ip:192.0.2.7",
        "message": "Rate limit exceeded. Please retry after 2 seconds.",
        "reset_at": "2026-01-01T00:00:00Z",
        "retry_after": 2,
    }
    headers = dict(reply.headers)
    assert (reply.status, headers[b"retry-after"], headers[b"x-ratelimit-limit"]) == (429, b"2", b"20")
    blocked = closed.ask(call("get", "blocked"))
    assert (blocked.status, orjson.loads(blocked.body)) == (
        403,
        {"error": "access_denied", "message": "Your access has been blocked", "identifier": "ip:192.0.2.7"},
    )


def test_a_batch_is_paid_for_by_its_items(closed: Guarded) -> None:
    told = dict(closed.ask(call("batch get")).headers)
    assert (told[b"x-played-class"], told[b"x-ratelimit-remaining"]) == (b"items u1", b"2")
    assert closed.ask(call("batch get of many")).status == 429
    assert closed.ask(call("batch get of many", "root")).status == 200


def test_a_grant_is_asked_for_all_keys_at_once(closed: Guarded) -> None:
    GRANT.asked = 0
    assert closed.ask(call("batch set", "granted")).status == 200
    assert closed.ask(call("batch set elsewhere", "granted")).status == 403
    assert GRANT.asked == 4, "twice by each compiled front, never by the plain one"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ((b"198.51.100.9",), b"198.51.100.9"),
        ((b"203.0.113.1, 198.51.100.9",), b"198.51.100.9"),
        ((b"203.0.113.1", b"198.51.100.9, 192.0.2.8"), b"198.51.100.9"),
        ((b"nonsense, 192.0.2.8",), b"192.0.2.8"),
        ((b"[2001:db8::1]:443",), b"2001:db8::1"),
        ((b"198.51.100.9:1234",), b"198.51.100.9"),
        ((b"",), b"192.0.2.7"),
        ((b"192.0.2.9, 192.0.2.8",), b"192.0.2.9"),
    ],
)
def test_a_trusted_proxy_says_who_the_client_is(
    closed: Guarded, forwarded: tuple[bytes, ...], client: bytes
) -> None:
    headers = tuple((b"x-forwarded-for", each) for each in forwarded)
    reply = closed.ask(call("get", "nobody", *headers))
    assert dict(reply.headers)[b"x-played-class"] == b"read " + client


def test_nobody_else_may_say_who_the_client_is(half_open: Guarded) -> None:
    reply = half_open.ask(call("get", "nobody", (b"x-forwarded-for", b"198.51.100.9")))
    assert dict(reply.headers)[b"x-played-class"] == b"read 192.0.2.7"


def test_without_room_for_events_nothing_is_begun(closed: Guarded) -> None:
    closed.told()
    for guard in closed.guards:
        guard.has_room = False
    reply = closed.ask(call("put"))
    for guard in closed.guards:
        guard.has_room = True
    assert (reply.status, dict(reply.headers)[b"retry-after"]) == (503, b"1")
    assert closed.told() == []


@pytest.mark.parametrize("asked", ["put", "batch set", "register", "graphql", "admin write"])
def test_who_asks_is_looked_at_again_when_the_body_was_waited_for(closed: Guarded, asked: str) -> None:
    closed.told()
    method, path, query, sent, headers = ASKED[asked]
    once = (*headers, (b"authorization", b"Bearer once"))
    reply = closed.ask(Call(method, path, query, sent, once, pieces=3))
    assert (reply.status, orjson.loads(reply.body)) == (401, {"error": "token revoked"})
    ((who, *_, reason, _, _, status, _),) = closed.told()
    assert (who, reason, status) == ("", "token revoked", 401)
    undeclared = Call(method, path, query, sent, once, pieces=2, declared=False)
    assert closed.ask(undeclared).status == 401


@pytest.mark.parametrize(("who", "status"), [(b"Bearer once", 401), (b"Bearer turns", 403)])
@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("GET", b"/kv/app/a", b""),
        ("GET", b"/services/app-web", b""),
        ("POST", b"/batch/kv/get", b'{"keys":["app/a"]}'),
    ],
)
def test_a_native_read_that_waited_looks_again_at_who_asks(
    closed: Guarded, method: str, path: bytes, sent: bytes, who: bytes, status: int
) -> None:
    headers = ((b"authorization", who), *((JSON,) if sent else ()))
    asked = Call(method, path, b"consistent=true", sent, headers)
    for way, guard in list(zip(closed.ways, closed.guards, strict=True))[1:]:
        # Bodies of the ASGI way come by a message of their own, which is a wait as well.
        guard.asked_of_once = 0
        assert closed.runner.run(way(asked)).status == status
    closed.told()


def test_a_token_in_the_query_counts_only_where_an_answer_stays(closed: Guarded) -> None:
    assert closed.ask(call("token in a query", "nobody")).status == 401
    reply = closed.ask(Call("GET", b"/cluster/watch", b"token=root"))
    assert reply.status == 503
    assert orjson.loads(reply.body)["error"] == "clustering not enabled"
    assert closed.ask(Call("POST", b"/cluster/watch", b"token=root")).status == 401
