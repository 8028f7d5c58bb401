"""Locks, semaphores and elections for asyncio: the logic; `locks` is the same for threads.

Waiting is a read that the server holds back until the key changes; what is left of a lost lock's delay is
slept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from konsul.client import kv_calls, session_calls
from konsul.client.aio import AsyncClient
from konsul.client.holding import (
    FOR_NOW,
    LOCK_FLAGS,
    PAUSE_S,
    POLL_S,
    SEMAPHORE_FLAGS,
    UNREADABLE_PAUSE_S,
    Holding,
    Slots,
    below,
    boot_clock_s,
    drawn_s,
    hurried,
    looked_at,
    seconds,
    slots_of,
)
from konsul.client.kv_calls import Value
from konsul.client.live_session import AsyncLoss, LiveSession, SessionWishes
from konsul.client.model import KeyValue
from konsul.client.request import Call
from konsul.client.settings import Settings
from konsul.errors import Conflict, Forbidden, Invalid, KonsulError, NotFound, Timeout

T = TypeVar("T")


class AsyncHeld:
    """What is held now. `lock_index`: the fencing token, to be given to whoever must not listen to a former
    holder; of a semaphore that of the own slot."""

    def __init__(self, holding: Holding, lost: AsyncLoss) -> None:
        self.path, self.session = holding.path, holding.session
        self.lock_index, self.index = holding.lock_index, holding.index
        self.lost = lost

    def check(self) -> None:
        """Raises Conflict if it is lost."""
        if self.lost.is_set():
            raise Conflict(f"the lock of '{self.path}' is lost: {self.lost.reason}")


class _Taking:
    """What locks and semaphores share: a session that lives, waiting, losing, giving back.

    Usable again after it was given back, by one task at a time.
    """

    def __init__(self, settings: Settings, path: str, wishes: SessionWishes, wait_s: float | None) -> None:
        if not path.strip("/"):
            raise Invalid("a lock needs a key")
        self.path, self._wishes, self._wait_s = path, wishes, wait_s
        self._settings = hurried(settings, wishes.ttl_s)
        self._client: AsyncClient | None = None
        self._live: LiveSession | None = None
        self.held: AsyncHeld | None = None

    async def __aenter__(self) -> AsyncHeld:
        return await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held = self.held
        is_lost = held is not None and held.lost.is_set()
        await self.release()
        if is_lost and held is not None and error is None:
            held.check()

    async def acquire(self) -> AsyncHeld:
        """Takes it, waiting as long as was said.

        Raises:
            Conflict: it is held already by this object; or somebody holds it and there was no time to wait.
            Timeout: it was not free in time. And what no waiting changes: Forbidden, Invalid and so on.
        """
        if self._client is not None:
            raise Conflict(f"'{self.path}' is taken, or being taken, by this object already")
        self._client = AsyncClient(self._settings)
        try:
            self.held = await self._take()
        except BaseException:
            await asyncio.shield(self.release())
            raise
        return self.held

    async def release(self) -> None:
        """Gives it back and ends the session; nothing if there is nothing. Does not fail: what cannot be said
        now, the end of the session's TTL will say."""
        client, live, held = self._client, self._live, self.held
        self._client = self._live = self.held = None
        if client is None:
            return
        try:
            if live is not None:
                was_lost = live.loss.is_set()
                if held is not None and not was_lost:
                    with suppress(KonsulError):
                        await self._give_back(client, live)
                await live.stop(destroy=True)
        finally:
            await client.close()

    async def abandon(self) -> None:
        """Lets go without a word, as who dies does: others get it when the TTL, and the delay, are over."""
        client, live = self._client, self._live
        self._client = self._live = self.held = None
        if live is not None:
            await live.stop(destroy=False)
        if client is not None:
            await client.close()

    async def _take(self) -> AsyncHeld:
        end_s = None if self._wait_s is None else boot_clock_s() + self._wait_s
        while True:
            try:
                holding, index, pause_s = await self._try(await self._session())
            except FOR_NOW as error:
                holding, index, pause_s = None, 0, drawn_s(PAUSE_S)
                if end_s is not None and boot_clock_s() >= end_s:
                    raise error
            if holding is not None and self._live is not None:
                held = AsyncHeld(holding, self._live.loss)
                if not held.lost.is_set():
                    self._live.keep(self._guard(holding, self._live))
                    return held
            left_s = POLL_S if end_s is None else end_s - boot_clock_s()
            if left_s <= 0:
                if not self._wait_s:
                    raise Conflict(f"'{self.path}' is held by somebody else, or was lost a moment ago")
                raise Timeout(f"'{self.path}' was not free within {self._wait_s:g}s")
            await self._until_changed(index, pause_s, min(left_s, POLL_S))

    async def _session(self) -> LiveSession:
        """The session to hold with: another one if it ended while waiting."""
        live = self._live
        if live is not None and not live.loss.is_set():
            return live
        if live is not None:
            await live.stop(destroy=True)
        self._live = await LiveSession.start(self._known(), self._wishes)
        return self._live

    async def _until_changed(self, index: int, pause_s: float, most_s: float) -> None:
        if pause_s or not index:
            await asyncio.sleep(min(pause_s or PAUSE_S, most_s))
            return
        try:
            await self._known().call(self._change(index, most_s))
        except Forbidden:
            await asyncio.sleep(min(drawn_s(UNREADABLE_PAUSE_S), most_s))
        except FOR_NOW:
            await asyncio.sleep(min(drawn_s(PAUSE_S), most_s))

    async def _guard(self, holding: Holding, live: LiveSession) -> None:
        """Sees to it that a lock which was taken away by hand is known to be lost."""
        client, index = self._known(), holding.index
        while not live.loss.is_set():
            try:
                index = max(index, await self._seen(client, holding, index))
            except _Gone as gone:
                live.loss.end(str(gone))
            except Forbidden:
                return  # who may write and not read hears of it from his session only
            except KonsulError:
                await asyncio.sleep(drawn_s(PAUSE_S))

    def _known(self) -> AsyncClient:
        if self._client is None:
            raise Conflict(f"'{self.path}' was given back meanwhile")
        return self._client

    async def _try(self, live: LiveSession) -> tuple[Holding | None, int, float]:
        """Asks once. What is held; else the index to wait after, or how long to pause."""
        raise NotImplementedError

    def _change(self, index: int, wait_s: float) -> Call[Any]:
        raise NotImplementedError

    async def _seen(self, client: AsyncClient, holding: Holding, index: int) -> int:
        """Waits for a change; the index seen. Raises _Gone when it is not held any more."""
        raise NotImplementedError

    async def _give_back(self, client: AsyncClient, live: LiveSession) -> None:
        raise NotImplementedError


