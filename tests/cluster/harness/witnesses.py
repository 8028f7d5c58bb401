"""Watchers that keep what they are told, a writer that keeps what was acknowledged, and the comparison."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from konsul.client import AsyncClient, Client, KvChange, Operation, Policy, Relisted, Settings
from konsul.client.pursuit import Transport
from konsul.errors import KonsulError
from tests.waiting import until

PATIENT = Policy(deadline_s=90, retries=200, attempt_s=2)
BATCH_KEYS = 120
"""More than a watcher's buffer and than one message holds: an entry whose changes cannot all go at once."""
KEYS = 40
END_S = 90.0
Change = tuple[str, str | None]
"""A key, and its new value; None when it was deleted."""


class Writer:
    """Writes below `prefix` until it is stopped: single keys, deletes, and now and then many keys at once.

    `entries` has the changes of every acknowledged write by their index. Every write is repeated under one
    key until it is acknowledged, so there is none of which nobody knows whether it was done.
    """

    def __init__(self, addresses: Sequence[str], prefix: str, padding: str = "") -> None:
        self.prefix = prefix
        self._padding = padding
        self.entries: dict[int, list[Change]] = {}
        self._client = Client(Settings(",".join(addresses), policy=PATIENT))
        self._ended = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)

    def __enter__(self) -> Self:
        self._write(0)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._client.close()

    def stop(self) -> None:
        """Ends writing. Raises what writing failed with."""
        self._ended.set()
        self._thread.join(END_S)
        if self._failed:
            raise self._failed[0]

    def until_more(self, count: int) -> None:
        """Waits until `count` further entries are acknowledged."""
        target = len(self.entries) + count
        until(lambda: len(self.entries) >= target or self._failed, f"{count} more writes", END_S)

    @property
    def last(self) -> int:
        """The newest index."""
        return max(self.entries)

    def _work(self) -> None:
        try:
            for number in itertools.count(1):
                if self._ended.is_set():
                    return
                self._write(number)
        except KonsulError as error:
            self._failed.append(error)

    def _write(self, number: int) -> None:
        key = f"{self.prefix}{number % KEYS}"
        if number % 25 == 24:
            changes: list[Change] = [
                (f"{self.prefix}many/{n}", f"{number}.{n}{self._padding}") for n in range(BATCH_KEYS)
            ]
        elif number % 7 == 6:
            changes = [(f"{self.prefix}{(number - 1) % KEYS}", None)]
        else:
            changes = [(key, f"{number}{self._padding}")]
        operations = [
            Operation("delete", name) if value is None else Operation("set", name, value.encode())
            for name, value in changes
        ]
        self.entries[self._client.transaction(operations).modify_index] = changes


