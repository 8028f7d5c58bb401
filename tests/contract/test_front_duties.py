"""What the compiled front does besides routes: slow bodies, drain, log lines, counters, slots."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from konsul.doors.http.app import create_app, refusal
from konsul.engine import raise_for
from konsul.errors import Unauthenticated
from konsul.features.kv.commands import refusal as kv_refusal
from konsul.features.kv.tables import METADATA, PLAIN
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import ANONYMOUS
from konsul.kernel.route_classes import class_of
from konsul_ext.audit import AuditLog
from konsul_ext.contract import Admission
from konsul_ext.front import Front
from tests.contract.front_ways import AsgiWay, Asked, Call, DirectWay, Reply, start_node
from tests.contract.played_guard import KNOWN, PlayedGuard
from tests.waiting import until_async

JSON = (b"content-type", b"application/json")
PUT = Call("PUT", b"/kv/k", b"", b'{"value":"v"}', (JSON,))
GET = Call("GET", b"/kv/k")
ADMISSION: Admission = {
    "anonymous": ANONYMOUS,
    "unauthenticated": Unauthenticated,
    "class_of": class_of,
    "client_of": None,
    "requires_auth": False,
    "public_paths": (),
    "public_prefixes": (),
    "public_routes": (),
    "staying_paths": (),
    "staying_prefixes": ("/kv/watch/",),
    "probes": (),
    "unrecorded": (),
    "asking": (),
}


class Bench:
    """One node, a front made to measure, and the file its log goes to."""

    def __init__(self, kernel: Kernel, front: Front, log: Path) -> None:
        self.kernel = kernel
        self.front = front
        self.log = log
        self.ask = AsgiWay(front)
        self.direct = DirectWay(front)

    def lines(self) -> list[dict[str, Any]]:
        """The log so far; writing is the business of another thread until the front is closed."""
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines()]

    async def lines_when(self, count: int) -> list[dict[str, Any]]:
        await until_async(lambda: len(self.lines()) >= count, f"{count} log lines")
        return self.lines()


@asynccontextmanager
async def bench(folder: Path, **options: Any) -> AsyncIterator[Bench]:
    kernel = await start_node(str(folder / "node"))
    log = folder / "log"
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    front = Front(
        kernel.engine.core,
        kernel.engine.waiting,
        options.pop("app", create_app(kernel)),
        **{
            "raise_for": raise_for,
            "render": refusal,
            "kv_refusal": kv_refusal,
            "shapes": {"kv": PLAIN, "kv_metadata": METADATA},
            "tally": kernel.pipeline.tally,
            "log_fd": fd,
            **options,
        },
    )
    front.start()
    try:
        yield Bench(kernel, front, log)
    finally:
        front.close()
        os.close(fd)
        await kernel.stop(1_000)


def story(tell: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Makes a test of a coroutine."""

    def test(tmp_path: Path) -> None:
        asyncio.run(tell(tmp_path))

    test.__doc__ = tell.__doc__
    return test


async def both(on: Bench, call: Call) -> tuple[Reply, Reply]:
    return await on.ask(call), await on.direct(call)


@story
async def test_a_slow_body_is_ended(folder: Path) -> None:
    """A client that stops sending is answered 408, and its connection closed."""
    async with bench(folder, body_timeout_ms=50) as on:
        slow = Call("PUT", b"/kv/k", b"", b"", (JSON, (b"content-length", b"10")))
        watcher = on.direct.begin(slow, [])
        await asyncio.wait_for(watcher.collected.done.wait(), 20)
        reply = watcher.collected.reply()
        assert (reply.status, (b"connection", b"close") in reply.headers) == (408, True)
        assert orjson.loads(reply.body)["error"] == "Request Timeout"

        sent: list[Any] = []

        async def never() -> Any:
            await asyncio.get_running_loop().create_future()

        async def keep(message: Any) -> None:
            sent.append(message)

        await on.front(slow.scope(), never, keep)
        assert sent[0]["status"] == 408
        assert on.front.snapshot()["in_flight"] == 0


@story
async def test_a_late_piece_changes_nothing(folder: Path) -> None:
    """A body that arrives after it was given up changes nothing."""
    async with bench(folder, body_timeout_ms=50) as on:
        watcher = on.direct.begin(Call("PUT", b"/kv/k", b"", b"", (JSON, (b"content-length", b"13"))), [])
        (piece,) = watcher.waiting
        await asyncio.wait_for(watcher.collected.done.wait(), 20)
        piece(b'{"value":"v"}', False)
        assert len(watcher.collected.messages) == 2
        assert watcher.has_given_up
        assert (await on.ask(GET)).status == 404


@story
async def test_half_a_body_is_refused(folder: Path) -> None:
    """A body that ends before its length, or a client that leaves within it, leaves nothing behind."""
    async with bench(folder) as on:
        begun = Call("PUT", b"/kv/k", b"", b"", (JSON, (b"content-length", b"10")))
        on.direct.begin(begun, [{"type": "http.request", "body": b"{"}, {"type": "http.disconnect"}])
        await until_async(lambda: on.front.snapshot()["in_flight"] == 0, "the request to end")
        assert (await on.ask(GET)).status == 404
        assert [line["status"] for line in await on.lines_when(2)] == [400, 404]


