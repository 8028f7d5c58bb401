"""One node's checks as they run: what is due, what is under way, what came of it last."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from konsul.features.catalog.tables import CRITICAL
from konsul.features.checks.assignment import phase_of
from konsul.features.checks.damping import Damper
from konsul.features.checks.definition import Definition
from konsul.features.checks.metrics import DURATION_SECONDS, LATE_SECONDS, RESULTS, SKIPPED
from konsul.features.checks.outcome import Outcome, timeless
from konsul.features.checks.schedule import Schedule
from konsul.kernel.logging import logger

RESULTS_MAX: Final = 10
"""Results of a check that are remembered."""
_LONGEST_WAIT_S: Final = 1.0
_SWEEP_EVERY_S: Final = 10.0


class Result(NamedTuple):
    """One attempt. `status`: what it said; `decided`: what the check was afterwards."""

    at_ms: int
    status: str
    decided: str
    output: str
    took_ms: float
    is_flapping: bool


@dataclass(slots=True, eq=False)
class Running:
    """A check that this node runs."""

    id: bytes
    definition: Definition
    damper: Damper
    stored_status: str
    """As the tables have it, as far as is known here."""
    stored_output: str = ""
    """What the tables said when this node took it on."""
    stored_said: str | None = None
    """The output that was last written, without its times; None: not by this node."""
    stored_at_s: float = 0.0
    results: deque[Result] = field(default_factory=lambda: deque(maxlen=RESULTS_MAX))
    packed: bytes = b""
    """The stored definition, which a report is bound to."""
    create_index: int = 0
    instance: bytes = b""
    """The key of the instance it is about; empty for a node's check."""
    is_busy: bool = False
    is_gone: bool = False
    attempt: asyncio.Task[None] | None = None
    """The one that is under way."""

    def leave(self) -> None:
        """It is no check of this node's any more."""
        self.is_gone = True
        if self.attempt is not None:
            self.attempt.cancel()


class Settings(Protocol):
    """The settings that count here."""

    @property
    def concurrency(self) -> int: ...
    @property
    def start_spread_ms(self) -> int: ...
    @property
    def output_interval_ms(self) -> int: ...
    @property
    def flap_changes_max(self) -> int: ...
    @property
    def flap_window_intervals(self) -> int: ...


