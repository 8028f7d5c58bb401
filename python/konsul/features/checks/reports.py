"""What this node's checks found, on its way into the tables: tried again until it is there or out of date."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from konsul.errors import Conflict, KonsulError, NotFound
from konsul.features.checks.metrics import REPORTS
from konsul.features.checks.outcome import Outcome
from konsul.kernel.logging import logger

if TYPE_CHECKING:
    from konsul.features.checks.running import Running

WORKERS: Final = 32
"""Reports on their way at once: a failing rack must not wait for one commit after the other."""
_AGAIN_S: Final = (0.1, 0.2, 0.5, 1.0)


class Write(Protocol):
    """Writes one report. Raises NotFound when there is no such check any more, else KonsulError."""

    async def __call__(self, one: Running, found: Outcome) -> None: ...


class Reports:
    """The newest report of each check; an older one that still waits is replaced by it."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._pending: dict[bytes, tuple[Running, Outcome]] = {}
        self._queue: deque[bytes] = deque()
        self._under_way: set[bytes] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing = ""
        """Why the last one was not taken; empty while they are."""

    def __len__(self) -> int:
        return len(self._pending)

    async def stop(self) -> None:
        """Ends; what still waits is for whoever runs these checks next."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def health(self) -> str | None:
        """What is wrong, or None."""
        return f"check results cannot be written: {self._failing}" if self._failing else None

    def tell(self, one: Running, found: Outcome) -> None:
        """Writes it, as soon as the one before is written."""
        is_queued = one.id in self._pending
        self._pending[one.id] = one, found
        if is_queued or one.id in self._under_way:
            return
        self._queue.append(one.id)
        if len(self._tasks) < WORKERS:
            task = asyncio.create_task(self._work(), name="checks-reporting")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while self._queue:
            check_id = self._queue.popleft()
            self._under_way.add(check_id)
            try:
                await self._deliver(check_id)
            finally:
                self._under_way.discard(check_id)

    async def _deliver(self, check_id: bytes) -> None:
        """Writes what is newest until nothing newer has come."""
        tries = 0
        while (item := self._pending.pop(check_id, None)) is not None:
            one, found = item
            if one.is_gone:
                REPORTS.labels("dropped").inc()
                continue
            try:
                await self._write(one, found)
            except (NotFound, Conflict):
                REPORTS.labels("dropped").inc()
            except KonsulError as error:
                REPORTS.labels("retried").inc()
                self._failing = str(error)
                self._pending.setdefault(check_id, item)
                await asyncio.sleep(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
                tries += 1
            except Exception:
                REPORTS.labels("dropped").inc()
                logger().exception("a check's result could not be written", check=check_id.decode())
            else:
                REPORTS.labels("written").inc()
                self._failing = ""
                one.stored_status, one.stored_said = found.status, found.said
