"""Locks, semaphores and elections for threads: the twin of `locks_aio`.

Each has one thread, in which a loop runs what `locks_aio` does: renewals, waiting, hearing of a loss.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from konsul.client.holding import FOR_NOW, PAUSE_S, POLL_S, drawn_s, looked_at, seconds
from konsul.client.live_session import AsyncLoss
from konsul.client.locks_aio import AsyncHeld, AsyncLock, AsyncSemaphore
from konsul.errors import Conflict, Stopping

if TYPE_CHECKING:
    from konsul.client.model import KeyValue
    from konsul.client.request import Call

T = TypeVar("T")
_CLEAN_S = 15.0
"""What was interrupted gets so long to give back what it has."""


class _Thread:
    """An event loop in a thread of its own, from the first `run` to `close`."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        """What it returns or raises. For who is interrupted it is cancelled, and cleaned up first."""
        ended = threading.Event()
        future = asyncio.run_coroutine_threadsafe(_noted(doing, ended), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Stopping("it was given up") from None
        except BaseException:
            if future.cancel():
                ended.wait(_CLEAN_S)
            raise

    def close(self) -> None:
        """Ends the thread and everything in it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


async def _noted(doing: Coroutine[Any, Any, T], ended: threading.Event) -> T:
    try:
        return await doing
    finally:
        ended.set()


class Loss:
    """Whether what was held is lost. True for ever once it is, and no later than the TTL allows."""

    def __init__(self, loss: AsyncLoss) -> None:
        self._loss = loss
        self._event = threading.Event()
        loss.told.append(self._event.set)
        if loss.is_over():
            self._event.set()

    @property
    def reason(self) -> str:
        """Why, once it is; empty before."""
        return self._loss.reason

    def is_set(self) -> bool:
        """Whether it is lost, by this moment's clock."""
        return self._event.is_set() or self._loss.is_over()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Returns when it is lost, or after `timeout_s`; whether it is."""
        self._event.wait(timeout_s)
        return self.is_set()


class Held:
    """What is held now. `lock_index`: the fencing token, to be given to whoever must not listen to a former
    holder; of a semaphore that of the own slot."""

    def __init__(self, held: AsyncHeld) -> None:
        self.path, self.session = held.path, held.session
        self.lock_index, self.index = held.lock_index, held.index
        self.lost = Loss(held.lost)

    def check(self) -> None:
        """Raises Conflict if it is lost."""
        if self.lost.is_set():
            raise Conflict(f"the lock of '{self.path}' is lost: {self.lost.reason}")


class _Taking:
    """Usable again after it was given back, by one thread at a time."""

    def __init__(self, inner: AsyncLock | AsyncSemaphore) -> None:
        self._inner = inner
        self._thread: _Thread | None = None
        self.path = inner.path
        self.held: Held | None = None

    def __enter__(self) -> Held:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held = self.held
        is_lost = held is not None and held.lost.is_set()
        self.release()
        if is_lost and held is not None and error is None:
            held.check()

    def acquire(self) -> Held:
        """Takes it, waiting as long as was said.

        Raises:
            Conflict: it is held already by this object; or somebody holds it and there was no time to wait.
            Timeout: it was not free in time. And what no waiting changes: Forbidden, Invalid and so on.
        """
        if self._thread is not None:
            raise Conflict(f"'{self.path}' is taken, or being taken, by this object already")
        self._thread = _Thread(f"konsul {self.path}")
        try:
            self.held = Held(self._thread.run(self._inner.acquire()))
        except BaseException:
            self.release()
            raise
        return self.held

    def release(self) -> None:
        """Gives it back and ends the session; nothing if there is nothing. Does not fail: what cannot be said
        now, the end of the session's TTL will say."""
        thread, self._thread, self.held = self._thread, None, None
        if thread is None:
            return
        try:
            thread.run(self._inner.release())
        finally:
            thread.close()

    def abandon(self) -> None:
        """Lets go without a word, as who dies does: others get it when the TTL, and the delay, are over."""
        thread, self._thread, self.held = self._thread, None, None
        if thread is None:
            return
        try:
            thread.run(self._inner.abandon())
        finally:
            thread.close()


class Lock(_Taking):
    """A lock on one key, as a context manager; see `Client.lock`."""


class Semaphore(_Taking):
    """One of `limit` slots under a prefix, as a context manager; see `Client.semaphore`."""


class Election:
    """Who leads among candidates; see `Client.election`."""

    def __init__(
        self, call: Callable[[Call[Any]], Any], campaign: Callable[[float | None], Lock], path: str
    ) -> None:
        self._call, self._make, self.path = call, campaign, path
        self._lock: Lock | None = None

    def __enter__(self) -> Election:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resign()

    def campaign(self, wait: str | None = None) -> Held:
        """Stands until elected, at most `wait` (Go text). Raises as `acquire` of a lock."""
        if self._lock is not None:
            self.resign()
        self._lock = self._make(None if wait is None else seconds(wait))
        return self._lock.acquire()

    def resign(self) -> None:
        """Gives the office back; nothing if there is none."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def leader(self) -> KeyValue | None:
        """The leader's key, with his value and `lock_index`; None while nobody leads."""
        row, _ = self._call(looked_at(self.path))
        return row if row is not None and row.session else None

    def observe(self) -> Iterator[KeyValue | None]:
        """Who leads now, and then each other who does, None for nobody; never ends. Leaders who came and went
        between two looks are not told."""
        told: object = self
        index = 0
        while True:
            try:
                row, index = self._call(looked_at(self.path, index or None, POLL_S))
            except FOR_NOW:
                time.sleep(drawn_s(PAUSE_S))
                continue
            row = row if row is not None and row.session else None
            now = None if row is None else row.lock_index
            if now != told:
                told = now
                yield row
