"""Watches on a node that guards what is read: who may not watch, whose change is withheld, who loses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from starlette.types import ASGIApp, Message

from konsul.doors.http.admission import Admission
from konsul.doors.http.app import create_app
from konsul.doors.http.plain_front import PlainFront
from konsul.engine import Engine, Options
from konsul.errors import Forbidden, Unauthenticated
from konsul.features import FEATURES
from konsul.features.kv.commands import cells
from konsul.features.kv.tables import Entry
from konsul.kernel.config import load
from konsul.kernel.feature import load_all
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import ANONYMOUS, Identity
from konsul.kernel.settings import GROUPS
from tests.played_audit import PlayedAudit
from tests.waiting import until_async

AUTH = {"type": "auth"}
ANN, WRONG = "ann", "wrong"
NO_PATTERN = {"error": "forbidden", "message": "insufficient permissions to watch this key pattern"}


class Guard:
    """Slots of a pipeline. Nobody reads what is in `closed`; only `ann` reads what starts with `ann/`."""

    def __init__(self) -> None:
        self.closed: set[str] = set()
        self.is_expired = False
        self.revoked: set[str] = set()
        self.refused: set[str] = set()

    def identify(
        self, authorization: bytes | None, _key: bytes | None, _certificate: bytes | None
    ) -> Identity:
        token = (authorization or b"").removeprefix(b"Bearer ").decode()
        if token not in ("ann", "ben", ""):
            raise Unauthenticated("the token does not hold")
        return Identity("user", token) if token else ANONYMOUS

    def renew(self, identity: Identity) -> Identity:
        if identity.id in self.revoked:
            raise Unauthenticated("token revoked")
        return identity

    def authorise(self, identity: Identity, needs: str, resource: str) -> str:
        if self.is_expired:
            raise Unauthenticated("the token has expired")
        if (
            needs in self.refused
            or resource in self.closed
            or (resource.startswith("ann/") and identity.id != "ann")
        ):
            raise Forbidden("not for you")
        return ""


class Asking:
    """One request, or one WebSocket, to the application."""

    def __init__(self, app: ASGIApp, path: str, kind: str, headers: dict[str, str]) -> None:
        bare, _, query = path.partition("?")
        scope = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": bare,
            "raw_path": bare.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("192.0.2.7", 50_000),
            "server": ("127.0.0.1", 8_888),
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }
        if kind == "websocket":
            del scope["method"]
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.outgoing: asyncio.Queue[Message] = asyncio.Queue()
        self.incoming.put_nowait(
            {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request"}
        )
        self.task = asyncio.ensure_future(_run(app, scope, self.incoming.get, self.outgoing.put))

    async def message(self) -> Message:
        return await self.outgoing.get()

    async def started(self) -> int:
        """The status of the answer's head; 101 for an accepted WebSocket."""
        head = await self.message()
        return 101 if head["type"] == "websocket.accept" else int(head["status"])

    async def body(self) -> Any:
        """The whole of a short answer."""
        return orjson.loads((await self.message())["body"])

    async def event(self) -> Any:
        """The data of the next event of a stream."""
        while True:
            text: bytes = (await self.message())["body"]
            for line in text.splitlines():
                if line.startswith(b"data: "):
                    return orjson.loads(line.removeprefix(b"data: "))

    async def text(self) -> Any:
        """The next message of a WebSocket."""
        return orjson.loads((await self.message())["text"])

    async def ended(self) -> tuple[int, str]:
        """Code and reason of the close."""
        end = await self.message()
        assert end["type"] == "websocket.close", end
        self.incoming.put_nowait({"type": "websocket.disconnect"})
        await self.task
        return end["code"], end["reason"]

    def say(self, **asked: Any) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text": orjson.dumps(asked).decode()})


async def _run(app: ASGIApp, scope: dict[str, Any], receive: Any, send: Any) -> None:
    await app(scope, receive, send)