class Witness:
    """A watch of its own through `addresses`, in a thread: what it told, in order. `both`: sync or async."""

    def __init__(
        self, addresses: Sequence[str], pattern: str, since: int, transport: Transport, both: str = "sync"
    ) -> None:
        self.name = f"{both} {transport} at {addresses[0]}"
        self.events: list[KvChange | Relisted[Any]] = []
        self._settings = Settings(",".join(addresses), policy=PATIENT)
        self._pattern, self._since, self._transport = pattern, since, transport
        self._end: Callable[[], object] = lambda: None
        self._failed: list[BaseException] = []
        self._go_on = threading.Event()
        self._go_on.set()
        runs = self._blocking if both == "sync" else lambda: asyncio.run(self._waiting())
        self._thread = threading.Thread(target=self._work, args=(runs,), name=self.name, daemon=True)
        self._thread.start()

    def _work(self, runs: Callable[[], None]) -> None:
        try:
            runs()
        except KonsulError as error:
            self._failed.append(error)

    def _blocking(self) -> None:
        with Client(self._settings) as client:
            watch = client.kv.watch(self._pattern, since=self._since, transport=self._transport)
            self._end = watch.close
            for event in watch:
                self._told(event)
                self._go_on.wait()

    async def _waiting(self) -> None:
        loop = asyncio.get_running_loop()
        async with AsyncClient(self._settings) as client:
            watch = client.kv.watch(self._pattern, since=self._since, transport=self._transport)
            self._end = lambda: asyncio.run_coroutine_threadsafe(watch.close(), loop)
            async for event in watch:
                self._told(event)

    def _told(self, event: object) -> None:
        assert isinstance(event, (KvChange, Relisted))
        self.events.append(event)

    def pause(self) -> None:
        """Stop reading."""
        self._go_on.clear()

    def resume(self) -> None:
        """Read on."""
        self._go_on.set()

    def close(self) -> None:
        self._go_on.set()
        if self._thread.is_alive():
            self._end()
        self._thread.join(END_S)

    @property
    def relisted(self) -> list[Relisted[Any]]:
        return [event for event in self.events if isinstance(event, Relisted)]

    def until_told(self, index: int, change: Change) -> None:
        """Waits until it knows of the change at `index`: told, or out of a listing."""

        def knows() -> bool:
            for event in reversed(self.events):
                if isinstance(event, Relisted):
                    return event.index >= index
                if event.modify_index >= index and event.key == change[0]:
                    return True
            return bool(self._failed)

        until(knows, f"{self.name} to be told of {change} at {index}", END_S)
        assert self._failed == [], (self.name, self._failed)

    def check(self, writer: Writer) -> None:
        """Raises AssertionError for anything missing, twice, out of order, or wrong in a listing."""
        compare(self.name, self.events, self._since, writer.entries)


def compare(
    name: str, events: Sequence[KvChange | Relisted[Any]], since: int, entries: Mapping[int, Sequence[Change]]
) -> None:
    """Raises AssertionError unless `events` are every change after `since` exactly once and in order, but for
    those that a listing stands for, and the listings are right."""
    told: Counter[tuple[int, str]] = Counter()
    covered: set[tuple[int, str]] = set()
    after = since
    for event in events:
        if isinstance(event, Relisted):
            covered |= _covered(event, entries, name)
            after = event.index
            continue
        place = (event.modify_index, event.key)
        assert event.modify_index >= after, f"{name}: {place} came after {after}"
        assert place not in covered, f"{name}: {place} came after a listing that had it"
        after = event.modify_index
        told[place] += 1
        expected = (event.key, None if event.value is None else event.text)
        assert expected in entries.get(place[0], ()), f"{name}: {event} was never written"
    assert [place for place, count in told.items() if count > 1] == [], f"{name}: told twice"
    missing = [
        (index, key)
        for index, changes in entries.items()
        for key, _ in changes
        if index > since and (index, key) not in told and (index, key) not in covered
    ]
    assert missing == [], f"{name}: never told"


def _covered(
    listing: Relisted[Any], entries: Mapping[int, Sequence[Change]], name: str
) -> set[tuple[int, str]]:
    """What a listing stands for. Raises AssertionError when a row is not what was there."""
    history: dict[str, list[tuple[int, str | None]]] = defaultdict(list)
    for index in sorted(entries):
        for key, value in entries[index]:
            history[key].append((index, value))
    rows = {row.key: row for row in listing.rows}
    covered = set()
    for key, changes in history.items():
        row = rows.pop(key, None)
        seen_at = max(listing.index, row.modify_index) if row else listing.index
        before = changes[: bisect.bisect_right(changes, seen_at, key=lambda one: one[0])]
        covered |= {(index, key) for index, _ in before}
        newest = before[-1] if before else (0, None)
        if row is not None:
            assert newest == (row.modify_index, row.text), f"{name}: {row} in the listing at {listing.index}"
            continue
        later = changes[len(before) :]
        # A row that is not there: it was gone at the listing's index, or a little later when it was read.
        gone = newest[1] is None or any(value is None for _, value in later)
        assert gone, f"{name}: {key} is missing in the listing at {listing.index}"
    assert rows == {}, f"{name}: nobody wrote {sorted(rows)}"
    return covered
