"""SIGUSR1 takes a snapshot: the operator's backup of a node too young to have taken one by itself."""

from __future__ import annotations

import asyncio
import signal

from konsul.engine import Engine
from konsul.errors import KonsulError
from konsul.kernel import logging


class SnapshotSignal:
    """Listens for SIGUSR1 in the running loop until it is closed; one snapshot at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._task: asyncio.Task[None] | None = None
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._begin)

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._take())

    async def _take(self) -> None:
        log = logging.logger()
        try:
            log.info("snapshot taken", index=await self._engine.snapshot())
        except KonsulError as error:
            log.warning("no snapshot taken", error=str(error))

    async def close(self) -> None:
        """Ignores the signal from now on, for its default ends the process; waits for a snapshot begun."""
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        if self._task is not None:
            await self._task
