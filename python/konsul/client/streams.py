"""Long streams that block: server-sent events over httpx, WebSockets over websockets."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import httpx

from konsul.client import wire
from konsul.client.exchange import Lost, Unsent
from konsul.client.request import Answer, Request
from konsul.client.sse import Heard, Parser
from konsul.errors import Invalid, TooLarge

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

    from konsul.client.settings import Settings


class Stream(ABC):
    """Messages of a server, one after the other."""

    @abstractmethod
    def listen(self) -> tuple[Heard, ...] | Lost:
        """The next messages, or why there are no more."""

    @abstractmethod
    def send(self, text: str) -> None:
        """Say something back, where the transport has a way for it."""

    @abstractmethod
    def close(self) -> None:
        """End it; also from another thread, which releases the one that listens."""


class Connector:
    """Opens streams. Each has a connection of its own, so that calls do not wait for a place in the pool."""

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        self._settings = settings
        self._transport = transport

    def open(
        self, url: str, request: Request, transport: str, subprotocol: str | None = None
    ) -> Stream | Answer | Unsent | Lost:
        """A stream, or what came instead."""
        if transport == "websocket":
            return self._websocket(url, request, subprotocol)
        client = httpx.Client(transport=self._transport, **wire.options(self._settings))
        try:
            response = client.send(
                client.build_request(**wire.stream_of(url, request, self._settings)), stream=True
            )
            if response.status_code == 200 and wire.is_event_stream(response):
                return EventStream(client, response)
            response.read()
            answer = wire.answer_of(response)
        except httpx.TransportError as error:
            client.close()
            return wire.reply_of(error)
        except BaseException:
            client.close()
            raise
        client.close()
        return answer

    def _websocket(
        self, url: str, request: Request, subprotocol: str | None
    ) -> Stream | Answer | Unsent | Lost:
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect

        options = wire.websocket_of(url, request, self._settings, subprotocol)
        # Given an address it follows no redirect to another one, to which it would carry an API key.
        options["address"] = wire.host_and_port(url)
        held = ExitStack()
        try:
            return WebSocketStream(held, held.enter_context(connect(**options)))
        except InvalidStatus as error:
            return wire.refused_upgrade(error)
        except (OSError, WebSocketException) as error:
            return Unsent(str(error) or type(error).__name__)
        except ValueError as error:
            raise Invalid(f"cannot open a WebSocket to {url}: {error}") from error


class EventStream(Stream):
    """Server-sent events."""

    def __init__(self, client: httpx.Client, response: httpx.Response) -> None:
        self._client, self._response = client, response
        self._parser = Parser()
        self._pieces: Iterator[bytes] = response.iter_bytes()

    def listen(self) -> tuple[Heard, ...] | Lost:
        try:
            for piece in self._pieces:
                if heard := self._parser.feed(piece):
                    return tuple(heard)
        except (httpx.TransportError, httpx.StreamError) as error:
            return wire.silence(error)
        except TooLarge as error:
            return Lost(str(error))
        return Lost("the server ended the stream")

    def send(self, text: str) -> None:
        raise TypeError(f"server-sent events go one way: {len(text)} characters are not sent")

    def close(self) -> None:
        stream: Any = self._response.extensions.get("network_stream")
        connection = None if stream is None else stream.get_extra_info("socket")
        if connection is not None:
            # Closing a socket does not wake a thread that reads it; ending its two directions does. Not the
            # method of an SSL socket, which takes away what the other thread is using.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        # What another thread is in the middle of reading may object; the connection is gone either way.
        with suppress(httpx.HTTPError, httpx.StreamError, OSError, RuntimeError, ValueError):
            self._response.close()
        with suppress(httpx.HTTPError, OSError, RuntimeError):
            self._client.close()


class WebSocketStream(Stream):
    """Text frames of a WebSocket."""

    def __init__(self, held: ExitStack, connection: ClientConnection) -> None:
        self._held, self._connection = held, connection

    def listen(self) -> tuple[Heard, ...] | Lost:
        from websockets.exceptions import ConnectionClosed

        try:
            message = self._connection.recv()
        except ConnectionClosed as error:
            return wire.closed(error)
        return (Heard(message if isinstance(message, str) else message.decode("utf-8", "replace")),)

    def send(self, text: str) -> None:
        from websockets.exceptions import ConnectionClosed

        # A connection that is gone is told by the next listen.
        with suppress(ConnectionClosed):
            self._connection.send(text)

    def close(self) -> None:
        self._held.close()