class _Gone(Exception):
    """It is not held any more; the text says why."""


class AsyncLock(_Taking):
    """A lock on one key, as an async context manager; see `Client.lock`."""

    def __init__(
        self,
        settings: Settings,
        path: str,
        wishes: SessionWishes,
        wait_s: float | None,
        value: Value | None = None,
    ) -> None:
        super().__init__(settings, path, wishes, wait_s)
        self._value = value

    async def _try(self, live: LiveSession) -> tuple[Holding | None, int, float]:
        try:
            call = session_calls.acquire(self.path, live.id, self._value, flags=LOCK_FLAGS)
            found = await self._known().call(call)
        except Invalid:
            # The session may have ended while we waited: then another one is made.
            with suppress(*FOR_NOW):
                await _must_live(self._known(), live)
            if live.loss.is_set():
                return None, 0, PAUSE_S
            raise
        if found.ok:
            return Holding(self.path, live.id, found.lock_index, found.index), found.index, 0.0
        return None, found.index, found.retry_after_s

    def _change(self, index: int, wait_s: float) -> Call[Any]:
        return looked_at(self.path, index, wait_s)

    async def _seen(self, client: AsyncClient, holding: Holding, index: int) -> int:
        row, seen = await client.call(looked_at(self.path, index, POLL_S))
        if not _is_of(row, holding):
            # A node that is behind may not know yet: only who has heard of everything takes it away.
            row, seen = await client.call(looked_at(self.path, consistency="linearizable"))
            if row is None:
                raise _Gone("its key was deleted")
            if not _is_of(row, holding):
                raise _Gone("somebody else holds it" if row.session else "it was released")
        return seen

    async def _give_back(self, client: AsyncClient, live: LiveSession) -> None:
        await client.call(session_calls.release(self.path, live.id))


async def _must_live(client: AsyncClient, live: LiveSession) -> None:
    try:
        await client.call(session_calls.get(live.id))
    except NotFound:
        live.loss.end("its session has ended")
    except Forbidden:
        return


def _is_of(row: KeyValue | None, holding: Holding) -> bool:
    return row is not None and row.session == holding.session and row.lock_index == holding.lock_index


