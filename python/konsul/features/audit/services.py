"""The writer's life within the node's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Literal

from konsul.features.audit.trail import trail_of

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel


class Writing:
    """Starts before the features that are recorded and stops after them."""

    name: ClassVar[str] = "audit"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._trail = trail_of(kernel.engine)

    async def start(self) -> None:
        """Starts the writer, if auditing is on."""
        if self._trail is not None:
            self._trail.start()

    async def stop(self) -> None:
        """Writes what is buffered, beside the loop."""
        if self._trail is not None:
            await asyncio.to_thread(self._trail.stop)

    def health(self) -> str | None:
        """What keeps events from being written, or None."""
        return self._trail.writer.health() if self._trail is not None else None
