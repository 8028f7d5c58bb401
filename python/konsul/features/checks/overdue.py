"""Instances that were critical for longer than a check of theirs allows: the leader deregisters them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, ClassVar, Final, Literal
from weakref import WeakKeyDictionary

from konsul.engine import Engine
from konsul.errors import Conflict, KonsulError
from konsul.features.catalog.tables import CRITICAL, Check, Instance
from konsul.features.checks.config import CheckSettings
from konsul.features.checks.metrics import DEREGISTERED
from konsul.kernel import entry
from konsul.kernel.logging import logger

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

LOOK_S: Final = 1.0
_STATUS: Final = Check.column("status")
_CHANGED: Final = Check.column("changed_at_ms")
_AFTER: Final = Check.column("deregister_after_ms")
_INSTANCE: Final = Check.column("instance")


class Deadlines:
    """When which critical check's instance is to go, as this node's tables say."""

    def __init__(self) -> None:
        self._due_ms: dict[bytes, int] = {}

    def note(self, check_id: bytes, cells: list[object] | None) -> None:
        """A check is as its cells say, or gone."""
        if cells is None or cells[_STATUS] != CRITICAL or not cells[_AFTER] or not cells[_INSTANCE]:
            self._due_ms.pop(check_id, None)
        else:
            self._due_ms[check_id] = int(cells[_CHANGED]) + int(cells[_AFTER])  # type: ignore[call-overload]

    def keep(self, seen: set[bytes]) -> None:
        """Everything was read anew: what was not seen is gone."""
        for check_id in self._due_ms.keys() - seen:
            del self._due_ms[check_id]

    def over(self, now_ms: int, most: int) -> list[bytes]:
        """The checks whose time is over, at most so many, the longest overdue first."""
        found = sorted((due_ms, check_id) for check_id, due_ms in self._due_ms.items() if due_ms <= now_ms)
        return [check_id for _, check_id in found[:most]]


_DEADLINES: Final[WeakKeyDictionary[Engine, Deadlines]] = WeakKeyDictionary()


def deadlines_of(engine: Engine) -> Deadlines:
    """The node's deadlines."""
    return _DEADLINES.setdefault(engine, Deadlines())


class Overdue:
    """Deregisters, a bounded number per second: an outage of a network must not empty the catalog at once."""

    name: ClassVar[str] = "checks-overdue"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "on-leader"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._rate = kernel.config.of(CheckSettings).deregister_max_per_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._run(), name="checks-overdue")

    async def stop(self) -> None:
        """Ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def health(self) -> str | None:
        """What is wrong, or None."""
        return "ended: checks-overdue" if self._task is not None and self._task.done() else None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for check_id in deadlines_of(self._kernel.engine).over(time.time_ns() // 1_000_000, self._rate):
                try:
                    await self._deregister(check_id)
                except KonsulError as error:
                    logger().warning("an overdue instance stays for now", why=str(error))
                    break

    async def _deregister(self, check_id: bytes) -> None:
        """Only if the check still says what it said: somebody may have repaired it a moment ago."""
        engine = self._kernel.engine
        row = engine.get(Check.table_id, check_id)
        if row is None or row.cells[_INSTANCE] is None:
            deadlines_of(engine).note(check_id, None)
            return
        guards = [
            entry.is_(Check, check_id, "status", CRITICAL),
            entry.is_(Check, check_id, "changed_at_ms", row.cells[_CHANGED]),
            entry.is_(Check, check_id, "deregister_after_ms", row.cells[_AFTER]),
        ]
        instance = row.cells[_INSTANCE]
        try:
            await engine.commit(entry.encode([entry.case(guards, [entry.delete(Instance, instance)])]))
        except Conflict:
            return
        DEREGISTERED.inc()
        logger().warning(
            "deregistered: critical for too long",
            instance=instance,
            check=check_id.decode(),
            after_ms=row.cells[_AFTER],
        )
