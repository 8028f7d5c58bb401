"""A watch that blocks: an iterator which another thread may close."""

from __future__ import annotations

import threading
from collections.abc import Callable
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
from konsul.client.streams import Connector, Stream
from konsul.errors import KonsulError

E = TypeVar("E")


class Watch(Generic[E]):
    """What is watched, as an iterator of events that ends when it is closed, and as a context manager.

    Raises the error of `konsul.errors` that trying again does not change: Forbidden, Invalid, Unsupported and
    so on; Unreachable when no server was there from the begin, or when `reconnect` is off.
    """

    def __init__(
        self,
        steps: Steps,
        connector: Connector,
        ask: Callable[[Flow[Listing]], Listing],
        sleep: Callable[[float], None] | None,
    ) -> None:
        self._source, self._connector, self._ask = steps, connector, ask
        self._steps = steps.steps()
        self._stream: Stream | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._sleep = sleep

    @property
    def index(self) -> int:
        """Every matching change at or before it was handed out: a later watch goes on `since` it."""
        return self._source.index

    def __enter__(self) -> Watch[E]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Watch[E]:
        return self

    def __next__(self) -> E:
        reply: Reaction = None
        try:
            while not self._ended.is_set():
                effect = self._steps.send(reply)
                if isinstance(effect, Tell):
                    return cast(E, effect.event)
                reply = self._do(effect)
        except BaseException:
            self.close()
            raise
        raise StopIteration

    def close(self) -> None:
        """End the watch; whoever waits for its next event is released."""
        self._ended.set()
        self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _do(self, effect: Effect) -> Reaction:
        match effect:
            case Open():
                return self._open(effect)
            case Listen():
                stream = self._stream
                return None if stream is None else stream.listen()
            case Speak():
                if self._stream is not None:
                    self._stream.send(effect.text)
            case Ask():
                try:
                    return self._ask(effect.flow)
                except KonsulError as error:
                    return error
            case Pause() if self._sleep is not None:
                self._sleep(effect.pause_s)
            case Pause():
                self._ended.wait(effect.pause_s)
            case Close():
                self._hang_up()
        return None

    def _open(self, effect: Open) -> Reaction:
        reply = self._connector.open(effect.url, effect.request, effect.transport, effect.subprotocol)
        if not isinstance(reply, Stream):
            return reply
        with self._lock:
            self._stream = reply
        if self._ended.is_set():
            # It was closed while the connection was made.
            self._hang_up()
        return Opened()
