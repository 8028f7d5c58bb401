"""Lines: what each tells its user, what one timer does for all, and one line over plain ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from konsul.errors import Forbidden, Stopping
from konsul.kernel.asgi_line import AsgiLine
from konsul.kernel.lines import HIGH_WATER_BYTES, SSE_HEADERS, Line, Lines, LineUser
from konsul.kernel.watch_settings import WatchSettings
from tests.waiting import until_async


class Raw:
    """A listener's connection: `is_full` says whether its client reads."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.end: tuple[int, str] | None = None
        self.is_full = False

    def send(self, data: bytes) -> bool:
        self.sent.append(data)
        return not self.is_full

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.end = (code, reason)

    @property
    def queued_bytes(self) -> int:
        return sum(map(len, self.sent)) if self.is_full else 0


class Native:
    """A listener that has lines of its own."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.raws: list[Raw] = []
        self.fails = fails

    def sse(self, status: int, headers: object, user: object) -> Raw:
        assert (status, headers) == (200, SSE_HEADERS)
        assert user is not None
        if self.fails is not None:
            raise self.fails
        self.raws.append(Raw())
        return self.raws[-1]


class User(LineUser):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.line: Line | None = None
        self.told: list[object] = []

    def opened(self, line: Line) -> None:
        self.line = line
        self.told.append("opened")

    def message(self, data: str | bytes) -> None:
        self.told.append(data)

    def drained(self) -> None:
        self.told.append("drained")

    def beat(self) -> None:
        self.told.append("beat")
        assert self.line is not None
        self.line.send(b": keep-alive\n\n")

    def closed(self, reason: str) -> None:
        self.told.append(("closed", reason))


def open_one(lines: Lines, native: Native) -> tuple[User, Raw]:
    user = User()
    lines.stream({"konsul": {"lines": native}, "headers": []}, user, 200, SSE_HEADERS)
    return user, native.raws[-1]


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await story()

    asyncio.run(bounded())


def test_a_line_tells_its_user_once_that_it_ended() -> None:
    async def story() -> None:
        lines, native = Lines(WatchSettings()), Native()
        user, raw = open_one(lines, native)
        assert user.line is not None
        assert user.line.send(b"data")
        assert len(lines) == 1
        user.line.close(1008, "enough")
        user.line.close(1000, "again")
        user.line.closed("from below")
        assert user.line.send(b"late") is False
        assert user.told == ["opened", ("closed", "enough")]
        assert raw.sent == [b"data", b": closed: enough\n\n"]
        assert raw.end == (1008, "enough")
        assert len(lines) == 0

    run(story)


def test_a_client_that_goes_is_told_to_the_user() -> None:
    async def story() -> None:
        lines, native = Lines(WatchSettings()), Native()
        user, raw = open_one(lines, native)
        assert user.line is not None
        user.line.message("hello")
        user.line.closed("hung up", 17)
        assert user.told == ["opened", "hello", ("closed", "hung up")]
        assert (raw.end, len(lines)) == (None, 0)

    run(story)


@pytest.mark.parametrize(
    ("fails", "raised"),
    [
        (RuntimeError("the request is answered already"), RuntimeError),
        (RuntimeError("the client is gone"), ClientDisconnect),
    ],
)
def test_a_line_that_could_not_be_opened_leaves_nothing(fails: Exception, raised: type[Exception]) -> None:
    async def story() -> None:
        lines = Lines(WatchSettings())
        with pytest.raises(raised):
            open_one(lines, Native(fails))
        assert len(lines) == 0

    run(story)


def test_every_line_beats_and_not_all_at_once() -> None:
    async def story() -> None:
        lines, native = Lines(WatchSettings(heartbeat_interval_ms=200)), Native()
        users = [open_one(lines, native)[0] for _ in range(64)]
        first = [0] * 64
        rounds = 0
        while not all(first):
            before = sum(first)
            await asyncio.sleep(0)
            first = [user.told.count("beat") for user in users]
            rounds += sum(first) > before
        assert rounds >= 4, "the beats are spread over the interval"
        lines.close_all()

    run(story)


def test_who_does_not_read_gets_no_beats_and_is_closed_and_who_reads_again_stays() -> None:
    async def story() -> None:
        settings = WatchSettings(heartbeat_interval_ms=100, write_timeout_ms=100)
        lines, native = Lines(settings), Native()
        (stuck, stuck_raw), (slow, slow_raw), (quick, _) = (open_one(lines, native) for _ in range(3))
        for user, raw in ((stuck, stuck_raw), (slow, slow_raw)):
            raw.is_full = True
            assert user.line is not None
            assert user.line.send(b"too much") is False
        slow_raw.is_full = False
        assert slow.line is not None
        slow.line.drained()
        await until_async(lambda: lines.closed_slow, "the stuck one is closed")
        await until_async(lambda: slow.told.count("beat") and quick.told.count("beat"), "the others live")
        assert stuck.told == ["opened", ("closed", "write timeout")]
        assert stuck_raw.end == (1008, "write timeout")
        assert slow.told[:2] == ["opened", "drained"]
        assert (lines.closed_slow, len(lines)) == (1, 2)
        lines.close_all()

    run(story)


def test_silence_ends_a_line_and_heartbeats_are_silence() -> None:
    async def story() -> None:
        settings = WatchSettings(heartbeat_interval_ms=100, timeout_ms=400)
        lines, native = Lines(settings), Native()
        (silent, raw), (spoken, _), (heard, _) = (open_one(lines, native) for _ in range(3))
        while ("closed", "idle timeout") not in silent.told:
            assert spoken.line is not None
            assert heard.line is not None
            spoken.line.send(b"event")
            heard.line.message("ping")
            await asyncio.sleep(0)
        assert "beat" in silent.told
        assert raw.end == (1001, "idle timeout")
        assert (lines.closed_idle, len(lines)) == (1, 2)
        lines.close_all()

    run(story)


def test_the_end_of_the_node_is_told_and_nothing_is_opened_after_it() -> None:
    async def story() -> None:
        lines, native = Lines(WatchSettings()), Native()
        users = [open_one(lines, native)[0] for _ in range(3)]
        assert lines.close_all() == 3
        assert [user.told for user in users] == [["opened", ("closed", "the node is stopping")]] * 3
        assert [raw.end for raw in native.raws] == [(1001, "the node is stopping")] * 3
        with pytest.raises(Stopping):
            open_one(lines, native)
        assert lines.close_all() == 0

    run(story)


def test_what_is_due_soon_is_called_once_in_order_at_the_end_of_the_turn() -> None:
    async def story() -> None:
        lines = Lines(WatchSettings())
        called: list[int] = []
        for number in range(3):
            lines.soon(lambda number=number: called.append(number))  # type: ignore[misc]
        assert called == []
        await asyncio.sleep(0)
        assert called == [0, 1, 2]

    run(story)


@pytest.mark.parametrize(
    ("origin", "allowed", "passes"),
    [
        (None, (), True),
        ("http://node:8888", (), True),
        ("https://NODE:8888", (), True),
        ("http://node:8889", (), False),
        ("http://node", (), False),
        ("http://evil.node:8888", (), False),
        ("http://node:8888.evil", (), False),
        ("null", (), False),
        ("", (), False),
        ("node:8888", (), False),
        ("https://ui.example", ("https://ui.example",), True),
        ("https://ui.example.evil", ("https://ui.example",), False),
        ("https://anything", ("*",), True),
    ],
)
def test_only_the_own_pages_and_allowed_sites_connect(
    origin: str | None, allowed: tuple[str, ...], passes: bool
) -> None:
    headers = [(b"host", b"node:8888")] + ([] if origin is None else [(b"origin", origin.encode())])
    request = Request({"type": "http", "headers": headers})
    lines = Lines(WatchSettings(allowed_origins=allowed))
    if passes:
        lines.check_origin(request)
    else:
        with pytest.raises(Forbidden, match="KONSUL_WATCH_ALLOWED_ORIGINS"):
            lines.check_origin(request)


class Server:
    """The two callables of an ASGI server. Its client reads while `reads` is set."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()

    async def receive(self) -> Message:
        return await self.incoming.get()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)

    def texts(self) -> list[Any]:
        return [message.get("text") for message in self.sent if message["type"] == "websocket.send"]


