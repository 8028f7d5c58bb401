"""The thread between the buffer and the disk. Whoever records never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from konsul.features.audit.sinks import Sink
from konsul.features.audit.store import EventStore
from konsul.kernel.logging import logger

BOUNDS_S: Final = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5)
STORE: Final = "store"
TRIM_EVERY_S: Final = 60.0
COMPLAIN_EVERY_S: Final = 60.0
RETRY_S: Final = 5.0
"""Time after which a store that failed is tried again."""
Batch = tuple[bytes, int, int, int]


class Buffer(Protocol):
    """What the writer empties: `konsul_ext.audit.AuditLog` or its twin."""

    @property
    def recorded(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def refused(self) -> int: ...
    def take(self) -> Batch | None: ...
    def waiting(self) -> int: ...


@dataclass(slots=True)
class Written:
    """What one sink took."""

    written: int = 0
    errors: int = 0
    """Events that it did not take."""
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    """How long a batch took, by `BOUNDS_S`; the last is everything slower."""
    sum_s: float = 0.0
    complained_s: float = float("-inf")
    failing: str | None = None

    def took(self, seconds: float) -> None:
        """Notes the time of one batch."""
        self.sum_s += seconds
        self.buckets[next((at for at, bound in enumerate(BOUNDS_S) if seconds <= bound), len(BOUNDS_S))] += 1


class Writer:
    """Empties the buffer into the sink and the store, every `interval_s` and when it is asked to.

    With `insists` a batch that the sink did not take is tried again until it does: meanwhile the buffer
    fills, and its `admits` refuses what comes.
    """

    def __init__(
        self,
        log: Buffer,
        sink: Sink,
        store: EventStore | None,
        *,
        interval_s: float,
        insists: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._sink, self._store = log, sink, store
        self._interval_s, self._insists, self._clock = interval_s, insists, clock
        self._wake = threading.Event()
        self._done = threading.Condition()
        self._asked = self._answered = 0
        self._stopping = self._reopening = False
        self._held: Batch | None = None
        self._thread: threading.Thread | None = None
        self._trimmed_s = self._store_since_s = float("-inf")
        self.of = {sink.name: Written()} | ({STORE: Written()} if store is not None else {})
        self.lost_at_stop = 0

    def start(self) -> None:
        """Opens the sink, or says why not, and starts the thread."""
        self._do(self._sink.name, self._sink.open)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """The buffer fills: does not wait for the interval. Called on any thread."""
        self._wake.set()

    def reopen(self) -> None:
        """Lets the sink open its file anew, after what is buffered was written."""
        self._reopening = True
        self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Waits until what was recorded before is written or has failed. False if that takes longer."""
        with self._done:
            self._asked += 1
            mine = self._asked
            self._wake.set()
            return self._done.wait_for(lambda: self._answered >= mine, timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Writes what is buffered and ends the thread; what could not be written in time is counted."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                logger().error("audit writer did not end", timeout_s=timeout_s, waiting=self._log.waiting())
            self._thread = None

    def health(self) -> str | None:
        """What is wrong with a sink, or None."""
        wrong = [f"{name}: {one.failing}" for name, one in self.of.items() if one.failing]
        return "; ".join(wrong) or None

    def _run(self) -> None:
        if self._store is not None:
            # Here and now, so that no request is slowed by the loading of RocksDB.
            self._do(STORE, self._store.open)
        while not self._stopping:
            self._wake.wait(self._interval_s)
            self._wake.clear()
            self._turn()
        self._turn()
        if self._held is not None:
            self.lost_at_stop += self._held[1]
        self._do(self._sink.name, self._sink.close)
        if self._store is not None:
            self._do(STORE, self._store.close)

    def _turn(self) -> None:
        """One round: what is held back, what is buffered, then what is due."""
        with self._done:
            asked = self._asked
        if self._held is None or self._write_held():
            batch = self._log.take()
            if batch is not None:
                self._write(batch)
        if self._reopening:
            self._reopening = False
            self._do(self._sink.name, self._sink.reopen)
        self._look_after_store()
        with self._done:
            self._answered = asked
            self._done.notify_all()

    def _write(self, batch: Batch) -> None:
        lines, count = batch[0], batch[1]
        if self._store is not None:
            self._keep(self._store, batch)
        if not self._do(self._sink.name, lambda: self._sink.write(lines), count) and self._insists:
            self._held = batch

    def _keep(self, store: EventStore, batch: Batch) -> None:
        lines, count, first_ns, last_ns = batch
        if self._clock() < self._store_since_s:
            self.of[STORE].errors += count
        elif not self._do(STORE, lambda: store.append(lines, (first_ns, last_ns)), count):
            self._store_since_s = self._clock() + RETRY_S

    def _write_held(self) -> bool:
        held = self._held
        assert held is not None  # noqa: S101 - narrows for mypy
        if not self._do(self._sink.name, lambda: self._sink.write(held[0]), held[1]):
            return False
        self._held = None
        return True

    def _look_after_store(self) -> None:
        store, now_s = self._store, self._clock()
        if store is None or not store.is_open() or now_s < self._trimmed_s + TRIM_EVERY_S:
            return
        self._trimmed_s = now_s
        self._do(STORE, store.trim)

    def _do(self, name: str, act: Callable[[], None], count: int = 0) -> bool:
        """Does something that may fail, for `count` events: a failure is counted, said now and then, and the
        thread goes on."""
        seen = self.of[name]
        begun_s = self._clock()
        try:
            act()
        except Exception as error:
            # What is held back is not lost yet.
            seen.errors += 0 if self._insists and name != STORE else count
            seen.failing = str(error) or type(error).__name__
            if begun_s >= seen.complained_s + COMPLAIN_EVERY_S:
                seen.complained_s = begun_s
                logger().error("audit events cannot be written", sink=name, error=seen.failing)
            return False
        if count:
            seen.written += count
            seen.failing = None
            seen.took(self._clock() - begun_s)
        return True