@story
async def test_bodies_on_their_way_are_bounded_together(folder: Path) -> None:
    """However many clients send slowly, what is kept of their bodies has a limit."""
    async with bench(folder, max_held_bytes=100) as on:
        part = {"type": "http.request", "body": b"x" * 60}
        call = Call("PUT", b"/kv/k", b"raw", b"", ((b"content-length", b"80"),))
        first = on.direct.begin(call, [part])
        await until_async(lambda: len(first.waiting) == 1, "the first piece to be taken")
        second = on.direct.begin(call, [part])
        await asyncio.wait_for(second.collected.done.wait(), 20)
        assert second.collected.reply().status == 503
        first.waiting[0](b"y" * 20, False)
        await asyncio.wait_for(first.collected.done.wait(), 20)
        assert first.collected.reply().status == 200
        assert (await on.direct(Call("PUT", b"/kv/k", b"raw", b"z" * 90, pieces=3))).status == 200


@story
async def test_a_broken_head_is_answered(folder: Path) -> None:
    """A scope unlike any a server should make is a 500, and the next request is served."""
    async with bench(folder) as on:
        for broken in (
            {"raw_path": None},
            {"client": (None, 1)},
            {"query_string": 7},
            {"headers": [(b"a", None)]},
        ):
            watcher = Asked(GET)
            watcher.scope |= broken
            on.front.answer(watcher.scope, watcher)
            assert watcher.collected.reply().status == 500
        assert (await on.direct(GET)).status == 404


@story
async def test_drain(folder: Path) -> None:
    """While it drains, the front refuses what is new and waits for what is not."""
    let_go, arrived = asyncio.Event(), asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        arrived.set()
        await let_go.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with bench(folder, app=app) as on:
        before = asyncio.create_task(on.direct(Call("POST", b"/slow")))
        await arrived.wait()
        assert await on.front.drain(10) == 1
        refused = await on.ask(GET)
        assert (refused.status, (b"connection", b"close") in refused.headers) == (503, True)
        assert (b"retry-after", b"1") in refused.headers
        draining = asyncio.create_task(on.front.drain(20_000))
        let_go.set()
        assert await draining == 0
        assert (await before).status == 204


@story
async def test_log_lines_are_true_and_cannot_be_forged(folder: Path) -> None:
    """A line per request; what clients send cannot forge one."""
    async with bench(folder) as on:
        agent = (b"user-agent", b'"}\n{"level":"error\xff\x00')
        await both(on, Call("GET", b"/kv/a%0Ab\xff", b"token=secret", b"", (agent,), request_id=b"mine"))
        await both(on, PUT)
        await both(on, GET)
        await both(on, Call("GET", b"/nothing"))
        lines = await on.lines_when(8)
    assert [line["status"] for line in lines] == [400, 400, 200, 200, 200, 200, 404, 404]
    assert [line["level"] for line in lines[:3]] == ["warn", "warn", "info"]
    first = lines[0]
    assert first["path"] == "/kv/a%0Ab?"
    assert first["user_agent"] == '"}\n{"level":"error?\x00'
    assert (first["request_id"], first["ip"], first["msg"]) == ("mine", "192.0.2.7", "Request completed")
    assert "secret" not in (folder / "log").read_text()
    assert lines[4]["response_size"] == len(b'{"key":"k","value":"v"}')


@story
async def test_only_errors_as_text(folder: Path) -> None:
    """`errors` keeps the lines of refused requests, as text when told so."""
    async with bench(folder, access_log="errors", log_format="text") as on:
        await both(on, PUT)
        await both(on, Call("GET", b"/kv/absent"))
    lines = (folder / "log").read_text().splitlines()
    assert len(lines) == 2
    moment, level, place, message, fields = lines[0].split("\t")
    assert (level, place, message, moment[-1]) == ("WARN", "front", "Request completed", "Z")
    assert orjson.loads(fields)["status"] == 404


@story
async def test_lost_log_lines_are_counted(folder: Path) -> None:
    """Lines that find no room are counted, and the loss is in the log."""
    async with bench(folder, log_buffer_bytes=0) as on:
        for _ in range(50):
            await on.ask(GET)
        counted = on.front.snapshot()
    lines = [orjson.loads(line) for line in (folder / "log").read_bytes().splitlines()]
    lost = sum(line.get("count", 0) for line in lines)
    assert counted["log_lines_dropped"] == lost > 0
    assert counted["log_lines"] == sum("status" in line for line in lines)