class Node:
    """A guarded node inside the process."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.guard = Guard()
        kernel.pipeline.authorise = self.guard.authorise
        kernel.pipeline.identify = self.guard.identify
        kernel.pipeline.renew = self.guard.renew
        kernel.pipeline.audit = self.audit = PlayedAudit()
        self.app = PlainFront(create_app(kernel), access_log="off", admission=Admission(kernel))

    def ask(self, path: str, kind: str = "http", **headers: str) -> Asking:
        return Asking(self.app, path, kind, {"host": "node", **headers})

    async def set(self, key: str, value: str = "v") -> None:
        """Writes past the guard, as another node's client would."""
        await self.kernel.engine.put(Entry.table_id, key.encode(), cells(value.encode(), None, None))


@asynccontextmanager
async def node(directory: Path) -> AsyncIterator[Node]:
    config = load(GROUPS, environ={})
    kernel = Kernel(Engine(Options(data_dir=str(directory), backend="memory")), config, load_all(FEATURES))
    await kernel.start()
    try:
        yield Node(kernel)
    finally:
        kernel.lines.close_all()
        await kernel.stop(0)


def told(tmp_path: Path, story: Callable[[Node], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30), node(tmp_path) as guarded:
            await story(guarded)

    asyncio.run(bounded())


def test_who_may_not_read_a_pattern_cannot_watch_it(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        stream = node.ask("/kv/watch/ann/*")
        assert await stream.started() == 403
        assert await stream.body() == NO_PATTERN
        socket = node.ask("/kv/watch/ann/*", "websocket")
        assert await socket.started() == 101
        assert await socket.text() == NO_PATTERN
        assert await socket.ended() == (1000, "forbidden")
        assert len(node.kernel.lines) == 0

    told(tmp_path, story)


def test_a_change_that_may_not_be_read_is_withheld_and_the_others_are_told(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        stream, socket = node.ask("/kv/watch/**"), node.ask("/kv/watch/**", "websocket")
        assert (await stream.started(), await socket.started()) == (200, 101)
        node.guard.closed = {"b"}
        for key in ("a", "b", "ann/secret", "c"):
            await node.set(key)
        assert [(await stream.event())["key"] for _ in range(2)] == ["a", "c"]
        assert [(await socket.text())["key"] for _ in range(2)] == ["a", "c"]
        assert node.kernel.watching.counters.withheld == {"forbidden": 4}

    told(tmp_path, story)


def test_a_lost_permission_ends_the_watch_of_an_exact_key(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        stream, socket = node.ask("/kv/watch/a"), node.ask("/kv/watch/a", "websocket")
        assert (await stream.started(), await socket.started()) == (200, 101)
        await node.set("a", "1")
        assert ((await stream.event())["value"], (await socket.text())["value"]) == ("1", "1")
        node.guard.closed = {"a"}
        await node.set("a", "2")
        assert await stream.event() == {"type": "closed", "reason": "forbidden"}
        assert await socket.ended() == (1000, "forbidden")
        assert len(node.kernel.lines) == 0

    told(tmp_path, story)


def test_a_lost_login_ends_every_watch(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        stream = node.ask("/kv/watch/**")
        sockets = [node.ask(path, "websocket") for path in ("/kv/watch/**", "/ws/updates")]
        assert [await one.started() for one in (stream, *sockets)] == [200, 101, 101]
        sockets[1].say(type="subscribe", channels=["kv"])
        assert (await sockets[1].text())["data"]["type"] == "subscribed"
        node.guard.is_expired = True
        await node.set("a")
        assert await stream.event() == {"error": "unauthorized", "message": "the token has expired"}
        assert [await one.ended() for one in sockets] == [(4401, "the token has expired")] * 2

    told(tmp_path, story)


def test_a_revoked_login_ends_its_watches_and_nobody_else_s_without_any_change(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        ann, ben = {"authorization": "Bearer ann"}, {"authorization": "Bearer ben"}
        stream, kept = node.ask("/kv/watch/**", **ann), node.ask("/kv/watch/**", **ben)
        sockets = [node.ask(path, "websocket", **ann) for path in ("/kv/watch/**", "/ws/updates")]
        assert [await one.started() for one in (stream, kept, *sockets)] == [200, 200, 101, 101]
        sockets[1].say(type="subscribe", channels=["kv", "health"])
        assert (await sockets[1].text())["data"]["type"] == "subscribed"
        node.guard.revoked = {"ann"}
        node.kernel.identities_changed()
        node.kernel.identities_changed()
        assert await stream.event() == {"error": "unauthorized", "message": "token revoked"}
        assert await sockets[0].ended() == (4401, "token revoked")
        assert [(await sockets[1].text())["channel"] for _ in range(2)] == ["health", "error"]
        assert await sockets[1].ended() == (4401, "token revoked")
        assert len(node.kernel.identities) == 1, "the one that goes on"
        await node.set("a")
        assert (await kept.event())["key"] == "a"

    told(tmp_path, story)


def test_a_watch_is_recorded_as_it_opens_and_as_it_is_refused(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        assert await node.ask("/kv/watch/ann/*").started() == 403
        updates = node.ask("/ws/updates", "websocket", authorization="Bearer ann")
        assert await updates.started() == 101
        updates.say(type="subscribe", channels=["services"])
        assert (await updates.text())["data"]["type"] == "subscribed"
        assert ("", "kv.watch", ["ann/*"], "denied") in node.audit.events
        assert ("ann", "service.watch", [""], "success") in node.audit.events

    told(tmp_path, story)


def test_a_token_may_stand_in_the_address_where_no_header_can_be_sent(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        for kind, status in (("http", 200), ("websocket", 101)):
            assert await node.ask("/kv/watch/ann/*?token=ann", kind).started() == status
        assert await node.ask("/kv/watch/ann/*?token=ben").started() == 403
        header = {"authorization": "Bearer ben"}
        assert await node.ask("/kv/watch/ann/*?token=ann", **header).started() == 403, "the header counts"
        assert await node.ask("/kv/watch/ann/*", authorization="Bearer ann").started() == 200
        wrong = node.ask("/kv/watch/a?token=wrong")
        assert await wrong.started() == 401
        assert await wrong.body() == {"error": "the token does not hold"}
        assert await node.ask("/kv/watch/a?token=wrong", "websocket").started() == 401

    told(tmp_path, story)


def test_a_channel_is_followed_as_whom_the_token_says(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        updates = node.ask("/ws/updates", "websocket")
        assert await updates.started() == 101
        node.guard.refused = {"service:list"}
        updates.say(type="subscribe", channels=["services"])
        assert (await updates.text())["data"] == {
            "message": "insufficient permissions",
            "channel": "services",
        }
        assert (await updates.text())["data"] == {"type": "subscribed", "channels": []}
        updates.say(type="subscribe", channels=["kv"])
        assert (await updates.text())["data"]["channels"] == ["kv"]
        await node.set("ann/1")
        updates.say(**AUTH, token=ANN)
        assert (await updates.text())["data"] == {"type": "authenticated"}
        await node.set("ann/2")
        assert (await updates.text())["data"]["key"] == "ann/2", "the first was not for whom it was then"
        updates.say(**AUTH, token=WRONG)
        assert (await updates.text())["data"]["message"] == "the token does not hold"
        assert await updates.ended() == (4401, "the token does not hold")
        assert node.kernel.watching.counters.active["websocket"] == 0

    told(tmp_path, story)


def test_a_long_poll_waits_for_nobody_who_may_not_read(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.set("ann/1")
        assert await node.ask("/kv/ann/1?index=1&wait=10m").started() == 403
        poll = node.ask("/kv/a?index=1&wait=10m")
        active = node.kernel.watching.counters.active
        await until_async(lambda: active.get("poll"), "it waits")
        node.guard.closed = {"a"}
        await node.set("a")
        assert await poll.started() == 403

    told(tmp_path, story)
