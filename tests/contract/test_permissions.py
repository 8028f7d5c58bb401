"""The matrix of permissions: every route, every GraphQL field, every verb, by every kind of caller.

What is expected is computed from what each declares to need. What declares nothing, or has no case, fails.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute

from konsul.doors.graphql.routes import routes as graphql_routes
from konsul.doors.http.app import create_app
from konsul.errors import Forbidden, Unauthenticated
from konsul.features import FEATURES
from konsul.kernel.command import VERBS, AnyVerb
from konsul.kernel.context import Context
from konsul.kernel.feature import load_all
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import ANONYMOUS, PUBLIC
from konsul.kernel.routing import Route, StayingRoute
from konsul.server.front import make_front
from tests.contract.callers import (
    CALLERS,
    ENVIRON,
    FORBIDDEN,
    IN,
    UNKNOWN,
    Callers,
    expected,
    is_declared,
    verdict,
)
from tests.contract.front_ways import AsgiWay, Call, Collected, Message, Reply, plain, start_node
from tests.contract.permission_cases import BODIES, CHECKED, ENDED_BY_ITSELF, FIELDS, FILLED, NO_VERB, QUERIES

ALL = load_all(FEATURES)
VERBS_OF_FEATURES = [verb for feature in ALL for verb in (*feature.commands, *feature.queries)]
PARAMETER = re.compile(r"\{[^}]*\}")
WITHIN_S = 20.0
WATCH_REFUSED = "insufficient permissions to watch this key pattern"
"""What a watch says of it, whatever it is about."""


def routes_of_features() -> Iterator[tuple[str, Route]]:
    for feature in ALL:
        for route in feature.router.routes if feature.router else ():
            assert isinstance(route, Route), route
            for method in sorted(route.methods or ()):
                yield method, route


ROUTES = list(routes_of_features())


class House:
    """One node in memory with every guard on, both fronts before it, and its callers."""

    environ: Mapping[str, str] = ENVIRON

    def __init__(self, data_dir: str) -> None:
        self.runner = asyncio.Runner()
        self.runner.run(self._start(data_dir))

    async def _start(self, data_dir: str) -> None:
        self.kernel: Kernel = await start_node(data_dir, dict(self.environ))
        # As the composition root puts them together, for the compiled front and for its twin.
        app, self.plain = create_app(self.kernel), plain(self.kernel)
        app.router.routes[:0] = graphql_routes(self.kernel)
        self.front = make_front(self.kernel, app)
        self.front.start()
        self.ways = {"compiled": AsgiWay(self.front), "plain": AsgiWay(self.plain)}
        await self.furnish_callers()

    async def furnish_callers(self) -> None:
        """Whoever asks."""
        self.callers = Callers(self.ways["compiled"])
        await self.callers.make()

    async def furnish(self) -> None:
        """What the cases are about, whatever others did to it."""
        for path, body in (("/kv/a", {"value": "v"}), ("/register", CHECKED)):
            reply = await self.callers.ask("PUT", path, body, self.callers.admin)
            assert reply.status == 200, reply.body

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def close(self) -> None:
        self.front.close()
        self.runner.run(self.kernel.stop(1_000))
        self.runner.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(str(tmp_path_factory.mktemp("house")))
    yield house
    house.close()


def test_the_matrix_names_ten_callers() -> None:
    assert len(CALLERS) == len(set(CALLERS)) == 10


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=[f"{m} {r.path}" for m, r in ROUTES])
def test_every_route_declares_what_can_be_granted(method: str, route: Route) -> None:
    assert is_declared(route.needs), f"{method} {route.path} needs {route.needs!r}, which no rule can grant"


@pytest.mark.parametrize("verb", VERBS_OF_FEATURES, ids=lambda verb: verb.name)
def test_every_verb_declares_what_can_be_granted(verb: AnyVerb) -> None:
    assert is_declared(verb.needs), f"{verb.name} needs {verb.needs!r}, which no rule can grant"


def test_every_verb_is_in_the_matrix() -> None:
    from_features = {
        name for name, verb in VERBS.items() if verb.call.__module__.startswith("konsul.features.")
    }
    assert from_features == {verb.name for verb in VERBS_OF_FEATURES}


def test_no_case_is_for_nothing() -> None:
    known = {(method, route.path) for method, route in ROUTES}
    assert {*BODIES, *QUERIES, *NO_VERB, *ENDED_BY_ITSELF} - known == set()


def test_nothing_answers_that_is_not_in_the_matrix(house: House) -> None:
    """Every route of the application is one of a feature, or is named here with who guards it."""
    app: FastAPI = create_app(house.kernel)
    others = [name_of(route) for route in app.router.routes if not isinstance(route, Route)]
    assert others == ["/openapi.json"] or others == [], others


def name_of(route: BaseRoute) -> str:
    return str(getattr(route, "path", type(route).__name__))


async def asked(way: AsgiWay, call: Call, stays: bool) -> Reply:
    """The answer; of one that stays open its beginning."""
    if not stays:
        return await way(call)
    collected, begun = Collected(), asyncio.Event()
    pending = call.messages()

    async def receive() -> Message:
        if pending:
            return pending.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        collected.keep(message)
        begun.set()

    task = asyncio.ensure_future(way._app(call.scope(), receive, send))
    async with asyncio.timeout(WITHIN_S):
        await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return collected.reply()


def call_of(method: str, path: str, headers: tuple[tuple[bytes, bytes], ...]) -> Call:
    target = PARAMETER.sub(lambda found: FILLED.get(found[0], "absent"), path)
    body = b"" if method in ("GET", "DELETE") else json.dumps(BODIES.get((method, path), {})).encode()
    sent = ((b"content-type", b"application/json"), *headers) if body else headers
    return Call(method, target.encode(), QUERIES.get((method, path), b""), body, sent)


@pytest.mark.parametrize("front", ["compiled", "plain"])
@pytest.mark.parametrize(("method", "route"), ROUTES, ids=[f"{m} {r.path}" for m, r in ROUTES])
def test_a_route_lets_in_whom_it_declares(house: House, method: str, route: Route, front: str) -> None:
    public = route.path in house.kernel.config.of(GuardSettings).public_paths
    needs = PUBLIC if public else route.needs
    wrong = []
    for caller in CALLERS:
        call = call_of(method, route.path, house.callers.of(caller, needs))
        reply = house.run(asked(house.ways[front], call, isinstance(route, StayingRoute)))
        assert reply.status != 500, (caller, reply.body)
        found, right = verdict(reply.status), expected(caller, needs)
        if (method, route.path) in ENDED_BY_ITSELF:
            assert reply.status in (403, 409), (caller, reply.status)
            continue
        if (method, route.path) in NO_VERB and right == FORBIDDEN:
            right = IN
        if found != right:
            wrong.append((caller, needs, right, reply.status, reply.body[:120]))
        else:
            sound(caller, reply, found)
    assert wrong == []


def sound(caller: str, reply: Reply, found: str) -> None:
    """A refusal has its shape, and a 401 its challenge."""
    if found == UNKNOWN:
        assert set(json.loads(reply.body)) == {"error"}
        (challenge,) = [value for name, value in reply.headers if name.lower() == b"www-authenticate"]
        assert challenge.startswith(b'Bearer realm="konsul"')
    if found == FORBIDDEN:
        body = json.loads(reply.body)
        assert body["error"] == "forbidden"
        wanted = "no policies attached to token" if caller == "no policies" else "insufficient permissions"
        assert body["message"] in (wanted, WATCH_REFUSED), (caller, body)


@pytest.mark.parametrize("front", ["compiled", "plain"])
@pytest.mark.parametrize("path", [b"/no/such/route", b"/openapi.json", b"/graphql"])
def test_what_is_no_route_of_a_feature_needs_somebody(house: House, path: bytes, front: str) -> None:
    for caller in CALLERS:
        headers = house.callers.of(caller, "authenticated")
        reply = house.run(house.ways[front](Call("GET", path, headers=headers)))
        assert verdict(reply.status) == expected(caller, "authenticated"), (
            caller,
            reply.status,
            reply.body[:200],
        )


def test_every_verb_lets_in_whom_it_declares(house: House) -> None:
    wrong = []
    for verb in VERBS_OF_FEATURES:
        for caller in CALLERS:
            found = house.run(through_the_pipeline(house, verb, caller))
            if found != expected(caller, verb.needs):
                wrong.append((verb.name, verb.needs, caller, found))
    assert wrong == []


async def through_the_pipeline(house: House, verb: AnyVerb, caller: str) -> str:
    """What the pipeline lets happen to a verb that, if it is reached, does nothing."""
    pipeline = house.kernel.pipeline
    reached = []

    async def call(_context: Context, **_given: object) -> None:
        reached.append(verb.name)

    given = {name.decode(): value for name, value in house.callers.of(caller, verb.needs)}
    try:
        identity = pipeline.identify(given.get("authorization"), given.get("x-api-key"), None)
    except Unauthenticated:
        identity = ANONYMOUS
    context = Context(house.kernel.engine, house.kernel.config, identity, "", "", pipeline)
    kwargs = {} if verb.resource is None else {verb.resource: "any/thing"}
    try:
        await pipeline.run(context, replace(verb, call=call), **kwargs)
    except Unauthenticated:
        assert reached == []
        return UNKNOWN
    except Forbidden:
        assert reached == []
        return FORBIDDEN
    assert reached == [verb.name]
    return IN


def fields() -> Iterator[tuple[str, str]]:
    # Imported here: the rest of the matrix does not need the library.
    from konsul.doors.graphql.schema import build

    schema = build(ALL)._schema
    for kind, root in (
        ("query", schema.query_type),
        ("mutation", schema.mutation_type),
        ("subscription", schema.subscription_type),
    ):
        assert root is not None
        for name in root.fields:
            yield kind, name


ALL_FIELDS = list(fields())


def test_every_field_has_a_case_and_every_case_a_field() -> None:
    assert {(kind, name) for kind, named in FIELDS.items() for name in named} == set(ALL_FIELDS)


@pytest.mark.parametrize(("kind", "name"), [f for f in ALL_FIELDS if f[0] != "subscription"], ids=lambda v: v)
def test_a_field_lets_in_whom_it_declares(house: House, kind: str, name: str) -> None:
    rest, needs = FIELDS[kind][name]
    assert is_declared(needs)
    document = json.dumps({"query": f"{kind} {{ {name} {rest} }}"}).encode()
    house.run(house.furnish())
    wrong = []
    for caller in CALLERS:
        headers = ((b"content-type", b"application/json"), *house.callers.of(caller, needs))
        reply = house.run(house.ways["compiled"](Call("POST", b"/graphql", body=document, headers=headers)))
        found = field_verdict(reply)
        if found != expected(caller, needs):
            wrong.append((caller, found, reply.body[:300]))
    assert wrong == []


def field_verdict(reply: Reply) -> str:
    """What the answer of an operation says: the door's status, else the code of the field's error."""
    if reply.status != 200:
        return verdict(reply.status)
    codes = {error.get("extensions", {}).get("code") for error in json.loads(reply.body).get("errors", ())}
    if "UNAUTHENTICATED" in codes:
        return UNKNOWN
    return FORBIDDEN if "FORBIDDEN" in codes else IN


@pytest.mark.parametrize("name", [name for kind, name in ALL_FIELDS if kind == "subscription"])
def test_a_subscription_lets_in_whom_it_declares(house: House, name: str) -> None:
    rest, needs = FIELDS["subscription"][name]
    document = json.dumps({"query": f"subscription {{ {name} {rest} }}"}).encode()
    house.run(house.furnish())
    accept = ((b"content-type", b"application/json"), (b"accept", b"text/event-stream"))
    wrong = []
    for caller in CALLERS:
        call = Call("POST", b"/graphql", body=document, headers=(*accept, *house.callers.of(caller, needs)))
        found = house.run(first_told(house, call))
        if found != expected(caller, needs):
            wrong.append((caller, found))
    assert wrong == []


async def first_told(house: House, call: Call) -> str:
    """IN once the stream has told a change, else what its refusal says."""
    collected, told = Collected(), asyncio.Event()
    pending = call.messages()

    async def receive() -> Message:
        if pending:
            return pending.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        collected.keep(message)
        if (
            b"event: next" in b"".join(one.get("body", b"") for one in collected.messages)
            or collected.done.is_set()
        ):
            told.set()

    way = house.ways["compiled"]
    task = asyncio.ensure_future(way._app(call.scope(), receive, send))
    async with asyncio.timeout(WITHIN_S):
        await told.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    reply = collected.reply()
    if reply.status != 200:
        return verdict(reply.status)
    return FORBIDDEN if b"FORBIDDEN" in reply.body else IN


def test_a_route_without_a_permission_cannot_be_declared() -> None:
    made: Callable[..., Any] = Route
    for wrong in ({}, {"needs": ""}, {"needs": "kv"}, {"needs": "everybody"}):
        with pytest.raises(TypeError):
            made("/x", lambda: None, **wrong)
    with pytest.raises(TypeError):
        made("/x/{name}", lambda: None, needs=PUBLIC)
