"""Any ASGI application behind the listener, over real sockets: what serves without the compiled front."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from konsul.server.listener import Listener
from tests.process import free_port

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answers with what it got; `/pieces` in pieces, `/nothing` not at all, `/raise` breaks."""
    if scope["type"] == "websocket":
        await socket(scope, receive, send)
        return
    if scope["path"] == "/raise":
        raise ZeroDivisionError
    if scope["path"] == "/nothing":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["raw_path"])]})
    if scope["path"] == "/pieces":
        for _ in range(64):
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
    await send({"type": "http.response.body", "body": f"{scope['method']} {size}".encode()})


async def socket(scope: Message, receive: Receive, send: Send) -> None:
    assert await receive() == {"type": "websocket.connect"}
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    if scope["path"] == "/denied":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"who are you"})
        return
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][-1]})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "bye":
            await send({"type": "websocket.close", "code": 4400, "reason": "asked"})
        elif message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"].upper()})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"][::-1]})


def served(story: Callable[[str], Awaitable[None]]) -> None:
    """Runs `story` with the address of a listener before `app`."""

    async def run() -> None:
        listener = Listener(app, "127.0.0.1", free_port(), head_timeout_ms=20_000)
        await listener.start()
        try:
            async with asyncio.timeout(30):
                await story(f"127.0.0.1:{listener.port}")
            assert listener.stats()["accepted"] > 0
        finally:
            await listener.stop()

    asyncio.run(run())


def test_requests_bodies_and_answers_in_pieces() -> None:
    async def story(address: str) -> None:
        async def slowly() -> Any:
            for _ in range(3):
                yield b"y" * 100_000

        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
            plain = await client.put("/a%20b?c=d", content=b"12345")
            assert (plain.text, plain.headers["x-path"]) == ("PUT 5", "/a%20b")
            assert (await client.post("/", content=slowly())).text == "POST 300000"
            pieces = await client.get("/pieces")
            assert len(pieces.text) == 64 * 65_536 + len("GET 0")
            assert [(await client.get(path)).status_code for path in ("/nothing", "/raise")] == [500, 500]

    served(story)


def test_websockets() -> None:
    async def story(address: str) -> None:
        for path, status in (("/refused", 403), ("/denied", 401)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{address}{path}")
            assert refused.value.response.status_code == status
        async with connect(f"ws://{address}/", subprotocols=["a", "b"]) as client:  # type: ignore[list-item]
            assert client.subprotocol == "b"
            await client.send("hello")
            assert await client.recv() == "HELLO"
            await client.send(b"\x00\x01\x02")
            assert await client.recv() == b"\x02\x01\x00"
            await client.send("bye")
            with pytest.raises(ConnectionClosedError) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4400, "asked")

    served(story)