@story
async def test_requests_and_operations_are_counted(folder: Path) -> None:
    """Requests are counted by template, method and status; native operations by verb and outcome."""
    async with bench(folder) as on:
        for call in (PUT, GET, Call("GET", b"/kv/other"), Call("GET", b"/nothing"), Call("GET", b"/kv")):
            await both(on, call)
        counted = on.front.snapshot()
    seen = {(row["route"], row["method"], row["status"]): row["count"] for row in counted["requests"]}
    assert seen == {
        ("/kv/{key}", "PUT", 200): 2,
        ("/kv/{key}", "GET", 200): 2,
        ("/kv/{key}", "GET", 404): 2,
        ("/kv", "GET", 200): 2,
        ("unmatched", "GET", 404): 2,
    }
    assert all(len(row["buckets"]) == len(counted["bucket_bounds"]) for row in counted["requests"])
    assert all(row["buckets"] == sorted(row["buckets"]) for row in counted["requests"])
    assert set(counted["operations"]) == {
        ("kv.set", "success", 2),
        ("kv.get_json", "success", 2),
        ("kv.get_json", "not_found", 2),
    }


@story
async def test_what_is_done_natively_is_recorded_natively(folder: Path) -> None:
    """Writes stay native with an audit, and its log gets a line for each without a Python call."""
    log = AuditLog({"kv.set": ("kv.set", "kv", True)}, "n1")
    async with bench(folder, audit=log, admission=ADMISSION) as on:
        assert [reply.status for reply in await both(on, PUT)] == [200, 200]
        assert on.front.snapshot()["operations"] == [("kv.set", "success", 2)]
    taken = log.take()
    assert taken is not None
    lines = [orjson.loads(line) for line in taken[0].splitlines()]
    assert [(line["action"], line["resource"]["id"], line["http_status"]) for line in lines] == [
        ("kv.set", "k", 200),
        ("kv.set", "k", 200),
    ]


@story
async def test_every_answer_has_the_headers_of_the_node(folder: Path) -> None:
    """What the server wants on every answer is on native ones, on the application's, and on refusals."""
    header = (b"strict-transport-security", b"max-age=60")
    async with bench(folder, answer_headers=[header]) as on:
        for call in (PUT, GET, Call("GET", b"/nothing"), Call("GET", b"/%ff")):
            for reply in await both(on, call):
                assert header in reply.headers


@story
async def test_a_websocket_reaches_the_application_prepared(folder: Path) -> None:
    """A request for a WebSocket gets path and identity as any other; refusals are plain HTTP."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        seen.append((scope["path"], scope["konsul"]["identity"], await receive()))
        await send({"type": "websocket.close"})

    guard = PlayedGuard()
    async with bench(folder, app=app, identify=guard.identify, admission=ADMISSION) as on:
        for path in (b"/v1/kv/watch/a%2Fb/", b"/%ff"):
            asked = Asked(Call("GET", path, b"token=ann"))
            asked.scope["type"] = "websocket"
            on.front.answer(asked.scope, asked)
            await until_async(lambda: on.front.snapshot()["in_flight"] == 0, "the request to end")
            seen.append(asked.collected.reply().status)
    connected = ("/kv/watch/a/b", KNOWN[b"Bearer ann"], {"type": "websocket.connect"})
    assert seen == [connected, 403, 400]


@story
async def test_an_upgrade_without_credentials_is_refused_over_asgi_too(folder: Path) -> None:
    """In words where the server can pass them on, else by closing."""
    guard = PlayedGuard()
    closed: Admission = {**ADMISSION, "requires_auth": True}
    async with bench(folder, identify=guard.identify, admission=closed) as on:
        words: dict[str, Any] = {"websocket.http.response": {}}
        denial = ["websocket.http.response.start", "websocket.http.response.body"]
        for extensions, kinds in ((words, denial), ({}, ["websocket.close"])):
            sent: list[Any] = []

            async def keep(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            async def receive() -> Any:
                return {"type": "websocket.connect"}

            scope = Call("GET", b"/kv/watch/a").scope() | {"type": "websocket", "extensions": extensions}
            del scope["method"]
            await on.front(scope, receive, keep)
            assert [message["type"] for message in sent] == kinds
            assert sent[0].get("status", sent[0].get("code")) in (401, 1008)
        assert on.front.snapshot()["in_flight"] == 0


@story
async def test_a_defect_is_answered(folder: Path) -> None:
    """A defect of the front is a 500 and not a hung request."""

    def broken(*_given: bytes | None) -> str:
        raise ZeroDivisionError

    called = Call("GET", b"/kv/k", headers=((b"authorization", b"Bearer ann"),))
    async with bench(folder, identify=broken, admission=ADMISSION) as on:
        assert [reply.status for reply in await both(on, called)] == [500, 500]
        assert on.front.snapshot()["in_flight"] == 0


@story
async def test_a_stopped_node_says_so(folder: Path) -> None:
    """When the node has stopped, a request is told so."""
    async with bench(folder) as on:
        await on.kernel.stop(1_000)
        many = Call("POST", b"/batch/kv/get", b"", b'{"keys":["k"]}', (JSON,))
        for call in (GET, PUT, many):
            assert [reply.status for reply in await both(on, call)] == [503, 503]


@pytest.mark.parametrize("option", [{"access_log": "some"}, {"log_level": "loud"}])
def test_unknown_options_are_refused(option: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        Front(None, {}, None, **option)  # type: ignore[arg-type]
