"""Long streams for asyncio: the twin of `streams`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from konsul.client import wire
from konsul.client.exchange import Lost, Unsent
from konsul.client.request import Answer, Request
from konsul.client.sse import Heard, Parser
from konsul.errors import Invalid, TooLarge

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from konsul.client.settings import Settings


class AsyncStream(ABC):
    """Messages of a server, one after the other."""

    @abstractmethod
    async def listen(self) -> tuple[Heard, ...] | Lost:
        """The next messages, or why there are no more."""

    @abstractmethod
    async def send(self, text: str) -> None:
        """Say something back, where the transport has a way for it."""

    @abstractmethod
    async def close(self) -> None:
        """End it, which releases the task that listens."""


class AsyncConnector:
    """Opens streams. Each has a connection of its own, so that calls do not wait for a place in the pool."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._transport = transport

    async def open(
        self, url: str, request: Request, transport: str, subprotocol: str | None = None
    ) -> AsyncStream | Answer | Unsent | Lost:
        """A stream, or what came instead."""
        if transport == "websocket":
            return await self._websocket(url, request, subprotocol)
        client = httpx.AsyncClient(transport=self._transport, **wire.options(self._settings))
        try:
            sent = client.build_request(**wire.stream_of(url, request, self._settings))
            response = await client.send(sent, stream=True)
            if response.status_code == 200 and wire.is_event_stream(response):
                return AsyncEventStream(client, response)
            await response.aread()
            answer = wire.answer_of(response)
        except httpx.TransportError as error:
            await client.aclose()
            return wire.reply_of(error)
        except BaseException:
            await client.aclose()
            raise
        await client.aclose()
        return answer

    async def _websocket(
        self, url: str, request: Request, subprotocol: str | None
    ) -> AsyncStream | Answer | Unsent | Lost:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException

        options = wire.websocket_of(url, request, self._settings, subprotocol)
        # Given an address it follows no redirect to another one, to which it would carry an API key.
        options["host"], options["port"] = wire.host_and_port(url)
        try:
            connection = await connect(**options)
        except InvalidStatus as error:
            return wire.refused_upgrade(error)
        except (OSError, WebSocketException) as error:
            return Unsent(str(error) or type(error).__name__)
        except ValueError as error:
            raise Invalid(f"cannot open a WebSocket to {url}: {error}") from error
        return AsyncWebSocketStream(connection)


class AsyncEventStream(AsyncStream):
    """Server-sent events."""

    def __init__(self, client: httpx.AsyncClient, response: httpx.Response) -> None:
        self._client, self._response = client, response
        self._parser = Parser()
        self._pieces: AsyncIterator[bytes] = response.aiter_bytes()

    async def listen(self) -> tuple[Heard, ...] | Lost:
        try:
            async for piece in self._pieces:
                if heard := self._parser.feed(piece):
                    return tuple(heard)
        except (httpx.TransportError, httpx.StreamError) as error:
            return wire.silence(error)
        except TooLarge as error:
            return Lost(str(error))
        return Lost("the server ended the stream")

    async def send(self, text: str) -> None:
        raise TypeError(f"server-sent events go one way: {len(text)} characters are not sent")

    async def close(self) -> None:
        # What another task is in the middle of reading may object; the connection is gone either way.
        with suppress(httpx.HTTPError, httpx.StreamError, OSError, RuntimeError):
            await self._response.aclose()
        with suppress(httpx.HTTPError, OSError, RuntimeError):
            await self._client.aclose()


class AsyncWebSocketStream(AsyncStream):
    """Text frames of a WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def listen(self) -> tuple[Heard, ...] | Lost:
        from websockets.exceptions import ConnectionClosed

        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            return wire.closed(error)
        return (Heard(message if isinstance(message, str) else message.decode("utf-8", "replace")),)

    async def send(self, text: str) -> None:
        from websockets.exceptions import ConnectionClosed

        # A connection that is gone is told by the next listen.
        with suppress(ConnectionClosed):
            await self._connection.send(text)

    async def close(self) -> None:
        await self._connection.close()
