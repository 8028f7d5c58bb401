"""The door where the pipeline's slots are filled: one identity per connection, asked for at every field."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from konsul.doors.graphql.dialects import TRANSPORT_WS
from konsul.doors.graphql.door import Door
from konsul.doors.graphql.socket import Socket
from konsul.engine import Engine, Options
from konsul.errors import Forbidden, RateLimited, Unauthenticated
from konsul.features import FEATURES
from konsul.kernel import settings
from konsul.kernel.config import load
from konsul.kernel.feature import load_all
from konsul.kernel.lines import Line
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import ANONYMOUS, Headers, Identity, Pipeline
from tests.played_audit import PlayedAudit
from tests.waiting import until_async


class Slots:
    """Knows `ann`, who may do everything but touch what begins with `secret`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.audit = PlayedAudit()
        self.is_over = False
        self.lets: list[tuple[str, str]] = []
        """What is allowed although it is secret."""
        self.is_revoked = False
        self.paid: list[tuple[str, int]] = []

    def identify(
        self, authorization: bytes | None, _key: bytes | None, _certificate: bytes | None
    ) -> Identity:
        if authorization != b"Bearer ann":
            raise Unauthenticated("nobody knows who that is")
        return Identity("user", "ann")

    def renew(self, identity: Identity) -> Identity:
        if self.is_revoked:
            raise Unauthenticated("token revoked")
        return identity

    def limit(self, identity: Identity, client_addr: str, route_class: str, cost: int) -> Headers:
        self.paid.append((route_class, cost))
        if self.is_over:
            raise RateLimited(f"{identity.id} at {client_addr} asks too often")
        return []

    def authorise(self, identity: Identity, needs: str, resource: str) -> str:
        self.asked.append((identity.id, needs, resource))
        if resource.startswith("secret") and (needs, resource) not in self.lets:
            raise Forbidden("forbidden: insufficient permissions")
        return ""


class PlayedLine:
    """A connection that only remembers."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.closed: tuple[int, str] | None = None
        self.queued_bytes = 0

    def send(self, data: bytes) -> bool:
        self.heard.append(json.loads(data))
        return True

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class Guarded:
    """A socket of a guarded node, begun as `ann`."""

    def __init__(self, kernel: Kernel) -> None:
        self.line = PlayedLine()
        self.socket = Socket(Door(kernel).sockets, TRANSPORT_WS, ANONYMOUS, "10.0.0.1")
        self.socket.opened(cast(Line, self.line))
        self.say(type="connection_init", payload={"token": "ann"})

    def say(self, **message: Any) -> None:
        self.socket.message(json.dumps(message))

    async def ask(self, key: str, query: str, count: int = 1) -> list[Any]:
        """The next `count` messages about an operation that starts now."""
        self.say(type="subscribe", id=key, payload={"query": query})
        await until_async(lambda: len(self.about(key)) >= count, f"{count} messages about {key}")
        return self.about(key)

    def about(self, key: str) -> list[Any]:
        return [message for message in self.line.heard if message.get("id") == key]


@asynccontextmanager
async def guarded(folder: Path, slots: Slots) -> AsyncIterator[Guarded]:
    pipeline = Pipeline(slots.identify, slots.renew, slots.limit, slots.authorise, audit=slots.audit)
    engine = Engine(Options(data_dir=str(folder), backend="memory"))
    config = load(settings.GROUPS, environ={})
    kernel = Kernel(engine, config, load_all(FEATURES), pipeline)
    await kernel.start()
    one = Guarded(kernel)
    try:
        yield one
    finally:
        one.socket.closed("done")
        await kernel.stop(1_000)


def code_of(message: Any) -> str:
    payload = message["payload"]
    errors = payload if isinstance(payload, list) else payload["errors"]
    return str(errors[0]["extensions"]["code"])


def test_every_field_is_asked_for_with_the_identity_of_the_connection(tmp_path: Path) -> None:
    slots = Slots()

    async def story() -> None:
        async with guarded(tmp_path, slots) as one:
            query = 'mutation { a: kvSet(key: "open", value: "1") { key } b: kvDelete(key: "secret/x") }'
            told, done = await one.ask("1", query, 2)
            assert told["payload"]["data"] is None
            assert code_of(told) == "FORBIDDEN"
            assert told["payload"]["errors"][0]["extensions"]["resource"] == "secret/x"
            assert done["type"] == "complete"

    asyncio.run(story())
    assert ("ann", "kv:write", "open") in slots.asked
    assert ("ann", "kv.set", ["open"], "success") in slots.audit.events
    assert ("ann", "kv.delete", ["secret/x"], "denied") in slots.audit.events


def test_whoever_is_not_any_more_whom_it_began_as_is_sent_away(tmp_path: Path) -> None:
    slots = Slots()

    async def story() -> None:
        async with guarded(tmp_path, slots) as one:
            assert (await one.ask("1", "{ __typename }", 2))[1]["type"] == "complete"
            slots.is_revoked = True
            one.say(type="subscribe", id="2", payload={"query": "{ __typename }"})
            assert one.line.closed == (4401, "token revoked")
            assert one.about("2") == []

    asyncio.run(story())


def test_an_operation_is_paid_for_by_its_complexity(tmp_path: Path) -> None:
    slots = Slots()

    async def story() -> None:
        async with guarded(tmp_path, slots) as one:
            await one.ask("1", 'mutation { kvSet(key: "k", value: "v") { key value } }', 2)

    asyncio.run(story())
    (began, once), (of_it, complexity) = slots.paid
    assert (began, once, of_it) == ("graphql", 1, "complexity")
    assert complexity > 1


def test_a_subscription_to_what_may_not_be_read_does_not_begin(tmp_path: Path) -> None:
    slots = Slots()

    async def story() -> None:
        async with guarded(tmp_path, slots) as one:
            query = 'subscription { kvChanged(key: "secret/x") { value } }'
            (told,) = await one.ask("1", query)
            assert (told["type"], code_of(told)) == ("error", "FORBIDDEN")

    asyncio.run(story())


def test_a_subscriber_sees_only_what_it_may_read(tmp_path: Path) -> None:
    slots = Slots()

    async def story() -> None:
        async with guarded(tmp_path, slots) as one:
            one.say(type="subscribe", id="s", payload={"query": "subscription { kvChanged { key } }"})
            await one.ask("q", "{ __typename }", 2)
            for key in ("secret/x", "open"):
                # Asked at once when the verb is run, and again when its change is told.
                slots.lets = [("kv:write", key)]
                await one.ask(key, f'mutation {{ kvSet(key: "{key}", value: "v") {{ key }} }}', 2)
            await until_async(lambda: bool(one.about("s")), "the open key's change")
            assert [message["payload"]["data"]["kvChanged"]["key"] for message in one.about("s")] == ["open"]

    asyncio.run(story())


def test_a_client_over_its_rate_is_told_so_for_each_operation(tmp_path: Path) -> None:
    slots = Slots()

    async def story() -> None:
        async with guarded(tmp_path, slots) as one:
            slots.is_over = True
            (told,) = await one.ask("1", "{ __typename }")
            assert (told["type"], code_of(told)) == ("error", "RATE_LIMITED")
            slots.is_over = False
            assert (await one.ask("2", "{ __typename }", 2))[0]["type"] == "next"

    asyncio.run(story())
