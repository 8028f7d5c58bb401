"""Counts how often the leader changed lately, for the report of a node in a cluster."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal
from weakref import WeakKeyDictionary

from konsul.engine import Engine
from konsul.features.health.raft_checks import ELECTIONS_WINDOW_S

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

LOOK_S: Final = 1.0
REMEMBERED_MAX: Final = 100


class Elections:
    """Runs on every node of a cluster."""

    name: ClassVar[str] = "elections"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._engine = kernel.engine
        self._task: asyncio.Task[None] | None = None
        self._leader = 0
        self._changed_s: deque[float] = deque(maxlen=REMEMBERED_MAX)

    async def start(self) -> None:
        """Begins to look; a single node has nothing to look at."""
        if self._engine.options.cluster:
            _WATCHING[self._engine] = self
            self._task = asyncio.create_task(self._run(), name="elections")

    async def stop(self) -> None:
        """Ends it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def health(self) -> str | None:
        """What is wrong, or None."""
        return "it ended" if self._task is not None and self._task.done() else None

    def recent(self) -> int:
        """Changes of the leader in the last `ELECTIONS_WINDOW_S`; the first leader met is none."""
        since_s = time.monotonic() - ELECTIONS_WINDOW_S
        return sum(at_s >= since_s for at_s in self._changed_s)

    async def _run(self) -> None:
        while True:
            self.look(self._engine.cluster())
            await asyncio.sleep(LOOK_S)

    def look(self, cluster: dict[str, Any]) -> None:
        """Notes who leads now."""
        leader = int(cluster["leader_raft_id"] or 0) if cluster["known_leader"] else 0
        if leader and self._leader and leader != self._leader:
            self._changed_s.append(time.monotonic())
        self._leader = leader or self._leader


_WATCHING: Final[WeakKeyDictionary[Engine, Elections]] = WeakKeyDictionary()


def recent_elections(engine: Engine) -> int:
    """Changes of the leader lately, as far as this node saw them."""
    found = _WATCHING.get(engine)
    return 0 if found is None else found.recent()
