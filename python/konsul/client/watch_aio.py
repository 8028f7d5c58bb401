"""A watch for asyncio: the twin of `watch`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar, cast

from konsul.client.pursuit import (
    Ask,
    Close,
    Effect,
    Listen,
    Listing,
    Open,
    Opened,
    Pause,
    Reaction,
    Speak,
    Steps,
    Tell,
)
from konsul.client.request import Flow
from konsul.client.streams_aio import AsyncConnector, AsyncStream
from konsul.errors import KonsulError

E = TypeVar("E")


class AsyncWatch(Generic[E]):
    """What is watched, as an iterator of events that ends when it is closed, and as a context manager.

    Raises the error of `konsul.errors` that trying again does not change: Forbidden, Invalid, Unsupported and
    so on; Unreachable when no server was there from the begin, or when `reconnect` is off.
    """

    def __init__(
        self,
        steps: Steps,
        connector: AsyncConnector,
        ask: Callable[[Flow[Listing]], Awaitable[Listing]],
        sleep: Callable[[float], Awaitable[None]] | None,
    ) -> None:
        self._source, self._connector, self._ask = steps, connector, ask
        self._steps = steps.steps()
        self._stream: AsyncStream | None = None
        self._doing: asyncio.Task[Reaction] | None = None
        self._farewell: asyncio.Task[None] | None = None
        self._reply: Reaction = None
        self._ended = asyncio.Event()
        self._sleep = sleep

    @property
    def index(self) -> int:
        """Every matching change at or before it was handed out: a later watch goes on `since` it."""
        return self._source.index

    async def __aenter__(self) -> AsyncWatch[E]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncWatch[E]:
        return self

    async def __anext__(self) -> E:
        try:
            while not self._ended.is_set():
                if self._doing is None:
                    effect = self._steps.send(self._reply)
                    self._reply = None
                    if isinstance(effect, Tell):
                        return cast(E, effect.event)
                    self._doing = asyncio.create_task(self._do(effect))
                # Whoever stops waiting (`asyncio.timeout`) loses nothing: the task goes on for who asks next.
                await asyncio.wait({self._doing})
                doing, self._doing = self._doing, None
                if doing is not None and not doing.cancelled():
                    self._reply = doing.result()
        except StopIteration:
            await self.close()
        except Exception:
            await self.close()
            raise
        raise StopAsyncIteration

    async def close(self) -> None:
        """End the watch; whoever waits for its next event is released."""
        self._ended.set()
        if self._doing is not None:
            self._doing.cancel()
        await self._hang_up()

    async def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._farewell = asyncio.create_task(stream.close())
        if self._farewell is not None:
            # Whoever closes it, and how many: all of them go on when the connection is gone.
            await asyncio.wait({self._farewell})

    async def _do(self, effect: Effect) -> Reaction:
        match effect:
            case Open():
                return await self._open(effect)
            case Listen():
                stream = self._stream
                return None if stream is None else await stream.listen()
            case Speak():
                if self._stream is not None:
                    await self._stream.send(effect.text)
            case Ask():
                try:
                    return await self._ask(effect.flow)
                except KonsulError as error:
                    return error
            case Pause() if self._sleep is not None:
                await self._sleep(effect.pause_s)
            case Pause():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), effect.pause_s)
            case Close():
                await self._hang_up()
        return None

    async def _open(self, effect: Open) -> Reaction:
        reply = await self._connector.open(effect.url, effect.request, effect.transport, effect.subprotocol)
        if not isinstance(reply, AsyncStream):
            return reply
        self._stream = reply
        if self._ended.is_set():
            # It was closed while the connection was made.
            await self._hang_up()
        return Opened()