def socket_of(user: User, server: Server) -> tuple[AsgiLine, asyncio.Task[None]]:
    line = AsgiLine(user, is_stream=False, high_water_bytes=HIGH_WATER_BYTES, max_message_bytes=100)
    return line, asyncio.create_task(line.run(server.receive, server.send))


def test_an_asgi_line_stops_at_the_high_water_mark_and_says_when_there_is_room() -> None:
    async def story() -> None:
        user, server = User(), Server()
        line, task = socket_of(user, server)
        server.reads.clear()
        piece = b"x" * 1_000
        sent = 1
        while line.send(piece):
            sent += 1
        assert HIGH_WATER_BYTES < line.queued_bytes <= HIGH_WATER_BYTES + len(piece)
        server.reads.set()
        await until_async(lambda: "drained" in user.told, "there is room")
        assert line.send(piece)
        await until_async(lambda: len(server.texts()) == sent + 1, "all of it is written")
        assert line.queued_bytes == 0
        server.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await task
        assert user.told == ["drained", ("closed", "the client has gone")]

    run(story)


def test_an_asgi_line_writes_what_waits_and_then_why_it_ends() -> None:
    async def story() -> None:
        user, server = User(), Server()
        line, task = socket_of(user, server)
        line.send(b"last words")
        line.close(1001, "the node is stopping")
        assert line.send(b"too late")
        server.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await task
        assert server.texts() == ["last words"]
        assert server.sent[-1] == {"type": "websocket.close", "code": 1001, "reason": "the node is stopping"}

    run(story)


