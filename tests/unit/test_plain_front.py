"""The plain front, asked in process: the answers it gives by itself, and what it hands to the application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
import pytest

from konsul.doors.http.paths import normalise
from konsul.doors.http.plain_front import PlainFront
from tests.waiting import until_async

Message = MutableMapping[str, Any]


class Exchange:
    """One request: feeds messages to the application, collects what it sends."""

    def __init__(self, *incoming: Message) -> None:
        self._incoming = list(incoming)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self._incoming:
            return self._incoming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def scope(method: str, raw_path: bytes, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "raw_path": raw_path,
        "path": raw_path.decode("latin-1"),
        "query_string": b"",
        "headers": list(headers),
        "client": ("192.0.2.1", 5000),
    }


def chunk(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def echo(scope: Any, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
    """Answers the path and the body it was handed."""
    body = (await receive())["body"]
    scope["konsul"]["route"] = "/echo"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"x/y")]})
    await send({"type": "http.response.body", "body": scope["path"].encode() + b"|" + body})


def serve(front: PlainFront, request: dict[str, Any], *incoming: Message) -> Exchange:
    exchange = Exchange(*incoming)
    asyncio.run(front(request, exchange.receive, exchange.send))
    return exchange


LENGTH_4 = (b"content-length", b"4")


def test_the_application_gets_the_decoded_path_and_the_whole_body() -> None:
    answer = serve(
        PlainFront(echo), scope("PUT", b"/v1/kv/a%20b/", LENGTH_4), chunk(b"ab", True), chunk(b"cd")
    )
    assert (answer.status, answer.body) == (200, b"/kv/a b|abcd")


def test_a_body_that_never_comes_is_timed_out() -> None:
    answer = serve(PlainFront(echo, body_timeout_ms=1), scope("PUT", b"/kv/a", LENGTH_4), chunk(b"a", True))
    assert answer.status == 408
    assert orjson.loads(answer.body)["error"] == "Request Timeout"
    assert answer.headers[b"connection"] == b"close"


def test_a_growing_body_is_cut_off_at_the_limit() -> None:
    chunked = (b"transfer-encoding", b"chunked")
    endless = [chunk(b"x" * 600, True)] * 2
    answer = serve(PlainFront(echo, max_body_bytes=1000), scope("PUT", b"/kv/a", chunked), *endless)
    assert (answer.status, answer.body) == (413, b"Request Entity Too Large")


def test_a_body_that_breaks_off_is_refused_in_case_its_sender_still_reads() -> None:
    front = PlainFront(echo)
    answer = serve(front, scope("PUT", b"/kv/a", LENGTH_4), {"type": "http.disconnect"})
    assert answer.status == 400
    assert answer.headers[b"connection"] == b"close"
    assert front.snapshot()["in_flight"] == 0


def test_head_has_no_body() -> None:
    assert serve(PlainFront(echo), scope("HEAD", b"/kv/a")).body == b""


def test_a_draining_front_refuses_and_waits() -> None:
    async def story() -> None:
        release = asyncio.Event()
        entered = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            entered.set()
            await release.wait()
            await echo(scope, receive, send)

        front = PlainFront(slow)
        first, second = Exchange(), Exchange()
        serving = asyncio.create_task(front(scope("GET", b"/kv/a"), first.receive, first.send))
        await entered.wait()
        draining = asyncio.create_task(front.drain(60_000))
        await until_async(lambda: front.draining, "the front to drain")
        await front(scope("GET", b"/kv/b"), second.receive, second.send)
        assert second.status == 503
        assert second.headers[b"connection"] == b"close"
        assert not draining.done()
        release.set()
        assert await draining == 0
        await serving
        assert first.status == 200

    asyncio.run(story())


def test_series_are_counted_by_route_and_bounded_method() -> None:
    front = PlainFront(echo)
    for method in ("GET", "GET", "BREW"):
        serve(front, scope(method, b"/kv/a"))
    counted = {(s["route"], s["method"], s["status"]): s["count"] for s in front.snapshot()["requests"]}
    assert counted == {("/echo", "GET", 200): 2, ("/echo", "OTHER", 200): 1}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/", "/"),
        (b"/v1", "/"),
        (b"/v1/", "/"),
        (b"/V1/kv/a", "/kv/a"),
        (b"/v1/v1/kv", "/v1/kv"),
        (b"/v12/kv", "/v12/kv"),
        (b"/kv/a///", "/kv/a"),
        (b"/kv//a", "/kv//a"),
        (b"/kv/a%2F", "/kv/a/"),
        (b"/kv/%2541", "/kv/%41"),
        (b"/kv/%C3%A4", "/kv/\u00e4"),
        ("/kv/\u00e4".encode(), "/kv/\u00e4"),
        (b"/kv/a+b", "/kv/a+b"),
        (b"/kv/%00", "/kv/\0"),
    ],
)
def test_paths_are_stripped_and_decoded_once(raw: bytes, path: str) -> None:
    assert normalise(raw) == path


@pytest.mark.parametrize("raw", [b"/%", b"/%4", b"/%zz", b"/%ff", b"/\xff", b"/%ed%a0%80", b"/%c0%af"])
def test_paths_that_are_not_percent_encoded_utf8_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="percent-encoded UTF-8"):
        normalise(raw)