class Runner:
    """Runs checks by their schedule. For one loop; `start` and `stop` frame its life."""

    def __init__(
        self,
        settings: Settings,
        attempt: Callable[[Definition], Awaitable[Outcome]],
        tell: Callable[[Running, Outcome], None],
        sweep: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        measured: Callable[[Running, float], None] = lambda _one, _took_s: None,
    ) -> None:
        """`tell` is called when there is something new: a status other than the stored one, or an output;
        `measured` after every attempt that was answered well enough, with how long it took."""
        self._settings, self._attempt, self._tell, self._sweep = settings, attempt, tell, sweep
        self._clock, self._measured = clock, measured
        self._schedule: Schedule[Running] = Schedule()
        self._waiting: deque[tuple[float, Running]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._swept_s = 0.0

    def __len__(self) -> int:
        return len(self._schedule)

    @property
    def in_flight(self) -> int:
        """How many run now."""
        return len(self._tasks)

    @property
    def waiting(self) -> int:
        """How many are due and wait for their turn."""
        return len(self._waiting)

    @property
    def flapping(self) -> int:
        """How many are held for it."""
        return sum(one.damper.is_flapping for one in self.all())

    def all(self) -> list[Running]:
        """Every check."""
        found = (self._schedule.get(key) for key in self._schedule.keys())  # noqa: SIM118 - a copy
        return [one for one in found if one is not None]

    def get(self, check_id: bytes) -> Running | None:
        """The check, if this node runs it."""
        return self._schedule.get(check_id)

    def add(self, check_id: bytes, definition: Definition, status: str, output: str = "") -> Running:
        """Runs the check from now on; one that is there already starts anew."""
        self.remove(check_id)
        settings, interval_s = self._settings, definition.interval_s
        window_s = settings.flap_window_intervals * interval_s
        damper = Damper(definition.thresholds, status, window_s, settings.flap_changes_max)
        one = Running(check_id, definition, damper, status, output)
        phase_s = phase_of(check_id, interval_s)
        spread_s = min(interval_s, settings.start_spread_ms / 1_000)
        first_s = self._clock() + spread_s * phase_s / interval_s
        self._schedule.add(check_id, one, interval_s, phase_s, first_s)
        self._woken.set()
        return one

    def remove(self, check_id: bytes) -> None:
        """Runs it no more; an attempt that is under way ends, for others wait for its place."""
        gone = self._schedule.remove(check_id)
        if gone is not None:
            gone.leave()

    def clear(self) -> None:
        """Runs none any more."""
        for gone in self._schedule.clear():
            gone.leave()
        self._waiting.clear()

    def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._run(), name="checks-running")

    async def stop(self) -> None:
        """Ends every attempt."""
        tasks = [task for task in (self._task, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.clear()

    def health(self) -> str | None:
        """What is wrong, or None."""
        return "ended: checks-running" if self._task is not None and self._task.done() else None

    async def _run(self) -> None:
        while True:
            now_s = self._clock()
            for due_s, one in self._schedule.due(now_s):
                if one.is_busy:
                    # Its timeout is longer than its interval: the next run is the one after.
                    SKIPPED.inc()
                    continue
                one.is_busy = True
                self._waiting.append((due_s, one))
            self._fill()
            if now_s - self._swept_s >= _SWEEP_EVERY_S:
                self._swept_s = now_s
                self._sweep()
            next_s = self._schedule.next_s()
            wait_s = _LONGEST_WAIT_S if next_s is None else min(_LONGEST_WAIT_S, next_s - self._clock())
            if wait_s > 0:
                self._woken.clear()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._woken.wait()
                except TimeoutError:
                    pass
            else:
                # Whatever is due, others on this loop get their turn.
                await asyncio.sleep(0)

    def _fill(self) -> None:
        """Begins what waits while there is room."""
        while self._waiting and len(self._tasks) < self._settings.concurrency:
            due_s, one = self._waiting.popleft()
            if one.is_gone:
                continue
            LATE_SECONDS.observe(max(0.0, self._clock() - due_s))
            task = one.attempt = asyncio.create_task(self._once(one))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger().error("a check ended", why=repr(task.exception()))
        self._fill()

    async def _once(self, one: Running) -> None:
        began_s = time.perf_counter()
        try:
            found = await self._attempt(one.definition)
        finally:
            one.is_busy, one.attempt = False, None
        if one.is_gone:
            return
        took_s = time.perf_counter() - began_s
        RESULTS.labels(one.definition.type, found.status).inc()
        DURATION_SECONDS.labels(one.definition.type).observe(took_s)
        if found.status != CRITICAL:
            self._measured(one, took_s)
        self._take(one, found, took_s)

    def _take(self, one: Running, found: Outcome, took_s: float) -> None:
        now_s = self._clock()
        decided = one.damper.take(found.status, now_s)
        is_flapping = one.damper.is_flapping
        at_ms = time.time_ns() // 1_000_000
        one.results.append(
            Result(at_ms, found.status, decided, found.output, round(took_s * 1_000, 3), is_flapping)
        )
        said = f"flapping, {decided} is held: {found.said}" if is_flapping else found.said
        output = f"flapping, {decided} is held: {found.output}" if is_flapping else found.output
        if one.stored_said is None and timeless(output) == timeless(one.stored_output):
            # Whoever ran it before wrote the same: a take-over of thousands writes nothing.
            one.stored_said = said
        is_new = decided != one.stored_status
        if not is_new and said != one.stored_said:
            pause_s = self._settings.output_interval_ms / 1_000
            is_new = one.stored_said is None or now_s - one.stored_at_s >= pause_s
        if is_new:
            one.stored_at_s = now_s
            self._tell(one, Outcome(decided, output, said))