class AsyncSemaphore(_Taking):
    """One of `limit` slots under a prefix, as an async context manager; see `Client.semaphore`."""

    def __init__(
        self,
        settings: Settings,
        path: str,
        limit: int,
        wishes: SessionWishes,
        wait_s: float | None,
    ) -> None:
        super().__init__(settings, path, wishes, wait_s)
        if limit < 1:
            raise Invalid("the limit of a semaphore is at least 1")
        self._prefix, self._limit = path.rstrip("/") + "/", limit
        self._state_key = f"{self._prefix}.lock"
        self._token: tuple[str, int] = ("", 0)

    async def _try(self, live: LiveSession) -> tuple[Holding | None, int, float]:
        client, own = self._known(), self._prefix + live.id
        if self._token[0] != live.id:
            contending = session_calls.acquire(own, live.id, "", flags=SEMAPHORE_FLAGS)
            try:
                self._token = (live.id, (await client.call(contending)).lock_index)
            except Invalid:
                with suppress(*FOR_NOW):
                    await _must_live(client, live)
                if live.loss.is_set():
                    return None, 0, PAUSE_S
                raise
        rows, index = await client.call(below(self._prefix))
        slots = slots_of(self._prefix, self._limit, rows)
        if live.id in slots.holders:
            return Holding(self.path, live.id, self._token[1], slots.index), index, 0.0
        if len(slots.holders) >= self._limit:
            return None, index, 0.0
        try:
            taken = await self._write(client, slots, (*slots.holders, live.id))
        except (Conflict, NotFound):
            return None, index, 0.001  # somebody was faster: look again
        return Holding(self.path, live.id, self._token[1], taken), taken, 0.0

    async def _write(self, client: AsyncClient, slots: Slots, holders: tuple[str, ...]) -> int:
        state = Slots(self._limit, holders, slots.index)
        call = kv_calls.set_(self._state_key, state.packed(), slots.index, SEMAPHORE_FLAGS)
        return (await client.call(call)).modify_index

    def _change(self, index: int, wait_s: float) -> Call[Any]:
        return below(self._prefix, index, wait_s)

    async def _seen(self, client: AsyncClient, holding: Holding, index: int) -> int:
        rows, seen = await client.call(below(self._prefix, index, POLL_S))
        if not self._holds(rows, holding.session):
            # A node that is behind may not know yet.
            rows, seen = await client.call(below(self._prefix, consistency="linearizable"))
            if not self._holds(rows, holding.session):
                raise _Gone("its slot was taken away")
        return seen

    def _holds(self, rows: Any, session: str) -> bool:
        return session in slots_of(self._prefix, self._limit, rows).holders

    async def _give_back(self, client: AsyncClient, live: LiveSession) -> None:
        while True:
            rows, _ = await client.call(below(self._prefix))
            slots = slots_of(self._prefix, self._limit, rows)
            if live.id not in slots.holders:
                break
            with suppress(Conflict, NotFound):
                await self._write(client, slots, tuple(one for one in slots.holders if one != live.id))
                break
        await client.call(kv_calls.delete(self._prefix + live.id))


class AsyncElection:
    """Who leads among candidates; see `Client.election`."""

    def __init__(
        self,
        call: Callable[[Call[Any]], Coroutine[Any, Any, Any]],
        campaign: Callable[[float | None], AsyncLock],
        path: str,
    ) -> None:
        self._call, self._make, self.path = call, campaign, path
        self._lock: AsyncLock | None = None

    async def __aenter__(self) -> AsyncElection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.resign()

    async def campaign(self, wait: str | None = None) -> AsyncHeld:
        """Stands until elected, at most `wait` (Go text). Raises as `acquire` of a lock."""
        if self._lock is not None:
            await self.resign()
        self._lock = self._make(None if wait is None else seconds(wait))
        return await self._lock.acquire()

    async def resign(self) -> None:
        """Gives the office back; nothing if there is none."""
        lock, self._lock = self._lock, None
        if lock is not None:
            await lock.release()

    async def leader(self) -> KeyValue | None:
        """The leader's key, with his value and `lock_index`; None while nobody leads."""
        row, _ = await self._call(looked_at(self.path))
        return row if row is not None and row.session else None

    async def observe(self) -> AsyncIterator[KeyValue | None]:
        """Who leads now, and then each other who does, None for nobody; never ends. Leaders who came and went
        between two looks are not told."""
        told: object = self
        index = 0
        while True:
            try:
                row, index = await self._call(looked_at(self.path, index or None, POLL_S))
            except FOR_NOW:
                await asyncio.sleep(drawn_s(PAUSE_S))
                continue
            row = row if row is not None and row.session else None
            now = None if row is None else row.lock_index
            if now != told:
                told = now
                yield row