def test_an_asgi_line_whose_client_does_not_read_ends_at_once() -> None:
    async def story() -> None:
        user, server = User(), Server()
        line, task = socket_of(user, server)
        server.reads.clear()
        while line.send(b"x" * 10_000):
            pass
        await asyncio.sleep(0)
        line.close(1008, "write timeout")
        await task
        assert server.sent == []
        assert user.told[-1] == ("closed", "the client has gone")
        assert line.queued_bytes == 0

    run(story)


def test_an_asgi_line_refuses_a_message_over_its_limit() -> None:
    async def story() -> None:
        user, server = User(), Server()
        line, task = socket_of(user, server)
        for message in ({"text": "x" * 100}, {"bytes": b"y" * 100}, {"text": "é" * 51}):
            server.incoming.put_nowait({"type": "websocket.receive", **message})
        await until_async(lambda: server.sent, "the refusal")
        server.incoming.put_nowait({"type": "websocket.disconnect", "code": 1009})
        await task
        assert server.sent == [{"type": "websocket.close", "code": 1009, "reason": "message too big"}]
        assert user.told[:2] == ["x" * 100, b"y" * 100]
        assert line.queued_bytes == 0

    run(story)


def test_an_asgi_stream_sends_its_head_at_once_and_joins_what_waits() -> None:
    async def story() -> None:
        user, server = User(), Server()
        line = AsgiLine(user, is_stream=True, high_water_bytes=HIGH_WATER_BYTES)
        line.send(b"one\n")
        line.send(b"two\n")
        head: Message = {"type": "http.response.start", "status": 200, "headers": SSE_HEADERS}
        task = asyncio.create_task(line.run(server.receive, server.send, head))
        await until_async(lambda: len(server.sent) == 3, "head, first piece, what waited")
        assert server.sent[0] == head
        assert [message["body"] for message in server.sent[1:]] == [b"", b"one\ntwo\n"]
        line.close()
        await task
        assert server.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

    run(story)


def test_a_line_that_fails_is_closed_and_the_others_live() -> None:
    async def story() -> None:
        lines, native = Lines(WatchSettings(heartbeat_interval_ms=100)), Native()
        bad, raw = open_one(lines, native)
        users = [open_one(lines, native)[0] for _ in range(20)]
        flushed = asyncio.Event()

        def fails() -> None:
            raise ValueError

        bad.beat = fails  # type: ignore[method-assign]
        lines.soon(fails)
        lines.soon(flushed.set)
        await flushed.wait()
        await until_async(lambda: all("beat" in user.told for user in users), "all others beat")
        await until_async(lambda: raw.end is not None, "the failed one is closed")
        assert raw.end == (1011, "a defect ended this connection")
        assert len(lines) == 20
        lines.close_all()

    run(story)
